"""The test that claims rest on.

Runs are exchanged between two algorithms within each task. The statistic is the difference of
their mean scores over its standard error (Welch's, summed over the tasks): unlike that of a
trimmed mean it takes the most extreme value only where the scores are fully apart, so the floor
of the p-value is as low as it can be, and it holds its level where the algorithms spread
differently (Janssen 1997, "Studentized permutation tests for non-i.i.d. hypotheses and the
generalized Behrens-Fisher problem"). benchmarks/claims.py compares it with others.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from reports.analysis.bootstrap import holm
from reports.analysis.point_estimates import Scores
from suite.common.claim_floor import ENUMERATED, LEVEL, Sizes, arrangements, smallest_p

BATCH = 50
"""Comparisons that share their random permutations, whose luck would be all of theirs."""

_AT_ONCE = 25_000, 250_000
"""Statistics, and products of which they are sums, that are computed at once: few enough to stay
in a core's cache, and for the linear algebra to stay on one core, which is quicker here."""

_COLUMNS = 1000
"""Permutations that are looked at before what can no longer be claimed is left alone."""

_SAME = 1e-9
"""Statistics, which lie between 0 and 1, that are as close as this are equal but for rounding."""

SMALLEST_TOLD = 1e-3
"""P-values below it are told as that: the permutations that are drawn tell no finer."""


def permutation_test(
    x: Scores, y: Scores, repetitions: int, generator: np.random.Generator
) -> float:
    """Tests whether two algorithms differ, by exchanging runs within each task.

    Unlike those of a bootstrap interval its false alarms about algorithms that score alike are
    bounded by the level whatever the number of runs, so this is what claims rest on.

    Args:
        x, y: scores of each task.
        repetitions: random permutations where there are more than `ENUMERATED` in all.
        generator: source of randomness, untouched where all are looked at.

    Returns:
        The two-sided p-value.
    """
    drawn = [task[None] for task in x], [task[None] for task in y]
    return float(p_values(*drawn, repetitions, generator)[0])


def p_values(
    x: Sequence[np.ndarray],
    y: Sequence[np.ndarray],
    repetitions: int,
    generator: np.random.Generator,
    enumerated: int = ENUMERATED,
    one_sided: bool = False,
) -> np.ndarray:
    """Tests K comparisons of equally many runs.

    Args:
        x, y: scores [K, N] of each task, where N may differ between tasks and sides.
        repetitions: random permutations where there are more than `enumerated` in all.
        generator: source of randomness.
        enumerated: most permutations that are all looked at.
        one_sided: whether only x scoring higher counts as far, instead of either.

    Returns:
        [K] p-values.
    """
    sizes = [(a.shape[1], b.shape[1]) for a, b in zip(x, y, strict=True)]
    every = arrangements(sizes) <= enumerated
    at_least = [
        _count_as_far(batch, _observed(batch, sizes, one_sided), dealt, sizes, every, one_sided)
        for batch, dealt in _batches(x, y, None if every else repetitions, generator)
    ]
    return _p_value(np.concatenate(at_least), sizes, None if every else repetitions)


def claimed(
    x: Sequence[np.ndarray],
    y: Sequence[np.ndarray],
    comparisons: int,
    permutations: int,
    generator: np.random.Generator,
    one_sided: bool = False,
) -> Iterator[np.ndarray]:
    """Tells which of K comparisons become claims, a batch of them at a time.

    What it says is `p_values(...) * comparisons < LEVEL`, but no comparison is permuted any
    further once that is out of reach, and whoever has seen enough need not ask for more.

    Args:
        x, y, generator, one_sided: see `p_values`.
        comparisons: number that Holm's correction starts from.
        permutations: that are drawn, or the most that are all looked at.

    Yields:
        [at most `BATCH`] booleans.
    """
    sizes = [(a.shape[1], b.shape[1]) for a, b in zip(x, y, strict=True)]
    drawn = None if arrangements(sizes) <= permutations else permutations
    limit = int(LEVEL / comparisons * (permutations + 1)) + 2
    within = _p_value(np.arange(limit), sizes, drawn) * comparisons < LEVEL
    most = np.count_nonzero(within) - 1  # that may be as far without the claim being lost
    for batch, dealt in _batches(x, y, drawn, generator):
        counts, left = np.zeros(len(batch[0]), int), np.arange(len(batch[0]))
        least = _observed(batch, sizes, one_sided)
        for columns in _parts(dealt, crossed=drawn is None):
            part = [scores[left] for scores in batch]
            counts[left] += _count_as_far(
                part, least[left], columns, sizes, drawn is None, one_sided
            )
            left = left[counts[left] <= most]
            if not len(left):
                break
        yield counts <= most


def reachable(pairs: Sequence[Sizes], repetitions: int, one_sided: bool = False) -> list[bool]:
    """Returns which comparisons could become claims if the scores were as far apart as can be.

    Args:
        pairs: runs of both sides on each task, of all comparisons that are corrected together.
        repetitions: as of `permutation_test`.
        one_sided: as of `p_values`.
    """
    smallest = [smallest_p(sizes, repetitions, one_sided) for sizes in pairs]
    return [p < LEVEL for p in holm(smallest)]


def sizes_of(x: Scores, y: Scores) -> Sizes:
    """Returns the numbers of runs of both sides on each task."""
    return tuple((len(task_x), len(task_y)) for task_x, task_y in zip(x, y, strict=True))


def _batches(
    x: Sequence[np.ndarray],
    y: Sequence[np.ndarray],
    drawn: int | None,
    generator: np.random.Generator,
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Yields comparisons that share their permutations, and these.

    Args:
        x, y: scores [K, N] of each task.
        drawn: permutations that are drawn; all are looked at if None.
        generator: source of randomness.

    Yields:
        Scores [at most `BATCH`, N] of both sides, the first side's first, and [N, R] ones where
        a run is the first side's, of each task.
    """
    pooled = [np.concatenate(pair, axis=1) for pair in zip(x, y, strict=True)]
    sizes = [(a.shape[1], b.shape[1]) for a, b in zip(x, y, strict=True)]
    for start in range(0, len(pooled[0]), BATCH):
        dealt = [
            _every_membership(a, a + b)
            if drawn is None
            else _memberships(a, a + b, drawn, generator)
            for a, b in sizes
        ]
        yield [scores[start : start + BATCH] for scores in pooled], dealt


def _parts(dealt: Sequence[np.ndarray], crossed: bool) -> Iterator[Sequence[np.ndarray]]:
    """Yields permutations some columns at a time, but all at once where tasks are crossed."""
    if crossed and len(dealt) > 1:
        yield dealt
        return
    for start in range(0, dealt[0].shape[1], _COLUMNS):
        yield [members[:, start : start + _COLUMNS] for members in dealt]


def _p_value(counts: np.ndarray, sizes: Sizes, drawn: int | None) -> np.ndarray:
    """Returns the p-values of so many permutations as far apart as what was observed."""
    if drawn is None:
        return counts / arrangements(sizes)
    # Random permutations might all miss the one that was observed, which counts as well.
    return (counts + 1) / (drawn + 1)


def _count_as_far(
    pooled: Sequence[np.ndarray],
    least: np.ndarray,
    dealt: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    crossed: bool,
    signed: bool,
) -> np.ndarray:
    """Counts [K] permutations in which the sides are as far apart as observed, or farther.

    Args:
        least: see `_observed`.
        pooled, dealt, sizes, crossed, signed: see `_separation`.
    """
    columns = math.prod(members.shape[1] for members in dealt) if crossed else dealt[0].shape[1]
    step = max(1, min(_AT_ONCE[0] // columns, _AT_ONCE[1] // (columns * max(map(sum, sizes)))))
    counts = []
    for start in range(0, len(pooled[0]), step):
        part = [scores[start : start + step] for scores in pooled]
        apart = _separation(part, dealt, sizes, crossed, signed)
        counts.append(np.count_nonzero(apart >= least[start : start + step], axis=1))
    return np.concatenate(counts)


def _observed(
    pooled: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], signed: bool
) -> np.ndarray:
    """Returns [K, 1] from which separation on the sides are as far apart as observed.

    Args:
        pooled: scores [K, N] of each task, the first side's first.
        sizes, signed: see `_separation`.
    """
    members = [(np.arange(a + b) < a).astype(float)[:, None] for a, b in sizes]
    return _separation(pooled, members, sizes, signed=signed) - _SAME


def _separation(
    pooled: Sequence[np.ndarray],
    dealt: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    crossed: bool = False,
    signed: bool = False,
) -> np.ndarray:
    """Returns how far apart two algorithms are: t²/(1 + t²) of the studentised difference t.

    So it lies between 0 and 1, also where neither side scatters.

    Args:
        pooled: scores [K, N] of both sides of each task.
        dealt: [N, R] ones where a run is the first side's, of each task.
        sizes: runs of both sides of each task.
        crossed: whether every column of a task goes with every one of the others, instead of
            with that of the same number.
        signed: whether to give it the sign of the difference.
    """
    difference = variance = total = np.zeros((len(pooled[0]), 1))
    for scores, members, (a, b) in zip(pooled, dealt, sizes, strict=True):
        centred = scores - scores.mean(axis=1, keepdims=True)
        squares = np.sum(centred**2, axis=1, keepdims=True)
        sums = centred @ members  # of the first side, and so less that of the second
        weight_x, weight_y = (1 / (n * max(1, n - 1)) for n in (a, b))
        own = weight_y * squares - (weight_x / a + weight_y / b) * sums**2
        if weight_x != weight_y:
            own += (weight_x - weight_y) * (centred**2 @ members)
        difference = _combined(difference, (1 / a + 1 / b) * sums, crossed)
        variance = _combined(variance, own, crossed)
        total = total + squares
    if min(map(min, sizes)) < 2:
        variance = total  # no spread within a side is known, so the difference stands alone
    square, variance = difference**2, np.maximum(variance, 0)
    whole = square + variance
    if signed:
        square = np.copysign(square, difference)
    known = whole > 1e-12 * total
    return np.divide(square, whole, out=np.zeros_like(whole), where=known)


def _combined(sums: np.ndarray, task: np.ndarray, crossed: bool) -> np.ndarray:
    """Adds a task's [K, R] to the sums [K, S] of those before; [K, S * R] if crossed."""
    if crossed:
        sums, task = sums[:, :, None], task[:, None, :]
    added: np.ndarray = sums + task
    return added.reshape(len(task), -1)


@functools.lru_cache(maxsize=8)
def _every_membership(chosen: int, size: int) -> np.ndarray:
    """Returns every choice of `chosen` out of `size` as a column [size, R] of 0 and 1."""
    choices = np.array(list(itertools.combinations(range(size), chosen)))
    members = np.zeros((size, len(choices)))
    members[choices.T, np.arange(len(choices))] = 1
    return members


def _memberships(
    chosen: int, size: int, repetitions: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws `chosen` out of `size` without replacement, R times; returns [size, R] of 0 and 1."""
    members = np.zeros((size, repetitions))
    wanted = np.full(repetitions, chosen)
    for index in range(size):
        members[index] = generator.random(repetitions) * (size - index) < wanted
        wanted = wanted - members[index]
    return members
