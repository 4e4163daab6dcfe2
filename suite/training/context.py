"""What the training loop is given, and what it gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from suite.configuration.protocol import Protocol
from suite.planning.decoders import Decoders
from suite.storage.leases import Worker
from suite.storage.run_directory import RunDirectory
from suite.training.clock import Pace
from suite.training.progress import Progress


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What the jobs of one `suite run` share.

    Attributes:
        protocol: what must be equal for all algorithms.
        run: where results go.
        engine: `jax`, `warp` or `native`.
        hyperparameters: every hyper-parameter of each selected algorithm, by its name.
        reporter: prints progress.
        decoders: where frozen decoders come from; None if the algorithm makes its own.
        pace: how often the loop shows, saves and asks whether to stop.
        worker: this process among those that share the run directory; None if it trains one job.
    """

    protocol: Protocol
    run: RunDirectory
    engine: str
    hyperparameters: Mapping[str, Mapping[str, Any]]
    reporter: Progress
    worker: Worker | None = None
    decoders: Decoders | None = None
    pace: Pace = dataclasses.field(default_factory=Pace)


@dataclasses.dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Attributes:
        diverged: seeds whose numbers stopped being finite, now or earlier.
        interrupted: whether the job stopped early because the user asked.
    """

    diverged: tuple[int, ...] = ()
    interrupted: bool = False
