"""Who trains what next: longest first, three tries, no job twice at once.

A greedy division by which the longest job that is left goes to the first worker that is free takes
at most 4/3 of the least time that there is (Graham 1969), and far less where jobs are many.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from suite.storage.records import Job

TRIES = 3
"""In a row without anything new stored, after which a job is left alone."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A job that was given up.

    Attributes:
        job: which.
        message: why, in one line.
        fault: whether it was a fault of the program or of a method, not of the user's input.
    """

    job: Job
    message: str
    fault: bool


class Sharing:
    """Which jobs are left, with whom they are, and how often each was tried in vain.

    Args:
        stored: returns a number that grows with what is stored of a job.

    Attributes:
        running: the worker of each job that is being trained.
        failures: jobs that were given up.
        held: jobs that processes elsewhere have, and when to ask for them again.
    """

    def __init__(self, stored: Callable[[Job], int]) -> None:
        self.running: dict[Job, str] = {}
        self.failures: list[Failure] = []
        self.held: dict[Job, float] = {}
        self._left: list[Job] = []
        self._stored = stored
        self._tries: dict[Job, int] = {}
        self._before: dict[Job, int] = {}
        self._regrouped: set[Job] = set()

    def look_up(self, lengths: Mapping[Job, float]) -> None:
        """Takes over which jobs are left, and how long each may take."""
        # Of equals the lower seed, so that no two workers compile one program at the same time.
        self._left = sorted(lengths, key=lambda job: (-lengths[job], job.seeds))
        self.held = {job: at for job, at in self.held.items() if job in lengths}

    @property
    def waiting(self) -> list[Job]:
        """Jobs that nobody has, longest first."""
        given_up = {failure.job for failure in self.failures}
        taken = self.running.keys() | given_up | self.held.keys()
        return [job for job in self._left if job not in taken]

    def start(self, job: Job, worker: str) -> None:
        """Notes that a worker begins with a job."""
        self.running[job] = worker
        self.held.pop(job, None)
        self._before.setdefault(job, self._stored(job))

    def stop(self, job: Job) -> None:
        """Notes that a job is with nobody any more."""
        self.running.pop(job, None)

    def finish(self, job: Job) -> None:
        """Notes that a job is done."""
        self.stop(job)
        self._left = [each for each in self._left if each != job]

    def hold(self, job: Job, until: float) -> None:
        """Leaves a job to a process elsewhere for a while."""
        self.stop(job)
        self.held[job] = until

    def regroup(self, job: Job) -> bool:
        """Notes that seeds of a job went to another; says whether that is no longer news."""
        self.stop(job)
        known = job in self._regrouped
        self._regrouped.add(job)
        return known

    def give_up(self, job: Job, message: str, fault: bool) -> None:
        """Leaves a job alone from here on."""
        self.stop(job)
        self.failures.append(Failure(job, message, fault))

    def fail(self, job: Job, message: str, fault: bool) -> int:
        """Notes a try that ended badly; one that has stored something new was not in vain.

        Returns:
            How many were in vain in a row.
        """
        self.stop(job)
        now = self._stored(job)
        if now != self._before.get(job, now):
            self._tries[job] = 0
        self._before[job] = now
        self._tries[job] = self._tries.get(job, 0) + 1
        if self._tries[job] >= TRIES:
            self.give_up(job, f"{message}, {TRIES} times without anything new stored", fault)
        return self._tries[job]


def makespan(lengths: Iterable[float], workers: int, busy: Sequence[float] = ()) -> float:
    """Returns how long jobs take if the longest that is left always goes to who is free first.

    Args:
        lengths: seconds of each job.
        workers: how many.
        busy: seconds until workers are free that train already.
    """
    ends = [*busy, *([0.0] * max(0, workers - len(busy)))] or [0.0]
    heapq.heapify(ends)
    for length in sorted(lengths, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + length)
    return max(ends)


def lower_bound(lengths: Collection[float], workers: int) -> float:
    """Returns a time that no division of the jobs can go below."""
    return max(max(lengths, default=0.0), sum(lengths) / max(1, workers))


def seeds_each(seeds: Sequence[int], workers: int) -> int:
    """Returns how many seeds of a job may train together for all workers to have something to do.

    Args:
        seeds: of each job that is not begun, how many it has.
        workers: how many there are beside those that go on with what was begun.
    """
    for together in range(max(seeds, default=1), 1, -1):
        if sum(-(-count // together) for count in seeds) >= workers:
            return together
    return 1
