"""The policies of a job that are to be had again: untrained, of ends of stages, the newest.

Shapes: S seeds of the job.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import Algorithm, PyTree
from envs.api import Task
from suite.common.errors import UserError
from suite.compute.build import acting_part
from suite.compute.compiled import Compiled
from suite.compute.program import SeedState
from suite.reproduction.groups import Group, told
from suite.storage import checkpoint
from suite.storage.records import Cell
from suite.training.job_files import load_newest
from suite.training.schedule import Position, Schedule
from suite.training.seed_record import position_of
from suite.training.stored_policies import (
    check_own,
    kept_policy,
    policy_template,
    sized_template,
    stored_algorithm,
)


def built(group: Group) -> tuple[Algorithm[Any], Task]:
    """Builds the method of a group, fitted to its task, and loads that.

    Raises:
        UserError: the method or the task is not known here, or its policies would be larger
            than any run's.
        EnvError: the engine is not to be had here.
    """
    filled = dataclasses.replace(group.configuration, hyperparameters=group.hyperparameters)
    algorithm, task = stored_algorithm(group.run, group.members[0], filled)
    sized_template(group.run, group.members[0], algorithm)
    return algorithm, task


@dataclasses.dataclass(frozen=True)
class Policies:
    """Policies of a job after so many updates.

    Attributes:
        updates: behind them.
        acting: [S, ...] what `Algorithm.act` takes.
        cells: whose they are; the other seeds' are copies, as the width must be the run's.
    """

    updates: int
    acting: PyTree
    cells: tuple[Cell, ...]


class PolicySource:
    """Finds the policies of a group.

    Args:
        group: whose.
        algorithm: as built for it.
        compiled: its program.

    Attributes:
        start: [S, ...] the states before any step.
        faults: what is wrong with the files of policies, by cell.
    """

    def __init__(self, group: Group, algorithm: Algorithm[Any], compiled: Compiled) -> None:
        self._group, self._algorithm, self._compiled = group, algorithm, compiled
        self._act = jax.vmap(acting_part(algorithm))
        self.start = compiled.start(group.job.seeds)
        self.faults: dict[Cell, list[str]] = {cell: [] for cell in group.members}

    def untrained(self) -> Policies:
        """Returns those that the seeds begin with.

        Raises:
            UserError: the decoders that they begin with are not to be had.
        """
        group, decoders = self._group, self._group.decoders()
        state = self.start
        if decoders is not None:
            found = {
                cell: kept_policy(decoders.run, cell, decoders.stage)[2] for cell in group.members
            }
            state = self._adopt(state, self._stack(found))
        return Policies(0, self._act(state.algorithm), group.members)

    def of_stage(self, stage: int, updates: int) -> Policies | None:
        """Returns those kept at the end of a stage, after so many updates; None without any."""
        found = {}
        for cell in self._group.members:
            path = self._group.run.files(cell).policy_path(stage)
            if not path.is_file():
                continue
            try:
                state, facts = checkpoint.load(path, policy_template(self._algorithm))
            except UserError as error:
                self.faults[cell].append(told(error, self._group.run.path))
                continue
            behind = facts.get("updates") if isinstance(facts, Mapping) else None
            if behind == updates:
                found[cell] = state
            else:
                text = f"{path.name} is of {str(behind)[:20]} updates, not {updates}"
                self.faults[cell].append(text)
        return Policies(updates, self._stack(found), tuple(found)) if found else None

    def newest(self, schedule: Schedule) -> Policies | None:
        """Returns those of the job's checkpoint; None if there is none of an evaluated policy."""
        group = self._group
        path = group.run.checkpoint_path(group.job)
        if not (path.is_file() or checkpoint.previous_path(path).is_file()):
            return None
        try:
            check_own(path)
            state, facts, _ = load_newest(path, self._compiled.abstract_start(group.job.seeds))
            position = position_of(facts)
            evaluated = _is_evaluated(position, schedule)
        except (UserError, IndexError, KeyError, TypeError) as error:
            reason = f"its job's checkpoint is of no use: {told(error, group.run.path)}"
            for cell in group.members:
                self.faults[cell].append(reason)
            return None
        if not evaluated:
            return None
        return Policies(position.updates, self._act(state.algorithm), group.members)

    def _adopt(self, state: SeedState, decoders: PyTree) -> SeedState:
        try:
            return self._compiled.adopt(state, decoders)
        except ValueError as error:
            raise UserError(f"{self._group.job.algorithm}: {error}") from None

    def _stack(self, found: Mapping[Cell, PyTree]) -> PyTree:
        """Returns pytrees of some cells as one of all seeds, others' places filled by copies."""
        filler = next(iter(found.values()))
        lanes = [found.get(cell, filler) for cell in self._group.job.cells]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)


def differing(one: Policies, other: Policies, seeds: Sequence[int]) -> list[Cell]:
    """Returns the cells whose policies are not the same in both, bit for bit."""
    pairs = list(zip(jax.tree.leaves(one.acting), jax.tree.leaves(other.acting), strict=True))
    both = [cell for cell in one.cells if cell in other.cells]
    return [
        cell
        for cell in both
        if not all(_same(a[seeds.index(cell.seed)], b[seeds.index(cell.seed)]) for a, b in pairs)
    ]


def _same(one: jax.Array, other: jax.Array) -> bool:
    if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    return np.asarray(one).tobytes() == np.asarray(other).tobytes()


def _is_evaluated(position: Position, schedule: Schedule) -> bool:
    """Returns whether a state is of the policy that was evaluated last: of that very stage."""
    ends = [schedule.stage_end(Position(stage=stage)) for stage in range(len(schedule.stages))]
    at_once = position.evaluated == position.updates and not position.collected
    begins = ends[position.stage - 1] if position.stage else -1
    return at_once and begins < position.updates <= ends[position.stage]
