"""A Dask scheduler and workers as a user starts them, and what happens to workers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from processes.killing import ROOT

ADDRESS = re.compile(r"tcp://127\.0\.0\.1:\d+")


class Cluster:
    """A scheduler on loopback and its workers, each a process of its own.

    Args:
        scratch: for what they print and Dask's own files.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.workers: list[subprocess.Popen[bytes]] = []
        self._log = scratch / "scheduler.txt"
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
        self.scheduler = self._start(self._log, "dask_scheduler", *options)
        self.address = self._read_address()

    def add_worker(self, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Starts one worker more."""
        log = self._scratch / f"worker-{len(self.workers)}.txt"
        name = f"worker-{len(self.workers)}"
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name]
        worker = self._start(log, "dask_worker", self.address, *options, cwd=cwd)
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """Ends everything that was started."""
        for process in [*self.workers, self.scheduler]:
            for each in family(process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()

    def _start(
        self, log: Path, program: str, *options: str, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        with open(log, "wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", *options],
                stdout=file,
                stderr=file,
                cwd=cwd or self._scratch,
                env={
                    **os.environ,
                    "PYTHONPATH": paths,
                    "DASK_TEMPORARY_DIRECTORY": str(self._scratch),
                },
            )

    def _read_address(self) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if found := ADDRESS.search(self._log.read_text()):
                return found[0]
            time.sleep(0.1)
        raise AssertionError(f"no scheduler:\n{self._log.read_text()}")


@contextlib.contextmanager
def cluster(scratch: Path, workers: int) -> Iterator[Cluster]:
    """Starts a scheduler and workers, and ends them with the body."""
    found = Cluster(scratch)
    try:
        for _ in range(workers):
            found.add_worker()
        yield found
    finally:
        found.close()


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Returns a worker's process and those that it started, its trainer among them."""
    try:
        parent = psutil.Process(process.pid)
        return [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return []


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Sends a signal to processes that may have ended."""
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(number)
