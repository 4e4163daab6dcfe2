"""Commands that share a run directory with other processes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from commanding import SMOKE, FakeTraining, Suite

from suite import cli
from suite.configuration.protocol import load_protocol
from suite.leases.lease import Lease, LeaseLost
from suite.leases.worker import Worker
from suite.planning.plan import Plan
from suite.planning.run_request import RunRequest, make_request
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory
from suite.training import launch
from suite.training.context import JobResult, RunContext


def test_a_seed_taken_by_another_group_is_no_riddle(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    """As older versions could leave it, when a run died before seed 1 had its run.json."""
    suite("run", *SMOKE)
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    alone = run.cell_path(Cell("ppo", "CheetahRun", 1)) / "run.json"
    alone.write_text(alone.read_text().replace('"seeds_together": [\n   0,', '"seeds_together": ['))
    begun = run.cell_path(Cell("ppo", "CheetahRun", 0))
    (begun / "status.json").unlink()
    result = suite("run", *SMOKE, "--lease-seconds", "0.5")
    assert result.code == cli.EXIT_USER_ERROR
    assert "ppo/seed-000 away, and run the same command again" in result.err
    begun.rename(tmp_path / "away")
    assert suite("run", *SMOKE).code == 0
    assert [job.seeds for job in training.jobs] == [(0, 1), (0, 1), (0,)]


@pytest.fixture
def held(suite: Suite, training: FakeTraining, tmp_path: Path) -> Iterator[Lease]:
    """Seed 1 of ppo is another process's, in a run directory where nothing was trained yet."""
    run = RunDirectory.create(tmp_path / "runs" / "smoke", load_protocol("smoke"))
    with Worker(run.path) as other:
        yield other.acquire([run.cell_path(Cell("ppo", "CheetahRun", 1))])


def test_a_job_that_was_taken_over_is_left_or_taken_back(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [LeaseLost("runs/smoke/x was taken over by another process")]

    def lose_once(job: Job, context: RunContext) -> JobResult:
        if lost:
            raise lost.pop()
        return training(job, context)

    monkeypatch.setattr(launch, "run_job", lose_once)
    result = suite("run", *SMOKE)
    assert result.code == 0
    assert (
        result.err.splitlines().count("suite: runs/smoke/x was taken over by another process") == 1
    )
    assert [job.algorithm for job in training.jobs] == ["gorl-fm", "ppo"]


def test_what_another_process_trains_is_left_to_it(
    suite: Suite, training: FakeTraining, held: Lease
) -> None:
    assert suite("status", "runs/smoke").out == "no cell was started yet\n"
    result = suite("run", *SMOKE, "--no-wait")
    assert result.code == 3
    assert [job.algorithm for job in training.jobs] == ["gorl-fm"]
    assert result.err.splitlines()[-1] == (
        "suite: left to other processes: CheetahRun/ppo seeds 0-1; everything else is done"
    )
    held.check()


def test_what_another_process_lets_go_of_is_taken_up(
    suite: Suite, training: FakeTraining, held: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = launch.Shift._wait_for

    def wait_once(self: launch.Shift, jobs: list[Job]) -> None:
        wait(self, jobs)
        held.release()

    monkeypatch.setattr(launch.Shift, "_wait_for", wait_once)
    result = suite("run", *SMOKE, "--lease-seconds", "0.5")
    assert result.code == 0
    assert [job.algorithm for job in training.jobs] == ["gorl-fm", "ppo"]
    waiting = "suite: waiting for other processes to finish CheetahRun/ppo seeds 0-1"
    assert result.err.splitlines().count(waiting) == 1


def test_an_arm_that_another_process_trains_is_waited_for_last(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ablate = ("ablate", "normalizer", *SMOKE[2:], "--algos", "ppo", "--seeds", "1", "--out", "out")
    seen: list[str] = []

    def train(job: Job, context: RunContext) -> JobResult:
        result = training(job, context)
        seen.append(context.run.path.name)
        if len(seen) == 3:
            theirs.release()
        return result

    monkeypatch.setattr(launch, "run_job", train)
    with Worker(tmp_path / "out" / "cumulative-after") as other:
        cell = tmp_path / "out" / "cumulative-after" / "CheetahRun" / "ppo" / "seed-000"
        theirs = other.acquire([cell])
        guard = threading.Timer(60.0, theirs.release)  # or a wrong order would wait for ever
        guard.start()
        assert suite(*ablate).code == 0
        guard.cancel()
    assert seen == ["cumulative-before", "legacy-after", "legacy-before", "cumulative-after"]


def test_seeds_that_another_process_has_begun_in_its_own_group_stay_there(
    suite: Suite,
    training: FakeTraining,
    held: Lease,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between this command's plan and its turn, another one finishes seed 1 alone."""
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    cell, job = Cell("ppo", "CheetahRun", 1), Job("ppo", "CheetahRun", (1,))

    def finish() -> None:
        run.write_run(dataclasses.replace(configuration, seeds_together=job.seeds), {})
        with run.files(cell).batch() as batch:
            batch.put_status(training.status(cell))
        held.release()

    suite("run", *SMOKE, "--no-wait")
    stored = run.files(Cell("gorl-fm", "CheetahRun", 1)).read_run()
    assert stored is not None
    other = make_request("ppo", "CheetahRun", "1", "smoke", "native", None, ())
    configuration = dataclasses.replace(
        stored.configuration, algorithm="ppo", hyperparameters=other.hyperparameters["ppo"]
    )
    checked = RunRequest.check_methods

    def meanwhile(request: RunRequest, plan: Plan) -> None:
        checked(request, plan)
        finish()

    monkeypatch.setattr(RunRequest, "check_methods", meanwhile)
    result = suite("run", *SMOKE, "--lease-seconds", "0.5")
    assert result.code == 0, result.err
    assert [str(each) for each in training.jobs[1:]] == ["CheetahRun/ppo seeds 0"]
