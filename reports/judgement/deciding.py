"""How many seeds would decide what is undecided, by simulation of the tests that decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from reports.analysis.claims import BATCH, claimed
from reports.analysis.point_estimates import Scores
from reports.judgement.margins import less
from reports.judgement.power import (
    fewest_seeds,
    is_reached,
    simulated_permutations,
    simulated_scores,
)
from suite.common.claim_floor import LEVEL, smallest_p

POWER = 0.8
"""Probability to decide that a number of seeds must have."""

TRIALS = 500
"""Simulated comparisons; the standard error of a share near `POWER` is 0.018."""

Drawn = tuple[list[np.ndarray], list[np.ndarray]]
"""Simulated scores [trials, runs] of both sides on each task."""


def seeds_to_decide(x: Scores, y: Scores, margin: float, comparisons: int) -> float:
    """Returns how many seeds of each algorithm would show them different or equivalent.

    It is assumed that the true difference is the observed one, on every task alike, and that
    runs scatter as the stored ones do.

    Args:
        x, y: stored scores of two algorithms.
        margin: within which they are equivalent.
        comparisons: number that Holm's correction starts from, which is its least favourable step.

    Returns:
        The number of seeds that decide with probability `POWER`; infinite where
        `power.MAX_SEEDS` do not, NaN where a task has a single run, whose spread is unknown.
    """
    difference = observed_difference(x, y)

    def batches(runs: int) -> Iterator[np.ndarray]:
        generator = np.random.default_rng([runs, len(x)])
        drawn = simulated_scores(x, y, runs, difference, TRIALS, generator)
        different = _shown(drawn, False, comparisons, generator)
        if abs(difference) >= margin:
            yield from different
            return
        above = _shown((less(drawn[0], -margin), drawn[1]), True, comparisons, generator)
        below = _shown((less(drawn[1], -margin), drawn[0]), True, comparisons, generator)
        for parts in zip(different, above, below, strict=True):
            yield parts[0] | (parts[1] & parts[2])

    return _fewest(x, y, batches)


def seeds_to_pass(x: Scores, y: Scores, margin: float, comparisons: int) -> float:
    """Returns how many seeds would show x lower than y by more than a margin, or by less.

    Args:
        x, y, margin: see `seeds_to_decide`, as are the assumptions and what is returned.
        comparisons: number that is corrected for where x is shown to be worse.
    """
    difference = observed_difference(x, y)

    def batches(runs: int) -> Iterator[np.ndarray]:
        generator = np.random.default_rng([runs, len(x)])
        drawn = simulated_scores(x, y, runs, difference, TRIALS, generator)
        raised = less(drawn[0], -margin)
        if difference > -margin:
            return _shown((raised, drawn[1]), True, 1, generator)
        return _shown((drawn[1], raised), True, comparisons, generator)

    return _fewest(x, y, batches)


def observed_difference(x: Scores, y: Scores) -> float:
    """Returns the mean over tasks of the mean score of x less that of y."""
    return float(np.mean([a.mean() - b.mean() for a, b in zip(x, y, strict=True)]))


def _fewest(x: Scores, y: Scores, batches: Callable[[int], Iterator[np.ndarray]]) -> float:
    if min(map(len, (*x, *y))) < 2:
        return math.nan
    found = fewest_seeds(lambda runs: is_reached(POWER, batches(runs)))
    return math.inf if found is None else found


def _shown(
    drawn: Drawn, one_sided: bool, comparisons: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yields which simulated comparisons are claimed; none where none can be."""
    x, y = drawn
    sizes = [(a.shape[1], b.shape[1]) for a, b in zip(x, y, strict=True)]
    if smallest_p(sizes, one_sided=one_sided) * comparisons >= LEVEL:
        yield from np.array_split(np.zeros(len(x[0]), bool), len(x[0]) // BATCH)
        return
    permutations = simulated_permutations(comparisons)
    yield from claimed(x, y, comparisons, permutations, generator, one_sided)
