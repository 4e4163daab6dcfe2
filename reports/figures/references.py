"""Learning curves that others published, thin and in the colour of the text, beside one's own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from reports.figures.drawing import INK, draw_line
from reports.figures.palette import Dash, Style
from reports.references.parsing import Evaluations
from reports.references.published import Reference
from reports.runs.results import Results

THIN = 0.7
"""Width of a published line, in points."""

_DASHES: tuple[Dash, ...] = ((), (4, 2), (1.5, 1.5), (7, 2, 1.5, 2))
_MARKERS = ("o", "s", "^", "D")


def reference_styles(results: Results, references: Sequence[Reference]) -> dict[str, Style]:
    """Returns the style of every published curve on a task that was run, by its name."""
    names = {
        name: None
        for reference in references
        for task in results.tasks
        for name, _ in reference.evaluations_on(task)
    }
    looks = itertools.cycle(zip(_DASHES, _MARKERS, strict=True))
    return {name: Style(INK, *look) for name, look in zip(names, looks, strict=False)}


def draw_references(
    axes: Axes, task: str, references: Sequence[Reference], styles: Mapping[str, Style]
) -> None:
    """Draws the mean of every published curve on a task, with a mark at each evaluation."""
    for reference in references:
        for name, evaluations in reference.evaluations_on(task):
            _draw(axes, evaluations, styles[name])


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


def reference_caption(results: Results, references: Sequence[Reference]) -> str:
    """Says what the thin lines are, nothing if there are none."""
    if not reference_styles(results, references):
        return ""
    described = "; ".join(
        f"{each.name}: {each.description}" for each in references if each.evaluations
    )
    return (
        "Thin lines in the colour of the text are means that others published, straight between "
        f"their evaluations, which are marked, and in no statistic. {described}."
    )
