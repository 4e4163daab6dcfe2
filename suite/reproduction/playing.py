"""`suite audit --recompute`: every policy that is to be had is evaluated again.

The untrained policy follows from the seed alone. Those of the ends of stages are kept, and the
newest is in the checkpoint. Start states, random keys, engine and the number of seeds computed
together are the run's, so that on the same machine every bit comes out again.

Shapes: S seeds of a job, M modes, E episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm
from algorithms.parts.networks import parameter_count
from envs.api import EnvError, Task, TaskState
from suite.common.errors import UserError
from suite.compute.build import build_program
from suite.compute.compiled import Compiled
from suite.compute.evaluation import describe_starts, start_states
from suite.reproduction.comparing import Played, compare
from suite.reproduction.groups import Group, groups_of, told
from suite.reproduction.machine import elsewhere
from suite.reproduction.policies import Policies, PolicySource, built, differing
from suite.reproduction.stored_results import StoredResults, read_results
from suite.storage.origin import as_recorded
from suite.storage.recomputation import NOT_KEPT, Evaluation, Missing, Replayed
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.schedule import Position, Schedule
from suite.training.stored_policies import trust_files


def replay(run: RunDirectory, trust: bool, tell: Callable[[str], None]) -> Iterator[Replayed]:
    """Evaluates the policies of every cell again, and compares with what is stored.

    Args:
        run: of the cells.
        trust: whether files of methods and tasks that it keeps may be executed.
        tell: is told what is evaluated.
    """
    groups, damaged = groups_of(run)
    for cell, reason in damaged.items():
        yield Replayed(str(cell), "", missing=(Missing(reason, 0),))
    for group in groups:
        tell(f"evaluating {group.job} again")
        try:
            group.check()
            if trust:
                trust_files(run, group.members)
            found = _Replay(group).outcomes()
        except (UserError, EnvError) as error:
            reason = told(error, run.path)
            found = [_unplayed(run, cell, reason) for cell in group.members]
        yield from found


def _unplayed(run: RunDirectory, cell: Cell, reason: str) -> Replayed:
    """Returns the record of a cell none of whose evaluations could be made again."""
    try:
        results = read_results(run, cell)
    except UserError as error:
        return Replayed(str(cell), "", missing=(Missing(told(error, run.path), 0),))
    return Replayed(str(cell), results.digest, missing=(Missing(reason, len(results.evaluations)),))


class _Replay:
    """The evaluations of one group, made again where there are policies."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._algorithm, self._task = built(group)
        protocol = group.run.protocol
        self._compiled = Compiled(build_program(self._algorithm, self._task, protocol))
        self._schedule = Schedule(self._algorithm.stages(), protocol)
        self._starts = start_states(self._task, protocol.eval_episodes, protocol.eval_seed)
        self._source = PolicySource(group, self._algorithm, self._compiled)
        self._facts = _facts(
            self._algorithm, self._task, self._source.start.algorithm, self._starts
        )
        self._made: dict[Cell, list[Evaluation]] = {cell: [] for cell in group.members}
        self._reasons: dict[int, str] = {}
        self._elsewhere = {
            cell: elsewhere(record.provenance, cell.algorithm, record.configuration.engine)
            for cell, record in group.records.items()
        }

    def outcomes(self) -> list[Replayed]:
        """Returns what became of each member."""
        results: dict[Cell, StoredResults] = {}
        for cell in self._group.members:
            try:
                results[cell] = read_results(self._group.run, cell)
            except UserError as error:
                self._source.faults[cell].append(told(error, self._group.run.path))
        for policies in self._policies():
            self._play(policies, results)
        return [self._outcome(cell, results.get(cell)) for cell in self._group.members]

    def _policies(self) -> Iterator[Policies]:
        """Yields what is to be had, of every moment once."""
        found: dict[int, Policies] = {}
        try:
            found[0] = self._source.untrained()
        except UserError as error:
            self._reasons[0] = told(error, self._group.run.path)
        for stage in range(len(self._schedule.stages)):
            end = self._schedule.stage_end(Position(stage=stage))
            kept = self._source.of_stage(stage, end) if end else None
            if kept is not None:
                found.setdefault(end, kept)
        newest = self._source.newest(self._schedule)
        if newest is not None:
            kept = found.setdefault(newest.updates, newest)
            for cell in differing(kept, newest, self._group.job.seeds):
                self._source.faults[cell].append(
                    f"its job's checkpoint holds another policy after {newest.updates} updates"
                )
            if len(newest.cells) > len(kept.cells):
                found[newest.updates] = newest
        yield from found.values()

    def _play(self, policies: Policies, results: Mapping[Cell, StoredResults]) -> None:
        """Makes one evaluation of all seeds again, if some cell should have it."""
        updates = policies.updates
        if updates not in self._group.run.protocol.evaluation_grid(self._schedule.total_updates):
            return
        cells = [
            cell
            for cell in policies.cells
            if cell in results and (updates in results[cell].evaluations or results[cell].done)
        ]
        if not cells:
            return
        start = self._source.start
        state = start._replace(
            algorithm=policies.acting, updates=jnp.full_like(start.updates, updates), best=None
        )
        episodes = self._compiled.evaluate(state, self._starts)
        returns, steps, obs = map(np.asarray, (episodes.returns, episodes.steps, episodes.obs))
        lanes = {cell: self._group.job.seeds.index(cell.seed) for cell in policies.cells}
        others: dict[tuple[int, str], np.ndarray] = {
            (cell.seed, mode): returns[lane, index]
            for cell, lane in lanes.items()
            for index, mode in enumerate(MODES)
        }
        for cell in cells:
            lane, stored = lanes[cell], results[cell].evaluations.get(updates)
            played = Played(cell.seed, returns[lane], int(steps[lane]), obs[lane])
            self._made[cell].append(
                compare(stored, played, not self._elsewhere[cell], others)
                if stored is not None
                else Evaluation(updates, 0, 0, "the curve lacks this evaluation")
            )

    def _outcome(self, cell: Cell, results: StoredResults | None) -> Replayed:
        made = tuple(self._made[cell])
        faults = [*self._source.faults[cell], *self._other_facts(cell)]
        if results is None:
            return Replayed(str(cell), "", faults=tuple(faults))
        left = [each for each in results.evaluations if each not in {one.updates for one in made}]
        reasons = [self._reasons.get(each, NOT_KEPT) for each in left]
        missing = tuple(Missing(each, reasons.count(each)) for each in dict.fromkeys(reasons))
        return Replayed(
            str(cell),
            results.digest,
            made,
            missing,
            tuple(faults),
            self._elsewhere[cell],
            max(results.evaluations, default=None),
        )

    def _other_facts(self, cell: Cell) -> list[str]:
        """Returns what run.json tells of the method and the task that is not so here."""
        told = self._group.records[cell].configuration
        loose = () if not self._elsewhere[cell] else ("model_hash", "eval_starts")
        starts = as_recorded(self._facts["eval_starts"], told.eval_starts)
        return [
            f"{name} {_plain(getattr(told, name))} is stored, {_plain(value)} recomputed"
            for name, value in {**self._facts, "eval_starts": starts}.items()
            if name not in loose and getattr(told, name) != value
        ]


def _facts(algorithm: Algorithm[Any], task: Task, states: Any, starts: TaskState) -> dict[str, Any]:
    """Returns what a configuration tells of a method [S, ...] and its task, computed anew."""
    parameters = jax.eval_shape(algorithm.parameters, states)
    seeds = jax.tree.leaves(states)[0].shape[0]
    return {
        "parameter_count": parameter_count(parameters) // seeds,
        "evaluations_per_action": algorithm.evaluations_per_action,
        "return_bounds": task.return_bounds,
        "model_hash": task.model_hash,
        "eval_starts": describe_starts(starts),
    }


def _plain(value: object) -> str:
    return str(value)[:60]
