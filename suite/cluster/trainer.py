"""The process that trains on a worker: one at a time, job after job, as `suite run` does alone.

    python -m suite.cluster.trainer

It is started by suite/cluster/workers.py and speaks with it in lines of JSON: orders on standard
input, what happens on standard output. A process of its own sees only the device or the cores that
its worker has, gets signals where Python can handle them, gives all memory back when it ends, and
takes nobody with it when it crashes. When standard input ends, whoever started it is gone: it saves
and stops, as after a signal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from suite.common import interrupt, jax_settings
from suite.common.errors import UserError, describe_os_error
from suite.leases.signs_of_life import BEATS, LOOKS

if TYPE_CHECKING:
    from suite.cluster.orders import Setup
    from suite.leases.worker import Worker
    from suite.storage.records import Job

IDLE_SECONDS = 120.0
"""Without an order, after which the process ends: whoever forgot it must not lose a GPU to it."""

Order = dict[str, object]


class Channel:
    """Writes what happens, a line of JSON each; from any thread.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def tell(self, kind: str, **facts: object) -> None:
        """Writes one event; nobody may be left to read it, which is no error."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(json.dumps({"kind": kind, **facts}) + "\n")
            self._stream.flush()


class Orders:
    """Reads orders in a thread; the end of the stream, or `stop`, asks to save and stop.

    Args:
        stream: where from.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._jobs: queue.Queue[Order | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, seconds: float = IDLE_SECONDS) -> Order | None:
        """Waits for an order; None if there is none for so long, or it is time to stop."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not interrupt.requested():
            with contextlib.suppress(queue.Empty):
                return self._jobs.get(timeout=0.1)
        return None

    def _read(self) -> None:
        for line in self._stream:
            order = json.loads(line)
            if order.get("stop"):
                interrupt.request()
            else:
                self._jobs.put(order)
        self._jobs.put(None)
        interrupt.request()


def main() -> int:
    """Trains what standard input asks for; 1 after an error that may have left memory behind."""
    channel = Channel(_take_output())
    _warn_on_standard_error()
    with interrupt.handling():
        orders = Orders(sys.stdin)
        first = orders.next()
        if first is None:
            return 0
        _confine(first.pop("cores"))
        place = str(first.pop("place"))
        jax_settings.prepare(bool(first["cache"]), str(first["engine"]))
        with tempfile.TemporaryDirectory(prefix="suite-") as scratch:
            return _serve(first, place, orders, channel, Path(scratch))


def _serve(first: Order, place: str, orders: Orders, channel: Channel, scratch: Path) -> int:
    from suite.cluster.orders import setup_from
    from suite.cluster.sending import job_from
    from suite.leases.worker import Worker

    setup = setup_from(first)
    sys.argv = list(setup.command)  # which is what the records of the run are to name
    beating = _beating(channel, setup.lease_seconds / BEATS)
    with Worker(Path(setup.run_path), setup.lease_seconds, name=place) as worker, beating:
        while (order := orders.next()) is not None:
            job = job_from(order["job"])  # type: ignore[arg-type]
            result = _attempt(setup, job, worker, channel, scratch, float(str(order["wait"])))
            channel.tell("result", **result)
            if result.get("fault"):
                return 1
    return 0


def _attempt(
    setup: Setup, job: Job, worker: Worker, channel: Channel, scratch: Path, wait: float
) -> dict[str, object]:
    """Returns how training a job ended, whatever became of it."""
    from envs.api import EnvError

    try:
        return _train(setup, job, worker, channel, scratch, wait)
    except (UserError, EnvError) as error:
        return {"outcome": "refused", "message": str(error)}
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            return {"outcome": "failed", "message": describe_os_error(error)}
        if (told := jax_settings.explained(error)) is not None:
            return {"outcome": "refused", "message": told}
        traceback.print_exc()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        what = "".join(traceback.format_exception_only(error)).splitlines()[0]
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        return {"outcome": "failed", "message": f"{what} ({where})", "fault": True}


def _train(
    setup: Setup, job: Job, worker: Worker, channel: Channel, scratch: Path, wait: float
) -> dict[str, object]:
    """Trains a job; waits for one that is another's as long as it may."""
    from suite.cluster.orders import request_of
    from suite.cluster.progress import Telling
    from suite.leases.claims import Held
    from suite.leases.lease import LeaseLost, Regrouped
    from suite.storage.run_directory import RunDirectory
    from suite.training.context import RunContext
    from suite.training.job import run_job

    request = request_of(setup, job, scratch)
    run = RunDirectory.create(Path(setup.run_path), request.protocol)
    context = RunContext(request, run, Telling(channel.tell), worker)
    until = time.monotonic() + wait
    while True:
        try:
            result = run_job(job, context)
        except Held:
            if time.monotonic() >= until or interrupt.requested():
                return {"outcome": "held"}
            _sleep(setup.lease_seconds / LOOKS)
        except Regrouped:
            return {"outcome": "regrouped"}
        except LeaseLost as error:
            return {"outcome": "lost", "message": str(error)}
        else:
            return {"outcome": "interrupted" if result.interrupted else "done"}


def _sleep(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not interrupt.requested():
        time.sleep(0.05)


@contextlib.contextmanager
def _beating(channel: Channel, seconds: float) -> Iterator[None]:
    """Shows signs of life for as long as its body runs."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(seconds):
            channel.tell("beat")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _confine(cores: object) -> None:
    """Leaves this process, XLA's and the physics engine's threads included, only some cores."""
    if isinstance(cores, Sequence) and cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(each) for each in cores])


def _take_output() -> TextIO:
    """Returns standard output for events alone; what anything else prints goes to the errors."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def _warn_on_standard_error() -> None:
    warnings = logging.StreamHandler()
    warnings.setFormatter(logging.Formatter("suite: %(message)s"))
    logging.getLogger("suite").addHandler(warnings)
    logging.getLogger("suite").propagate = False


if __name__ == "__main__":
    sys.exit(main())
