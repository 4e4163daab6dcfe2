"""The files of one job: its checkpoints, and what follows from them.

A checkpoint is made where the protocol has a point of its own: after an evaluation, at the end of
a chunk, at a change of stage. Which they are depends on no clock, so neither does what is kept from
before a divergence. Between two of them the state is kept in a file beside, the part, which is used
only if it goes on from the checkpoint, and removed with the next one.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm
from suite.common.errors import UserError
from suite.compute.build import acting_part
from suite.compute.program import SeedState
from suite.leases.lease import Lease
from suite.storage import checkpoint
from suite.storage.cell_batch import Batch
from suite.storage.digests import CHECKPOINTS, PARTS, announce_checkpoint, is_own_checkpoint
from suite.storage.records import Cell, Job, RunRecord, Status
from suite.storage.run_directory import RunDirectory
from suite.training.clock import Stopwatch
from suite.training.resources import peak_device_memory, peak_memory
from suite.training.schedule import Schedule
from suite.training.seed_record import JobRecord, SeedRecord, position_of

logger = logging.getLogger(__name__)

Facts = Mapping[str, Any]
"""What a checkpoint holds besides arrays."""


class JobFiles:
    """Writes and reads the files of one job; nothing is written once its lease is lost.

    Args:
        run: where.
        job: whose.
        algorithm: what learns.
        schedule: of its stages and evaluations.
        seen_at: steps [K] of the evaluation episodes that observations are kept of.
        lease: of its cells; None if nobody else can want them.
    """

    def __init__(
        self,
        run: RunDirectory,
        job: Job,
        algorithm: Algorithm[Any],
        schedule: Schedule,
        seen_at: tuple[int, ...],
        lease: Lease | None = None,
    ) -> None:
        self.path = run.checkpoint_path(job)
        self._part = checkpoint.part_path(self.path)
        self._run = run
        self._job = job
        self._algorithm = algorithm
        self._schedule = schedule
        self._seen_at = seen_at
        self._lease = lease

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint."""
        return self.path.exists() or checkpoint.previous_path(self.path).exists()

    def saving(self) -> AbstractContextManager[None]:
        """Keeps others from the job's cells while its body writes them.

        Raises:
            LeaseLost: another process has taken the job over.
        """
        return nullcontext() if self._lease is None else self._lease.saving()

    def load(self, template: SeedState) -> tuple[SeedState, dict[str, Any], Path]:
        """Reads the newest state, see `load_newest`."""
        return load_newest(self.path, template, self.saving())

    def forget_part(self) -> None:
        """Removes a state that no checkpoint leads to any more."""
        with self.saving():
            self._part.unlink(missing_ok=True)

    def save(self, state: SeedState, record: JobRecord, facts: Facts, watch: Stopwatch) -> None:
        """Writes the checkpoint first, then the files that follow from it."""
        with self.saving():
            checkpoint.save(self.path, state, facts, announce=self._announcing(CHECKPOINTS))
            self._publish(state, record, watch)

    def publish(self, state: SeedState, record: JobRecord, watch: Stopwatch) -> None:
        """Writes again what follows from a checkpoint: a crash may have come in between."""
        with self.saving():
            self._publish(state, record, watch)

    def save_part(
        self, state: SeedState, record: JobRecord, facts: Facts, watch: Stopwatch
    ) -> None:
        """Writes a state between two checkpoints, then how far it is."""
        with self.saving():
            announce = self._announcing(PARTS)
            checkpoint.save(self._part, state, facts, keep_previous=False, announce=announce)
            for cell, seed in zip(self._job.cells, record.seeds, strict=True):
                files = self._run.files(cell)
                with files.batch() as batch:
                    self._put_progress(batch, files.read_run(), record, seed, watch)

    def _announcing(self, kind: str) -> Callable[[str], None]:
        """Returns what records the digest of a checkpoint before it takes its place."""
        return functools.partial(announce_checkpoint, self.path, kind)

    def keep_last_good(self, cell: Cell) -> None:
        """Copies the checkpoint from before a divergence into the cell's directory."""
        if self.path.exists():
            with self.saving():
                self._run.files(cell).keep_checkpoint(self.path)

    def _publish(self, state: SeedState, record: JobRecord, watch: Stopwatch) -> None:
        position = record.position
        if position.updates == self._schedule.stage_end(position) and not position.collected:
            self._keep_policies(state, record)
        for cell, seed in zip(self._job.cells, record.seeds, strict=True):
            files = self._run.files(cell)
            with files.batch() as batch:
                self._put_results(batch, seed)
                self._put_progress(batch, files.read_run(), record, seed, watch)
        if not record.is_between:
            self._part.unlink(missing_ok=True)

    def _keep_policies(self, state: SeedState, record: JobRecord) -> None:
        """Keeps what every seed acts with at the end of a stage, unless it has diverged."""
        position = record.position
        policies = jax.vmap(acting_part(self._algorithm))(state.algorithm)
        for index, seed in record.live():
            steps = seed.ledger.env_steps
            facts = {"stage": position.stage, "updates": position.updates, "env_steps": steps}
            path = self._run.files(self._job.cells[index]).policy_path(position.stage)
            checkpoint.save(path, _seed_slice(policies, index), facts, keep_previous=False)

    def _put_results(self, batch: Batch, seed: SeedRecord) -> None:
        steps = [row.env_steps for row in seed.rows if row.mode == MODES[0]]
        returns = np.asarray(seed.episodes, np.float32)
        batch.put_curve(seed.rows)
        batch.put_episodes(np.asarray(steps, np.int64), returns)
        batch.put_metrics(seed.metrics)
        if seed.seen:
            batch.put_states(steps[-1], self._seen_at, np.asarray(seed.seen, np.float32))

    def _put_progress(
        self,
        batch: Batch,
        run: RunRecord | None,
        record: JobRecord,
        seed: SeedRecord,
        watch: Stopwatch,
    ) -> None:
        """Puts what this start took so far into run.json, and status.json last."""
        facts = {
            "wall_seconds": round(watch.elapsed(), 3),
            "compile_seconds": round(watch.compiling(), 3),
            "peak_memory_bytes": peak_memory(),
            "device_peak_memory_bytes": peak_device_memory(),
        }
        if run is not None and run.provenance:
            batch.put_run(run.amended(facts))
        done = self._schedule.is_spent(record.position)
        status = Status(
            state="diverged" if seed.divergence else "done" if done else "running",
            updates=record.position.updates,
            total_updates=self._schedule.total_updates,
            ledger=seed.ledger,
            wall_seconds=watch.spent.wall,
            returns={row.mode: row.return_mean for row in seed.rows[-len(MODES) :]},
            divergence=seed.divergence,
        )
        batch.put_status(status)


def load_newest(
    path: Path, template: SeedState, mending: AbstractContextManager[None] | None = None
) -> tuple[SeedState, dict[str, Any], Path]:
    """Reads the newest state of a job: its checkpoint, or the part that goes on from it.

    Args:
        path: the checkpoint.
        template: as for `checkpoint.load`.
        mending: likewise.

    Returns:
        The states [S, ...], the facts, and the file they are from.

    Raises:
        UserError: no good checkpoint of the job's own is left, or it does not fit the template.
    """
    is_own = functools.partial(is_own_checkpoint, path)
    state, facts = checkpoint.load(path, template, mending, is_own)
    part = checkpoint.part_path(path)
    try:
        if part.exists() and not is_own_checkpoint(path, part, PARTS):
            raise UserError(f"{part} is damaged (it is not what this run wrote)")
        if not (part.exists() and _leads_on(facts, checkpoint.read_meta(part))):
            return state, facts, path
        del state  # for both may not fit into memory
        return *checkpoint.load(part, template), part
    except UserError as error:
        logger.warning("%s; going on from %s", str(error).partition("; ")[0], path.name)
    return *checkpoint.load(path, template, is_own=is_own), path


def _leads_on(facts: Facts, part: Facts) -> bool:
    """Returns whether a part goes on from a checkpoint, by the facts of both."""
    try:
        return position_of(part).is_beyond(position_of(facts))
    except (KeyError, TypeError):
        return False


def _seed_slice(tree: Any, index: int) -> Any:
    """Returns one seed's part of a pytree of arrays [S, ...].

    Slices are NumPy's, or JAX would compile one for every shape; random keys are JAX's.
    """

    def cut(leaf: Any) -> Any:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf[index] if is_key else np.asarray(leaf)[index]

    return jax.tree.map(cut, tree)
