"""Whether the files of one cell agree with each other, with their digests and with its place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from reports.consistency.evaluations import off_the_grid, steps_of_evaluations
from reports.consistency.evidence import Contradicted, Evidence
from reports.consistency.kept_files import strange_decoder, strange_files
from reports.consistency.ledgers import contradicted_counts
from reports.consistency.seconds import impossible_seconds
from reports.consistency.settings import (
    impossible_engine,
    unexplained_settings,
    wrong_fingerprint,
)
from reports.runs.bounds import Bounds, bounds_of
from reports.runs.results import (
    Finding,
    FindingKind,
    Run,
    budget_of,
)
from suite.configuration.protocol import Protocol
from suite.storage.digests import Verdict
from suite.storage.records import Cell, CurveRow, Ledger, RunRecord, Status
from suite.storage.run_directory import RunDirectory

Fault = tuple[FindingKind, str]
"""What is wrong with a cell, and a sentence that says how."""


Episodes = tuple[np.ndarray, np.ndarray]
"""Environment steps [P] and returns [P, M, E]."""


def contradictions(
    cell: Cell,
    record: RunRecord | None,
    status: Status | None,
    rows: Sequence[CurveRow],
    read_episodes: Callable[[], Episodes | None],
) -> Iterator[Fault]:
    """Yields where a cell's files disagree with each other, its place or its task's bounds."""
    bounds = Bounds()
    if record is None:
        yield "damaged", "run.json is missing, so it is not known what ran"
    else:
        stored = record.configuration
        if (stored.algorithm, stored.task, stored.seed) != (cell.algorithm, cell.task, cell.seed):
            where = f"{stored.task}/{stored.algorithm} seed {stored.seed}"
            yield "edited", f"its run.json is that of {where}"
        try:
            bounds = bounds_of(stored)
        except ValueError as error:
            yield "damaged", f"its run.json says {error}"
    returns = [row.return_mean for row in rows if math.isfinite(row.return_mean)]
    outside = [value for value in returns if not bounds.hold(value)]
    if outside:
        yield "out of bounds", f"has a return of {outside[0]:g}, outside {bounds}"
        return
    if rows and status is not None and status.state == "done":
        yield from _missing_end(status, rows)
    yield from _disagreements(status, rows, read_episodes)


def doubts(evidence: Evidence, settings: Sequence[str] | None) -> Iterator[Contradicted]:
    """Yields where the numbers of a cell, each possible by itself, are at odds.

    Args:
        evidence: all that its files say.
        settings: see `unexplained_settings`.
    """
    yield from off_the_grid(evidence)
    yield from contradicted_counts(evidence)
    yield from steps_of_evaluations(evidence)
    yield from strange_files(evidence)
    yield from strange_decoder(evidence)
    yield from wrong_fingerprint(evidence)
    yield from unexplained_settings(evidence, settings)
    yield from impossible_engine(evidence)
    yield from impossible_seconds(evidence)


DISABLING: frozenset[FindingKind] = frozenset(
    {"off the grid", "ledger", "evaluation steps", "other files"}
)
"""Contradictions after which it is not known what a cell's returns are of."""


def _missing_end(status: Status, rows: Sequence[CurveRow]) -> Iterator[Fault]:
    """Yields why the curve of a finished run does not tell its final return."""
    end = status.ledger.env_steps
    if rows[-1].env_steps != end:
        yield "damaged", f"its curve ends at {rows[-1].env_steps} steps, the run at {end}"
    elif not all(math.isfinite(row.return_mean) for row in rows if row.env_steps == end):
        yield "damaged", "its last evaluation is not finite, though the run is marked as done"


def _disagreements(
    status: Status | None,
    rows: Sequence[CurveRow],
    read_episodes: Callable[[], Episodes | None],
) -> Iterator[Fault]:
    """Yields the first place where a curve is not the mean of the stored episodes."""
    episodes = read_episodes()
    finished = status is not None and status.finished
    if episodes is None:
        if rows:
            yield "damaged", "episodes.npz is missing, so its curve cannot be checked"
        return
    env_steps, returns = episodes
    if returns.ndim != 3 and len(rows):
        yield "damaged", "episodes.npz holds no returns of evaluations"
        return
    if returns.ndim != 3:  # of a run that diverged before its first evaluation
        returns = np.empty((0, 0, 1))
    modes = returns.shape[1]
    expected = returns.mean(axis=-1, dtype=np.float64).reshape(-1)
    steps = np.repeat(env_steps, modes)
    if finished and len(expected) != len(rows):
        yield "edited", f"its curve has {len(rows)} rows, its episodes make {len(expected)}"
    deviations = returns.std(axis=-1, dtype=np.float64).reshape(-1)
    for row, mean, deviation, step in zip(rows, expected, deviations, steps, strict=False):
        where = f"at {row.env_steps} steps ({row.mode})"
        if row.env_steps != step or not _same(row.return_mean, mean):
            text = f"its curve says {row.return_mean:g} {where}, its episodes {mean:g} at {step}"
            yield "edited", text
            return
        if math.isfinite(mean) and not _same(row.return_std, deviation):
            text = f"its curve says a spread of {row.return_std:g} {where}, its episodes "
            yield "edited", f"{text}{deviation:g}"
            return
        if row.episodes != returns.shape[-1]:
            text = f"its curve says {row.episodes} episodes {where}, there are "
            yield "edited", f"{text}{returns.shape[-1]}"
            return
    if status is not None and status.finished:
        yield from _status_contradictions(status, rows, modes)


def _same(a: float, b: float) -> bool:
    both_nan = math.isnan(a) and math.isnan(b)
    return both_nan or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)


def _status_contradictions(status: Status, rows: Sequence[CurveRow], modes: int) -> Iterator[Fault]:
    """Yields where a finished run's status and the end of its curve tell different things."""
    order = [row.mode for row in rows[:modes]]
    if len(set(order)) != modes or any(
        row.mode != order[index % modes] for index, row in enumerate(rows)
    ):
        yield "edited", "the modes of its curve are not in order"
        return
    for row in rows[-modes:] if modes else ():
        told = status.returns.get(row.mode)
        if math.isfinite(row.return_mean) and (told is None or not _same(told, row.return_mean)):
            yield "edited", f"its status says {told} ({row.mode}), its curve {row.return_mean:g}"
            return
    names = [field.name for field in dataclasses.fields(Ledger)]
    if status.state == "done" and rows:
        for name in names:
            told, counted = getattr(status.ledger, name), getattr(rows[-1], name)
            if told != counted:
                yield "edited", f"its status says {told:,} {name}, its curve {counted:,}"
                return


def file_faults(
    directory: RunDirectory,
    cell: Cell,
    record: RunRecord | None,
    status: Status | None,
    files: Verdict,
) -> list[Fault]:
    """Returns what the digests of a cell's files find."""
    if not files.recorded:
        lost = record is not None and record.configuration.eval_starts is not None
        return [("damaged", "digests.json is missing, though its run wrote one")] * lost
    if files.problem:
        return [("damaged", f"digests.json {files.problem}")]
    if status is None or (status.state != "done" and directory.is_locked(cell)):
        return []  # who reads while files are being replaced may see some of two saves
    edited = [f"{name} {files.change(name)}" for name in files.changed]
    if status.state == "done":
        # Whatever a save replaces is in place before the status says that all is done.
        edited += [f"{name} is from before the last save" for name in files.unsaved]
    lost_files = [f"{name} is missing" for name in files.missing]
    faults: list[Fault] = []
    if edited:
        faults.append(("edited", ", ".join(edited)))
    if lost_files:
        faults.append(("damaged", ", ".join(lost_files)))
    return faults


def state_findings(
    run: Run, protocol: Protocol, not_finite: int, drops: Collection[int] = ()
) -> Iterator[Finding]:
    """Yields how far a run came, if not to the end of its budget with finite returns.

    Args:
        run: a cell as read.
        protocol: of its run directory.
        not_finite: rows of its curve that were left out for that.
        drops: updates after which the search that it is of drops runs, see `dropped_after`.
    """
    status = run.status
    if run.state == "diverged" and status and status.divergence:
        step, leaf = status.divergence.step, status.divergence.leaf
        yield Finding("diverged", run.run_id, f"diverged after {step:,} steps, in {leaf}")
    if run.state == "running":
        done = f"{status.updates} of {status.total_updates}" if status else "none of its"
        if status and status.updates in drops:
            yield Finding("dropped", run.run_id, f"dropped by its search, {done} updates made")
        else:
            yield Finding("partial", run.run_id, f"not finished: {done} updates made")
    if not_finite:
        yield Finding("not finite", run.run_id, f"{not_finite} evaluations were not finite")
    budget = budget_of(protocol)
    if run.state == "done" and status and status.ledger.env_steps != budget:
        text = f"took {status.ledger.env_steps:,} steps where the budget is {budget:,}"
        yield Finding("budget", run.run_id, text)
    if run.state == "done" and run.curve.empty:
        yield Finding("damaged", run.run_id, "is finished but has no evaluation")


def earlier_tries(run: Run, count: int) -> Iterator[Finding]:
    """Yields that a cell is not its seed's first try: who tries until it works, selects."""
    if count:
        times = "once" if count == 1 else f"{count} times"
        text = f"diverged {times} before and was started afresh: not the first try of its seed"
        yield Finding("retried", run.run_id, text)
