"""`suite ablate` and `suite tune` on every core: the same files, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from processes.killing import (
    ROOT,
    assert_readable,
    finish,
    results,
    small_protocol,
    start,
    starts,
)

from suite.cluster import companions, places
from suite.cluster.companions import slots_of
from suite.commands.options import cores_option
from suite.common.errors import UserError


@pytest.mark.parametrize(
    ("where", "engine", "jobs", "seconds", "cores"),
    [
        ("here", "native", 9, 9e9, []),
        ("auto", "native", 9, 119.0, []),
        ("auto", "native", 9, None, []),
        ("auto", "jax", 9, 9e9, []),
        ("auto", "native", 9, 120.0, [(4,), (5,), (7,), (9,)]),
        ("auto", "native", 2, 120.0, [(4,), (5,)]),
        ("auto", "native", 1, 9e9, []),
        ("auto", "native", 0, 9e9, []),
        ("local", "native", 9, None, [(4,), (5,), (7,), (9,)]),
        ("local:2", "native", 9, 0.0, [(4, 5), (7, 9)]),
        ("local:1", "native", 9, 9e9, []),
        ("local:1", "jax", 9, 9e9, []),
    ],
)
def test_who_trains_on_what(
    where: str,
    engine: str,
    jobs: int,
    seconds: float | None,
    cores: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (places, companions):
        monkeypatch.setattr(module, "usable_cores", lambda: [4, 5, 7, 9])
    assert [slot.cores for slot in slots_of(where, engine, jobs, seconds)] == cores


def test_a_companion_has_none_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_COMPANION", "1")
    assert slots_of("local:2", "native", 9, 9e9) == []


def test_what_is_said_of_runs_counts_as_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    @click.command()
    @cores_option
    def command(where: str) -> None:
        said.append(where)

    for place in ("slurm", "tcp://host:8786", "here"):
        monkeypatch.setenv("SUITE_ON", place)
        command([], standalone_mode=False)
    assert said == ["auto", "auto", "here"]
    with pytest.raises(UserError, match="among processes of one machine"):
        command(["--on", "slurm"], standalone_mode=False)


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
        slots_of(where, engine, 9, None)


def test_a_companion_that_ends_badly_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["suite", "list", "nothing"])
    before = os.sched_getaffinity(0)
    slots = [places.Slot(f"local-{index}", tuple(before)) for index in range(2)]
    told, deadline = "", time.monotonic() + 60
    with companions.companions(slots):
        while "beside this one" not in told:  # at once, not when this one ends
            assert time.monotonic() < deadline
            time.sleep(0.05)
            told += capsys.readouterr().err
    assert os.sched_getaffinity(0) == before
    assert told.count("suite: ") == 1
    assert "a process beside this one ended with exit code 2: error: " in told


_ASKED_FOR_GOOD = """
import time
from suite.cluster.companions import companions
from suite.common import interrupt
with companions([]):
    while not interrupt.requested():
        time.sleep(0.01)
    with interrupt.handling():  # as every launch of a loop has it
        assert interrupt.requested()
    assert interrupt.requested()
print("stopped")
"""


def test_a_companion_stops_for_good_when_its_input_ends() -> None:
    found = subprocess.run(
        [sys.executable, "-c", _ASKED_FOR_GOOD],
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "SUITE_COMPANION": "1", "PYTHONPATH": str(ROOT)},
    )
    assert found.stdout == "stopped\n", found.stderr


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
        longer = ("--set", "protocol.total_steps=6400")
        code, errors = finish(start(ablation(tmp_path, out, *longer, "--on", where)))
        assert code == 0, errors
        assert "ended with exit code" not in errors
    assert results(tmp_path / "one") == results(tmp_path / "two")
    # A process has one name for each arm, so two names in an arm are two processes.
    names = [set(map(tuple, starts(tmp_path / "two" / arm).values())) for arm in ("0.01", "0.02")]
    assert max(map(len, names)) == 2


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
    stopped_at = time.time()
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    while any(map(_is_alive, beside)):
        assert time.monotonic() < deadline + 120
        time.sleep(0.1)
    saved = [file.stat().st_mtime for file in (tmp_path / "run").rglob("job-*.ckpt")]
    # The command itself saves too, unless it was killed.
    assert sum(at > stopped_at for at in saved) == (2 if number == signal.SIGINT else 1)
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
