"""What a cell stores of its evaluations, each by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from algorithms.api import MODES
from suite.common.errors import UserError
from suite.reproduction.comparing import Stored
from suite.storage.recomputation import content_digest
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class StoredResults:
    """What a cell stores of its evaluations.

    Attributes:
        digest: of all of it.
        evaluations: by the updates behind them.
        done: whether the cell says that it was trained to the end.
        diverged: whether its numbers stopped being finite.
    """

    digest: str
    evaluations: Mapping[int, Stored]
    done: bool
    diverged: bool


def read_results(run: RunDirectory, cell: Cell) -> StoredResults:
    """Reads the evaluations of a cell.

    Raises:
        UserError: a file is missing or damaged, or they do not fit each other.
    """
    files = run.files(cell)
    digest = content_digest(files)
    rows, episodes, status = files.read_curve(), files.read_episodes(), files.read_status()
    pairs = [tuple(rows[start : start + len(MODES)]) for start in range(0, len(rows), len(MODES))]
    if episodes is None or len(episodes[1]) != len(pairs) or episodes[1].ndim != 3:
        raise UserError(f"{run.path}/{cell}: its curve and its episodes do not fit each other")
    if any(tuple(row.mode for row in pair) != MODES for pair in pairs):
        raise UserError(f"{run.path}/{cell}: its curve has not one row of each mode in order")
    if len({pair[0].updates for pair in pairs}) != len(pairs):
        raise UserError(f"{run.path}/{cell}: its curve has two evaluations after as many updates")
    seen = files.read_states()
    counts = [0, *(pair[0].eval_steps for pair in pairs)]
    found = {}
    for index, (pair, returns) in enumerate(zip(pairs, episodes[1], strict=True)):
        newest = index == len(pairs) - 1
        obs = seen[2] if seen is not None and newest else None
        steps = counts[index + 1] - counts[index]
        found[pair[0].updates] = Stored(pair[0].updates, pair, returns, steps, obs)
    state = status.state if status else "running"
    return StoredResults(digest, found, state == "done", state == "diverged")
