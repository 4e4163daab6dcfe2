"""The whole comparison of stored runs, computed once for tables, figures and page."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

from reports.analysis import bootstrap, claims
from reports.analysis.bootstrap import REPETITIONS, Draws, Estimate, sizes_of
from reports.analysis.estimates import Estimates
from reports.analysis.run_scores import RunScores
from reports.analysis.scores import DEFAULT_POLICY, ScorePolicy
from reports.runs.names import Label
from reports.runs.results import Results
from suite.common.claim_floor import LEVEL, Shortage, Sizes, shortage
from suite.common.errors import UserError


@dataclasses.dataclass(frozen=True)
class Pair:
    """A comparison of two algorithms.

    Attributes:
        first, second: labels.
        difference: IQM of the first less that of the second.
        improvement: probability that a run of the first beats one of the second.
        mean_difference: mean score of the first less that of the second, which is what is tested.
        sizes: runs of both on each task.
        p_value: of the stratified permutation test, `claims.permutation_test`.
        p_holm: adjusted for the number of pairs.
        reachable: whether so many runs could differ significantly, whatever their scores.
    """

    first: str
    second: str
    difference: Estimate
    improvement: Estimate
    mean_difference: Estimate
    sizes: Sizes
    p_value: float
    p_holm: float = math.nan
    reachable: bool = False

    @property
    def significant(self) -> bool:
        """Whether the difference is claimed at the family-wise level of 5%."""
        return self.p_holm < LEVEL


@dataclasses.dataclass(frozen=True, eq=False)
class Differences:
    """Differences between algorithms, the pairs made once, when first asked for.

    Attributes:
        scores: what they are of.
        draws: what intervals and tests are made of.
    """

    scores: RunScores
    draws: Draws

    @functools.cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs of algorithms, each in the order of the tables."""
        drawn = [self._pair(*pair) for pair in itertools.combinations(self.scores.algorithms, 2)]
        adjusted = bootstrap.holm([pair.p_value for pair in drawn])
        within = claims.reachable([pair.sizes for pair in drawn], self.draws.repetitions)
        return tuple(
            dataclasses.replace(pair, p_holm=p, reachable=reachable)
            for pair, p, reachable in zip(drawn, adjusted, within, strict=True)
        )

    def pair_of(self, one: str, other: str) -> Pair:
        """Returns the pair of two algorithms, whichever comes first in it."""
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {one, other})

    @functools.cached_property
    def shortage(self) -> Shortage | None:
        """What the pairs lack that could never differ significantly, None if all could."""
        return self.shortage_of([pair.sizes for pair in self.pairs if not pair.reachable])

    def shortage_of(
        self, unreachable: Sequence[Sizes], comparisons: int | None = None
    ) -> Shortage | None:
        """Returns what comparisons lack of which none can become a claim, None without any.

        Args:
            unreachable: runs of both sides on each task, of each.
            comparisons: number of all that are corrected together, by default all pairs.
        """
        number = len(self.pairs) if comparisons is None else comparisons
        return shortage(unreachable, number, self.draws.repetitions)

    def iqm(self, first: str, second: str) -> Estimate | None:
        """Returns IQM(first) - IQM(second) of final scores on the tasks that both have."""
        x, y = self.scores.common(first, second)
        if not x:
            return None
        counts = self.draws.counts(first, sizes_of(x)), self.draws.counts(second, sizes_of(y))
        return bootstrap.difference(bootstrap.iqm, x, y, *counts)

    def p_value(self, first: str, second: str) -> float | None:
        """Returns the p-value of the permutation test that claims rest on, on those tasks."""
        x, y = self.scores.common(first, second)
        if not x:
            return None
        generator = self.draws.generator(f"{first} and {second}")
        return claims.permutation_test(x, y, self.draws.repetitions, generator)

    def sizes(self, first: str, second: str) -> Sizes:
        """Returns the numbers of runs of two algorithms on the tasks that both have."""
        return claims.sizes_of(*self.scores.common(first, second))

    def _pair(self, first: str, second: str) -> Pair:
        x, y = self.scores.by_task(first), self.scores.by_task(second)
        counts = self.draws.counts(first, sizes_of(x)), self.draws.counts(second, sizes_of(y))
        generator = self.draws.generator(f"{first} and {second}")
        return Pair(
            first,
            second,
            bootstrap.difference(bootstrap.iqm, x, y, *counts),
            bootstrap.improvement(x, y, *counts),
            bootstrap.difference(bootstrap.mean, x, y, *counts),
            claims.sizes_of(x, y),
            claims.permutation_test(x, y, self.draws.repetitions, generator),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that is computed from results; each part once, when first asked for.

    Attributes:
        results: what is compared.
        mode: evaluation mode whose returns are the scores, see `RunScores`.
        policy: what failed runs count as.
        repetitions: of bootstrap and permutation test.
        seed: of both, see `Draws`.

    Raises:
        UserError: no run was evaluated in `mode`, or `repetitions` is not positive.
    """

    results: Results
    mode: str = "deterministic"
    policy: ScorePolicy = DEFAULT_POLICY
    repetitions: int = REPETITIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.repetitions < 1:
            raise UserError(f"repetitions = {self.repetitions}: must be at least 1")
        self.scores.check_mode()

    @functools.cached_property
    def scores(self) -> RunScores:
        """Scores and curves of the runs that count."""
        return RunScores(self.results, self.mode, self.policy)

    @functools.cached_property
    def draws(self) -> Draws:
        """The random numbers of all intervals and tests."""
        return Draws(self.repetitions, self.seed)

    @functools.cached_property
    def estimates(self) -> Estimates:
        """Estimates of single algorithms."""
        return Estimates(self.scores, self.draws)

    @functools.cached_property
    def differences(self) -> Differences:
        """Differences between algorithms."""
        return Differences(self.scores, self.draws)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the aggregates."""
        return self.scores.tasks

    @property
    def algorithms(self) -> tuple[Label, ...]:
        """Algorithms of the aggregates."""
        return self.scores.algorithms
