"""Places the names of a graph without circles on rows, so that few arrows cross.

The method of Sugiyama, Tagawa and Toda (1981): rows by the longest way down, a bend wherever an
arrow passes a row, rows ordered by the mean place of what they are joined with, and then places
that keep arrows straight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from docs.import_graph import Graph, levels

Node = str | tuple[str, str, int]
"""A name, or the bend of an arrow (from, to) on a row."""
Rows = list[list[Node]]
Links = Mapping[Node, Sequence[Node]]

SWEEPS = 24


def place(graph: Graph, widths: tuple[float, float]) -> tuple[Rows, dict[Node, float]]:
    """Returns the rows from the bottom to the top, and where the middle of each node lies.

    Args:
        graph: what each name points down to.
        widths: that a name and a bend need.
    """
    depth = _shortened(levels(graph), graph)
    rows: Rows = [[] for _ in range(max(depth.values()) + 1)]
    for name in sorted(graph):
        rows[depth[name]].append(name)
    down: dict[Node, list[Node]] = {}
    for name in sorted(graph):
        for below in sorted(graph[name]):
            way = bends(name, below, depth)
            for one, other in pairwise(way):
                down.setdefault(one, []).append(other)
            for row, bend in enumerate(reversed(way[1:-1]), start=depth[below] + 1):
                rows[row].append(bend)
    up: dict[Node, list[Node]] = {}
    for one, others in down.items():
        for other in others:
            up.setdefault(other, []).append(one)
    rows = _ordered(rows, down, up)
    return rows, _straightened(rows, down, up, widths)


def bends(above: str, below: str, depth: Mapping[str, int]) -> list[Node]:
    """Returns an arrow's way: its ends, and a bend on every row between them."""
    between = range(depth[above] - 1, depth[below], -1)
    return [above, *((above, below, row) for row in between), below]


def _shortened(depth: dict[str, int], graph: Graph) -> dict[str, int]:
    """Moves names up to those that point at them where that makes arrows shorter."""
    users = {name: [user for user in graph if name in graph[user]] for name in graph}
    for name in sorted(depth, key=lambda each: (-depth[each], each)):
        if len(users[name]) > len(graph[name]):
            depth[name] = min(depth[user] for user in users[name]) - 1
    return depth


def _ordered(rows: Rows, down: Links, up: Links) -> Rows:
    best, fewest = rows, crossings(rows, down)
    for sweep in range(SWEEPS):
        rows = [list(row) for row in rows]
        upwards = sweep % 2 == 0
        order = range(1, len(rows)) if upwards else range(len(rows) - 2, -1, -1)
        for index in order:
            fixed = {node: i for i, node in enumerate(rows[index - 1 if upwards else index + 1])}
            links = down if upwards else up
            old = {node: i for i, node in enumerate(rows[index])}
            means = {n: _mean([fixed[m] for m in links.get(n, ())], old[n]) for n in rows[index]}
            rows[index].sort(key=means.__getitem__)
        if (found := crossings(rows, down)) < fewest:
            best, fewest = rows, found
    return best


def crossings(rows: Rows, down: Links) -> int:
    """Returns how many pairs of arrows cross between one row and the next."""
    count = 0
    for lower, upper in pairwise(rows):
        at = {node: i for i, node in enumerate(lower)}
        ends = [(i, at[below]) for i, node in enumerate(upper) for below in down.get(node, ())]
        count += sum(a < c and b > d for a, b in ends for c, d in ends)
    return count


def _straightened(
    rows: Rows, down: Links, up: Links, widths: tuple[float, float]
) -> dict[Node, float]:
    x = {node: 0.0 for row in rows for node in row}
    for sweep in range(20 * SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            joined = {node: [*down.get(node, ()), *up.get(node, ())] for node in row}
            wanted = [_between(node, joined[node], x) for node in row]
            x.update(zip(row, _apart(wanted, [_width(n, widths) for n in row]), strict=True))
    left = min(x[node] - _width(node, widths) / 2 for node in x)
    return {node: value - left for node, value in x.items()}


def _between(node: Node, joined: Sequence[Node], x: Mapping[Node, float]) -> float:
    """Returns the mean place of what a node is joined with; bends pull hard, to lie in line."""
    pulls = {other: 8 ** sum(isinstance(each, tuple) for each in (node, other)) for other in joined}
    total = sum(pulls.values())
    return sum(x[other] * pull for other, pull in pulls.items()) / total if total else x[node]


def _width(node: Node, widths: tuple[float, float]) -> float:
    return widths[0] if isinstance(node, str) else widths[1]


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> Iterator[float]:
    """Yields the places nearest to the wanted ones, by squares, that keep the widths.

    Without its width, each place may not lie left of the one before: pools of neighbours that
    would do so share their mean (isotonic regression).
    """
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2)
    pools: list[list[float]] = []
    for place_, offset in zip(wanted, offsets, strict=False):
        pools.append([place_ - offset])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    flat = [_mean(pool) for pool in pools for _ in pool]
    return (each + offset for each, offset in zip(flat, offsets, strict=False))


def _mean(values: Sequence[float], otherwise: float = 0.0) -> float:
    return sum(values) / len(values) if values else otherwise
