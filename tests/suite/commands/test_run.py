"""`suite run`, `status` and `eval`: what is trained, skipped, taken up again and told."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commanding import SMOKE, FakeTraining, Suite

from suite.leases.worker import Worker
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory
from suite.training import launch, stored_policies


def test_run_trains_reports_and_then_skips(suite: Suite, training: FakeTraining) -> None:
    assert suite("run", *SMOKE).code == 0
    assert [str(job) for job in training.jobs] == [
        "CheetahRun/ppo seeds 0-1",
        "CheetahRun/gorl-fm seeds 0-1",
    ]
    assert suite("run", *SMOKE).code == 0
    assert len(training.jobs) == 2
    assert suite("run", *SMOKE[:-1], "3").code == 0
    assert [job.seeds for job in training.jobs[2:]] == [(2,), (2,)]
    result = suite("status", "runs/smoke", "--json")
    cells = json.loads(result.out)
    assert len(cells) == 6
    assert cells[0] == {
        "task": "CheetahRun",
        "algorithm": "gorl-fm",
        "seed": 0,
        "state": "done",
        "updates": 4,
        "total_updates": 4,
        "env_steps": 640,
        "eval_steps": 8000,
        "wall_seconds": 3.0,
        "returns": {"deterministic": 12.5, "sample": 10.0},
        "diverged_at": None,
        "diverged_leaf": None,
        "divergences_kept": 0,
        "worker": None,
    }
    assert "6 cells: 6 done" in suite("status", "runs/smoke").out


def test_status_says_who_trains_a_cell(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite("run", *SMOKE)
    path = Path("runs/smoke/CheetahRun/ppo/seed-000")
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps({**status, "state": "running"}))
    with Worker(Path("runs/smoke"), name="node-7") as worker:
        lease = worker.acquire([path])
        assert "running on node-7" in suite("status", "runs/smoke").out
        lease.release()
    with Worker(Path("runs/smoke"), name="\x1b[2J") as worker:
        lease = worker.acquire([path])
        assert "\x1b" not in suite("status", "runs/smoke").out
        lease.release()
    assert "stopped" in suite("status", "runs/smoke").out


def test_jobs_that_were_given_up_end_the_command_otherwise(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suite.cluster import run_on
    from suite.cluster.sharing import Failure

    job = Job("ppo", "CheetahRun", (0, 1))
    for fault, code in ((True, 70), (False, 2)):
        failure = Failure(job, "ended by SIGSEGV", fault)
        shared = run_on.Shared(launch.Outcome((), interrupted=False), (failure,))
        monkeypatch.setattr(run_on, "launch_on", lambda *_, shared=shared: shared)
        result = suite("run", *SMOKE, "--on", "local")
        assert result.code == code
        assert "given up: CheetahRun/ppo seeds 0-1: ended by SIGSEGV" in result.err


def test_a_method_that_was_changed_since_is_named_before_it_goes_on(
    suite: Suite, training: FakeTraining, caplog: pytest.LogCaptureFixture
) -> None:
    suite("run", *SMOKE)
    path = Path("runs/smoke/CheetahRun/ppo/seed-000/run.json")
    record = json.loads(path.read_text())
    record["provenance"] = [{"method": {"source": "0" * 16}}]
    path.write_text(json.dumps(record))
    suite("run", *SMOKE)
    assert not caplog.records  # nothing is left to train
    suite("run", *SMOKE[:-1], "3")
    (told,) = [each.getMessage() for each in caplog.records]
    assert "the source of ppo was changed since runs/smoke/CheetahRun/ppo/seed-000" in told


def test_nothing_is_written_where_everything_is_done(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    suite("run", *SMOKE)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert suite("run", *SMOKE).code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_an_interrupted_run_gives_exit_code_130_and_goes_on_later(
    suite: Suite, training: FakeTraining
) -> None:
    training.stop_after = 1
    result = suite("run", *SMOKE)
    assert result.code == 130
    assert "the same command goes on from here" in result.err
    assert len(training.jobs) == 1
    assert suite("run", *SMOKE).code == 0
    assert [job.algorithm for job in training.jobs] == ["ppo", "gorl-fm"]


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--set", "ppo.clip=0.3"), "seed-000 was run with another configuration, which differs"),
        (("--engine", "jax"), "engine (native there, jax now)"),
        (("--seeds", "7", "--set", "*.learning_rate=1"), "learning_rate (0.0003 there, 1.0 now)"),
        (("--protocol", "lite", "--out", "runs/smoke"), "made by another protocol: it differs in"),
    ],
)
def test_what_contradicts_the_stored_runs_is_refused(
    suite: Suite, training: FakeTraining, tmp_path: Path, arguments: Sequence[str], expected: str
) -> None:
    suite("run", *SMOKE)
    before = files(tmp_path)
    for command in ("run", "plan"):
        result = suite(command, *SMOKE, *arguments)
        assert result.code == 2
        assert expected in result.err
    assert files(tmp_path) == before
    assert len(training.jobs) == 2


def test_a_run_in_a_thread(suite: Suite, training: FakeTraining) -> None:
    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(suite, "run", *SMOKE).result().code == 0
    assert len(training.jobs) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_eval_of_a_stored_policy(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite("run", *SMOKE)
    asked: list[Any] = []

    def stub(run: RunDirectory, *arguments: Any) -> np.ndarray:
        asked.append(arguments)
        return np.array([1.0, 2.0, 6.0])

    monkeypatch.setattr(stored_policies, "evaluate_stored", stub)
    where = ("--task", "CheetahRun", "--algo", "ppo", "--seed", "1")
    result = suite("eval", "runs/smoke", *where, "--episodes", "3", "--mode", "sample", "--json")
    assert asked == [(Cell("ppo", "CheetahRun", 1), 3, "sample", 0)]
    summary = json.loads(result.out)
    assert (summary["return_mean"], summary["returns"]) == (3.0, [1.0, 2.0, 6.0])
    assert summary["return_std"] == pytest.approx((14 / 3) ** 0.5)
    text = suite("eval", "runs/smoke", *where, "--episodes", "3", "--eval-seed", "9").out
    assert "return 3.0 (std 2.2 over 3 episodes)" in text
    assert asked[1] == (Cell("ppo", "CheetahRun", 1), 3, "deterministic", 9)
    for wrong, told in {
        "7": "runs/smoke has of ppo on CheetahRun the seeds 0-1, not 7",
        "ppoo": "unknown algorithm on CheetahRun in runs/smoke 'ppoo'; did you mean 'ppo'",
        "Cheetah": "unknown task in runs/smoke 'Cheetah'; did you mean 'CheetahRun'",
    }.items():
        changed = dict(zip(where[::2], where[1::2], strict=True))
        option = {"7": "--seed", "ppoo": "--algo", "Cheetah": "--task"}[wrong]
        missing = suite("eval", "runs/smoke", *itertools.chain(*{**changed, option: wrong}.items()))
        assert missing.code == 2 and told in missing.err
