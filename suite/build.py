"""Puts an algorithm, a task and a protocol together, for training or from a stored cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from algorithms import registry
from algorithms.api import Algorithm, EnvSpec, PyTree, State
from envs.api import Task
from envs.engines import load_task
from envs.vector import VectorEnv
from suite.errors import UserError
from suite.program import Compiled, Program
from suite.protocol import Protocol
from suite.settings import build, hyperparameter_fields
from suite.storage import checkpoint
from suite.storage.records import Cell, Configuration, Job
from suite.storage.store import RunDirectory
from suite.wiring import acts_alone


def build_algorithm(
    name: str, hyperparameters: Mapping[str, Any], task: Task, protocol: Protocol
) -> Algorithm[Any]:
    """Returns the named algorithm, fitted to a task's sizes and a protocol's pipeline.

    Raises:
        UserError: a value is out of its bounds, or the class refuses it.
    """
    spec = EnvSpec(task.obs_size, task.action_size, protocol.discount_for(task.name))
    cls = registry.lookup(name).cls
    algorithm: Algorithm[Any] = build(cls, spec, protocol.pipeline(), hyperparameters)
    return algorithm


def build_program(algorithm: Algorithm[Any], task: Task, protocol: Protocol) -> Program:
    """Returns the computation of one seed.

    Raises:
        UserError: a chunk could hold two time limits.
    """
    if protocol.chunk_length > task.episode_length:
        raise UserError(
            f"protocol {protocol.name}: chunk_length {protocol.chunk_length} is longer than an"
            f" episode of {task.name}, {task.episode_length} steps; make it shorter"
        )
    envs = VectorEnv(
        task,
        num_envs=protocol.num_envs,
        starts=protocol.starts,
        bank_size=protocol.bank_size,
        random_phase=protocol.random_phase,
    )
    return Program(algorithm, envs, protocol.restart_interval)


def stored_policy(run: RunDirectory, cell: Cell) -> tuple[Algorithm[Any], Task, PyTree]:
    """Loads the newest policy of a cell.

    Raises:
        UserError: the cell was never started, or its checkpoint cannot be read.
    """
    configuration = _configuration(run, cell)
    algorithm, task = _stored_algorithm(run, cell, configuration)
    job = Job(cell.algorithm, cell.task, configuration.seeds_together)
    template = Compiled(build_program(algorithm, task, run.protocol)).abstract_start(job.seeds)
    state, _ = checkpoint.load(run.checkpoint_path(job), template)
    index = job.seeds.index(cell.seed)
    return algorithm, task, jax.tree.map(lambda leaf: leaf[index], state.algorithm)


def kept_policy(
    run: RunDirectory, cell: Cell, stage: int, engine: str = ""
) -> tuple[Algorithm[Any], Task, PyTree]:
    """Loads the policy that a cell had at the end of a stage.

    Args:
        run: where it was kept.
        cell: whose policy.
        stage: index.
        engine: of the task; by default the one it was trained with. How a policy acts does
            not depend on it.

    Returns:
        The algorithm, its task, and what `Algorithm.policy` made of the state: `act` takes it,
        `update` does not.

    Raises:
        UserError: the cell was never started, the policy was not kept, or its file is damaged.
    """
    configuration = _configuration(run, cell)
    algorithm, task = _stored_algorithm(run, cell, configuration, engine)
    path = run.policy_path(cell, stage)
    if not path.is_file():
        kept = ", ".join(map(str, run.kept_stages(cell))) or "none"
        raise UserError(
            f"{run.path}/{cell} has no policy of the end of stage {stage} (there are: {kept}); "
            "it is written when the stage ends, and older versions wrote none"
        )
    keep = acting_part(algorithm)
    template = jax.eval_shape(lambda key: keep(algorithm.init(key)), jax.random.key(0))
    state, _ = checkpoint.load(path, template)
    return algorithm, task, state


def acting_part(algorithm: Algorithm[State]) -> Callable[[State], State]:
    """Returns what makes of a state the part that acts, which is kept at the end of a stage.

    It is `Algorithm.policy`, or the whole state of a method that cannot act with that: one whose
    actions need its critic, say, on top of a base class that empties it.
    """
    return algorithm.policy if acts_alone(algorithm) else lambda state: state


def _configuration(run: RunDirectory, cell: Cell) -> Configuration:
    record = run.read_run(cell)
    if record is None:
        raise UserError(f"{run.path} has no {cell}; `suite status` lists what it has")
    return record.configuration


def _stored_algorithm(
    run: RunDirectory, cell: Cell, configuration: Configuration, engine: str = ""
) -> tuple[Algorithm[Any], Task]:
    values = as_hyperparameters(configuration.hyperparameters)
    _check_installed(run, cell, values)
    task = load_task(configuration.task, engine or configuration.engine)
    return build_algorithm(configuration.algorithm, values, task, run.protocol), task


def _check_installed(run: RunDirectory, cell: Cell, values: Mapping[str, Any]) -> None:
    """Raises UserError unless the method of a stored cell is here, with the same fields."""
    where = f"{run.path}/{cell} was trained by {cell.algorithm}"
    try:
        fields = hyperparameter_fields(registry.lookup(cell.algorithm).cls)
    except KeyError:
        raise UserError(
            f"{where}, which is not installed here; install {_package(run, cell)}"
        ) from None
    if strange := sorted(set(values) - set(fields)):
        raise UserError(
            f"{where} with {', '.join(strange)}, which the version installed here does not have; "
            f"install {_package(run, cell)}"
        )


def _package(run: RunDirectory, cell: Cell) -> str:
    """Returns the package that a cell's method came with, as far as its run tells."""
    record = run.read_run(cell)
    starts = record.provenance if record else ()
    methods = [start["method"] for start in starts if isinstance(start.get("method"), Mapping)]
    if not methods or not methods[-1].get("distribution"):
        return "the package that it comes with"
    return f"{methods[-1]['distribution']} {methods[-1].get('version') or ''}".strip()


def as_hyperparameters(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Turns hyper-parameters as JSON holds them back into what a dataclass takes."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
