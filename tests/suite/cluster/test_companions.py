"""`suite ablate` and `suite tune` on every core: the same files, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes.killing import assert_readable, finish, results, small_protocol, start

from suite.cluster import companions, places
from suite.cluster.companions import slots_of
from suite.common.errors import UserError
from suite.storage.run_directory import RunDirectory


@pytest.mark.parametrize(
    ("where", "engine", "seconds", "cores"),
    [
        ("here", "native", 9e9, []),
        ("beside", "native", 9e9, []),
        ("auto", "native", 119.0, []),
        ("auto", "native", None, []),
        ("auto", "jax", 9e9, []),
        ("auto", "native", 120.0, [(4,), (5,), (7,), (9,)]),
        ("local", "native", None, [(4,), (5,), (7,), (9,)]),
        ("local:2", "native", 0.0, [(4, 5), (7, 9)]),
        ("local:1", "native", 9e9, []),
        ("local:1", "jax", 9e9, []),
    ],
)
def test_who_trains_on_what(
    where: str,
    engine: str,
    seconds: float | None,
    cores: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (places, companions):
        monkeypatch.setattr(module, "usable_cores", lambda: [4, 5, 7, 9])
    assert [slot.cores for slot in slots_of(where, engine, seconds)] == cores


@pytest.mark.parametrize(
    ("where", "engine", "said"),
    [
        ("slurm", "native", "among processes of one machine"),
        ("tcp://host:8786", "native", "among processes of one machine"),
        ("local:2", "jax", "CUDA_VISIBLE_DEVICES"),
        ("locale", "native", "local"),
    ],
)
def test_places_that_are_not_of_this_machine_are_refused(
    where: str, engine: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        slots_of(where, engine, None)


def test_a_companion_that_ends_badly_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["suite", "list", "protocols"])
    before = os.sched_getaffinity(0)
    slots = [places.Slot(f"local-{index}", tuple(before)) for index in range(2)]
    with companions.companions(slots):
        pass
    assert os.sched_getaffinity(0) == before
    told = capsys.readouterr().err  # `suite list` has no --on
    assert "a process beside this one ended with exit code 2: " in told
    assert "--on" in told


def ablation(directory: Path, out: str, *options: str) -> list[str]:
    """Returns a command for two arms, two seeds each, on a protocol that evaluates often."""
    recipe = directory / "entropy.toml"
    recipe.write_text(
        f'description = "entropy"\nprotocol = "{small_protocol(directory)}"\nalgos = "ppo"\n'
        'tasks = "CheetahRun"\nseeds = "2"\n[axes]\n"ppo.entropy_cost" = [0.01, 0.02]\n'
    )
    return ["ablate", str(recipe), "--out", str(directory / out), *options]


@pytest.mark.slow
def test_two_processes_store_the_bytes_of_one(tmp_path: Path) -> None:
    for out, where in (("one", "here"), ("two", "local:2")):
        code, errors = finish(start(ablation(tmp_path, out, "--on", where)))
        assert code == 0, errors
        assert "ended with exit code" not in errors
    assert results(tmp_path / "one") == results(tmp_path / "two")
    workers = {
        str(record.provenance[0]["worker"])
        for arm in ("0.01", "0.02")
        for run in [RunDirectory.open(tmp_path / "two" / arm)]
        for cell in run.cells()
        if (record := run.files(cell).read_run()) is not None
    }
    assert len(workers) > 1  # a process has one name for each arm


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_companion_outlives_the_command(tmp_path: Path, number: signal.Signals) -> None:
    command = ablation(tmp_path, "run", "--set", "protocol.total_steps=64000", "--on", "local:2")
    process = start(command)
    assert process.stderr is not None
    for line in process.stderr:
        if "return" in line:
            break
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "run").glob("*/*/*/seed-*/curve.csv"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    beside = _children_of(process.pid)
    assert beside
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    while any(map(_is_alive, beside)):
        assert time.monotonic() < deadline + 120
        time.sleep(0.1)
    for run in (tmp_path / "run").glob("0.0*"):
        assert_readable(run)


def _children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
