"""Puts an algorithm, a task and a protocol together, for training or from a stored cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from algorithms import registry
from algorithms.api import Algorithm, EnvSpec, PyTree
from envs.api import Task
from envs.engines import load_task
from envs.vector import VectorEnv
from suite.errors import UserError
from suite.program import Compiled, Program
from suite.protocol import Protocol
from suite.storage import checkpoint
from suite.storage.records import Cell, Configuration, Job
from suite.storage.store import RunDirectory


def build_algorithm(
    name: str, hyperparameters: Mapping[str, Any], task: Task, protocol: Protocol
) -> Algorithm[Any]:
    """Returns the named algorithm, fitted to a task's sizes and a protocol's pipeline."""
    spec = EnvSpec(task.obs_size, task.action_size, protocol.discount_for(task.name))
    cls = registry.lookup(name).cls
    return cls(env=spec, pipeline=protocol.pipeline(), **hyperparameters)


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
    algorithm, task = _stored_algorithm(run, configuration)
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
    algorithm, task = _stored_algorithm(run, configuration, engine)
    path = run.policy_path(cell, stage)
    if not path.is_file():
        kept = ", ".join(map(str, run.kept_stages(cell))) or "none"
        raise UserError(
            f"{run.path}/{cell} has no policy of the end of stage {stage} (there are: {kept}); "
            "it is written when the stage ends, and older versions wrote none"
        )
    template = jax.eval_shape(lambda key: algorithm.policy(algorithm.init(key)), jax.random.key(0))
    state, _ = checkpoint.load(path, template)
    return algorithm, task, state


def _configuration(run: RunDirectory, cell: Cell) -> Configuration:
    record = run.read_run(cell)
    if record is None:
        raise UserError(f"{run.path} has no {cell}; `suite status` lists what it has")
    return record.configuration


def _stored_algorithm(
    run: RunDirectory, configuration: Configuration, engine: str = ""
) -> tuple[Algorithm[Any], Task]:
    task = load_task(configuration.task, engine or configuration.engine)
    values = as_hyperparameters(configuration.hyperparameters)
    return build_algorithm(configuration.algorithm, values, task, run.protocol), task


def as_hyperparameters(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Turns hyper-parameters as JSON holds them back into what a dataclass takes."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
