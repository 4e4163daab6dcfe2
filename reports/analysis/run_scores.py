"""The scores and curves of the runs that count, each made once: what every number rests on."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from reports.analysis.scores import (
    Axis,
    CountedRun,
    Reduction,
    ScorePolicy,
    TaskScores,
    common_curves,
    counted_runs,
    run_curve,
    task_scores,
    time_to_threshold,
)
from reports.runs.names import Label
from reports.runs.remembered import remembered
from reports.runs.results import Results
from suite.common.errors import UserError

PUBLISHED = "published"
"""The mode that is each algorithm's own."""


@dataclasses.dataclass(frozen=True, eq=False)
class RunScores:
    """Scores and curves by algorithm and task.

    Attributes:
        results: the runs.
        mode: evaluation mode whose returns are the scores; `published` is each algorithm's
            own, as the protocol's `published_mode` says.
        policy: what failed runs count as.
    """

    results: Results
    mode: str
    policy: ScorePolicy

    def check_mode(self) -> None:
        """Raises UserError if no run was evaluated in the mode."""
        modes = {self.mode_of(algorithm) for algorithm in self.results.algorithms}
        if self.results.modes and not modes & {*self.results.modes}:
            known = ", ".join(self.results.modes)
            raise UserError(f"no run was evaluated in mode {self.mode!r}; there are: {known}")

    def mode_of(self, algorithm: str) -> str:
        """Returns the evaluation mode of the scores of an algorithm, given its label."""
        if self.mode != PUBLISHED:
            return self.mode
        return self.results.protocol.published_mode_of(Label(algorithm).method)

    # --- Of one algorithm on one task ----------------------------------------------------

    def of(self, algorithm: str, task: str, reduction: Reduction = "final") -> TaskScores:
        """Returns the scores of one algorithm on one task."""
        return self._of(algorithm, task, reduction)

    def counted(self, algorithm: str, task: str) -> list[CountedRun]:
        """Returns the runs behind every number of one algorithm on one task."""
        mode = self.mode_of(algorithm)
        return counted_runs(self.results, algorithm, task, mode, self.policy)

    def returns(self, algorithm: str, task: str) -> np.ndarray:
        """Returns the final returns [N] that the scores of one algorithm on one task stand for."""
        return self.results.bounds(task).to_return(self.of(algorithm, task).scores)

    @remembered
    def curves(self, algorithm: str, task: str, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """Returns points x [P] and scores [N, P] there, see `common_curves`."""
        mode = self.mode_of(algorithm)
        return common_curves(self.results, algorithm, task, mode, axis, self.policy)

    def times_to_threshold(
        self, algorithm: str, task: str, threshold: float, axis: Axis = "env_steps"
    ) -> list[float]:
        """Returns for each run that counts where it first scored so much, or infinity.

        Nothing where the task's bounds are not known.
        """
        bounds = self.results.bounds(task)
        times = []
        for counted in self.counted(algorithm, task) if bounds.known else ():
            found = counted.evaluated
            x, returns = run_curve(found, counted.mode, axis) if found else (np.zeros(0),) * 2
            times.append(time_to_threshold(x, bounds.to_score(returns), threshold))
        return times

    @remembered
    def _of(self, algorithm: str, task: str, reduction: Reduction) -> TaskScores:
        mode = self.mode_of(algorithm)
        return task_scores(self.results, algorithm, task, mode, reduction, self.policy)

    # --- What can be aggregated ----------------------------------------------------------

    @functools.cached_property
    def scored_tasks(self) -> tuple[str, ...]:
        """Tasks whose bounds are known: on the others there are returns, but no scores."""
        return tuple(task for task in self.results.tasks if self.results.bounds(task).known)

    @functools.cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the aggregates: all with scores, if two or more algorithms have them on all,
        else those that every algorithm with any score has.
        """
        covered = {a: self._covered(a) for a in self.results.algorithms}
        complete = [a for a, tasks in covered.items() if tasks == set(self.scored_tasks)]
        some = [tasks for tasks in covered.values() if tasks]
        if len(complete) >= min(2, len(some)):
            return self.scored_tasks
        common = set.intersection(*some)
        return tuple(task for task in self.scored_tasks if task in common)

    @functools.cached_property
    def algorithms(self) -> tuple[Label, ...]:
        """Algorithms of the aggregates: those with scores on all of `tasks`."""
        wanted = set(self.tasks)
        return tuple(a for a in self.results.algorithms if wanted and wanted <= self._covered(a))

    @functools.cached_property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Algorithms in no aggregate, each with the tasks that it has no score on."""
        return {
            algorithm: tuple(
                task for task in self.scored_tasks if task not in self._covered(algorithm)
            )
            for algorithm in self.results.algorithms
            if algorithm not in self.algorithms and self.scored_tasks
        }

    def by_task(self, algorithm: str, reduction: Reduction = "final") -> list[np.ndarray]:
        """Returns an algorithm's scores [N] on each task of the aggregates."""
        return [self.of(algorithm, task, reduction).scores for task in self.tasks]

    def common(self, first: str, second: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the final scores of two algorithms on each task that both have."""
        covered = self._covered(first) & self._covered(second)
        shared = [task for task in self.scored_tasks if task in covered]
        x, y = ([self.of(a, task).scores for task in shared] for a in (first, second))
        return x, y

    def runs_per_task(self, algorithm: str) -> tuple[int, int]:
        """Returns the fewest and most runs of a task behind an algorithm's aggregates."""
        sizes = [len(scores) for scores in self.by_task(algorithm)]
        return min(sizes), max(sizes)

    def run_ids(self, algorithm: str) -> tuple[str, ...]:
        """Returns the runs behind an algorithm's aggregates."""
        return tuple(run_id for task in self.tasks for run_id in self.of(algorithm, task).run_ids)

    def _covered(self, algorithm: str) -> set[str]:
        return {task for task in self.scored_tasks if len(self.of(algorithm, task))}
