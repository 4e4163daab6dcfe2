"""What the training loop is given, and what it gives back."""

from __future__ import annotations

import dataclasses

from suite.leases.worker import Worker
from suite.planning.run_request import RunRequest
from suite.storage.run_directory import RunDirectory
from suite.training.clock import Pace
from suite.training.progress import Progress


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What the jobs of one `suite run` share.

    Attributes:
        request: what was asked for: protocol, engine, hyper-parameters, frozen decoders.
        run: where results go.
        reporter: prints progress.
        worker: this process among those that share the run directory; None if it trains one job.
        pace: how often the loop shows, saves and asks whether to stop.
        until: updates after which a job is left off once it is evaluated there, as an interruption
            would leave it, so that it can go on later; None is the end of its budget.
    """

    request: RunRequest
    run: RunDirectory
    reporter: Progress
    worker: Worker | None = None
    pace: Pace = dataclasses.field(default_factory=Pace)
    until: int | None = None


@dataclasses.dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Attributes:
        diverged: seeds whose numbers stopped being finite, now or earlier.
        interrupted: whether the job stopped early because the user asked.
    """

    diverged: tuple[int, ...] = ()
    interrupted: bool = False
