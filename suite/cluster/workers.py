"""What runs inside a Dask worker: it hands a job to its trainer and passes on what that tells.

The Dask worker itself stays light: it never imports JAX, answers the scheduler whatever its trainer
does, and lives on when that crashes. One worker has one trainer, kept from job to job.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from dask.typing import Key
from distributed import Worker, get_worker

from suite.common.interrupt import SIGNALS

Event = dict[str, object]
Tell = Callable[[Event], None]

PACKAGES = ("gorl-suite", "jax", "jaxlib", "mujoco", "numpy")
"""Whose versions workers should share, or the last digits may differ between cells."""

PROGRAM = ("-P", "-m", "suite.cluster.trainer")
"""That Python runs for a trainer; -P, since the working directory may hold another `suite`."""

_LOOK_SECONDS = 1.0
"""Between two looks at whether anybody still wants the job."""

_STOP_SECONDS = 600.0
"""That a trainer may take to save: a decoder's fit and an evaluation are finished first."""

_KEPT_LINES = 40

_trainers: dict[str, Trainer] = {}
_scratch: dict[str, tempfile.TemporaryDirectory[str]] = {}
_lock = threading.Lock()


class Trainer:
    """The process that trains on a worker.

    Args:
        setup: as `Setup.to_plain` gives it.
        place: what people call the worker.
        cores: that it may use; all, if none are given.
        environment: variables that it gets beside those of the worker; None takes one away.
        said: is given each line that the process prints on standard error.
    """

    def __init__(
        self,
        setup: Mapping[str, object],
        place: str,
        cores: tuple[int, ...],
        environment: Mapping[str, str | None],
        said: Tell,
    ) -> None:
        self.setup = setup
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._said = said
        merged = {**os.environ, **environment}
        self._process = subprocess.Popen(
            [sys.executable, *PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={name: value for name, value in merged.items() if value is not None},
            start_new_session=True,  # Ctrl-C is for the command, which passes it on once
        )
        threading.Thread(target=self._read_events, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()
        self._send({**setup, "place": place, "cores": list(cores)})

    @property
    def alive(self) -> bool:
        """Whether the process can take another job."""
        assert self._process.stdin is not None
        return self._process.poll() is None and not self._process.stdin.closed

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def train(self, job: Event, wait: float, tell: Tell, wanted: Callable[[], bool]) -> Event:
        """Trains a job to its end.

        Args:
            job: as `job_to_plain` gives it.
            wait: seconds to wait for it if it is another's.
            tell: is given each event.
            wanted: whether anybody still waits for the result; if not, it is saved and stopped.

        Returns:
            The result: how it ended under `outcome`.
        """
        self._said = tell
        self._send({"job": job, "wait": wait})
        looked = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=_LOOK_SECONDS)
                if event is None:
                    return self._ended()
                if event["kind"] == "result":
                    return event
                tell(event)
            if time.monotonic() - looked >= _LOOK_SECONDS:
                looked = time.monotonic()
                if not wanted():
                    self.stop()

    def stop(self) -> None:
        """Asks the process to save and stop."""
        self._send({"stop": True})

    def release(self) -> None:
        """Lets the process end; it saves first if it trains."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def close(self) -> None:
        """Ends the process and waits for it."""
        self.release()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _send(self, order: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, which reading tells
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._events.put(json.loads(line))
        self._events.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._tail.append(line)
            if line.startswith("suite: ") and "interrupt again" not in line:
                self._said({"kind": "said", "text": line.rstrip()})

    def _ended(self) -> Event:
        """Returns what the end of the process without a result means."""
        code = self._process.wait()
        if code == 0 or -code in SIGNALS:
            return {"outcome": "interrupted"}
        how = f"exit code {code}" if code > 0 else _signal_name(-code)
        return {"outcome": "crashed", "message": how, "tail": "".join(self._tail)}


def train(order: Event) -> Event:
    """Trains one job on this worker; called by Dask.

    Args:
        order: `setup`, `job`, `wait`, `topic` of the events, `cores` and `environment` of the
            place, and `files`, what is stored of the job, if this worker does not see them.

    Returns:
        `outcome`: `done`, `interrupted`, `held`, `regrouped`, `lost`, `refused`, `failed` or
        `crashed`; `message` where there is something to say; and `files` if the order has any.
    """
    if order["files"] is None:
        return _train_here(order)
    from suite.cluster.sending import in_scratch

    return in_scratch(order, _scratch_of(get_worker().address), _train_here)


def _train_here(order: Event) -> Event:
    worker = get_worker()
    key = worker.get_current_task()
    tell = _teller(worker, str(order["topic"]), order["job"])
    trainer = _trainer_of(worker, order, tell)
    job, wait = order["job"], order["wait"]
    assert isinstance(job, dict) and isinstance(wait, float)
    return trainer.train(job, wait, tell, lambda: _is_wanted(worker, key))


def greet(probe: str) -> Event:
    """Says what this worker runs, and whether it sees the run directory; called by Dask.

    Args:
        probe: a file in the run directory that is there while the command runs.
    """
    return {"shared": Path(probe).is_file(), "versions": versions()}


def versions() -> dict[str, str]:
    """Returns the versions by which two machines may differ in the last digits."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


async def stop_trainer(dask_worker: Worker) -> None:
    """Asks a worker's trainer to save and stop; called through `Client.run`."""
    for trainer in _mine(dask_worker.address):
        trainer.stop()


async def end_trainer(dask_worker: Worker) -> None:
    """Lets a worker's trainer end; called through `Client.run`."""
    for trainer in _mine(dask_worker.address):
        trainer.release()
    with _lock:
        _scratch.pop(dask_worker.address, None)


def wait_for_trainers() -> None:
    """Ends the trainers of all workers that are threads of this process."""
    with _lock:
        trainers = list(_trainers.values())
        _trainers.clear()
    for trainer in trainers:
        trainer.release()
    for trainer in trainers:
        trainer.close()


def _scratch_of(address: str) -> Path:
    """Returns where a worker keeps what it trains without the run directory, until its end."""
    with _lock:
        if address not in _scratch:
            _scratch[address] = tempfile.TemporaryDirectory(
                prefix="suite-worker-", ignore_cleanup_errors=True
            )
        return Path(_scratch[address].name)


def _mine(address: str) -> list[Trainer]:
    with _lock:
        return [_trainers[address]] if address in _trainers else []


def _trainer_of(worker: Worker, order: Event, tell: Tell) -> Trainer:
    """Returns the worker's trainer, a new one if it has none for this run that lives."""
    setup, environment, cores = order["setup"], order["environment"], order["cores"]
    assert isinstance(setup, dict) and isinstance(environment, dict) and isinstance(cores, tuple)
    with _lock:
        known = _trainers.get(worker.address)
    if known is not None and known.alive and known.setup == setup:
        return known
    if known is not None:
        known.close()
    trainer = Trainer(setup, str(worker.name), cores, environment, tell)
    with _lock:
        _trainers[worker.address] = trainer
    return trainer


def _teller(worker: Worker, topic: str, job: object) -> Tell:
    def tell(event: Event) -> None:
        worker.log_event(topic, {**event, "worker": worker.address, "job": job})

    return tell


def _is_wanted(worker: Worker, key: Key) -> bool:
    """Returns whether the scheduler still wants a task; it does not once its client is gone."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state == "executing"


def _signal_name(number: int) -> str:
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"ended by signal {number}"
