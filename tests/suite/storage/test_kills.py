"""Runs that are killed at any moment, and runs that share a directory: nothing lost, nothing
done twice, and not a bit different from a run that nothing happened to.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from processes import killing
from processes.killing import Moment

from benchmarks.speed import stopping

# A refit, a change of stage, an evaluation, and the checkpoint's own write are among them.
QUICK: tuple[Moment, ...] = (
    ("half:job-*.ckpt", 2, 100_000),
    ("during:advance", 1, 0.0),
)
MOMENTS: dict[str, tuple[Moment, ...]] = {
    "ppo": (
        ("after:run.json", 1, 0),
        ("half:job-*.ckpt", 1, 20_000),
        ("before:job-*.ckpt", 3, 0),
        ("after:job-*.ckpt", 2, 0),
        ("during:evaluate", 2, 0.0),
        ("half:curve.csv", 3, 100),
    ),
    "fpo": (
        ("half:run.json", 2, 1000),
        ("during:train", 1, 0.01),
        ("after:curve.csv", 2, 0),
        ("after:job-*.ckpt.digests", 1, 0),
        ("before:status.json", 4, 0),
        ("during:evaluate", 2, 0.02),
    ),
    "dppo": (
        ("before:run.json", 1, 0),
        ("half:job-*.ckpt", 2, 50_000),
        ("during:train", 2, 0.0),
        ("after:episodes.npz", 3, 0),
        ("after:job-*.ckpt", 4, 0),
    ),
    "gorl-fm": (
        ("during:evaluate", 1, 0.0),
        ("half:job-*.ckpt", 3, 100_000),
        ("during:advance", 1, 0.0),
        ("before:job-*.ckpt", 1, 0),
        ("during:advance", 2, 0.01),
        ("after:job-*.ckpt", 1, 0),
        ("during:advance", 1, 0.02),
    ),
    "gorl-diff": (
        ("after:job-*.ckpt", 3, 0),
        ("during:advance", 1, 0.005),
        ("half:metrics.csv", 2, 50),
        ("during:train", 2, 0.0),
        ("half:status.json", 1, 20),
    ),
}
RANDOM_SEEDS = (0, 1)
OTHER_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return killing.small_protocol(tmp_path_factory.mktemp("protocol"))


def uninterrupted(protocol: Path, algorithms: str, out: Path) -> Path:
    """Trains in one process that nothing happens to."""
    code, errors = killing.finish(killing.start(killing.arguments(protocol, algorithms, out)))
    assert code == 0, errors
    return out


def kill_in_turn(command: list[str], out: Path, moments: tuple[Moment, ...]) -> None:
    """Starts the same command again and again; it dies at each of the moments in turn."""
    for moment in moments:
        code, errors = killing.finish(killing.start(command, moment))
        assert code == -signal.SIGKILL, f"{moment} never came: {errors}"
        killing.assert_readable(out)


def kill_at_random(command: list[str], out: Path, seed: int, seconds: float) -> None:
    """Kills a run from outside, within the first 0.3 of the `seconds` that it certainly takes."""
    process = killing.start(command)
    assert process.stderr is not None
    for line in process.stderr:
        if "compiling" in line:
            break
    time.sleep(random.Random(seed).uniform(0.0, 0.3) * seconds)
    process.kill()
    code, errors = killing.finish(process)
    assert code == -signal.SIGKILL, f"it had ended before: {errors}"
    killing.assert_readable(out)


def test_a_run_that_is_killed_again_and_again_ends_as_if_never_killed(
    protocol: Path, tmp_path: Path
) -> None:
    whole, out = uninterrupted(protocol, "gorl-fm", tmp_path / "whole"), tmp_path / "run"
    command = killing.arguments(protocol, "gorl-fm", out)
    kill_in_turn(command, out, QUICK)
    newest = out / "CheetahRun" / "gorl-fm" / "job-000-001.ckpt"
    newest.write_bytes(newest.read_bytes()[:1000])
    code, errors = killing.finish(killing.start(command))
    assert code == 0, errors
    killing.assert_readable(out)
    said = [line for line in errors.splitlines() if "ckpt" in line]
    assert len(said) == 1
    assert said[0].startswith(f"suite: {newest} is damaged (")
    assert said[0].endswith("); going on from job-000-001.ckpt.prev")
    assert killing.results(out) == killing.results(whole)
    assert len(killing.results(out)) > 10
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize(
    "number",
    [signal.SIGUSR1, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHER_SIGNALS)],
)
def test_a_run_that_is_told_to_stop_does_not_wait_for_the_end_of_a_chunk(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = killing.small_protocol(tmp_path)
    endless = path.read_text().replace("eval_interval = 1", "eval_interval = 1_000_000")
    path.write_text(endless.replace("total_steps = 640", "total_steps = 160_000_000"))
    options = argparse.Namespace(task="CheetahRun", algorithm="ppo", protocol=path, delay=0.0)
    stop = stopping.stop_by(number, tmp_path / "run", options)
    assert 1 <= stop.before <= stop.after < 1_000_000
    assert list((tmp_path / "run").rglob("job-*.ckpt.part"))
    killing.assert_readable(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", MOMENTS)
def test_kills_at_many_moments_change_nothing(
    protocol: Path, tmp_path: Path, algorithm: str
) -> None:
    whole, broken = uninterrupted(protocol, algorithm, tmp_path / "whole"), tmp_path / "broken"
    command = killing.arguments(protocol, algorithm, broken)
    for seed in RANDOM_SEEDS:
        kill_at_random(command, broken, seed, killing.seconds_of_a_job(whole))
    kill_in_turn(command, broken, MOMENTS[algorithm])
    code, errors = killing.finish(killing.start(command))
    assert code == 0, errors
    killing.assert_readable(broken)
    assert killing.results(broken) == killing.results(whole)
    assert not list(broken.rglob("*.tmp"))


@pytest.mark.slow
def test_three_processes_divide_the_jobs_and_bury_the_one_that_dies(
    protocol: Path, tmp_path: Path
) -> None:
    whole = uninterrupted(protocol, "ppo,dppo,gorl-fm", tmp_path / "whole")
    out = tmp_path / "run"
    command = killing.arguments(protocol, "ppo,dppo,gorl-fm", out)
    processes = [killing.start(command, ("during:train", 1, 0.0))]
    time.sleep(0.5)  # so that the doomed one certainly gets a job
    processes += [killing.start(command) for _ in range(2)]
    (doomed, _), *others = _finish_all(processes)
    assert doomed == -signal.SIGKILL
    assert [code for code, _ in others] == [0, 0], others
    assert killing.results(out) == killing.results(whole)
    starts = killing.starts(out)
    assert len(starts) == 6
    # Two cells, one job's, were started by the process that died and once more; the rest once.
    assert sorted(len(workers) for workers in starts.values()) == [1, 1, 1, 1, 2, 2]
    assert all(len(set(workers)) == len(workers) for workers in starts.values())
    twice = {name for name, workers in starts.items() if len(workers) == 2}
    assert len({name.rpartition("/")[0] for name in twice}) == 1
    for name, workers in starts.items():
        # Each start is a claim; all but the dead process's ended with letting go.
        assert (out / name / f".lease-{2 * len(workers) - (name in twice):06d}").exists()
        assert not (out / name / f".lease-{2 * len(workers) - (name in twice) + 1:06d}").exists()


def _finish_all(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    found: dict[int, tuple[int, str]] = {}

    def wait(index: int) -> None:
        found[index] = killing.finish(processes[index])

    threads = [threading.Thread(target=wait, args=(index,)) for index in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[index] for index in range(len(processes))]
