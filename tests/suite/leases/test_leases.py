"""Leases: one owner at a time, however clocks, machines and processes misbehave."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite.leases import claims, signs_of_life
from suite.leases import worker as worker_module
from suite.leases.claims import Claim, Held
from suite.leases.lease import Lease, LeaseLost, is_owned
from suite.leases.signs_of_life import Watch
from suite.leases.worker import Worker

SECONDS = 60.0


class FakeClock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    return tmp_path / "Task" / "algo" / "seed-000"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Returns a function that moves this process to another machine."""

    def move(name: str) -> None:
        monkeypatch.setattr(signs_of_life, "_machine", lambda: name)

    return move


@contextlib.contextmanager
def silent_owner(run: Path, cell: Path, machine: Callable[[str], None]) -> Iterator[Lease]:
    """A process of a far machine that owns the cell and, by itself, shows one sign of life."""
    machine("far")
    with Worker(run, SECONDS) as far:
        lease = far.acquire([cell])
        machine("near")
        yield lease


def is_free(worker: Worker, cell: Path) -> bool:
    try:
        worker.acquire([cell]).release()
    except Held:
        return False
    return True


def test_silence_is_the_time_that_a_sign_has_not_changed(clock: FakeClock) -> None:
    watch = Watch(clock)
    silences = []
    for step, sign in [(0, "a"), (5, "a"), (5, "b"), (4, "b"), (3, "b")]:
        clock.now += step
        silences.append(watch.silence("token", sign, longest_step=10))
    assert silences == [0, 5, 0, 4, 7]


@pytest.mark.parametrize(("leap", "counted"), [(1e6, 10.0), (-1e6, 0.0)])
def test_a_clock_that_leaps_counts_one_step_at_most(
    clock: FakeClock, leap: float, counted: float
) -> None:
    watch = Watch(clock)
    watch.silence("token", 1, longest_step=10)
    clock.now += leap
    assert watch.silence("token", 1, longest_step=10) == counted
    clock.now += 2
    assert watch.silence("token", 1, longest_step=10) == counted + 2


def test_an_owner_keeps_others_out_until_it_lets_go(tmp_path: Path, cell: Path) -> None:
    with Worker(tmp_path) as one, Worker(tmp_path) as two:
        lease = one.acquire([cell])
        assert is_owned(tmp_path, cell)
        with pytest.raises(Held, match="seed-000 is being trained by another process"):
            two.acquire([cell])
        lease.check()
        lease.release()
        assert not is_owned(tmp_path, cell)
        second = two.acquire([cell])
        assert not is_free(one, cell)
        second.check()
    assert not list((tmp_path / ".workers").iterdir())


def test_all_cells_of_a_job_or_none(tmp_path: Path) -> None:
    cells = [tmp_path / f"seed-{seed:03d}" for seed in range(3)]
    with Worker(tmp_path) as one, Worker(tmp_path) as two:
        one.acquire(cells[1:2])
        with pytest.raises(Held):
            two.acquire(cells)
        assert is_free(one, cells[0]) and is_free(one, cells[2])


def test_an_owner_on_another_machine_is_dead_when_it_is_silent(
    tmp_path: Path, cell: Path, clock: FakeClock, machine: Callable[[str], None]
) -> None:
    with silent_owner(tmp_path, cell, machine) as theirs, Worker(tmp_path, 1.0, clock) as near:
        for _ in range(6):  # ten seconds apart; the owner's 60 count, not ours
            assert not is_free(near, cell)
            clock.now += 9.9
        ours = near.acquire([cell]) if is_free(near, cell) else None
        assert ours is None
        clock.now += 9.9
        ours = near.acquire([cell])
        with pytest.raises(LeaseLost, match="was taken over"), theirs.saving():
            pytest.fail("an owner that was taken for dead wrote")
        theirs.release()
        ours.check()


def test_a_sign_of_life_at_any_time_keeps_the_cell(
    tmp_path: Path, cell: Path, clock: FakeClock, machine: Callable[[str], None]
) -> None:
    machine("far")
    with Worker(tmp_path, SECONDS) as far, Worker(tmp_path, SECONDS, clock) as near:
        lease = far.acquire([cell])
        machine("near")
        for index in range(40):
            clock.now += 14
            assert not is_free(near, cell)
            if index % 4 == 0:
                machine("far")
                far.beat()
                machine("near")
        lease.check()


def test_a_watchers_clock_that_leaps_kills_nobody(
    tmp_path: Path, cell: Path, clock: FakeClock, machine: Callable[[str], None]
) -> None:
    with silent_owner(tmp_path, cell, machine) as theirs, Worker(tmp_path, 1.0, clock) as near:
        assert not is_free(near, cell)
        for leap in (1e6, -2e6, 1e6):
            clock.now += leap
            assert not is_free(near, cell)
        theirs.check()


def test_nothing_is_taken_over_in_the_middle_of_a_save(
    tmp_path: Path, cell: Path, clock: FakeClock, machine: Callable[[str], None]
) -> None:
    with silent_owner(tmp_path, cell, machine) as theirs, Worker(tmp_path, 1.0, clock) as near:
        with theirs.saving():
            for _ in range(6):
                clock.now += 15
                assert not is_free(near, cell)
        assert is_free(near, cell)
        with pytest.raises(LeaseLost):
            theirs.check()


@pytest.mark.parametrize("lacking", ["nothing", "locks", "links"])
def test_of_many_that_take_over_at_once_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if lacking != "nothing":
        monkeypatch.setattr(*((fcntl, "flock") if lacking == "locks" else (os, "link")), refuse)
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(tmp_path)) for _ in range(6)]
        for round_ in range(8):
            cell = tmp_path / f"seed-{round_:03d}"
            cell.mkdir()
            (cell / ".lease-000001").write_text('{"owner": "gone"}')
            assert len(_race(workers, cell)) == 1
            assert (cell / ".lease-000002").exists()


def _race(workers: list[Worker], cell: Path) -> list[Lease]:
    won: list[Lease] = []
    barrier = threading.Barrier(len(workers))

    def take(worker: Worker) -> None:
        barrier.wait()
        with contextlib.suppress(Held):
            won.append(worker.acquire([cell]))

    threads = [threading.Thread(target=take, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_a_directory_remembered_as_it_was_is_looked_at_again(
    tmp_path: Path, cell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems do, whose caches know for a moment what is no longer so."""
    attempts = 0
    write = claims.exclusive_write

    def stale(path: Path, content: bytes) -> bool:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return write(path, content)

    monkeypatch.setattr(claims, "exclusive_write", stale)
    with Worker(tmp_path) as worker:
        lease = worker.acquire([cell])
        assert attempts == 3
        lease.check()
    attempts = -1_000_000  # a directory that stays away is told
    with Worker(tmp_path) as worker, pytest.raises(FileNotFoundError):
        worker.acquire([cell])


def test_who_fell_far_behind_does_not_become_owner(
    tmp_path: Path, cell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked when the second owner had left, and acts when that number is free again."""
    with Worker(tmp_path) as one, Worker(tmp_path) as late:
        for _ in range(4):
            one.acquire([cell]).release()
        lease = one.acquire([cell])
        assert not (cell / ".lease-000003").exists()
        real = worker_module.newest_claim
        stale = iter([Claim(2, None)] * 2)
        monkeypatch.setattr(
            worker_module, "newest_claim", lambda path: next(stale, None) or real(path)
        )
        with pytest.raises(Held):
            late.acquire([cell])
        lease.check()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"owner": "../../x"}', b"{}"])
def test_damaged_files_stop_nobody(tmp_path: Path, cell: Path, content: bytes) -> None:
    cell.mkdir(parents=True)
    (cell / ".lease-000007").write_bytes(content)
    (cell / ".lease-x").write_bytes(content)
    assert not is_owned(tmp_path, cell)
    with Worker(tmp_path) as one, Worker(tmp_path) as two:
        one.acquire([cell])
        sign = tmp_path / ".workers" / f"{one.token}.json"
        sign.write_bytes(content)
        assert not is_free(two, cell)  # it may be alive; silence will tell
        assert (cell / ".lease-000008").exists()


@pytest.mark.parametrize(
    ("seconds", "allowed"),
    [
        (0.5, 0.5), (3600, 3600.0), (1e300, 60.0),
        pytest.param(10**400, 60.0, id="huge"), (0, 60.0), (-1, 60.0),
        (float("nan"), 60.0), (float("inf"), 60.0), ("9", 60.0), (None, 60.0),
    ],
)  # fmt: skip
def test_absurd_seconds_count_as_the_default(
    tmp_path: Path, clock: FakeClock, seconds: object, allowed: float
) -> None:
    with Worker(tmp_path, clock=clock) as worker:
        (tmp_path / ".workers" / "far.json").write_text(json.dumps({"seconds": seconds}))
        for share in (0.0, 0.25, 0.5, 0.75):  # of the time; the longest step is a quarter
            clock.now = 1000.0 + share * allowed
            assert not worker.is_dead("far")
        clock.now = 1000.0 + allowed
        assert worker.is_dead("far")


OWNER = """
import sys, time, pathlib
from suite.leases.lease import LeaseLost
from suite.leases.worker import Worker
run, cell = map(pathlib.Path, sys.argv[1:])
with Worker(run, seconds=1.0) as worker:
    lease = worker.acquire([cell])
    try:
        for count in range(10**9):
            with lease.saving():
                (cell / "data").write_text(f"{worker.token} {count}")
            if count == 0:
                print("owns", flush=True)
            time.sleep(0.01)
    except LeaseLost:
        print("lost", flush=True)
"""


@pytest.fixture
def owner(tmp_path: Path, cell: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the cell and writes it again and again."""
    command = [sys.executable, "-c", OWNER, str(tmp_path), str(cell)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owns\n"
        yield process
        process.kill()


def _acquire_within(seconds: float, worker: Worker, cell: Path) -> Lease:
    until = time.monotonic() + seconds
    while True:
        try:
            return worker.acquire([cell])
        except Held:
            assert time.monotonic() < until, "the cell was not to be had in time"
            time.sleep(0.05)


def test_a_process_that_is_killed_is_succeeded_at_once(
    tmp_path: Path, cell: Path, owner: subprocess.Popen[str], clock: FakeClock
) -> None:
    """By a clock that stands still: not silence tells, but the system's lock."""
    with Worker(tmp_path, clock=clock) as worker:
        assert not is_free(worker, cell)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert not is_owned(tmp_path, cell)
        worker.acquire([cell]).check()
    with Worker(tmp_path) as worker:
        assert [path.stem for path in (tmp_path / ".workers").glob("*.json")] == [worker.token]


def test_a_process_that_was_suspended_notices_before_it_writes(
    tmp_path: Path, cell: Path, owner: subprocess.Popen[str]
) -> None:
    with Worker(tmp_path) as worker:
        assert owner.stdout is not None
        owner.send_signal(signal.SIGSTOP)
        # It may have been stopped in the middle of a save, when nobody may take its place.
        for _ in range(100):
            time.sleep(0.02)
            if _suspended_between_saves(cell):
                break
            owner.send_signal(signal.SIGCONT)
            time.sleep(0.003)
            owner.send_signal(signal.SIGSTOP)
        lease = _acquire_within(20, worker, cell)
        (cell / "data").write_text("mine")
        owner.send_signal(signal.SIGCONT)
        assert owner.stdout.readline() == "lost\n"
        assert owner.wait() == 0
        assert (cell / "data").read_text() == "mine"
        lease.check()


def _suspended_between_saves(cell: Path) -> bool:
    with open(cell / ".lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_signs_of_life_come_while_the_process_works(tmp_path: Path) -> None:
    with Worker(tmp_path, seconds=0.3) as worker:
        sign = tmp_path / ".workers" / f"{worker.token}.json"
        first = json.loads(sign.read_bytes())["counter"]
        until = time.monotonic() + 10
        while json.loads(sign.read_bytes())["counter"] < first + 3:
            assert time.monotonic() < until
            time.sleep(0.02)
