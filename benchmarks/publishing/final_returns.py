"""What finished runs reached at the end of their budget, and how fast they trained."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from suite.common.errors import UserError
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

MODE = "deterministic"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What runs of one budget say of methods.

    Attributes:
        returns: of each method and task, the last evaluation's of every seed; NaN: it diverged.
        speeds: of each method and task, environment steps of all seeds together in a second of
            training, by seed.
    """

    returns: Mapping[tuple[str, str], Sequence[float]]
    speeds: Mapping[tuple[str, str], Sequence[float]]

    def return_text(self, method: str, task: str) -> str:
        """Returns mean and standard deviation over seeds, how many they are and how many diverged.

        Empty without a run; a seed that diverged counts as 0.
        """
        values = self.returns.get((method, task), ())
        if not values:
            return ""
        scores = [0.0 if math.isnan(each) else each for each in values]
        spread = f" ± {statistics.stdev(scores):.0f}" if len(scores) > 1 else ""
        diverged = sum(map(math.isnan, values))
        told = f", {diverged} diverged" if diverged else ""
        return f"{statistics.fmean(scores):.0f}{spread} ({len(scores)}{told})"

    def speed_text(self, method: str, task: str) -> str:
        """Returns the median steps a second of the seeds that did not diverge, if there are any."""
        speeds = self.speeds.get((method, task))
        return f"{statistics.median(speeds):,.0f}" if speeds else ""


def by_budget(directories: Sequence[Path]) -> dict[int, Measured]:
    """Reads run directories; runs that are not done are left out.

    Returns:
        What those of each budget say, by environment steps a seed, the largest first.

    Raises:
        UserError: there is none at a path, or a cell is in two of one budget.
    """
    groups: dict[int, list[RunDirectory]] = {}
    for path in directories:
        run = RunDirectory.open(path)
        groups.setdefault(run.protocol.total_steps, []).append(run)
    return {steps: _measured(groups[steps]) for steps in sorted(groups, reverse=True)}


def _measured(runs: Sequence[RunDirectory]) -> Measured:
    returns: dict[tuple[str, str], list[float]] = {}
    speeds: dict[tuple[str, str], list[float]] = {}
    seen: dict[Cell, Path] = {}
    for run in runs:
        for cell in run.cells():
            if cell in seen:
                raise UserError(f"{cell} is in {run.path} and in {seen[cell]}; name one of them")
            seen[cell] = run.path
            value, speed = _of_cell(run, cell)
            if value is not None:
                returns.setdefault((cell.algorithm, cell.task), []).append(value)
            if speed is not None:
                speeds.setdefault((cell.algorithm, cell.task), []).append(speed)
    return Measured(returns, speeds)


def _of_cell(run: RunDirectory, cell: Cell) -> tuple[float | None, float | None]:
    """Returns the final return and the steps a second; None of what is not known."""
    files = run.files(cell)
    status, record, curve = files.read_status(), files.read_run(), files.read_curve()
    if status is None or status.state not in ("done", "diverged"):
        return None, None
    if status.state == "diverged":
        return math.nan, None
    value = [row.return_mean for row in curve if row.mode == MODE][-1]
    if record is None or not curve[-1].train_seconds:
        return value, None
    together = len(record.configuration.seeds_together)
    return value, together * curve[-1].env_steps / curve[-1].train_seconds
