"""Every figure of a report, drawn by matplotlib; the same input gives the same bytes.

Lines and areas have the colours of `reports.palette`. Text and axes have one ink, so that
a page may recolour them, and backgrounds are transparent but for PNG.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from reports.analysis import Analysis, Pair
from reports.palette import Style, algorithm_styles
from reports.results import MAX_RETURN, Results, display_name
from reports.scores import AXES, Axis, common_curves, run_curve
from reports.statistics import CONFIDENCE, METRICS, Band, Estimate

FORMATS = ("svg", "pdf", "png")

INK = "#1a1d21"
"""Colour of text and axes."""

FULL_WIDTH = 6.9
"""Inches; the text width of a two-column paper."""

COLUMN_WIDTH = 3.35
"""Inches; one column of a two-column paper."""

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so figures are the same everywhere
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.dpi": 200,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "pdf.fonttype": 42,
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: of its files, without their ending.
        title: a few words.
        caption: what is drawn, of how many runs, and which intervals.
        draw: makes it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Canvas]


def make_figures(analysis: Analysis) -> list[Figure]:
    """Returns every figure that there are runs for, in the order of the report."""
    figures = [_learning_curves(analysis), _seed_curves(analysis), _final_returns(analysis)]
    if analysis.algorithms:
        figures += [_aggregates(analysis), _profiles(analysis)]
        figures += [_sample_efficiency(analysis), _trade_off(analysis)]
    if analysis.pairs:
        figures.append(_comparisons(analysis))
    return figures + _ablations(analysis)


def render(figure: Figure, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """Returns the content of a figure's files by format."""
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": figure.name}):
        canvas = figure.draw()
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")  # lay out once, not once a format
        return {each: _saved(canvas, each) for each in formats}


def _saved(canvas: Canvas, kind: str) -> bytes:
    undated: dict[str, Any] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
        "png": {"Software": None},
    }
    background = "white" if kind == "png" else "none"
    file = io.BytesIO()
    canvas.savefig(file, format=kind, metadata=undated[kind], facecolor=background)
    return file.getvalue()


# --- Learning curves ---------------------------------------------------------------------


def _learning_curves(analysis: Analysis) -> Figure:
    def draw_task(axes: Axes, task: str) -> None:
        for algorithm, style in _styles(analysis.results).items():
            band = analysis.learning_curve(algorithm, task)
            if band is not None:
                _draw_band(axes, band, style, scale=MAX_RETURN)

    caption = (
        f"Mean return over seeds ({_mode(analysis)}) against environment steps; every point is "
        f"the policy after exactly that many steps. {_seed_counts(analysis)} {_bands(analysis)}"
    )
    return Figure(
        "learning-curves",
        "Learning curves",
        caption,
        lambda: _task_panels(analysis.results, draw_task),
    )


def _seed_curves(analysis: Analysis) -> Figure:
    def draw_task(axes: Axes, task: str) -> None:
        for algorithm, style in _styles(analysis.results).items():
            for run in analysis.results.runs_of(algorithm, task):
                if analysis.mode in run.modes:
                    x, scores = run_curve(run, analysis.mode)
                    _line(axes, x, MAX_RETURN * scores, style, linewidth=0.7)
                    if run.state != "done":
                        axes.plot(x[-1], MAX_RETURN * scores[-1], "x", color=style.colour)

    caption = (
        f"Return of every single run ({_mode(analysis)}), without smoothing or averaging. "
        "A cross marks the last evaluation of a run that diverged or is not finished."
    )
    return Figure(
        "learning-curves-seeds",
        "Learning curves of single runs",
        caption,
        lambda: _task_panels(analysis.results, draw_task),
    )


def _task_panels(results: Results, draw_task: Callable[[Axes, str], None]) -> Canvas:
    """Draws one panel a task, with common axes and one legend above."""
    columns = min(3, len(results.tasks))
    rows = math.ceil(len(results.tasks) / columns)
    width = FULL_WIDTH if columns > 1 else COLUMN_WIDTH
    height = 1.75 * rows if columns > 1 else 2.3
    canvas, panels = _canvas(width, height + 0.4, rows, columns, sharex=True, sharey=True)
    for axes, task in zip(panels, results.tasks, strict=False):
        draw_task(axes, task)
        axes.set_title(task)
        axes.set_ylim(0, MAX_RETURN)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for axes in panels[len(results.tasks) :]:
        axes.set_visible(False)
    canvas.supxlabel("environment steps", fontsize=7.5)
    canvas.supylabel("return", fontsize=7.5)
    _legend(canvas, _styles(results), 5 if columns > 1 else 3)
    return canvas


# --- Final scores ------------------------------------------------------------------------


def _final_returns(analysis: Analysis, labels: Sequence[str] = ()) -> Figure:
    shown = list(labels or analysis.results.algorithms)

    def draw() -> Canvas:
        tasks = analysis.results.tasks
        columns = min(3, len(tasks))
        rows = math.ceil(len(tasks) / columns)
        height = (0.2 * len(shown) + 0.45) * rows + 0.3
        canvas, panels = _canvas(FULL_WIDTH, height, rows, columns, sharex=True, sharey=True)
        for axes, task in zip(panels, tasks, strict=False):
            axes.set_title(task)
            for row, algorithm in enumerate(shown):
                _draw_task_scores(analysis, axes, row, algorithm, task)
            axes.set_xlim(0, MAX_RETURN)
            _name_rows(axes, shown)
        for axes in panels[len(tasks) :]:
            axes.set_visible(False)
        canvas.supxlabel("final return", fontsize=7.5)
        return canvas

    caption = (
        f"Return at the end of the budget ({_mode(analysis)}): every run as a dot, their mean "
        f"as a bar across, with its interval. {_seed_counts(analysis)} {_intervals(analysis)}"
    )
    return Figure("final-returns", "Final return of every run", caption, draw)


def _draw_task_scores(analysis: Analysis, axes: Axes, row: int, algorithm: str, task: str) -> None:
    style = _styles(analysis.results)[algorithm]
    estimate = analysis.task_estimate(algorithm, task)
    if estimate is None:
        axes.text(0.02, row, "no run", transform=axes.get_yaxis_transform(), va="center", size=6)
        return
    scores = MAX_RETURN * analysis.scores_of(algorithm, task).scores
    rows = row + 0.14 * np.linspace(-1, 1, len(scores)) if len(scores) > 1 else [row]
    axes.plot(scores, rows, "o", color=style.colour, markersize=2.5, alpha=0.7, linewidth=0)
    _draw_estimate(axes, row, estimate, style, scale=MAX_RETURN, marker="|")


def _aggregates(analysis: Analysis) -> Figure:
    def draw() -> Canvas:
        shown = analysis.algorithms
        height = 0.2 * len(shown) + 0.85
        canvas, panels = _canvas(FULL_WIDTH, height, 1, len(METRICS), sharey=True)
        styles = _styles(analysis.results)
        for axes, metric in zip(panels, METRICS, strict=True):
            for row, algorithm in enumerate(shown):
                estimate = analysis.aggregate(algorithm, metric)
                _draw_estimate(axes, row, estimate, styles[algorithm])
            axes.set_title(metric)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            _name_rows(axes, shown)
        canvas.supxlabel(f"score (return / {MAX_RETURN:g})", fontsize=7.5)
        return canvas

    caption = (
        f"Aggregates of the final scores over {_tasks(analysis)} ({_mode(analysis)}); of the "
        "optimality gap, less is better. "
        f"{_seed_counts(analysis)} {_intervals(analysis)}{_left_out(analysis)}"
    )
    return Figure("aggregates", "Aggregate scores", caption, draw)


def _profiles(analysis: Analysis) -> Figure:
    def draw() -> Canvas:
        canvas, (axes,) = _canvas(COLUMN_WIDTH, 2.7, 1, 1)
        styles = _styles(analysis.results)
        for algorithm, band in analysis.profiles.items():
            _draw_band(axes, band, styles[algorithm], steps=True)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set(xlabel=f"score τ (return / {MAX_RETURN:g})", ylabel="share of runs above τ")
        _legend(canvas, {algorithm: styles[algorithm] for algorithm in analysis.profiles}, 3)
        return canvas

    caption = (
        "Performance profiles: the share of runs whose final score exceeds τ, tasks weighing "
        f"equally, over {_tasks(analysis)}. {_seed_counts(analysis)} {_bands(analysis)}"
        f"{_left_out(analysis)}"
    )
    return Figure("profiles", "Performance profiles", caption, draw)


# --- Comparisons -------------------------------------------------------------------------


def _comparisons(analysis: Analysis) -> Figure:
    def draw() -> Canvas:
        height = 0.19 * len(analysis.pairs) + 0.8
        canvas, (left, right) = _canvas(FULL_WIDTH, height, 1, 2, sharey=True)
        for row, pair in enumerate(analysis.pairs):
            _draw_estimate(left, row, pair.difference, _pair_style(pair))
            _draw_estimate(right, row, pair.improvement, _pair_style(pair))
        left.axvline(0, color=INK, linewidth=0.8)
        right.axvline(0.5, color=INK, linewidth=0.8)
        left.set_xlabel("difference of IQM scores")
        right.set(xlabel="probability of improvement P(X > Y)", xlim=(-0.02, 1.02))
        for axes in (left, right):
            _name_rows(axes, [_pair_name(pair) for pair in analysis.pairs])
        return canvas

    caption = (
        "Pairwise comparisons X − Y of the final scores. Blue diamonds: significant at a "
        "family-wise level of 5% (permutation tests, stratified by task, Holm-corrected over "
        f"{len(analysis.pairs)} pairs). {_seed_counts(analysis)} {_intervals(analysis)}"
        f"{_left_out(analysis)}"
    )
    return Figure("comparisons", "Pairwise comparisons", caption, draw)


def _pair_style(pair: Pair) -> Style:
    return Style("#3f78c9", (), "D") if pair.significant else Style("#8b8f95", (), "o")


def _pair_name(pair: Pair) -> str:
    return f"{display_name(pair.first)} − {display_name(pair.second)}"


# --- What it costs -----------------------------------------------------------------------


def _sample_efficiency(analysis: Analysis) -> Figure:
    def draw() -> Canvas:
        canvas, panels = _canvas(FULL_WIDTH, 2.2, 1, len(AXES), sharey=True)
        styles = _styles(analysis.results)
        for axes, axis in zip(panels, AXES, strict=True):
            bands = analysis.sample_efficiency(axis)
            for algorithm, band in bands.items():
                _draw_band(axes, band, styles[algorithm])
            _label_cost(axes, axis)
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel("IQM score")
        _legend(canvas, {algorithm: styles[algorithm] for algorithm in analysis.algorithms})
        return canvas

    caption = (
        f"IQM score over {_tasks(analysis)} against what it took: environment steps, wall-clock "
        "time of the job that trains all seeds together, and policy-network evaluations for "
        f"acting. {_seed_counts(analysis)} {_bands(analysis)}{_left_out(analysis)}"
    )
    return Figure("sample-efficiency", "Sample efficiency", caption, draw)


def _trade_off(analysis: Analysis) -> Figure:
    axes_shown: tuple[Axis, ...] = ("wall_seconds", "network_evaluations")

    def draw() -> Canvas:
        canvas, panels = _canvas(FULL_WIDTH, 2.5, 1, 2, sharey=True)
        styles = _styles(analysis.results)
        for axes, axis in zip(panels, axes_shown, strict=True):
            costs = _costs(analysis, axis)
            _draw_front(axes, [(costs[a], analysis.aggregate(a).value) for a in costs])
            for algorithm, cost in costs.items():
                _draw_point(axes, cost, analysis.aggregate(algorithm), styles[algorithm])
            axes.set_xscale("log" if axis == "network_evaluations" else "linear")
            axes.margins(0.12)
            _label_cost(axes, axis)
        panels[0].set_ylabel("IQM score at the end")
        _legend(canvas, {a: styles[a] for a in analysis.algorithms}, markers=True)
        return canvas

    caption = (
        f"Final IQM score over {_tasks(analysis)} against the cost of the whole budget, mean "
        "over tasks. The dotted line joins the algorithms that no other beats in both (Pareto "
        f"front). {_seed_counts(analysis)} {_intervals(analysis)}{_left_out(analysis)}"
    )
    return Figure("trade-off", "Score against cost", caption, draw)


def _costs(analysis: Analysis, axis: Axis) -> dict[str, float]:
    """Returns the mean over tasks of what the whole budget took."""
    return {
        algorithm: float(
            np.mean([_end(analysis, algorithm, task, axis) for task in analysis.tasks])
        )
        for algorithm in analysis.algorithms
    }


def _end(analysis: Analysis, algorithm: str, task: str, axis: Axis) -> float:
    x, _ = common_curves(analysis.results, algorithm, task, analysis.mode, axis, analysis.policy)
    return float(x[-1]) if len(x) else math.nan


def _draw_front(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    best = -math.inf
    front = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if score > best:
            front.append((cost, score))
            best = score
    axes.plot(*zip(*front, strict=True), ":", color=INK, linewidth=0.8)


def _label_cost(axes: Axes, axis: Axis) -> None:
    words = {
        "env_steps": "environment steps",
        "wall_seconds": "wall-clock time",
        "network_evaluations": "policy-network evaluations",
    }
    axes.set_xlabel(words[axis])
    if axis == "wall_seconds":
        axes.set_xlim(left=0)
        axes.set_xticks(_duration_ticks(axes.get_xlim()[1]))
        axes.xaxis.set_major_formatter(lambda seconds, _: format_duration(seconds))
        return
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if axes.get_xscale() == "log":
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _duration_ticks(end: float) -> np.ndarray:
    """Returns up to five round durations from 0 to `end` seconds."""
    unit = 1 if end < 120 else 60 if end < 7200 else 3600
    power = 10 ** math.floor(math.log10(end / unit / 4))
    step = unit * next(power * each for each in (1, 2, 5, 10) if power * each >= end / unit / 4)
    return np.arange(0, end, step)


def format_duration(seconds: float) -> str:
    """Returns a duration in its largest fitting unit: `90 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:g} s" if seconds else "0"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


# --- Ablations ---------------------------------------------------------------------------


def _ablations(analysis: Analysis) -> list[Figure]:
    """Returns a figure for each algorithm that ran with several settings."""
    variants: dict[str, list[str]] = {}
    for label in analysis.results.algorithms:
        variants.setdefault(label.partition(" [")[0], []).append(label)
    return [
        dataclasses.replace(
            _final_returns(analysis, labels),
            name=f"ablation-{index}",
            title=f"Settings of {display_name(name)}",
        )
        for index, (name, labels) in enumerate(variants.items())
        if len(labels) > 1
    ]


# --- Captions ----------------------------------------------------------------------------


def _mode(analysis: Analysis) -> str:
    return f"{analysis.mode} evaluation"


def _tasks(analysis: Analysis) -> str:
    count = len(analysis.tasks)
    return f"{count} task{'s' * (count != 1)}"


def _seed_counts(analysis: Analysis) -> str:
    counts = {
        len(analysis.scores_of(algorithm, task))
        for algorithm in analysis.results.algorithms
        for task in analysis.results.tasks
    }
    if not counts - {0}:
        return "No run counts yet."
    low, high = min(counts - {0}), max(counts)
    return f"n = {low if low == high else f'{low} to {high}'} runs per algorithm and task."


def _intervals(analysis: Analysis) -> str:
    return f"Intervals: {_method(analysis.repetitions)}"


def _bands(analysis: Analysis) -> str:
    return f"Bands: pointwise, {_method(analysis.band_repetitions)}"


def _method(repetitions: int) -> str:
    return (
        f"nominal {CONFIDENCE:.0%} percentile intervals, stratified bootstrap over runs, "
        f"{repetitions:,} repetitions; none where a task has a single run."
    )


def _left_out(analysis: Analysis) -> str:
    parts = [f"{display_name(a)} ({', '.join(tasks)})" for a, tasks in analysis.left_out.items()]
    return f" Left out for want of runs: {'; '.join(parts)}." if parts else ""


# --- Drawing -----------------------------------------------------------------------------


def _styles(results: Results) -> dict[str, Style]:
    return algorithm_styles(results.algorithms)


def _canvas(
    width: float,
    height: float,
    rows: int,
    columns: int,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Canvas, list[Axes]]:
    canvas = Canvas(figsize=(width, height), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return canvas, list(grid.flat)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, style: Style, **options: Any) -> None:
    dashes = (0, style.dash) if style.dash else "-"
    axes.plot(x, y, color=style.colour, linestyle=dashes, **options)


def _draw_band(
    axes: Axes, band: Band, style: Style, scale: float = 1.0, steps: bool = False
) -> None:
    drawstyle = {"drawstyle": "steps-post"} if steps else {}
    _line(axes, band.x, scale * band.value, style, **drawstyle)
    if np.isfinite(band.low).any():
        axes.fill_between(
            band.x,
            scale * band.low,
            scale * band.high,
            color=style.colour,
            alpha=0.18,
            linewidth=0,
            step="post" if steps else None,
        )


def _draw_estimate(
    axes: Axes,
    row: float,
    estimate: Estimate,
    style: Style,
    scale: float = 1.0,
    marker: str = "",
) -> None:
    if estimate.has_interval:
        ends = scale * np.array([estimate.low, estimate.high])
        axes.plot(ends, [row, row], color=style.colour, linewidth=2.2, solid_capstyle="butt")
    size = 9 if marker == "|" else 4.5
    axes.plot(scale * estimate.value, row, marker or style.marker, color=style.colour, ms=size)


def _draw_point(axes: Axes, x: float, estimate: Estimate, style: Style) -> None:
    if estimate.has_interval:
        axes.plot([x, x], [estimate.low, estimate.high], color=style.colour, linewidth=1.2)
    axes.plot(x, estimate.value, style.marker, color=style.colour, ms=6)


def _name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Names the rows 0, 1, ... of a chart, the first on top."""
    axes.set_yticks(range(len(labels)), [display_name(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _legend(
    canvas: Canvas, styles: Mapping[str, Style], columns: int = 5, markers: bool = False
) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=style.colour,
            linestyle="none" if markers else (0, style.dash) if style.dash else "-",
            marker=style.marker if markers else None,
        )
        for style in styles.values()
    ]
    # A no-break space in front: matplotlib takes labels that begin with _ for private ones.
    labels = [f"\u00a0{display_name(label)}" for label in styles]
    canvas.legend(handles, labels, loc="outside upper center", ncols=min(columns, len(labels)))
