"""How many seeds a claim takes, by simulation of the very test that it would rest on."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from reports.analysis.claims import claimed
from reports.analysis.point_estimates import Scores
from reports.analysis.run_scores import RunScores
from reports.runs.names import Label
from reports.runs.remembered import remembered
from suite.common.claim_floor import LEVEL, smallest_p
from suite.common.errors import UserError

MAX_SEEDS = 100
"""Most seeds that are considered."""

TRIALS = 1000
"""Simulated comparisons; the standard error of a power is at most 0.016."""

_CERTAIN = 4.0
"""Standard errors from which on a simulated share is above or below what is asked for."""


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
    return float(np.mean([*itertools.chain(*_simulated(x, y, runs, delta, comparisons, trials))]))


def _simulated(
    x: Scores, y: Scores, runs: int, delta: float, comparisons: int, trials: int = TRIALS
) -> Iterator[np.ndarray]:
    """Yields which simulated comparisons become claims, see `simulated_power`."""
    if smallest_p([(runs, runs)] * len(x)) * comparisons >= LEVEL:
        yield np.zeros(trials, bool)
        return
    generator = np.random.default_rng([runs, len(x)])
    raised, others = simulated_scores(x, y, runs, delta, trials, generator)
    permutations = simulated_permutations(comparisons)
    yield from claimed(raised, others, comparisons, permutations, generator)


def simulated_permutations(comparisons: int) -> int:
    """Returns how many permutations a simulated test looks at.

    Five of them may be as extreme as what is claimed; with more the power is 0.01 higher.
    """
    return max(1000, math.ceil(5 * comparisons / LEVEL))


def simulated_scores(
    x: Scores, y: Scores, runs: int, delta: float, trials: int, generator: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draws scores [trials, runs] like the stored ones of two algorithms, on each task.

    Those of the first scatter around `delta`, those of the second around 0.
    """
    raised = [delta + _like(task, trials, runs, generator) for task in x]
    return raised, [_like(task, trials, runs, generator) for task in y]


def is_reached(share: float, batches: Iterable[np.ndarray]) -> bool:
    """Returns whether so many of the simulated comparisons decide, and simulates no more than
    it takes to be certain.

    Args:
        share: that is asked for, such as 0.8.
        batches: booleans; they are asked for until the share is `_CERTAIN` standard errors away.
    """
    seen = hits = 0
    for batch in batches:
        seen, hits = seen + len(batch), hits + int(np.count_nonzero(batch))
        if abs(hits / seen - share) > _CERTAIN * math.sqrt(share * (1 - share) / seen):
            break
    return bool(hits >= share * seen)


def fewest_seeds(enough: Callable[[int], bool]) -> int | None:
    """Returns the fewest seeds that are enough, None if `MAX_SEEDS` are not.

    Args:
        enough: whether a number of seeds is; more are never worse.
    """
    low, high = 1, 2  # up by doubling, then by halving; a single run is never simulated
    while not enough(high):
        if high == MAX_SEEDS:
            return None
        low, high = high, min(2 * high, MAX_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


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
        return fewest_seeds(lambda runs: self._shows(runs, power))

    @remembered
    def _shows(self, runs: int, power: float) -> bool:
        simulated = _simulated(self.x, self.y, runs, self.delta, self.comparisons)
        return is_reached(power, simulated)


def powers(scores: RunScores, delta: float) -> dict[tuple[str, str], Power]:
    """Returns the power to show that an algorithm's scores are higher by `delta`, of each pair.

    All pairs of the report are corrected for, those whose spread is unknown included.

    Raises:
        UserError: `delta` is not between 0 and 1, there are no scores, or no two algorithms
            have two runs a task.
    """
    if not 0 < delta < 1:
        raise UserError(f"delta = {delta}: must be a score between 0 and 1, such as 0.05")
    if not scores.scored_tasks:
        tasks = ", ".join(scores.results.tasks)
        raise UserError(f"there are no scores: the bounds of the return on {tasks} are unknown")
    pairs = list(itertools.combinations(with_spread(scores), 2))
    if not pairs:
        raise UserError(
            "no two algorithms have two finished runs on every task, so their spread is unknown; "
            "run more seeds with `suite run --seeds`, or finish those that are not"
        )
    comparisons = math.comb(len(scores.algorithms), 2)
    return {
        (a, b): Power(scores.by_task(a), scores.by_task(b), delta, comparisons) for a, b in pairs
    }


def with_spread(scores: RunScores) -> list[Label]:
    """Returns the algorithms that have two runs with a score on every task."""
    return [a for a in scores.algorithms if scores.runs_per_task(a)[0] >= 2]


def _like(scores: np.ndarray, trials: int, runs: int, generator: np.random.Generator) -> np.ndarray:
    """Draws [trials, runs] of scores like the stored ones [N], around 0.

    A stored run is drawn and moved by normal noise of so much variance as drawing from few
    runs takes away, so that the spread is the sample standard deviation: two stored runs say
    little more than that, while of many the shape is kept, such as a share that fails.
    """
    centred = scores - scores.mean()
    noise = scores.std(ddof=1) / math.sqrt(len(scores))
    return generator.choice(centred, (trials, runs)) + generator.normal(0, noise, (trials, runs))
