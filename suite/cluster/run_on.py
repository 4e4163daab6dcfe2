"""`suite run --on` and `suite plan --on` once the request is checked."""

from __future__ import annotations

import dataclasses
import sys
from typing import NamedTuple

from suite.cluster.dispatch import Dispatcher
from suite.cluster.opening import opened
from suite.cluster.orders import setup_of
from suite.cluster.places import Place, Slot, count_of, local_slots, visible_gpus
from suite.cluster.sharing import Failure, lower_bound, makespan, seeds_each
from suite.common import interrupt
from suite.common.formatting import duration
from suite.leases.signs_of_life import DEFAULT_SECONDS
from suite.leases.worker import Worker
from suite.planning.plan import Plan
from suite.planning.run_request import RunRequest
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.launch import Outcome, Shift, diverged, to_retry
from suite.training.progress import Progress


class Shared(NamedTuple):
    """How a run on many workers ended.

    Attributes:
        outcome: as of one process.
        failures: jobs that were given up.
    """

    outcome: Outcome
    failures: tuple[Failure, ...] = ()


class Prospect(NamedTuple):
    """How long a plan may take on some workers.

    Attributes:
        workers: how many.
        seconds: if the longest job that is left always goes to the first that is free; None where
            the time of a job is not known.
        bound: seconds that no division of the jobs can go below, likewise.
    """

    workers: int
    seconds: float | None
    bound: float | None

    def render(self, place: Place) -> str:
        """Returns a line for people."""
        shortest = f", {duration(self.bound)} at the least" if self.bound is not None else ""
        return f"on {self.workers} workers ({place}): {duration(self.seconds)}{shortest}"


def launch_on(
    request: RunRequest,
    place: Place,
    wait: bool = True,
    retry_diverged: bool = False,
    lease_seconds: float = DEFAULT_SECONDS,
    cache: bool = True,
    split_seeds: bool = False,
) -> Shared:
    """Has workers train what is not finished yet.

    Args:
        request: what to train.
        place: where.
        wait, retry_diverged, lease_seconds: see `suite.training.launch.launch`.
        cache: whether workers keep compiled programs.
        split_seeds: whether seeds of a job are trained apart where workers would idle.

    Raises:
        UserError: the request does not fit what is stored, or there are no workers to be had.
        OSError: a file cannot be written; what was stored before is untouched.
    """
    run = RunDirectory.create(request.out, request.protocol)
    request.check_stored(run, request.plan(run))
    slots = slots_of(place, request)
    if split_seeds:
        request = split(request, run, _workers_of(place, request.plan(run), slots))
    plan = request.plan(run)
    left = [planned for planned in plan.jobs if planned.state != "done"]
    print(plan.render(), file=sys.stderr)
    if not retry_diverged and not left:
        return Shared(Outcome(diverged(run, plan), interrupted=False))
    request.check_methods(plan)
    wanted = count_of(place, len(left), slots)
    with Worker(run.path, lease_seconds) as worker, interrupt.handling():
        context = RunContext(request, run, Progress(), worker)
        shift = Shift(context, worker, to_retry(run, plan) if retry_diverged else {})
        with opened(place, wanted, slots) as pool:
            setup = setup_of(request, lease_seconds, cache)
            dispatcher = Dispatcher(context, shift, pool, setup, wait)
            outcome = dispatcher.work()
    outcome = dataclasses.replace(outcome, diverged=diverged(run, request.plan(run)))
    return Shared(outcome, dispatcher.failures)


def slots_of(place: Place, request: RunRequest) -> list[Slot]:
    """Returns what the workers of this machine may use; none of it if the place is elsewhere."""
    if place.kind != "local":
        return []
    return local_slots(place, visible_gpus(request.engine), request.engine)


def split(request: RunRequest, run: RunDirectory | None, workers: int) -> RunRequest:
    """Returns a request whose jobs are so many that no worker idles, if their seeds allow it."""
    states = request.plan(run).jobs
    begun = sum(planned.state == "partial" for planned in states)
    new = [len(planned.job.seeds) for planned in states if planned.state == "new"]
    if not new:
        return request
    return dataclasses.replace(request, seeds_together=seeds_each(new, workers - begun))


def prospect(
    request: RunRequest, place: Place, run: RunDirectory | None, split_seeds: bool
) -> tuple[Plan, Prospect]:
    """Returns what would be trained, and how long that may take on the workers of a place.

    Raises:
        UserError: the place is a scheduler that does not answer.
    """
    slots = slots_of(place, request)
    workers = _workers_of(place, request.plan(run), slots)
    if split_seeds:
        request = split(request, run, workers)
    plan = request.plan(run)
    lengths = [planned.seconds for planned in plan.jobs if planned.state != "done"]
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        return plan, Prospect(workers, None, None)
    return plan, Prospect(workers, makespan(known, workers), lower_bound(known, workers))


def _workers_of(place: Place, plan: Plan, slots: list[Slot]) -> int:
    """Returns how many workers there are; asks a scheduler that stands."""
    if place.kind == "address":
        with opened(place, 0, ()) as pool:
            return max(1, len(pool.workers()))
    left = sum(planned.state != "done" for planned in plan.jobs)
    return count_of(place, left, slots)
