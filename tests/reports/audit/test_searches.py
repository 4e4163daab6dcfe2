"""Runs that a search for settings dropped on purpose, and others that only did not get there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from generate import generate_runs, write_cell

from reports.audit.all_checks import audit
from reports.runs.loading import load_results
from suite.common.files import json_bytes
from suite.configuration.effort import RECORD, Effort
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory

POINTS = 5
TASK = "CheetahRun"


def candidate(path: Path, evaluations: int) -> RunDirectory:
    """A search's run directory of 40 updates: one method finished, one after so many points."""
    run = generate_runs(path / "candidate-00", ("ppo",), (TASK,), (100,), POINTS)
    job = Job("fpo", TASK, (100,))
    write_cell(run, job.cells[0], job, POINTS, state="running", evaluations=evaluations)
    return run


def note_search(run: RunDirectory, **changes: object) -> None:
    """Writes the record of a search whose first rung ends after 20 of 40 updates."""
    effort = Effort(run.protocol, (TASK,), (100,), 8, (0.5, 1.0), 4, 0, "native")
    changed = dataclasses.replace(effort, **changes)  # type: ignore[arg-type]
    (run.path.parent / RECORD).write_bytes(json_bytes(changed.to_dict()))


def verdict(run: RunDirectory) -> str:
    found = {check.name: check for check in audit(load_results([run.path]))}
    return found["finished"].verdict


def test_a_run_dropped_at_the_end_of_a_rung_is_no_fault(tmp_path: Path) -> None:
    run = candidate(tmp_path, evaluations=3)  # 20 updates
    assert verdict(run) == "failed"
    note_search(run)
    assert verdict(run) == "warning"


def no_record(run: RunDirectory) -> None:
    (run.path.parent / RECORD).unlink(missing_ok=True)


def damaged(run: RunDirectory) -> None:
    (run.path.parent / RECORD).write_text("{")


def other_rules(run: RunDirectory) -> None:
    note_search(run, protocol=dataclasses.replace(run.protocol, discount=0.5))


def other_rungs(run: RunDirectory) -> None:
    note_search(run, rungs=(0.25, 1.0))


@pytest.mark.parametrize("change", [no_record, damaged, other_rules, other_rungs])
def test_without_a_search_that_says_so_it_is_unfinished(
    tmp_path: Path, change: Callable[[RunDirectory], None]
) -> None:
    run = candidate(tmp_path, evaluations=3)
    change(run)
    assert verdict(run) == "failed"


def test_a_run_between_two_rungs_is_unfinished(tmp_path: Path) -> None:
    run = candidate(tmp_path, evaluations=2)  # 10 updates
    note_search(run)
    assert verdict(run) == "failed"
