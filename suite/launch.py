"""`suite run` once the request is checked: job after job, until done or interrupted."""

from __future__ import annotations

import dataclasses
import sys

from suite import interrupt
from suite.context import RunContext
from suite.progress import Progress
from suite.records import Cell
from suite.request import Request
from suite.store import RunDirectory
from suite.train import run_job


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        diverged: cells whose numbers stopped being finite, now or in an earlier run.
        interrupted: whether the user stopped it.
    """

    diverged: tuple[Cell, ...]
    interrupted: bool


def launch(request: Request) -> Outcome:
    """Trains what is not finished yet.

    Raises:
        UserError: the run directory belongs to another protocol, a cell to another
            configuration or to another process. Nothing was trained in the first two cases.
        OSError: a file cannot be written; what was stored before is untouched.
    """
    run = RunDirectory.create(request.out, request.protocol)
    plan = request.plan(run)
    request.check_stored(run, plan)
    print(plan.render(), file=sys.stderr)
    context = RunContext(
        protocol=request.protocol,
        run=run,
        engine=request.engine,
        hyperparameters=request.hyperparameters,
        reporter=Progress(),
    )
    unfinished = [planned.job for planned in plan.jobs if planned.state != "done"]
    with interrupt.handling():
        interrupted = any(
            interrupt.requested() or run_job(job, context).interrupted for job in unfinished
        )
    cells = [cell for planned in plan.jobs for cell in planned.job.cells]
    return Outcome(tuple(cell for cell in cells if _has_diverged(run, cell)), interrupted)


def _has_diverged(run: RunDirectory, cell: Cell) -> bool:
    status = run.read_status(cell)
    return status is not None and status.state == "diverged"
