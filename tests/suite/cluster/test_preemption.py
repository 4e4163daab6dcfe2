"""Workers that are killed, suspended or told to stop at any moment cost time and no number."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clustered.dask_processes import Cluster, cluster, family, send
from processes.killing import (
    ROOT,
    TWO_SEEDS,
    assert_readable,
    finish,
    results,
    small_protocol,
    start,
    starts,
)

pytestmark = pytest.mark.slow

RUNS = 20
LEASE_SECONDS = 3.0
EVENTS = ("kill", "kill the trainer", "kill the worker", "SIGTERM", "SIGUSR1", "suspend")


def arguments(protocol: Path, out: Path) -> list[str]:
    options = {"--protocol": protocol, "--out": out, "--lease-seconds": LEASE_SECONDS}
    listed = [str(each) for option in options.items() for each in option]
    return ["run", "--algos", "ppo,gorl-fm", "--tasks", "CheetahRun,FingerSpin", *listed,
            *TWO_SEEDS]  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Returns the protocol and what one process made of it."""
    directory = tmp_path_factory.mktemp("alone")
    protocol = small_protocol(directory)
    code, errors = finish(start(arguments(protocol, directory / "run")))
    assert code == 0, errors
    return protocol, directory / "run"


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("dask"), 3) as found:
        yield found


def befall(workers: Cluster, event: str, chance: random.Random) -> None:
    """Lets something happen to one worker, and starts another in its place if it is gone."""
    living = [each for each in workers.workers if each.poll() is None]
    worker = chance.choice(living)
    members = family(worker)
    if event == "kill":
        send(members, signal.SIGKILL)
    elif event == "kill the trainer":
        send(members[:-1], signal.SIGKILL)
    elif event == "kill the worker":
        send(members[-1:], signal.SIGKILL)
    elif event == "suspend":
        send(members, signal.SIGSTOP)
        time.sleep(3 * LEASE_SECONDS)
        send(members, signal.SIGCONT)
        return
    else:
        send(members, signal.Signals[event])
    until = time.monotonic() + 2
    while worker.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    if worker.poll() is not None:
        workers.add_worker()


@pytest.mark.parametrize("run", range(RUNS))
def test_no_cell_is_lost_and_no_byte_differs(
    run: int, alone: tuple[Path, Path], workers: Cluster, tmp_path: Path
) -> None:
    protocol, expected = alone
    chance = random.Random(run)
    event = EVENTS[run % len(EVENTS)]
    command = [*arguments(protocol, tmp_path / "run"), "--on", workers.address]
    process = subprocess.Popen(
        [sys.executable, "-m", "suite.cli", *command],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "compiling" in line:
            break
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.extend(process.stderr or ()))
    reader.start()
    time.sleep(chance.uniform(0, 15))
    befall(workers, event, chance)
    process.wait(timeout=600)
    reader.join()
    errors = "".join([*lines, *told])
    assert process.returncode == 0, errors
    assert results(tmp_path / "run") == results(expected), errors
    assert_readable(tmp_path / "run")
    print(event, {cell: len(tokens) for cell, tokens in starts(tmp_path / "run").items()})
    print(errors)
