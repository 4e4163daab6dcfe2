"""`suite status`: how far every cell of a run directory is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from suite.common import formatting
from suite.configuration.recipe import SOURCE
from suite.leases.lease import owner_name
from suite.storage.ablation_directory import read_ablation
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory, divergences_kept, is_run


class CellReport(TypedDict):
    """How far a cell is, as plain data.

    Attributes:
        state: `running`, `stopped` (it can go on), `done` or `diverged`.
        returns: mean returns of the newest evaluation, by mode.
        diverged_at, diverged_leaf: environment step and array of the first number that was not
            finite.
        divergences_kept: how many earlier runs of the cell diverged, after which it was started
            afresh.
        worker: what trains it now calls itself; None where it has no name, or nothing does.
    """

    task: str
    algorithm: str
    seed: int
    state: str
    updates: int
    total_updates: int | None
    env_steps: int
    eval_steps: int
    wall_seconds: float
    returns: dict[str, float | None]
    diverged_at: int | None
    diverged_leaf: str | None
    divergences_kept: int
    worker: str | None


def cell_reports(run: RunDirectory) -> list[CellReport]:
    """Returns the report of every started cell, sorted by task, algorithm and seed.

    Raises:
        UserError: a file is damaged.
    """
    kept = divergences_kept(run)
    return [_report(run, cell, kept.get(cell, 0)) for cell in run.cells()]


def ablation_reports(directory: Path) -> dict[str, list[CellReport]]:
    """Returns `cell_reports` of the source run, if there is one, and of every arm, in order.

    Raises:
        UserError: a file is damaged.
    """
    ablation = read_ablation(directory)
    names = [*([SOURCE] if ablation.source else []), *(arm.name for arm in ablation.arms)]
    found = {name: directory / name for name in names}
    return {
        name: cell_reports(RunDirectory.open(path)) if is_run(path) else []
        for name, path in found.items()
    }


def render(reports: Sequence[CellReport]) -> str:
    """Returns a table for people."""
    if not reports:
        return "no cell was started yet"
    header = "task", "algorithm", "seed", "state", "updates", "steps", "det", "sample", "wall"
    rows = [_row(report) for report in reports]
    states = [report["state"] for report in reports]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{formatting.table(header, rows)}\n{len(reports)} cells: {counts}"


def _report(run: RunDirectory, cell: Cell, earlier: int) -> CellReport:
    status = run.files(cell).read_status()
    state: str = status.state if status is not None else "running"
    if state == "running" and not run.is_locked(cell):
        state = "stopped"
    divergence = status.divergence if status is not None else None
    return {
        "task": cell.task,
        "algorithm": cell.algorithm,
        "seed": cell.seed,
        "state": state,
        "updates": status.updates if status is not None else 0,
        "total_updates": status.total_updates if status is not None else None,
        "env_steps": status.ledger.env_steps if status is not None else 0,
        "eval_steps": status.ledger.eval_steps if status is not None else 0,
        "wall_seconds": status.wall_seconds if status is not None else 0.0,
        "returns": dict(status.returns) if status is not None else {},
        "diverged_at": divergence.step if divergence is not None else None,
        "diverged_leaf": divergence.leaf if divergence is not None else None,
        "divergences_kept": earlier,
        "worker": _owner(run, cell) if state == "running" else None,
    }


def _owner(run: RunDirectory, cell: Cell) -> str | None:
    return owner_name(run.path, run.cell_path(cell)) or None


def _row(report: CellReport) -> tuple[str, ...]:
    state = report["state"]
    if report["worker"]:
        state += f" on {report['worker']}"
    if state == "diverged":
        state += f" at {formatting.count(report['diverged_at'] or 0)} in {report['diverged_leaf']}"
    if report["divergences_kept"]:
        state += f", {report['divergences_kept']} earlier diverged"
    return (
        report["task"],
        report["algorithm"],
        str(report["seed"]),
        state,
        f"{report['updates']}/{report['total_updates'] or '?'}",
        formatting.count(report["env_steps"]),
        formatting.number(report["returns"].get("deterministic")),
        formatting.number(report["returns"].get("sample")),
        formatting.duration(report["wall_seconds"]),
    )
