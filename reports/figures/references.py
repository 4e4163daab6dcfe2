"""Learning curves that others published, thin and in the colour of the text, beside one's own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from reports.figures.drawing import INK, draw_line
from reports.figures.palette import Dash, Style
from reports.references.parsing import Evaluations
from reports.references.published import Reference
from reports.runs.names import listed
from reports.runs.results import Results

THIN = 0.7
"""Width of a published line, in points."""

_DASHES: tuple[Dash, ...] = ((), (4, 2), (1.5, 1.5), (7, 2, 1.5, 2))
_MARKERS = ("o", "s", "^", "D")


Curves = Mapping[str, Mapping[str, Evaluations]]
"""Published curves by the name that readers see, and by task."""


def reference_curves(
    results: Results, references: Sequence[Reference], until: int | None = None
) -> Curves:
    """Returns the published curves on the tasks that were run.

    Args:
        results: the runs.
        references: whose curves.
        until: leave out evaluations after so many steps, and curves without another one but for
            that before training; a line towards a later one would look like a measurement.
    """
    curves: dict[str, dict[str, Evaluations]] = {}
    for reference in references:
        for task in results.tasks:
            for name, evaluations in reference.evaluations_on(task):
                shown = evaluations if until is None else evaluations.within(until)
                if shown is not None:
                    curves.setdefault(name, {})[task] = shown
    return curves


def reference_styles(results: Results, references: Sequence[Reference]) -> dict[str, Style]:
    """Returns the style of every published curve on a task that was run, by its name."""
    names = reference_curves(results, references)
    looks = itertools.cycle(zip(_DASHES, _MARKERS, strict=True))
    return {name: Style(INK, *look) for name, look in zip(names, looks, strict=False)}


def draw_references(axes: Axes, task: str, curves: Curves, styles: Mapping[str, Style]) -> None:
    """Draws the mean of every published curve on a task, with a mark at each evaluation."""
    for name, by_task in curves.items():
        if task in by_task:
            _draw(axes, by_task[task], styles[name])


def _draw(axes: Axes, evaluations: Evaluations, style: Style) -> None:
    draw_line(
        axes,
        evaluations.steps,
        evaluations.mean,
        style,
        linewidth=THIN,
        marker=style.marker,
        markersize=2.2,
        markerfacecolor="none",
        markeredgewidth=THIN,
    )


def whole_caption(references: Sequence[Reference]) -> str:
    """Says what the thin lines are."""
    described = "; ".join(
        f"{each.name}: {each.description}" for each in references if each.evaluations
    )
    return (
        "Thin lines in the colour of the text are means that others published, straight between "
        f"their evaluations, which are marked, and in no statistic. {described}."
    )


def caption_within(results: Results, references: Sequence[Reference]) -> str:
    """Says what the thin lines up to the budget are, and which have none; begins with a space.

    Nothing if no published curve is of a task that was run.
    """
    shown = reference_curves(results, references, results.budget)
    others = [name for name in reference_curves(results, references) if name not in shown]
    said = f" {whole_caption(references)}" if shown else ""
    if others:
        said += (
            f" No evaluation of {listed(others, '; ')} lies within {results.budget:,} steps: see "
            "the published learning curves."
        )
    return said
