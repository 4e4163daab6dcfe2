"""Leases on a file system over a network: one directory, mounted twice over SFTP.

Neither mount sees the other's locks, and each caches for itself, as two machines would.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import NamedTuple

import pytest

from suite.leases import signs_of_life
from suite.leases.claims import Held
from suite.leases.worker import Worker

SERVER = Path("/usr/lib/openssh/sftp-server")
MISSING = "" if SERVER.exists() and shutil.which("sshfs") else "needs sshfs and openssh-sftp-server"
CELLS, PROCESSES, SECONDS = 6, 4, 15.0

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING or "there is one")]


class Count(NamedTuple):
    """How often a process got a cell, was refused one, and found that it had another owner."""

    got: int
    refused: int
    twice: int


@contextlib.contextmanager
def mounted(source: Path, target: Path, options: str) -> Iterator[Path]:
    """Mounts a directory over SFTP."""
    target.mkdir()
    here, there = socket.socketpair()
    with here, there:
        server = subprocess.Popen([str(SERVER)], stdin=there.fileno(), stdout=there.fileno())
        command = ["sshfs", "-f", f":{source}", str(target), "-o", f"passive{options}"]
        client = subprocess.Popen(command, stdin=here.fileno(), stdout=here.fileno())
    try:
        until = time.monotonic() + 10
        while not os.path.ismount(target):
            if client.poll() is not None or time.monotonic() > until:
                pytest.skip("this machine lets nobody mount over FUSE")
            time.sleep(0.05)
        yield target
    finally:
        subprocess.run(["fusermount", "-u", str(target)], check=False)
        for process in (client, server):
            process.kill()
            process.wait()


def contend(index: int, run: Path, outside: Path, found: Queue[Count]) -> None:
    """Takes cells and lets go of them; notes outside of the mounts which it has."""
    signs_of_life._machine = lambda: f"machine-{index}"
    chance = random.Random(index)
    got = refused = twice = 0
    with Worker(run) as worker:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            number = chance.randrange(CELLS)
            try:
                lease = worker.acquire([run / f"cell-{number}"])
            except Held:
                refused += 1
                continue
            except FileNotFoundError:  # an old claim that the cache still lists
                continue
            mark = outside / str(number)
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                twice += 1
            else:
                time.sleep(chance.random() * 0.05)
                mark.unlink()
            got += 1
            lease.release()
    found.put(Count(got, refused, twice))


@pytest.mark.parametrize(
    "options",
    ["", ",dir_cache=no,attr_timeout=0,entry_timeout=0"],
    ids=["with caches", "without caches"],
)
def test_no_cell_has_two_owners_at_once(options: str, tmp_path: Path) -> None:
    for name in ("source", "outside"):
        (tmp_path / name).mkdir()
    context = multiprocessing.get_context("spawn")
    found: Queue[Count] = context.Queue()
    with (
        mounted(tmp_path / "source", tmp_path / "one", options) as one,
        mounted(tmp_path / "source", tmp_path / "two", options) as two,
    ):
        processes = [
            context.Process(
                target=contend, args=(i, (one, two)[i % 2], tmp_path / "outside", found)
            )
            for i in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        counts = [found.get(timeout=120) for _ in processes]
        for process in processes:
            process.join()
    assert sum(count.twice for count in counts) == 0
    assert all(count.got > 20 for count in counts), counts
    assert sum(count.refused for count in counts) > 0
