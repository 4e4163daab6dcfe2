"""One colour, dash and marker per algorithm, the same in every figure and on the page.

The colours of the five methods stay apart under protanopia, deuteranopia and tritanopia,
and contrast at least 3:1 with white and with the page's dark background, as WCAG 2.2
asks of graphics; the tests hold them to both. Dashes and markers say the same again.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from reports.runs.names import Label, algorithm_order

Dash = tuple[float, ...]

DARK_BACKGROUND = "#15181c"


@dataclasses.dataclass(frozen=True)
class Style:
    """How an algorithm looks.

    Attributes:
        colour: `#rrggbb`, for light and dark backgrounds alike.
        dash: lengths of strokes and gaps in line widths; none for a solid line.
        marker: matplotlib's name for it.
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
_FURTHER_MARKERS = ("<", ">", "h", "p", "d", "*", "P", "X", "^", "v", "s", "D")


def algorithm_styles(labels: Sequence[str]) -> dict[str, Style]:
    """Returns a style for each label; no two share a colour and a dash, or a colour and a marker.

    A variant, `ppo [clip=0.2]`, has the colour of its method with another dash and marker;
    unknown algorithms take further colours in alphabetical order, again and again.
    """
    ordered = sorted({*labels}, key=algorithm_order)
    strangers = list(dict.fromkeys(n for n in map(_name, ordered) if n not in METHOD_STYLES))
    taken = list(METHOD_STYLES.values())
    styles = {}
    for label in ordered:
        if label not in METHOD_STYLES:
            place = 0 if _name(label) in METHOD_STYLES else strangers.index(_name(label))
            place %= len(_FURTHER_COLOURS)
            known = METHOD_STYLES.get(_name(label))
            taken.append(_free(known.colour if known else _FURTHER_COLOURS[place], place, taken))
        styles[label] = METHOD_STYLES.get(label) or taken[-1]
    return {label: styles[label] for label in labels}


def _name(label: str) -> str:
    return Label(label).method


def _free(colour: str, first: int, taken: Sequence[Style]) -> Style:
    """Returns a style with the first dash and marker, from number `first` on, that are free."""
    same = [style for style in taken if style.colour == colour]
    dashes, markers = {each.dash for each in same}, {each.marker for each in same}
    dash = next(each for each in map(_dash, itertools.count(first)) if each not in dashes)
    marker = next(each for each in map(_marker, itertools.count(first)) if each not in markers)
    return Style(colour, dash, marker)


def _dash(index: int) -> Dash:
    """Returns one of endlessly many: after the plain ones, strokes with more and more dots."""
    if index < len(_FURTHER_DASHES):
        return _FURTHER_DASHES[index]
    more, pair = divmod(index - len(_FURTHER_DASHES), 2)
    strokes, dots = (2, more + 1) if pair else (1, more + 2)
    return (6.0, 1.0) * strokes + (1.0, 1.0) * dots


def _marker(index: int) -> str:
    """Returns one of endlessly many: shapes, then numbers."""
    shapes = len(_FURTHER_MARKERS)
    return _FURTHER_MARKERS[index] if index < shapes else f"${index - shapes + 1}$"
