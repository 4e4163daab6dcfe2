"""A candidate's score at the end of a rung, from the curves that its runs have stored.

It looks at nothing beyond the rung: whatever a run does later, the decision stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from suite.common.errors import UserError
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

LAST_EVALUATIONS = 3
"""Up to a rung's end, that a score is the mean of."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How good a candidate is.

    Attributes:
        by_task: mean of its seeds, in [0, 1]; one that diverged counts as 0.
        diverged: how many of all runs did.
    """

    by_task: Mapping[str, float]
    diverged: int = 0

    @property
    def value(self) -> float:
        """The mean over tasks."""
        return float(np.mean(list(self.by_task.values())))


def score(
    run: RunDirectory, algorithm: str, tasks: Sequence[str], seeds: Sequence[int], end: int
) -> Score | None:
    """Returns a candidate's score after `end` updates, None if not all its runs are there.

    A run's is the mean return of its last evaluations in both modes, those of the untrained
    policy left out, between the least (0) and the greatest (1) that the task can give.

    Raises:
        UserError: a file is damaged, or a task tells no bounds of its returns.
    """
    by_task, diverged = {}, 0
    for task in tasks:
        found = [cell_score(run, Cell(algorithm, task, seed), end) for seed in seeds]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            return None
        diverged += sum(is_broken for _, is_broken in known)
        by_task[task] = float(np.mean([value for value, _ in known]))
    return Score(by_task, diverged)


def cell_score(run: RunDirectory, cell: Cell, end: int) -> tuple[float, bool] | None:
    """Returns a run's score after `end` updates and whether it had diverged, None if not there.

    Raises:
        UserError: see `score`.
    """
    files = run.files(cell)
    status = files.read_status()
    if status is None:
        return None
    end = min(end, status.total_updates)
    rows = [row for row in files.read_curve() if row.updates <= end]
    if not rows or rows[-1].updates < end:
        if status.state == "diverged":
            return 0.0, True
        if status.finished or status.updates > end:
            raise UserError(
                f"{files.path} is damaged: its curve lacks the evaluation after {end} updates, of "
                f"which its status tells {status.updates}; restore curve.csv, or delete the cell"
            )
        return None
    points = sorted({row.updates for row in rows} - {0})[-LAST_EVALUATIONS:]
    returns = [row.return_mean for row in rows if row.updates in points]
    low, high = _bounds(run, cell)
    return (float(np.mean(returns)) - low) / (high - low), False


def _bounds(run: RunDirectory, cell: Cell) -> tuple[float, ...]:
    record = run.files(cell).read_run()
    found = record.configuration.return_bounds if record else None
    if found is None:
        raise UserError(
            f"{cell.task} does not tell the least and the greatest return of an episode, without "
            "which no score comes out over several tasks; give its class return_bounds"
        )
    return found
