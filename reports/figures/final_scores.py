"""Final returns and scores: every run, aggregates and performance profiles."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import Locator, MaxNLocator, MultipleLocator

from reports.analysis.bootstrap import METRICS
from reports.analysis.comparison import Analysis
from reports.analysis.sentences import (
    band_text,
    interval_text,
    left_out_text,
    mode_text,
    run_counts,
    score_words,
    task_count,
)
from reports.figures.drawing import (
    COLUMN_WIDTH,
    EDGE,
    FULL_WIDTH,
    ROW_SIZE,
    Figure,
    draw_band,
    draw_estimate,
    draw_legend,
    make_canvas,
    name_rows,
    row_names,
    styles_of,
)
from reports.figures.labels import row_height, text_width
from reports.figures.learning_curves import one_axis, return_limits
from reports.runs.names import display_name
from reports.runs.results import Results

_NAME_WIDTH = 2.2
"""Inches that names of algorithms may take beside a chart's panels."""


def final_returns(analysis: Analysis, labels: Sequence[str] = ()) -> Figure:
    """The final return of every run, by default of all algorithms."""
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


def aggregates(analysis: Analysis) -> Figure:
    """Every metric of the final scores over all tasks."""

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


def profiles(analysis: Analysis) -> Figure:
    """The share of runs that score above each score."""

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


def settings_figures(analysis: Analysis) -> list[Figure]:
    """Returns a figure for each algorithm that ran with several settings."""
    variants: dict[str, list[str]] = {}
    for label in analysis.results.algorithms:
        variants.setdefault(label.method, []).append(label)
    return [
        dataclasses.replace(
            final_returns(analysis, labels),
            name=f"ablation-{index}",
            title=f"Settings of {display_name(name)}",
        )
        for index, (name, labels) in enumerate(variants.items())
        if len(labels) > 1
    ]


def _return_ticks(results: Results, task: str, parts: int) -> Locator:
    """Divides the bounds of a task into equal parts, or what is drawn where they are not known."""
    bounds = results.bounds(task)
    known = bounds.known
    return MultipleLocator((bounds.high - bounds.low) / parts) if known else MaxNLocator(parts)
