"""One colour, dash and marker per algorithm, the same in every figure and on the page.

The colours of the five methods stay apart under protanopia, deuteranopia and tritanopia,
and contrast at least 3:1 with white and with the page's dark background, as WCAG 2.2
asks of graphics; the tests hold them to both. Dashes and markers say the same again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from reports.results import algorithm_order

Dash = tuple[float, ...]

DARK_BACKGROUND = "#15181c"


@dataclasses.dataclass(frozen=True)
class Style:
    """How an algorithm looks.

    Attributes:
        colour: `#rrggbb`, for light and dark backgrounds alike.
        dash: lengths of strokes and gaps in line widths; none for a solid line.
        marker: matplotlib's letter for it.
    """

    colour: str
    dash: Dash
    marker: str


METHOD_STYLES: dict[str, Style] = {
    "ppo": Style("#8b8f95", (), "o"),
    "fpo": Style("#b59008", (5, 1.5), "s"),
    "dppo": Style("#0a9cd4", (3, 1.2), "^"),
    "gorl-fm": Style("#ae4034", (), "D"),
    "gorl-diff": Style("#6341fa", (6, 1.2, 1.2, 1.2), "v"),
    "ppo-matched": Style("#7e588e", (1.2, 1.2), "P"),
    "ppo-matched-reset": Style("#d67d51", (3, 1, 1, 1, 1, 1), "X"),
    "gorl-identity": Style("#2c7a6b", (4, 1, 1, 1), "*"),
}

_FURTHER_COLOURS = ("#2f8f5b", "#c2569b", "#5f7f1f", "#4f74c8", "#a8663a", "#0f8a8a")
_FURTHER_DASHES: tuple[Dash, ...] = ((2, 1), (7, 2), (4, 1, 1, 1), (1, 2))
_FURTHER_MARKERS = ("<", ">", "h", "p", "d", "*")


def algorithm_styles(labels: Sequence[str]) -> dict[str, Style]:
    """Returns a style for each label.

    A variant of a known method, `ppo [clip=0.2]`, keeps its colour and changes its dash
    and marker; unknown algorithms take further colours in alphabetical order.
    """
    styles: dict[str, Style] = {}
    unknown: list[str] = []
    variants = 0
    for label in sorted(labels, key=algorithm_order):
        name = label.partition(" [")[0]
        if label in METHOD_STYLES:
            styles[label] = METHOD_STYLES[label]
        elif name in METHOD_STYLES:
            styles[label] = _further(METHOD_STYLES[name].colour, variants)
            variants += 1
        else:
            colour = _FURTHER_COLOURS[len(unknown) % len(_FURTHER_COLOURS)]
            styles[label] = _further(colour, len(unknown))
            unknown.append(label)
    return {label: styles[label] for label in labels}


def _further(colour: str, index: int) -> Style:
    dash = _FURTHER_DASHES[index % len(_FURTHER_DASHES)]
    return Style(colour, dash, _FURTHER_MARKERS[index % len(_FURTHER_MARKERS)])
