"""The whole comparison of stored runs, computed once for tables, figures and page."""

from __future__ import annotations

import dataclasses
import functools

from reports.analysis.bootstrap import REPETITIONS, Draws
from reports.analysis.differences import Differences
from reports.analysis.estimates import Estimates
from reports.analysis.run_scores import RunScores
from reports.analysis.scores import DEFAULT_POLICY, ScorePolicy
from reports.runs.names import Label
from reports.runs.results import Results
from suite.common.errors import UserError


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
