"""Seeds that diverge: told by the exit code, kept, and started afresh when asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commanding import SMOKE, FakeTraining, Suite

from suite.common.files import move
from suite.leases.worker import Worker
from suite.planning.run_request import make_request
from suite.storage import run_directory
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory
from suite.training import launch
from suite.training.context import RunContext
from suite.training.progress import Progress


def test_a_diverged_seed_gives_exit_code_1_and_the_others_go_on(
    suite: Suite, training: FakeTraining
) -> None:
    training.diverge = (1,)
    result = suite("run", *SMOKE)
    assert result.code == 1
    assert len(training.jobs) == 2
    assert "diverged: CheetahRun/ppo/seed-001, CheetahRun/gorl-fm/seed-001;" in result.err
    assert suite("run", *SMOKE).code == 1  # still so when there is nothing left to do
    assert "diverged at 320 in critic" in suite("status", "runs/smoke").out


def test_diverged_seeds_start_afresh_only_when_asked(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    training.diverge = (1,)
    suite("run", *SMOKE)
    training.diverge = ()
    assert suite("run", *SMOKE).code == 1
    assert len(training.jobs) == 2
    result = suite("run", *SMOKE, "--retry-diverged")
    assert result.code == 0
    assert "ppo/seed-001 starts afresh; its diverged run is in runs/smoke" in result.err
    assert [str(job) for job in training.jobs[2:]] == [
        "CheetahRun/ppo seeds 1",
        "CheetahRun/gorl-fm seeds 1",
    ]
    kept = tmp_path / "runs" / "smoke" / "CheetahRun" / "ppo" / "seed-001.diverged-1"
    assert json.loads((kept / "status.json").read_text())["state"] == "diverged"
    assert json.loads((kept / "run.json").read_text())["configuration"]["seeds_together"] == [0, 1]
    assert "done, 1 earlier diverged" in suite("status", "runs/smoke").out
    for options in ((), ("--retry-diverged",)):
        assert suite("run", *SMOKE, *options).code == 0
    assert len(training.jobs) == 4


def test_a_seed_that_diverges_again_is_kept_again(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    training.diverge = (0, 1)
    suite("run", *SMOKE)
    for _ in range(2):
        assert suite("run", *SMOKE, "--retry-diverged").code == 1
    assert [job.seeds for job in training.jobs] == [(0, 1)] * 6
    directory = tmp_path / "runs" / "smoke" / "CheetahRun" / "ppo"
    kept = sorted(path.parent.name for path in directory.glob("seed-000.*/run.json"))
    assert kept == ["seed-000.diverged-1", "seed-000.diverged-2"]
    assert len(RunDirectory.open(tmp_path / "runs" / "smoke").cells()) == 4


def test_two_that_retry_at_once_leave_no_checkpoint_behind(
    suite: Suite, training: FakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one process puts seed 0 away, another tries to put seed 1 away."""
    training.diverge = (0, 1)
    suite("run", *SMOKE)
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    job = Job("ppo", "CheetahRun", (0, 1))
    run.checkpoint_path(job).write_bytes(b"diverged")
    with Worker(run.path) as one, Worker(run.path) as two:
        shifts = [putting_away(run, worker, dict.fromkeys(job.cells, 0)) for worker in (one, two)]
        settled = []

        def moving(path: Path, target: Path) -> None:
            monkeypatch.setattr(run_directory, "move", move)
            settled.append(shifts[1]._put_away(job.cells[1], job))
            move(path, target)

        monkeypatch.setattr(run_directory, "move", moving)
        assert shifts[0]._put_away(job.cells[0], job)
        assert settled == [False]
        assert shifts[1]._put_away(job.cells[1], job)
    directory = run.path / "CheetahRun" / "ppo"
    found = [path.parent.name for path in directory.rglob("*.ckpt")]
    assert found == ["seed-001.diverged-1"]


def test_what_another_process_tried_again_is_not_put_away(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    training.diverge = (0, 1)
    suite("run", *SMOKE)
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    job = Job("ppo", "CheetahRun", (0, 1))
    with Worker(run.path) as late:
        shift = putting_away(run, late, dict.fromkeys(job.cells, 0))
        suite("run", *SMOKE, "--retry-diverged")
        assert all(shift._put_away(cell, job) for cell in job.cells)
    assert [run.divergences_kept(cell) for cell in job.cells] == [1, 1]


def putting_away(run: RunDirectory, worker: Worker, retry: dict[Cell, int]) -> launch.Shift:
    request = make_request("ppo", "CheetahRun", "2", "smoke", "native", run.path, ())
    return launch.Shift(RunContext(request, run, Progress(), worker), worker, retry)
