"""Episodes and files that are those of another run: nothing that was measured repeats itself.

Of the same seed two methods may begin alike, as a control and its method do, and then part for
good. What has no spread, or repeats itself within one run, says nothing: a policy that stands
still earns the same wherever it came from.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

_DISTINCT = 5
"""Different returns that an evaluation must have to be compared."""

_ENOUGH = 16
"""Different returns by which one pair of evaluations is no accident; of fewer it takes two."""

_NEAR = 0.02
"""Share of the spread by which sorted returns of two evaluations may differ and be alike: between
32 independent ones of the same policy some differ by ten times as much."""

_FEWEST_NEAR = 8
"""Different returns without which two evaluations are not called nearly equal."""


@dataclasses.dataclass(frozen=True, eq=False)
class Marks:
    """What tells the results of one cell from all others.

    Attributes:
        task: its name.
        seed: its number.
        group: method and setting; of the same seed too it is one run, whatever directory it is in.
        returns: [P, M, E] of its episodes.
        updates: [P] before each evaluation.
        modes: [M] of the evaluations.
        eval_steps: [P] that each evaluation took.
        finished: whether there is nothing more to come.
        files: digests of what else the cell holds by name, with the updates that it is from.
        layouts: what those files are made of, by name: columns, or leaves and their shapes.
    """

    task: str
    seed: int
    group: str
    returns: np.ndarray
    updates: tuple[int, ...]
    modes: tuple[str, ...]
    eval_steps: tuple[int, ...]
    finished: bool
    files: Mapping[str, tuple[str, int]]
    layouts: Mapping[str, str]


STATES = "states.npz"

Pair = tuple[str, str]
"""Names of two cells."""


def alike(cells: Mapping[str, Marks]) -> Iterator[tuple[Pair, str]]:
    """Yields cells whose episodes are those of another, in whatever order, or nearly.

    Args:
        cells: by name.

    Yields:
        The names of two cells, and in what they are alike.
    """
    table = _Table(cells)
    found: dict[Pair, list[tuple[int, int, bool]]] = defaultdict(list)
    for one, other, exact in table.close():
        pair = table.names[table.cell[one]], table.names[table.cell[other]]
        mine, theirs = cells[pair[0]], cells[pair[1]]
        if not _is_same_run(mine, theirs) and not _began_alike(mine, theirs, table, one, other):
            found[pair].append((one, other, exact))
    for pair, matches in sorted(found.items()):
        if len(matches) > 1 or table.distinct[matches[0][0]] >= _ENOUGH:
            yield pair, _told(cells, pair, table, matches)


def _told(
    cells: Mapping[str, Marks],
    pair: Pair,
    table: _Table,
    matches: Sequence[tuple[int, int, bool]],
) -> str:
    whole = min(np.isfinite(cells[name].returns).all(axis=2).sum() for name in pair)
    which = "every evaluation" if len(matches) >= whole - len(cells[pair[0]].modes) else ""
    one, other, _ = matches[0]
    mine, theirs = cells[pair[0]], cells[pair[1]]
    first = f"{mine.updates[table.point[one]]:,} ({mine.modes[table.mode[one]]})"
    second = f"{theirs.updates[table.point[other]]:,} ({theirs.modes[table.mode[other]]})"
    at = f"{len(matches)} evaluations, first after {first} and {second} updates"
    exactly = all(exact for *_, exact in matches)
    how = "the same returns" if exactly else "the same returns but for a shift or a nudge"
    return f"{how} in {which or at}"


def _is_same_run(mine: Marks, theirs: Marks) -> bool:
    """Returns whether two cells are one, of two directories, which reports.runs.merging judges."""
    return (mine.task, mine.seed, mine.group) == (theirs.task, theirs.seed, theirs.group)


def _began_alike(mine: Marks, theirs: Marks, table: _Table, one: int, other: int) -> bool:
    """Returns whether two runs of one seed were equal up to an evaluation, and not for good."""
    if (mine.task, mine.seed) != (theirs.task, theirs.seed):
        return False
    point, mode = table.point[one], table.mode[one]
    if (point, mode) != (table.point[other], table.mode[other]):
        return False
    if not _same_upto(mine, theirs, point + 1):
        return False
    shared = min(len(mine.returns), len(theirs.returns))
    return not (mine.finished and theirs.finished and _same_upto(mine, theirs, shared))


def _same_upto(mine: Marks, theirs: Marks, points: int) -> bool:
    """Returns whether the episodes of the first evaluations are equal to the bit, in order."""
    a, b = mine.returns[:points], theirs.returns[:points]
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


class _Table:
    """Every evaluation of every cell that can be compared, sorted by its spread.

    Attributes:
        names: of the cells.
        cell, point, mode: [R] of each evaluation, indices.
        distinct: [R] different returns in it.
    """

    def __init__(self, cells: Mapping[str, Marks]) -> None:
        self.names = list(cells)
        rows: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
        for index, marks in enumerate(cells.values()):
            values, at, counts = _informative(marks)
            if len(values):
                where = np.column_stack([np.full(len(at), index), at])
                rows[values.shape[1]].append((values, where, counts))
        self._groups: list[tuple[np.ndarray, int]] = []
        places, distinct, base = [np.empty((0, 3), int)], [np.empty(0, int)], 0
        for each in rows.values():
            returns, where, counts = (np.concatenate(parts) for parts in zip(*each, strict=True))
            order = np.argsort(returns.std(axis=1), kind="stable")
            self._groups.append((returns[order], base))
            places.append(where[order])
            distinct.append(counts[order])
            base += len(order)
        self.cell, self.point, self.mode = np.concatenate(places).T.tolist()
        self.distinct = np.concatenate(distinct).tolist()

    def close(self) -> Iterator[tuple[int, int, bool]]:
        """Yields pairs of evaluations that are nearly equal but for a shift, and if exactly so.

        Evaluations that are nearly equal have nearly one spread, by which they are sorted: each
        is held against those that follow it as long as any is near enough.
        """
        for values, base in self._groups:
            spread = values.std(axis=1)
            centred = values - values.mean(axis=1, keepdims=True)
            quarter = centred[:, values.shape[1] // 4]
            cells = np.asarray(self.cell[base : base + len(values)])
            for offset in range(1, len(values)):
                tolerance = _NEAR * spread[:-offset]
                maybe = np.flatnonzero(spread[offset:] - spread[:-offset] <= tolerance)
                if not maybe.size:
                    break
                near = np.abs(quarter[maybe + offset] - quarter[maybe]) <= tolerance[maybe]
                at = maybe[near & (cells[maybe + offset] != cells[maybe])]
                most = np.abs(centred[at + offset] - centred[at]).max(axis=1, initial=0.0)
                for one in at[most <= tolerance[at]].tolist():
                    yield from self._match(values, one, one + offset, base)

    def _match(
        self, values: np.ndarray, one: int, other: int, base: int
    ) -> Iterator[tuple[int, int, bool]]:
        exact = bool(np.array_equal(values[one], values[other]))
        fewest = min(self.distinct[base + one], self.distinct[base + other])
        if exact or fewest >= _FEWEST_NEAR:
            first, second = sorted((base + one, base + other), key=lambda at: self.cell[at])
            yield first, second, exact


def _informative(marks: Marks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the evaluations of learned policies that say something.

    Returns:
        [R, E] sorted returns, [R, 2] point and mode of each, and [R] how many are different.
    """
    returns = marks.returns[1:].astype(np.float64)  # untrained policies may all do nothing
    points, modes, episodes = returns.shape
    values = np.sort(returns.reshape(points * modes, episodes), axis=1)
    point, mode = np.divmod(np.arange(points * modes), max(modes, 1))
    places = np.column_stack([point + 1, mode])
    distinct = 1 + (np.diff(values, axis=1) > 0).sum(axis=1)
    times = Counter(map(bytes, values))
    alone = np.fromiter((times[bytes(row)] == 1 for row in values), bool, len(values))
    chosen = np.isfinite(values).all(axis=1) & (distinct >= _DISTINCT) & alone
    return values[chosen], places[chosen], distinct[chosen]


def copied_files(cells: Mapping[str, Marks]) -> Iterator[tuple[Pair, str, bool]]:
    """Yields files of a cell that are those of another, though their returns differ.

    Args:
        cells: by name.

    Yields:
        The names of two cells, the file, and whether the method could explain it: of one that
        learns nothing all seeds have one policy, and metrics may be a schedule. Of two seeds
        alone that cannot be told; of more it can, and nothing is yielded.
    """
    holders: dict[tuple[str, str], list[str]] = defaultdict(list)
    files: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, marks in cells.items():
        for file, (digest, _) in marks.files.items():
            holders[file, digest].append(name)
            files[f"{marks.task}/{marks.group}", file].add(digest)
    for (file, _), names in sorted(holders.items()):
        for other in names[1:]:
            mine, theirs = cells[names[0]], cells[other]
            if _is_same_run(mine, theirs) or _may_share(mine, theirs, file):
                continue
            kinds = {f"{each.task}/{each.group}" for each in (mine, theirs)}
            natural = len(kinds) == 1 and len(files[kinds.pop(), file]) == 1
            if not natural or len(names) == 2:
                yield (names[0], other), file, natural


def _may_share(mine: Marks, theirs: Marks, file: str) -> bool:
    """Returns whether two cells were equal to the bit until a file of both was written."""
    if mine.task != theirs.task:
        return False
    if file == STATES:  # of episodes in the first mode, which two policies may end alike
        return np.array_equal(mine.returns[-1, 0], theirs.returns[-1, 0], equal_nan=True)
    updates = mine.files[file][1]
    points = sum(each <= updates for each in mine.updates[: len(mine.returns)])
    return _same_upto(mine, theirs, max(points, 1))


def strange_layouts(cells: Mapping[str, Marks]) -> Iterator[tuple[str, str]]:
    """Yields cells, and which of their files is made of other parts than those of other seeds."""
    found: dict[tuple[str, str, str], dict[str, list[str]]] = defaultdict(dict)
    for name, marks in cells.items():
        for file, layout in marks.layouts.items():
            found[marks.task, marks.group, file].setdefault(layout, []).append(name)
    for (_, _, file), layouts in sorted(found.items()):
        fewest = sorted(layouts.values(), key=len)[:-1]
        for name in (name for names in fewest for name in names):
            yield name, file
