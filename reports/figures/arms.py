"""The figure of an ablation: learning curves, a panel for each method and task, a line per arm."""

from __future__ import annotations

import dataclasses

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, MaxNLocator

from reports.analysis.arms import Arms
from reports.analysis.sentences import band_text, mode_text, run_counts
from reports.figures.drawing import FULL_WIDTH, Figure, draw_band, draw_legend, make_canvas
from reports.figures.labels import fold
from reports.figures.learning_curves import one_axis, return_limits
from reports.figures.palette import Style, algorithm_styles
from reports.runs.names import display_name

_PANEL_WIDTH = 2.85
"""Inches of the panels of one task and of two."""


def ablation_curves(arms: Arms) -> Figure:
    """Returns the learning curves of every arm; a panel without runs stays empty."""
    analysis = arms.analysis
    which = f"; the solid line is arm {arms.reference.name}" if len(arms.ablation.arms) > 1 else ""
    caption = (
        f"Mean return over seeds ({mode_text(analysis)}) against environment steps, of each "
        f"method on each task{which}. {run_counts(analysis)} {band_text(analysis)}"
    )
    return Figure("learning-curves", "Learning curves by arm", caption, lambda: _draw(arms))


def _draw(arms: Arms) -> Canvas:
    rows, columns = len(arms.methods), len(arms.tasks)
    styles = algorithm_styles([arm.name for arm in arms.ablation.arms])
    reference = arms.reference.name
    styles[reference] = dataclasses.replace(styles[reference], dash=())
    width = min(FULL_WIDTH, 1.2 + _PANEL_WIDTH * columns)
    height = 1.45 * rows + 0.6
    one = one_axis(arms.analysis.results)
    canvas, panels = make_canvas(width, height, rows, columns, sharex=True, sharey=one)
    places = [(method, task) for method in arms.methods for task in arms.tasks]
    for axes, (method, task) in zip(panels, places, strict=True):
        _draw_panel(axes, arms, method, task, styles)
    canvas.supxlabel("environment steps", fontsize=7.5)
    canvas.supylabel("return", fontsize=7.5)
    draw_legend(canvas, styles, columns=2 * columns)
    return canvas


def _draw_panel(axes: Axes, arms: Arms, method: str, task: str, styles: dict[str, Style]) -> None:
    for arm in arms.ablation.arms:
        label = arms.label(method, arm)
        if arms.has_runs(label, task):
            band = arms.analysis.estimates.learning_curve(label, task)
            if band is not None:
                draw_band(axes, band, styles[arm.name])
    axes.set_title(fold(f"{display_name(method)}, {task}", 8, _PANEL_WIDTH * 72))
    axes.set_ylim(*return_limits(arms.analysis.results, task))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(5))
