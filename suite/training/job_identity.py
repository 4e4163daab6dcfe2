"""What a job's numbers come from; what is stored of one must come from the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from algorithms.api import Algorithm
from algorithms.parts.networks import parameter_count
from envs.api import Task
from suite.common.errors import UserError
from suite.compute.program import SeedState
from suite.configuration.protocol import Protocol
from suite.configuration.selection import format_seeds
from suite.storage.origin import origin, origin_differences
from suite.storage.records import Cell, Configuration, Job
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext


@dataclasses.dataclass(frozen=True)
class JobIdentity:
    """What a job's cells run.

    Attributes:
        configurations: of its cells, in the order of its seeds.
        protocol: of all of them.
    """

    configurations: tuple[Configuration, ...]
    protocol: Protocol

    @property
    def origins(self) -> list[dict[str, Any]]:
        """What every number of each cell depends on, as checkpoints hold it."""
        return [origin(each) for each in self.configurations]

    def check_made(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Refuses a checkpoint that another configuration made; older versions do not say.

        Raises:
            UserError: it was another.
        """
        stored = facts.get("origin")
        if stored is None:
            return
        for before, now in zip(stored, self.origins, strict=True):
            if "fingerprint" in before:
                before = {**before, "fingerprint": self.protocol.renewed(before["fingerprint"])}
            differing = origin_differences(before, now)
            if differing:
                raise UserError(
                    f"{path} is of another configuration, which differs in "
                    f"{', '.join(differing)}; go on with that one, delete the checkpoint, its "
                    ".prev and its .part to train these seeds afresh, or choose another directory "
                    "with --out"
                )


def identify(
    job: Job,
    context: RunContext,
    task: Task,
    algorithm: Algorithm[Any],
    state: SeedState,
    starts: Mapping[str, Any],
) -> JobIdentity:
    """Returns what a job's numbers come from.

    Args:
        job: whose.
        context: of the run.
        task: as loaded.
        algorithm: as built for it.
        state: [S, ...] arrays, or their shapes.
        starts: as `describe_starts` returns it, of evaluation.
    """
    parameters = jax.eval_shape(algorithm.parameters, state.algorithm)
    request = context.request
    protocol, decoders = request.protocol, request.decoders

    def configuration(cell: Cell) -> Configuration:
        return Configuration(
            algorithm=cell.algorithm,
            task=cell.task,
            seed=cell.seed,
            seeds_together=job.seeds,
            hyperparameters=request.hyperparameters[cell.algorithm],
            engine=request.engine,
            protocol=protocol.to_dict(),
            fingerprint=protocol.fingerprint(),
            parameter_count=parameter_count(parameters) // len(job.seeds),
            evaluations_per_action=algorithm.evaluations_per_action,
            model_hash=task.model_hash,
            eval_starts=starts,
            return_bounds=task.return_bounds,
            decoder=decoders.source(cell) if decoders else None,
        )

    return JobIdentity(tuple(configuration(cell) for cell in job.cells), protocol)


def check_unfinished(run: RunDirectory, job: Job) -> None:
    """Refuses to start a job anew over results that its lost checkpoint would have kept.

    Raises:
        UserError: some seed of it is finished.
    """
    statuses = {cell.seed: run.files(cell).read_status() for cell in job.cells}
    finished = tuple(seed for seed, each in statuses.items() if each and each.finished)
    if finished:
        raise UserError(
            f"{run.checkpoint_path(job)} is missing, and without it finished seeds "
            f"({format_seeds(finished)}) would be overwritten; restore the checkpoint, or use "
            "another --out"
        )
