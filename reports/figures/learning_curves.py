"""Learning curves: of each algorithm, and of every run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, MaxNLocator

from reports.analysis.comparison import Analysis
from reports.analysis.scores import run_curve
from reports.analysis.sentences import band_text, mode_text, run_counts
from reports.figures.drawing import (
    COLUMN_WIDTH,
    EDGE,
    FULL_WIDTH,
    Figure,
    draw_band,
    draw_legend,
    draw_line,
    make_canvas,
    styles_of,
)
from reports.figures.references import (
    caption_within,
    draw_references,
    reference_curves,
    reference_styles,
    whole_caption,
)
from reports.references.published import Reference
from reports.runs.results import Results


def learning_curves(analysis: Analysis, references: Sequence[Reference] = ()) -> Figure:
    """The mean return of each algorithm, a panel for each task, and published curves there."""

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
    caption += caption_within(analysis.results, references)
    return Figure(
        "learning-curves",
        "Learning curves",
        caption,
        lambda: _task_panels(analysis.results, draw_task, references),
    )


def whole_references(analysis: Analysis, references: Sequence[Reference]) -> Figure:
    """The mean return of each algorithm beside published curves, to the end of these."""

    def draw_task(axes: Axes, task: str) -> None:
        for algorithm, style in styles_of(analysis.results).items():
            band = analysis.estimates.learning_curve(algorithm, task)
            if band is not None:
                draw_line(axes, band.x, band.value, style)

    caption = (
        f"Mean return over seeds ({mode_text(analysis)}), on an axis that ends where the last of "
        f"the published curves does. {whole_caption(references)}"
    )
    return Figure(
        "reference-curves",
        "Published learning curves",
        caption,
        lambda: _task_panels(analysis.results, draw_task, references, whole=True),
    )


def seed_curves(analysis: Analysis, references: Sequence[Reference] = ()) -> Figure:
    """The return of every single run, a panel for each task, and published curves there."""

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
    caption += caption_within(analysis.results, references)
    return Figure(
        "learning-curves-seeds",
        "Learning curves of single runs",
        caption,
        lambda: _task_panels(analysis.results, draw_task, references),
    )


def overview(analysis: Analysis) -> Figure:
    """The mean return of each algorithm, and a cross where a run of it stopped."""

    def draw_task(axes: Axes, task: str) -> None:
        for algorithm, style in styles_of(analysis.results).items():
            band = analysis.estimates.learning_curve(algorithm, task)
            if band is not None:
                draw_band(axes, band, style)
            mode = analysis.scores.mode_of(algorithm)
            for run in analysis.results.runs_of(algorithm, task):
                if run.state in ("diverged", "running") and mode in run.modes:
                    x, returns = run_curve(run, mode)
                    axes.plot(x[-1], returns[-1], "x", color=style.colour, mew=1.2)

    caption = (
        f"Mean return over seeds ({mode_text(analysis)}) against environment steps. A cross marks "
        "the last evaluation of a seed that diverged or is not finished. "
        f"{run_counts(analysis)} {band_text(analysis)}"
    )
    return Figure(
        "overview", "Overview", caption, lambda: _task_panels(analysis.results, draw_task)
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


def _task_panels(
    results: Results,
    draw_task: Callable[[Axes, str], None],
    references: Sequence[Reference] = (),
    whole: bool = False,
) -> Canvas:
    """Draws one panel a task, with common axes and one legend above.

    Args:
        results: whose tasks.
        draw_task: draws the runs of a task.
        references: whose curves to draw too.
        whole: whether axes go on to the end of those, else they end with the runs.
    """
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
    curves = reference_curves(results, references, None if whole else results.budget)
    styles = reference_styles(results, references)
    for axes, task in zip(panels, results.tasks, strict=False):
        draw_references(axes, task, curves, styles)
    if whole:
        end = max(each.steps[-1] for by_task in curves.values() for each in by_task.values())
        panels[0].set_xlim(0, max(1.02 * end, panels[0].get_xlim()[1]))  # axes are shared
    thin = {name: style for name, style in styles.items() if name in curves}
    draw_legend(canvas, styles_of(results), 5 if columns > 1 else 3, thin=thin)
    return canvas
