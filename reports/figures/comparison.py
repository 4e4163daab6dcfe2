"""Every figure of a report; a figure whose runs are not there is left out."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, Locator, MaxNLocator, MultipleLocator

from reports.analysis.bootstrap import METRICS
from reports.analysis.comparison import Analysis
from reports.analysis.differences import Pair
from reports.analysis.scores import run_curve
from reports.analysis.sentences import (
    band_text,
    interval_text,
    left_out_text,
    mode_text,
    run_counts,
    score_words,
    shortage_text,
    task_count,
)
from reports.figures.cost import sample_efficiency, trade_off
from reports.figures.drawing import (
    COLUMN_WIDTH,
    EDGE,
    FULL_WIDTH,
    INK,
    ROW_SIZE,
    Figure,
    draw_band,
    draw_estimate,
    draw_legend,
    draw_line,
    make_canvas,
    name_rows,
    row_names,
    styles_of,
)
from reports.figures.labels import (
    drawable,
    fold,
    row_height,
    text_width,
)
from reports.figures.palette import Style
from reports.runs.names import display_name
from reports.runs.results import Results

PAIRS_PER_FIGURE = 100
"""Most pairs in one figure: about as many as a tall page holds."""

_NAME_WIDTH = 2.2
"""Inches that names of algorithms may take beside a chart's panels."""

_PAIR_WIDTH = 3.0
"""The same for names of pairs."""


def make_figures(analysis: Analysis) -> list[Figure]:
    """Returns every figure that there are runs for, in the order of the report."""
    figures = [_learning_curves(analysis), _seed_curves(analysis), _final_returns(analysis)]
    if analysis.algorithms:
        figures += [_aggregates(analysis), _profiles(analysis)]
        figures += [sample_efficiency(analysis), trade_off(analysis)]
    if analysis.differences.pairs:
        figures += _comparisons(analysis)
    return figures + _ablations(analysis)


# --- Learning curves ---------------------------------------------------------------------


def _learning_curves(analysis: Analysis) -> Figure:
    def draw_task(axes: Axes, task: str) -> None:
        for algorithm, style in styles_of(analysis.results).items():
            band = analysis.estimates.learning_curve(algorithm, task)
            if band is not None:
                draw_band(axes, band, style)

    caption = (
        f"Mean return over seeds ({mode_text(analysis)}) against environment steps; every point is "
        "the policy after exactly that many steps, unless the run had stopped before. "
        f"{run_counts(analysis)} {band_text(analysis)}"
    )
    return Figure(
        "learning-curves",
        "Learning curves",
        caption,
        lambda: _task_panels(analysis.results, draw_task),
    )


def _seed_curves(analysis: Analysis) -> Figure:
    def draw_task(axes: Axes, task: str) -> None:
        for algorithm, style in styles_of(analysis.results).items():
            for run in analysis.results.runs_of(algorithm, task):
                mode = analysis.scores.mode_of(algorithm)
                if mode in run.modes and run.state != "damaged":
                    x, returns = run_curve(run, mode)
                    draw_line(axes, x, returns, style, linewidth=0.7)
                    if run.state != "done":
                        axes.plot(x[-1], returns[-1], "x", color=style.colour)

    caption = (
        f"Return of every single run that is not damaged ({mode_text(analysis)}), without "
        "smoothing or averaging. "
        "A cross marks the last evaluation of a run that diverged or is not finished."
    )
    return Figure(
        "learning-curves-seeds",
        "Learning curves of single runs",
        caption,
        lambda: _task_panels(analysis.results, draw_task),
    )


def one_axis(results: Results) -> bool:
    """Whether returns on all tasks lie between the same known bounds."""
    bounds = {results.bounds(task) for task in results.tasks}
    return len(bounds) == 1 and all(each.known for each in bounds)


def return_limits(results: Results, task: str) -> tuple[float | None, float | None]:
    """Returns the ends of an axis of returns on a task, None where what is drawn sets them."""
    bounds = results.bounds(task)
    if not bounds.known:
        return (None, None)
    room = EDGE * (bounds.high - bounds.low)
    return (bounds.low - room, bounds.high + room)


def _return_ticks(results: Results, task: str, parts: int) -> Locator:
    """Divides the bounds of a task into equal parts, or what is drawn where they are not known."""
    bounds = results.bounds(task)
    known = bounds.known
    return MultipleLocator((bounds.high - bounds.low) / parts) if known else MaxNLocator(parts)


def _task_panels(results: Results, draw_task: Callable[[Axes, str], None]) -> Canvas:
    """Draws one panel a task, with common axes and one legend above."""
    columns = min(3, len(results.tasks))
    rows = math.ceil(len(results.tasks) / columns)
    width = FULL_WIDTH if columns > 1 else COLUMN_WIDTH
    height = 1.75 * rows if columns > 1 else 2.3
    one = one_axis(results)
    canvas, panels = make_canvas(width, height + 0.4, rows, columns, sharex=True, sharey=one)
    for axes, task in zip(panels, results.tasks, strict=False):
        draw_task(axes, task)
        axes.set_title(task)
        axes.set_ylim(*return_limits(results, task))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for axes in panels[len(results.tasks) :]:
        axes.set_visible(False)
    canvas.supxlabel("environment steps", fontsize=7.5)
    canvas.supylabel("return", fontsize=7.5)
    draw_legend(canvas, styles_of(results), 5 if columns > 1 else 3)
    return canvas


# --- Final scores ------------------------------------------------------------------------


def _final_returns(analysis: Analysis, labels: Sequence[str] = ()) -> Figure:
    shown = list(labels or analysis.results.algorithms)

    def draw() -> Canvas:
        tasks = analysis.results.tasks
        columns = min(3, len(tasks))
        rows = math.ceil(len(tasks) / columns)
        names = row_names(shown, _NAME_WIDTH)
        height = (row_height(names, ROW_SIZE, 0.2) * len(shown) + 0.45) * rows + 0.3
        one = one_axis(analysis.results)
        canvas, panels = make_canvas(FULL_WIDTH, height, rows, columns, sharex=one, sharey=True)
        for axes, task in zip(panels, tasks, strict=False):
            axes.set_title(task)
            for row, algorithm in enumerate(shown):
                _draw_task_scores(analysis, axes, row, algorithm, task)
            axes.set_xlim(*return_limits(analysis.results, task))
            ticks = _return_ticks(analysis.results, task, 2 if _are_wide(names) else 5)
            axes.xaxis.set_major_locator(ticks)
            name_rows(axes, names)
        for axes in panels[len(tasks) :]:
            axes.set_visible(False)
        canvas.supxlabel("final return", fontsize=7.5)
        return canvas

    caption = (
        f"Final return ({mode_text(analysis)}): every run that counts as a dot, their mean "
        f"as a bar across, with its interval. {run_counts(analysis)} {interval_text(analysis)}"
    )
    return Figure("final-returns", "Final return of every run", caption, draw)


def _draw_task_scores(analysis: Analysis, axes: Axes, row: int, algorithm: str, task: str) -> None:
    style = styles_of(analysis.results)[algorithm]
    estimate = analysis.estimates.return_estimate(algorithm, task)
    if estimate is None:
        axes.text(0.02, row, "no run", transform=axes.get_yaxis_transform(), va="center", size=6)
        return
    returns = analysis.scores.returns(algorithm, task)
    rows = row + 0.14 * np.linspace(-1, 1, len(returns)) if len(returns) > 1 else [row]
    axes.plot(returns, rows, "o", color=style.colour, markersize=2.5, alpha=0.7, linewidth=0)
    draw_estimate(axes, row, estimate, style, marker="|")


def _are_wide(names: Sequence[str]) -> bool:
    """Returns whether names leave the panels beside them less room than most."""
    lines = [line for name in names for line in name.split("\n")]
    return max(text_width(line, ROW_SIZE) for line in lines) > 36 * _NAME_WIDTH


def _aggregates(analysis: Analysis) -> Figure:
    def draw() -> Canvas:
        shown = analysis.algorithms
        names = row_names(shown, _NAME_WIDTH)
        height = row_height(names, ROW_SIZE, 0.2) * len(shown) + 0.85
        canvas, panels = make_canvas(FULL_WIDTH, height, 1, len(METRICS), sharey=True)
        styles = styles_of(analysis.results)
        for axes, metric in zip(panels, METRICS, strict=True):
            for row, algorithm in enumerate(shown):
                estimate = analysis.estimates.aggregate(algorithm, metric)
                draw_estimate(axes, row, estimate, styles[algorithm])
            axes.set_title(metric)
            axes.xaxis.set_major_locator(MaxNLocator(2 if _are_wide(names) else 3))
            name_rows(axes, names)
        canvas.supxlabel(f"score ({score_words(analysis)})", fontsize=7.5)
        return canvas

    caption = (
        f"Aggregates of the final scores over {task_count(analysis)} ({mode_text(analysis)}); "
        "of the optimality gap, less is better. "
        f"{run_counts(analysis)} {interval_text(analysis)}{left_out_text(analysis)}"
    )
    return Figure("aggregates", "Aggregate scores", caption, draw)


def _profiles(analysis: Analysis) -> Figure:
    def draw() -> Canvas:
        canvas, (axes,) = make_canvas(COLUMN_WIDTH, 2.7, 1, 1)
        styles = styles_of(analysis.results)
        for algorithm, band in analysis.estimates.profiles.items():
            draw_band(axes, band, styles[algorithm], steps=True)
        axes.set(xlim=(-EDGE, 1 + EDGE), ylim=(-EDGE, 1 + EDGE))
        axes.set(xlabel=f"score τ ({score_words(analysis)})", ylabel="share of runs above τ")
        draw_legend(
            canvas, {algorithm: styles[algorithm] for algorithm in analysis.estimates.profiles}, 3
        )
        return canvas

    caption = (
        "Performance profiles: the share of runs whose final score exceeds τ, tasks weighing "
        f"equally, over {task_count(analysis)}. {run_counts(analysis)} {band_text(analysis)}"
        f"{left_out_text(analysis)}"
    )
    return Figure("profiles", "Performance profiles", caption, draw)


# --- Comparisons -------------------------------------------------------------------------


def _comparisons(analysis: Analysis) -> list[Figure]:
    """Returns one figure, or several where the pairs are too many for one."""
    pairs = analysis.differences.pairs
    count = math.ceil(len(pairs) / PAIRS_PER_FIGURE)
    caption = (
        "Pairwise comparisons X − Y of the final scores. Blue diamonds: significant at a "
        "family-wise level of 5% (permutation tests of the mean within tasks, Holm-corrected over "
        f"{len(pairs)} pairs).{shortage_text(analysis)} {run_counts(analysis)} "
        f"{interval_text(analysis)}{left_out_text(analysis)}"
    )
    return [
        Figure(
            "comparisons" if count == 1 else f"comparisons-{index + 1}",
            "Pairwise comparisons" + (f", {index + 1} of {count}" if count > 1 else ""),
            caption,
            functools.partial(_draw_pairs, pairs, index * PAIRS_PER_FIGURE),
        )
        for index in range(count)
    ]


def _draw_pairs(pairs: Sequence[Pair], first: int) -> Canvas:
    """Draws the pairs from number `first` on, to the scale of all."""
    shown = pairs[first : first + PAIRS_PER_FIGURE]
    names = [_pair_name(pair) for pair in shown]
    height = row_height(names, ROW_SIZE, 0.19) * len(shown) + 0.8
    canvas, (left, right) = make_canvas(FULL_WIDTH, height, 1, 2, sharey=True)
    for row, pair in enumerate(shown):
        draw_estimate(left, row, pair.difference, _pair_style(pair))
        draw_estimate(right, row, pair.improvement, _pair_style(pair))
    left.axvline(0, color=INK, linewidth=0.8)
    right.axvline(0.5, color=INK, linewidth=0.8)
    left.set(xlabel="difference of IQM scores", xlim=_limits(pairs))
    right.set(xlabel="probability of improvement\nP(X > Y)", xlim=(-0.02, 1.02))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(4))
        name_rows(axes, names)
    return canvas


def _limits(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Returns the ends of an axis that holds 0 and every difference with its interval."""
    values = [each.difference for each in pairs]
    ends = [0.0, *(end for each in values for end in (each.value, each.low, each.high))]
    low, high = np.nanmin(ends), np.nanmax(ends)
    margin = 0.05 * (high - low) or 0.05
    return float(low - margin), float(high + margin)


def _pair_style(pair: Pair) -> Style:
    return Style("#3f78c9", (), "D") if pair.significant else Style("#8b8f95", (), "o")


def _pair_name(pair: Pair) -> str:
    """Returns `X − Y` on one line where it fits, else each name on lines of its own."""
    width = 72 * _PAIR_WIDTH
    first, second = display_name(pair.first), display_name(pair.second)
    if text_width(drawable(f"{first} − {second}"), ROW_SIZE) <= width:
        return drawable(f"{first} − {second}")
    above = fold(first, ROW_SIZE, width - text_width(" −", ROW_SIZE))
    return f"{above} −\n{fold(second, ROW_SIZE, width)}"


# --- Ablations ---------------------------------------------------------------------------


def _ablations(analysis: Analysis) -> list[Figure]:
    """Returns a figure for each algorithm that ran with several settings."""
    variants: dict[str, list[str]] = {}
    for label in analysis.results.algorithms:
        variants.setdefault(label.method, []).append(label)
    return [
        dataclasses.replace(
            _final_returns(analysis, labels),
            name=f"ablation-{index}",
            title=f"Settings of {display_name(name)}",
        )
        for index, (name, labels) in enumerate(variants.items())
        if len(labels) > 1
    ]
