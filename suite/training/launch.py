"""`suite run` once the request is checked: job after job, until done or interrupted.

Several processes may run the same request, or others, on one run directory. Each takes the
next job that nobody has, waits when all that is left is taken, and takes over what a process
leaves behind that dies (suite/leases).
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping

from suite.common import interrupt
from suite.common.errors import UserError
from suite.leases.claims import Held
from suite.leases.lease import LeaseLost, Regrouped
from suite.leases.signs_of_life import DEFAULT_SECONDS, LOOKS
from suite.leases.worker import Worker
from suite.planning.plan import Plan
from suite.planning.run_request import RunRequest
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory, divergences_kept
from suite.training.context import JobResult, RunContext
from suite.training.job import run_job
from suite.training.progress import Progress


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        diverged: cells whose numbers stopped being finite, now or in an earlier run.
        interrupted: whether the user stopped it.
        held: jobs that are left to other processes, if it was not to wait for them.
    """

    diverged: tuple[Cell, ...]
    interrupted: bool
    held: tuple[Job, ...] = ()


def launch(
    request: RunRequest,
    wait: bool = True,
    retry_diverged: bool = False,
    lease_seconds: float = DEFAULT_SECONDS,
    until: int | None = None,
) -> Outcome:
    """Trains what is not finished yet.

    Args:
        request: what to train.
        wait: whether to wait for jobs that other processes train, and take over from those
            that die.
        retry_diverged: whether to start afresh the cells that have diverged so far, once
            their jobs are finished; their records are kept aside.
        lease_seconds: of silence after which other processes take this one for dead.
        until: see `RunContext`; the plan, which is of the whole budget, is then not shown.

    Raises:
        UserError: the run directory belongs to another protocol, or a cell to another
            configuration; if so from the start, nothing was trained.
        OSError: a file cannot be written; what was stored before is untouched.
    """
    run = RunDirectory.create(request.out, request.protocol)
    plan = request.plan(run)
    request.check_stored(run, plan)
    if until is None:
        print(plan.render(), file=sys.stderr)
    if not retry_diverged and not _jobs_left(run, plan, until):
        return Outcome(diverged(run, plan), interrupted=False)
    request.check_methods(plan)
    with Worker(run.path, lease_seconds) as worker, interrupt.handling():
        context = RunContext(request, run, Progress(), worker, until=until)
        retry = to_retry(run, plan) if retry_diverged else {}
        outcome = Shift(context, worker, retry).work(wait)
    return dataclasses.replace(outcome, diverged=diverged(run, request.plan(run)))


class Shift:
    """What one process does until nothing is left for it.

    Args:
        context: what to train, and where.
        worker: this process.
        retry: diverged cells to start afresh, and how often each was before.
    """

    def __init__(self, context: RunContext, worker: Worker, retry: Mapping[Cell, int]) -> None:
        self._request = context.request
        self._context = context
        self._worker = worker
        self._retry = dict(retry)
        self._tried: set[Job] = set()
        self._regrouped: set[Job] = set()
        self._told: list[Job] = []

    def work(self, wait: bool) -> Outcome:
        """Trains job after job; which are left is looked up again before each."""
        while not interrupt.requested():
            left = self.left()
            if not left:
                return Outcome((), interrupted=False)
            result = self._train_first(left)
            if result is not None and result.interrupted:
                break
            if result is None and not wait:
                return Outcome((), interrupted=False, held=tuple(left))
            if result is None:
                self._wait_for(left)
        return Outcome((), interrupted=True)

    def left(self) -> list[Job]:
        """Returns what is to be trained by what is stored now; sets aside what is tried again."""
        run = self._context.run
        plan = self._request.plan(run)
        if self._set_aside(plan):
            plan = self._request.plan(run)
        jobs = _jobs_left(run, plan, self._context.until)
        return [job for job in jobs if job not in self._tried]

    def finish(self, job: Job) -> None:
        """Notes that a job was trained, so that it is not begun again."""
        self._tried.add(job)

    def _train_first(self, jobs: list[Job]) -> JobResult | None:
        """Trains the first job that is to be had, None where none is."""
        for job in jobs:
            try:
                result = run_job(job, self._context)
            except Held:
                continue
            except Regrouped:
                # Another process was faster; the next plan knows, or something is wrong.
                if job in self._regrouped:
                    raise dead_end(self._context.run, job) from None
                self._regrouped.add(job)
                continue
            except LeaseLost as error:
                print(f"suite: {error}", file=sys.stderr)
                continue
            self._tried.add(job)
            self._told = []
            return result
        return None

    def _wait_for(self, jobs: list[Job]) -> None:
        if jobs != self._told:
            listed = "; ".join(map(str, jobs))
            print(f"suite: waiting for other processes to finish {listed}", file=sys.stderr)
            self._told = jobs
        until = time.monotonic() + self._worker.seconds / LOOKS
        while time.monotonic() < until and not interrupt.requested():
            time.sleep(0.1)

    def _set_aside(self, plan: Plan) -> bool:
        """Puts away the diverged cells of finished jobs that are to be tried again."""
        before = len(self._retry)
        for planned in plan.jobs:
            for cell in sorted(self._retry.keys() & set(planned.job.cells)):
                if planned.state == "done" and self._put_away(cell, planned.job):
                    del self._retry[cell]
        return len(self._retry) != before

    def _put_away(self, cell: Cell, job: Job) -> bool:
        """Sets a cell aside unless another process has already; says whether that is settled."""
        run = self._context.run
        # All of the job, or two processes that each put one cell away both leave the checkpoint.
        members = [each for each in job.cells if each == cell or run.belongs(each, job)]
        try:
            lease = self._worker.acquire([run.cell_path(each) for each in members])
        except Held:
            return False
        try:
            untouched = run.divergences_kept(cell) == self._retry[cell]
            if untouched and run.stored_job(cell) == job and _has_diverged(run, cell):
                aside = run.set_aside(cell, lease)
                self._tried.discard(job)  # the new one is its equal if all seeds diverged
                print(
                    f"suite: {cell} starts afresh; its diverged run is in {aside}", file=sys.stderr
                )
        finally:
            lease.release()
        return True


def _jobs_left(run: RunDirectory, plan: Plan, until: int | None) -> list[Job]:
    """Returns the jobs of a plan that are neither done nor as far as they are to go."""
    jobs = [planned.job for planned in plan.jobs if planned.state != "done"]
    return [job for job in jobs if until is None or not run.has_reached(job, until)]


def dead_end(run: RunDirectory, job: Job) -> UserError:
    """Says what to do about a job that older versions let another group take a seed of."""
    left = [str(run.cell_path(cell)) for cell in job.cells if run.stored_job(cell) == job]
    return UserError(
        f"{job} cannot go on, since another group of seeds has trained one of them; move "
        f"{' and '.join(left) or run.checkpoint_path(job)} away, and run the same command again"
    )


def to_retry(run: RunDirectory, plan: Plan) -> dict[Cell, int]:
    """Returns the diverged cells, and how often each was started afresh before."""
    # Counted first: a cell that another process puts away meanwhile must look as if it had changed.
    found = divergences_kept(run)
    kept = {cell: found.get(cell, 0) for cell in _cells(plan)}
    return {cell: kept[cell] for cell in diverged(run, plan)}


def diverged(run: RunDirectory, plan: Plan) -> tuple[Cell, ...]:
    """Returns the cells of a plan whose numbers stopped being finite, in its order."""
    return tuple(cell for cell in _cells(plan) if _has_diverged(run, cell))


def _cells(plan: Plan) -> list[Cell]:
    return list(dict.fromkeys(cell for planned in plan.jobs for cell in planned.job.cells))


def _has_diverged(run: RunDirectory, cell: Cell) -> bool:
    status = run.files(cell).read_status()
    return status is not None and status.state == "diverged"
