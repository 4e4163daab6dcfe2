"""What the tests of the command line share: a way to call it, and training that takes no time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from suite.storage.records import Cell, Configuration, Divergence, Job, Ledger, Status
from suite.training.context import JobResult, RunContext

TWO = ("--seeds-together", "2")
SMOKE = (*TWO, "--protocol", "smoke", "--tasks", "CheetahRun", "--algos", "ppo,gorl-fm",
         "--seeds", "2")  # fmt: skip


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Suite = Callable[..., Result]


class FakeTraining:
    """Stands in for the training loop: writes what it would, and remembers the jobs."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.diverge: tuple[int, ...] = ()
        self.stop_after: int | None = None
        self.fail: BaseException | None = None

    def __call__(self, job: Job, context: RunContext) -> JobResult:
        if self.fail:
            raise self.fail
        with context.run.locked(job, context.worker):
            self.jobs.append(job)
            for cell in job.cells:
                context.run.write_run(self.configuration(cell, job, context), {})
                with context.run.files(cell).batch() as batch:
                    batch.put_status(self.status(cell))
        return JobResult(self.diverge, interrupted=len(self.jobs) == self.stop_after)

    def status(self, cell: Cell) -> Status:
        returns = {"deterministic": 12.5, "sample": 10.0}
        if cell.seed in self.diverge:
            return Status("diverged", 2, 4, Ledger(320), 3.0, returns, Divergence(320, "critic"))
        return Status("done", 4, 4, Ledger(640, eval_steps=8000), 3.0, returns)

    @staticmethod
    def configuration(cell: Cell, job: Job, context: RunContext) -> Configuration:
        return Configuration(
            algorithm=cell.algorithm,
            task=cell.task,
            seed=cell.seed,
            seeds_together=job.seeds,
            hyperparameters=context.request.hyperparameters[cell.algorithm],
            engine=context.request.engine,
            protocol=context.request.protocol.to_dict(),
            fingerprint=context.request.protocol.fingerprint(),
            parameter_count=1,
            evaluations_per_action=1,
            model_hash="",
        )


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments, in a process of its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)
