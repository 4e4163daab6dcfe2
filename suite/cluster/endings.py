"""What becomes of a job that a worker has ended, or that is taken from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from suite.cluster.progress import Board
from suite.cluster.roster import Roster
from suite.cluster.sharing import TRIES, Sharing
from suite.common import interrupt
from suite.leases.signs_of_life import LOOKS
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory
from suite.training.launch import Shift, dead_end


class Endings:
    """Enters into what is left how each job ended, and tells the user.

    Args:
        run: the run directory.
        shift: says what is left.
        sharing: who trains what.
        board: what the user sees.
        roster: the workers.
        lease_seconds: of silence after which a process counts as dead.
        wait: whether to wait for jobs that other processes train.
    """

    def __init__(
        self,
        run: RunDirectory,
        shift: Shift,
        sharing: Sharing,
        board: Board,
        roster: Roster,
        lease_seconds: float,
        wait: bool,
    ) -> None:
        self._run = run
        self._shift = shift
        self._sharing = sharing
        self._board = board
        self._roster = roster
        self._seconds = lease_seconds
        self._wait = wait
        self._ways: Mapping[str, Callable[[Job, str, Mapping[str, Any]], None]] = {
            "done": self._done,
            "interrupted": self._interrupted,
            "held": lambda job, *_: self.hold(job),
            "regrouped": self._regrouped,
            "lost": self._lost,
            "refused": self._refused,
        }

    def settle(self, job: Job, address: str, result: Mapping[str, Any]) -> None:
        """Takes in what a worker says of a job that it has ended.

        Args:
            job: which.
            address: of the worker.
            result: see `suite.cluster.workers.train`.
        """
        self._ways.get(result["outcome"], self._failed)(job, address, result)
        self._board.stopped(job)

    def gone(self, job: Job) -> None:
        """Takes a job back from a worker that is there no more."""
        if interrupt.requested():
            self._sharing.stop(job)
        else:
            self._fail(job, f"the worker {self._sharing.running[job]} is gone", fault=True)
        self._board.stopped(job)

    def silent(self, job: Job, address: str) -> None:
        """Takes a job from a worker that shows no sign of life."""
        self._sharing.stop(job)
        if not interrupt.requested():
            self.hold(job)
            name = self._roster.name(address)
            self._board.say(f"{name} shows no sign of life; {job} goes on elsewhere")
        self._board.stopped(job)

    def hold(self, job: Job) -> None:
        """Leaves a job for a while to the process elsewhere that has it."""
        self._sharing.hold(job, time.monotonic() + self._seconds / LOOKS)
        if self._wait:
            self._board.say_once(f"waiting for other processes to finish {job}")

    def _done(self, job: Job, address: str, result: Mapping[str, Any]) -> None:
        self._shift.finish(job)
        self._sharing.finish(job)

    def _interrupted(self, job: Job, address: str, result: Mapping[str, Any]) -> None:
        self._sharing.stop(job)
        if not interrupt.requested():
            self._roster.rest(address)
            name = self._roster.name(address)
            self._board.say(f"{name} was told to stop, and saved {job}; it goes on elsewhere")

    def _regrouped(self, job: Job, address: str, result: Mapping[str, Any]) -> None:
        if self._sharing.regroup(job):
            self._sharing.give_up(job, str(dead_end(self._run, job)), fault=False)

    def _lost(self, job: Job, address: str, result: Mapping[str, Any]) -> None:
        self._sharing.stop(job)
        self._board.say(f"{self._roster.name(address)}: {_message(result)}")

    def _refused(self, job: Job, address: str, result: Mapping[str, Any]) -> None:
        self._sharing.give_up(job, _message(result), fault=False)
        self._board.say(f"{job} failed: {_message(result)}")

    def _failed(self, job: Job, address: str, result: Mapping[str, Any]) -> None:
        fault = result["outcome"] == "crashed" or bool(result.get("fault"))
        message = f"on {self._roster.name(address)}: {_message(result)}"
        self._fail(job, message, fault, str(result.get("tail", "")))

    def _fail(self, job: Job, message: str, fault: bool, tail: str = "") -> None:
        tried = self._sharing.fail(job, message, fault)
        given_up = any(failure.job == job for failure in self._sharing.failures)
        what = "is given up" if given_up else f"goes on elsewhere (try {tried} of {TRIES})"
        last = tail.strip().splitlines()[-1:] if fault else []
        self._board.say("; ".join([f"{job}: {message}", *last, what]))


def _message(result: Mapping[str, Any]) -> str:
    return str(result.get("message", ""))
