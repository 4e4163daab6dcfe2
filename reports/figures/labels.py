"""Names of any length and alphabet as figures show them: whole, folded into lines.

Nothing is cut off, so that two names that differ are two texts.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence

from matplotlib.font_manager import findfont, get_font
from matplotlib.ft2font import FT2Font, LoadFlags

FONT = "DejaVu Sans"
"""Ships with matplotlib, so that figures are the same everywhere."""

_BREAKS = (re.compile(r"[^ ,/-]*[ ,/-]+|[^ ,/-]+"), re.compile(r"[^_=]*[_=]+|[^_=]+"))
"""Pieces that a line may end after, and those of a piece that is too long for a line."""

_LINE_SPACING = 1.2
_POINTS = 72


def drawable(text: str) -> str:
    r"""Returns text in characters that the font has; others become `\u4e2d` as in Python.

    Two names in an alphabet that the font lacks would otherwise be the same row of boxes.
    """
    font = _font()
    return "".join(
        _escaped(each)
        if unicodedata.category(each) == "Cc" or not font.get_char_index(ord(each))
        else each
        for each in text
    )


def text_width(text: str, size: float) -> float:
    """Returns how wide one line is, in points, at a font size in points."""
    font = _font()
    font.set_size(size, _POINTS)
    font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
    return float(font.get_width_height()[0]) / 64  # FreeType counts 64ths


@functools.cache
def fold(text: str, size: float, width: float) -> str:
    """Returns text in lines of at most `width` points, broken after marks where it can be."""
    lines = [""]
    for piece in _pieces(drawable(text), size, width):
        if lines[-1] and text_width((lines[-1] + piece).rstrip(), size) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def row_height(texts: Sequence[str], size: float, least: float) -> float:
    """Returns inches for each row of a chart whose rows bear these texts."""
    lines = 1 + max((text.count("\n") for text in texts), default=0)
    return max(least, (lines + 0.5) * _LINE_SPACING * size / _POINTS)


def _pieces(
    text: str, size: float, width: float, breaks: Sequence[re.Pattern[str]] = _BREAKS
) -> Iterator[str]:
    """Yields what stays together: words, parts of words that are too long, letters of those."""
    if not breaks:
        yield from text
        return
    for piece in breaks[0].findall(text):
        if text_width(piece.rstrip(), size) <= width:
            yield piece
        else:
            yield from _pieces(piece, size, width, breaks[1:])


@functools.cache
def _font() -> FT2Font:
    return get_font(findfont(FONT))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
