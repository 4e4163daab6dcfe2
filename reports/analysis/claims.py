"""The test that claims rest on, and by simulation of it how many runs a claim takes.

Runs are exchanged between two algorithms within each task. The statistic is the difference of
their mean scores over its standard error (Welch's, summed over the tasks): unlike that of a
trimmed mean it takes the most extreme value only where the scores are fully apart, so the floor
of the p-value is as low as it can be, and it holds its level where the algorithms spread
differently (Janssen 1997, "Studentized permutation tests for non-i.i.d. hypotheses and the
generalized Behrens-Fisher problem"). benchmarks/claims.py compares it with others.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from reports.analysis.bootstrap import holm
from reports.analysis.point_estimates import Scores
from reports.runs.remembered import remembered
from suite.common.claim_floor import ENUMERATED, LEVEL, Sizes, arrangements, smallest_p

MAX_SEEDS = 100
"""Most seeds that are considered."""

TRIALS = 1000
"""Simulated comparisons; the standard error of a power is at most 0.016."""

_BATCH = 50
"""Comparisons that share their random permutations, whose luck would be all of theirs."""

_AT_ONCE = 25_000, 250_000
"""Statistics, and products of which they are sums, that are computed at once: few enough to stay
in a core's cache, and for the linear algebra to stay on one core, which is quicker here."""

_SAME = 1e-9
"""Statistics, which lie between 0 and 1, that are as close as this are equal but for rounding."""


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
) -> np.ndarray:
    """Tests K comparisons of equally many runs.

    Args:
        x, y: scores [K, N] of each task, where N may differ between tasks and sides.
        repetitions: random permutations where there are more than `enumerated` in all.
        generator: source of randomness.
        enumerated: most permutations that are all looked at.

    Returns:
        [K] two-sided p-values.
    """
    pooled = [np.concatenate(pair, axis=1) for pair in zip(x, y, strict=True)]
    sizes = [(a.shape[1], b.shape[1]) for a, b in zip(x, y, strict=True)]
    every = arrangements(sizes) <= enumerated
    at_least = []
    for start in range(0, len(pooled[0]), _BATCH):
        dealt = [
            _every_membership(a, a + b) if every else _memberships(a, a + b, repetitions, generator)
            for a, b in sizes
        ]
        batch = [scores[start : start + _BATCH] for scores in pooled]
        at_least.append(_count_as_far(batch, dealt, sizes, crossed=every))
    counted = np.concatenate(at_least)
    # Random permutations might all miss the one that was observed, which counts as well.
    return counted / arrangements(sizes) if every else (counted + 1) / (repetitions + 1)


def reachable(pairs: Sequence[Sizes], repetitions: int) -> list[bool]:
    """Returns which comparisons could become claims if the scores were as far apart as can be.

    Args:
        pairs: runs of both sides on each task, of all comparisons that are corrected together.
        repetitions: as of `permutation_test`.
    """
    return [p < LEVEL for p in holm([smallest_p(sizes, repetitions) for sizes in pairs])]


def sizes_of(x: Scores, y: Scores) -> Sizes:
    """Returns the numbers of runs of both sides on each task."""
    return tuple((len(task_x), len(task_y)) for task_x, task_y in zip(x, y, strict=True))


def simulated_power(
    x: Scores,
    y: Scores,
    runs: int,
    delta: float,
    comparisons: int = 1,
    trials: int = TRIALS,
) -> float:
    """Simulates how often so many runs show that one algorithm scores higher by `delta`.

    Simulated runs scatter around their algorithm's mean on the task as the stored ones do.
    Whatever the other comparisons of the report show, this one is claimed if its p-value is
    below the level divided by their number, which is Holm's first step: where others differ
    clearly, the power is higher.

    Args:
        x, y: stored scores of two algorithms, at least two runs a task.
        runs: simulated per task and algorithm.
        delta: by which every score of `x` is raised above those of `y`; at 0 this is the size.
        comparisons: number of the report's comparisons.
        trials: simulated comparisons.
    """
    if smallest_p([(runs, runs)] * len(x)) * comparisons >= LEVEL:
        return 0.0
    generator = np.random.default_rng([runs, len(x)])
    raised = [delta + _like(task, trials, runs, generator) for task in x]
    others = [_like(task, trials, runs, generator) for task in y]
    # Five of them may be as extreme as what is claimed; with more the power is 0.01 higher.
    permutations = max(1000, math.ceil(5 * comparisons / LEVEL))
    p = p_values(raised, others, permutations, generator, enumerated=permutations)
    return float(np.mean(p * comparisons < LEVEL))


@dataclasses.dataclass(frozen=True, eq=False)
class Power:
    """Simulated power to show a difference of two algorithms, by the number of seeds.

    Attributes:
        x, y, delta, comparisons: see `simulated_power`.
    """

    x: Scores
    y: Scores
    delta: float
    comparisons: int = 1

    @remembered
    def at(self, runs: int) -> float:
        """Returns the power of so many runs a task."""
        return simulated_power(self.x, self.y, runs, self.delta, self.comparisons)

    def seeds_needed(self, power: float = 0.8) -> int | None:
        """Returns the fewest seeds that show the difference so often, None if `MAX_SEEDS` do not.

        Args:
            power: probability to show the difference if it is there.
        """
        low, high = 1, 2  # up by doubling, then by halving; a single run is never simulated
        while self.at(high) < power:
            if high == MAX_SEEDS:
                return None
            low, high = high, min(2 * high, MAX_SEEDS)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.at(middle) >= power else (middle, high)
        return high


def _count_as_far(
    pooled: Sequence[np.ndarray],
    dealt: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    crossed: bool,
) -> np.ndarray:
    """Counts [K] permutations in which the sides are as far apart as observed, or farther.

    Args:
        pooled, dealt, sizes, crossed: see `_separation`; the first runs are the first side's.
    """
    observed = [(np.arange(a + b) < a).astype(float)[:, None] for a, b in sizes]
    columns = arrangements(sizes) if crossed else dealt[0].shape[1]
    step = max(1, min(_AT_ONCE[0] // columns, _AT_ONCE[1] // (columns * max(map(sum, sizes)))))
    counts = []
    for start in range(0, len(pooled[0]), step):
        part = [scores[start : start + step] for scores in pooled]
        least = _separation(part, observed, sizes) - _SAME
        counts.append(np.count_nonzero(_separation(part, dealt, sizes, crossed) >= least, axis=1))
    return np.concatenate(counts)


def _separation(
    pooled: Sequence[np.ndarray],
    dealt: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    crossed: bool = False,
) -> np.ndarray:
    """Returns how far apart two algorithms are: t²/(1 + t²) of the studentised difference t.

    So it lies between 0 and 1, also where neither side scatters.

    Args:
        pooled: scores [K, N] of both sides of each task.
        dealt: [N, R] ones where a run is the first side's, of each task.
        sizes: runs of both sides of each task.
        crossed: whether every column of a task goes with every one of the others, instead of
            with that of the same number.
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
    known = whole > 1e-12 * total
    return np.divide(square, whole, out=np.zeros_like(whole), where=known)


def _combined(sums: np.ndarray, task: np.ndarray, crossed: bool) -> np.ndarray:
    """Adds a task's [K, R] to the sums [K, S] of those before; [K, S * R] if crossed."""
    if crossed:
        sums, task = sums[:, :, None], task[:, None, :]
    added: np.ndarray = sums + task
    return added.reshape(len(task), -1)


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


def _like(scores: np.ndarray, trials: int, runs: int, generator: np.random.Generator) -> np.ndarray:
    """Draws [trials, runs] of scores like the stored ones [N], around 0.

    A stored run is drawn and moved by normal noise of so much variance as drawing from few
    runs takes away, so that the spread is the sample standard deviation: two stored runs say
    little more than that, while of many the shape is kept, such as a share that fails.
    """
    centred = scores - scores.mean()
    noise = scores.std(ddof=1) / math.sqrt(len(scores))
    return generator.choice(centred, (trials, runs)) + generator.normal(0, noise, (trials, runs))
