"""The loop of `suite run --on`: hands jobs to workers, and takes back what became of them.

Each worker has one job at a time, which it leases in the shared run directory as any process does
(suite/leases): should this loop be wrong about who lives, the leases still keep two
workers from one cell. A worker that is gone, or has shown no sign of life for as long as a lease
lasts, loses its job to another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import Client

from suite.cluster.endings import Endings
from suite.cluster.opening import Pool
from suite.cluster.orders import Setup
from suite.cluster.places import Slot
from suite.cluster.progress import Board
from suite.cluster.roster import Roster, check_installed
from suite.cluster.sending import Remote, job_from, job_to_plain
from suite.cluster.sharing import Failure, Sharing
from suite.cluster.workers import (
    Event,
    end_trainer,
    stop_trainer,
    train,
    wait_for_trainers,
)
from suite.common import interrupt
from suite.common.errors import UserError
from suite.leases.claims import Held
from suite.leases.lease import LeaseLost
from suite.leases.signs_of_life import Watch, sign_path, workers_directory
from suite.planning.task_files import keep_task
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.launch import Outcome, Shift

_PAUSE = 0.1
"""Seconds between two rounds of the loop."""

_LOOK_UP_SECONDS = 5.0
"""Between two looks at how far everything is, while there is something to hand out."""

_START_SECONDS = 180.0
"""That a worker may take to its first sign of life: it imports JAX from a disk far away."""

_CALL_SECONDS = 10.0
"""That workers are waited for which only have to hear something."""


@dataclasses.dataclass
class _Task:
    """A job that a worker has.

    Attributes:
        future: Dask's, of the result.
        worker: its address.
        beats: signs of life so far.
        remote: how results come back from a worker without the run directory.
    """

    future: Any
    worker: str
    beats: int = 0
    remote: Remote | None = None


class Dispatcher:
    """Has what is left trained by the workers of a pool.

    Args:
        context: what to train, where, and this process among those that share the directory.
        shift: says what is left.
        pool: the workers.
        setup: what they are told.
        wait: whether to wait for jobs that other processes train.
        train: what a worker does with an order.
    """

    def __init__(
        self,
        context: RunContext,
        shift: Shift,
        pool: Pool,
        setup: Setup,
        wait: bool,
        train: Callable[[Event], Event] = train,
    ) -> None:
        assert context.worker is not None
        self._run = context.run
        self._request = context.request
        self._worker = context.worker
        self._shift = shift
        self._pool = pool
        self._client: Client = pool.client
        self._setup = setup.to_plain()
        self._seconds = setup.lease_seconds
        self._wait = wait
        self._train = train
        self.sharing = Sharing(lambda job: _stored(context.run, job))
        self.board = Board(self.sharing)
        self._topic = f"suite-{context.worker.token}"
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._watch = Watch()
        self._tasks: dict[Job, _Task] = {}
        # Who sees this process's sign of life shares the directory.
        run_path = Path(setup.run_path)
        probe = sign_path(workers_directory(run_path), context.worker.token)
        self._roster = Roster(pool, run_path, probe, self.board.say_once)
        self._endings = Endings(
            self._run, shift, self.sharing, self.board, self._roster, setup.lease_seconds, wait
        )
        self._stale = False
        self._looked_up = 0.0
        self._asked: set[str] = set()

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Jobs that were given up."""
        return tuple(self.sharing.failures)

    def work(self) -> Outcome:
        """Trains until nothing is left for the workers, or the user asks to stop.

        Raises:
            UserError: the scheduler is gone, or the workers cannot train.
        """
        self._client.subscribe_topic(self._topic, lambda event: self._events.put(event[1]))
        try:
            self._look_up()
            self.board.all_jobs = len(self.sharing.waiting)
            while not self._is_over():
                self._round()
                time.sleep(_PAUSE)
        finally:
            self.board.close()
            self._let_go()
        held = () if interrupt.requested() else tuple(self.sharing.held)
        return Outcome((), interrupted=interrupt.requested(), held=held)

    def _is_over(self) -> bool:
        sharing = self.sharing
        if sharing.running or (self._stale and not interrupt.requested()):
            return False
        return interrupt.requested() or not (
            sharing.waiting or (sharing.held and self._wait)
        )  # fmt: skip

    def _round(self) -> None:
        self._take_events()
        self._roster.look()
        self.board.workers = len(self._roster.names)
        for job, task in list(self._tasks.items()):
            if task.future.done():
                self._end(job, task)
            elif task.worker not in self._roster.names:
                self._lose(job, task)
            elif self._is_silent(job, task):
                self._abandon(job, task)
        if interrupt.requested():
            self._ask_to_stop()
        else:
            if self._stale and self._is_time_to_look_up():
                self._look_up()
            self._hand_out()
        self.board.show()

    def _is_time_to_look_up(self) -> bool:
        """Returns whether what is stored is read again; with 150 jobs that takes a while."""
        return not self.sharing.waiting or time.monotonic() - self._looked_up > _LOOK_UP_SECONDS

    def _look_up(self) -> None:
        """Looks up what is left, and how long each job may take."""
        self._stale, self._looked_up = False, time.monotonic()
        left = set(self._shift.left())
        planned = [each for each in self._request.plan(self._run).jobs if each.job in left]
        timed = all(each.seconds is not None for each in planned)
        self.board.seconds_known = timed
        self.board.lengths = {
            each.job: float((each.seconds or 0.0) if timed else each.env_steps) for each in planned
        }
        self.sharing.look_up(self.board.lengths)

    def _take_events(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                job, address = job_from(event["job"]), event["worker"]
                if event["kind"] == "said":
                    said = event["text"].removeprefix("suite: ")
                    self.board.say_once(f"{self._roster.name(address)}: {said}")
                    continue
                task = self._tasks.get(job)
                if task is not None and task.worker == address:
                    task.beats += 1
                    self.board.take(job, self._roster.name(address), event)

    def _hand_out(self) -> None:
        taken = {task.worker for task in self._tasks.values()}
        for address in self._roster.free(taken):
            now = time.monotonic()
            due = [job for job, at in self.sharing.held.items() if at <= now and self._wait]
            for job in [*self.sharing.waiting, *due]:
                if self._start(job, address):
                    break

    def _start(self, job: Job, address: str) -> bool:
        """Gives a job to a worker; says whether it could be had."""
        known = job in self.sharing.held
        slot = self._pool.slots.get(self._roster.name(address), Slot(""))
        remote = None
        if not self._roster.sees[address]:
            try:
                remote = Remote(self._run, job, self._worker)
            except Held:
                self._endings.hold(job)
                return False
        order = {
            "setup": self._setup,
            "job": job_to_plain(job),
            "wait": 1.5 * self._seconds if known else 0.0,
            "topic": self._topic,
            "cores": slot.cores,
            "environment": dict(slot.environment),
            "files": remote.files if remote else None,
        }
        future = self._client.submit(self._train, order, workers=[address], pure=False)
        self._tasks[job] = _Task(future, address, remote=remote)
        self.sharing.start(job, self._roster.name(address))
        return True

    def _end(self, job: Job, task: _Task) -> None:
        """Takes in how a job ended."""
        if task.future.status == "finished":
            result = dict(task.future.result())
        elif task.future.status == "error":
            error = task.future.exception()
            check_installed(self._roster.name(task.worker), error)
            result = {"outcome": "crashed", "message": f"{type(error).__name__}: {error}"}
        else:
            self._lose(job, task)
            return
        self._forget(job)
        if task.remote is not None:
            result = _take_back(self._run, job, task.remote, result)
        self._endings.settle(job, task.worker, result)

    def _lose(self, job: Job, task: _Task) -> None:
        """Takes a job back from a worker that is gone."""
        task.future.cancel()
        self._take_away(job, task)
        self._endings.gone(job)

    def _is_silent(self, job: Job, task: _Task) -> bool:
        silence = self._watch.silence(
            task.future.key, task.beats, max(self._seconds / 4, 10 * _PAUSE)
        )
        return silence > (1.25 * self._seconds if task.beats else _START_SECONDS)

    def _abandon(self, job: Job, task: _Task) -> None:
        """Takes a job from a worker that shows no sign of life; the lease tells it if it wakes."""
        self._roster.abandon(task.worker, task.future)
        self._take_away(job, task)
        self._endings.silent(job, task.worker)

    def _take_away(self, job: Job, task: _Task) -> None:
        self._forget(job)
        if task.remote is not None:
            task.remote.take_back(None)

    def _forget(self, job: Job) -> None:
        del self._tasks[job]
        self._stale = True

    def _ask_to_stop(self) -> None:
        asked = [task.worker for task in self._tasks.values() if task.worker not in self._asked]
        if asked:
            self._asked.update(asked)
            _call(self._client, stop_trainer, asked)

    def _let_go(self) -> None:
        """Ends the trainers, those of jobs under way too, which save first."""
        for task in self._tasks.values():
            task.future.cancel()
            if task.remote is not None:
                task.remote.take_back(None)
        with contextlib.suppress(OSError, TimeoutError):
            self._client.unsubscribe_topic(self._topic)
        _call(self._client, end_trainer, self._roster.answering())
        wait_for_trainers()


def _stored(run: RunDirectory, job: Job) -> int:
    """Returns a number that changes with what is stored of a job."""
    statuses = [run.files(cell).read_status() for cell in job.cells]
    return sum(each.ledger.env_steps + each.ledger.eval_steps for each in statuses if each)


def _take_back(
    run: RunDirectory, job: Job, remote: Remote, result: dict[str, Any]
) -> dict[str, Any]:
    """Stores what a worker sent; returns how the job ended by that."""
    try:
        remote.take_back(result.pop("files", None))
        keep_task(run, job.task)
    except LeaseLost as error:
        return {"outcome": "lost", "message": str(error)}
    except UserError as error:
        return {"outcome": "failed", "message": str(error)}
    return result


def _call(client: Client, function: Callable[..., Any], workers: list[str]) -> None:
    """Has workers call a function; one of them may be suspended and never answer."""

    def call() -> None:
        with contextlib.suppress(OSError, TimeoutError):
            client.run(function, workers=workers, wait=False, on_error="ignore")

    if workers:
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(_CALL_SECONDS)
