"""Draws docs/images/architecture.svg from the code: `python -m docs.architecture`.

Every box is a folder, or a contract, with the first line of its docstring; every arrow says that
something in the upper box imports something in the lower one. Arrows that follow from a longer
way are left out.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping
from html import escape
from itertools import pairwise
from pathlib import Path

from docs.import_graph import circle, essential, room_graph
from docs.layered import Node, Rows, place

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

_WIDTH, _HEIGHT = 222, 56
_GAP, _RISE, _MARGIN = 22, 42, 20
_LINE = 35  # characters
_COLOURS = {
    "algorithms": "#d8e8d0",
    "envs": "#f3e3c3",
    "suite": "#d3e2f2",
    "reports": "#ead7ea",
}


def draw(root: Path = ROOT) -> str:
    """Returns the picture, an SVG.

    Raises:
        CycleError: rooms import each other in a circle.
    """
    arrows = essential(room_graph(root))
    rows, middles = place(arrows, (_WIDTH + _GAP, _GAP))
    x = {node: middle + _MARGIN - _GAP / 2 for node, middle in middles.items()}
    y = _tops(rows)
    boxes = [node for node in x if isinstance(node, str)]
    width = max(x[box] for box in boxes) + _WIDTH / 2 + _MARGIN
    width = max(width, max(x.values()) + _MARGIN)
    height = max(y.values()) + _HEIGHT + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" text-anchor="middle">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        *(_arrow(way, x, y) for way in _ways(arrows, rows)),
        *(line for box in sorted(boxes) for line in _box(box, x[box], y[box], root)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _tops(rows: Rows) -> dict[Node, float]:
    """Returns where the upper edge of each node lies: the last row on top."""
    last = len(rows) - 1
    return {
        node: _MARGIN + (last - index) * (_HEIGHT + _RISE)
        for index, row in enumerate(rows)
        for node in row
    }


def _ways(arrows: Mapping[str, frozenset[str]], rows: Rows) -> Iterator[list[Node]]:
    """Yields each arrow's nodes from above to below."""
    bends = [node for row in reversed(rows) for node in row if not isinstance(node, str)]
    for above in sorted(arrows):
        for below in sorted(arrows[above]):
            yield [above, *(bend for bend in bends if bend[:2] == (above, below)), below]


def _arrow(way: list[Node], x: Mapping[Node, float], y: Mapping[Node, float]) -> str:
    """Returns a curve that is upright at every row, and straight past the boxes of a row."""
    first = way[0]
    height = y[first] + _HEIGHT
    path = [f"M{x[first]:.0f} {height:.0f}"]
    for one, other in pairwise(way):
        end = y[other] - (1 if other == way[-1] else 0)
        bend = (end - height) / 2
        path.append(
            f"C{x[one]:.0f} {height + bend:.0f} {x[other]:.0f} {end - bend:.0f} "
            f"{x[other]:.0f} {end:.0f}"
        )
        height = y[other] + _HEIGHT
        if other != way[-1]:
            path.append(f"V{height:.0f}")
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="#555" stroke-opacity=".7" '
        'marker-end="url(#head)"/>'
    )


def _box(room: str, x: float, y: float, root: Path) -> Iterator[str]:
    name = f"{room}/" if (root / room).is_dir() else f"{room}.py"
    colour = _COLOURS[room.partition("/")[0]]
    yield (
        f'<rect x="{x - _WIDTH / 2:.0f}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
        f'fill="{colour}" stroke="#777"/>'
    )
    yield f'<text x="{x:.0f}" y="{y + 17:.0f}" font-size="12.5" font-weight="bold">{name}</text>'
    for index, line in enumerate(textwrap.wrap(purpose(room, root), _LINE)):
        height = y + 33 + 14 * index
        yield f'<text x="{x:.0f}" y="{height:.0f}" font-size="10.5">{escape(line)}</text>'


def purpose(room: str, root: Path = ROOT) -> str:
    """Returns the first line of a package's or a contract's docstring, without its last dot."""
    file = root / room / "__init__.py" if (root / room).is_dir() else root / f"{room}.py"
    source = file.read_text(encoding="utf-8")
    line = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return line.rstrip(".").replace("`", "")


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0]).parse_args()
    if found := circle(room_graph(ROOT)):
        sys.exit(f"nothing drawn: rooms import in a circle: {' -> '.join(found)}")
    PICTURE.write_text(draw(), encoding="utf-8")
