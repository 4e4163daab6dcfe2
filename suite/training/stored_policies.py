"""Policies out of run directories: the newest of a cell, and those of its stage ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from algorithms import registry
from algorithms.api import Algorithm, Mode, PyTree
from envs.api import Task
from envs.engines.choice import load_task
from suite.common.convert import immutable
from suite.common.errors import UserError
from suite.compute.build import acting_part, build_algorithm, build_program
from suite.compute.compiled import Compiled
from suite.compute.evaluation import run_episodes, start_states
from suite.configuration.hyperparameters import hyperparameter_fields
from suite.methods.stored_methods import how_to_trust, trust_methods
from suite.planning.task_files import restore_task
from suite.storage import checkpoint
from suite.storage.records import Cell, Configuration, Job
from suite.storage.run_directory import RunDirectory
from suite.training.job_files import load_newest


def trust_files(run: RunDirectory, cells: Sequence[Cell]) -> None:
    """Executes what cells keep of users' files: the methods and the tasks not known here.

    Raises:
        UserError: see `trust_methods` and `restore_task`.
    """
    trust_methods(run, cells)
    for cell in cells:
        restore_task(run, cell, trusted=True)


def stored_policy(run: RunDirectory, cell: Cell) -> tuple[Algorithm[Any], Task, PyTree]:
    """Loads the newest policy of a cell.

    Raises:
        UserError: the cell was never started, or its checkpoint cannot be read.
    """
    configuration = _configuration(run, cell)
    algorithm, task = stored_algorithm(run, cell, configuration)
    job = Job(cell.algorithm, cell.task, configuration.seeds_together)
    template = Compiled(build_program(algorithm, task, run.protocol)).abstract_start(job.seeds)
    state, _, _ = load_newest(run.checkpoint_path(job), template)
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
    algorithm, task = stored_algorithm(run, cell, configuration, engine)
    path = run.files(cell).policy_path(stage)
    if not path.is_file():
        kept = ", ".join(map(str, run.files(cell).kept_stages())) or "none"
        raise UserError(
            f"{run.path}/{cell} has no policy of the end of stage {stage} (there are: {kept}); "
            "it is written when the stage ends, and older versions wrote none"
        )
    state, _ = checkpoint.load(path, policy_template(algorithm))
    return algorithm, task, state


def policy_template(algorithm: Algorithm[Any]) -> PyTree:
    """Returns the shapes and types of the policies that an algorithm's runs keep."""
    keep = acting_part(algorithm)
    return jax.eval_shape(lambda key: keep(algorithm.init(key)), jax.random.key(0))


def evaluate_stored(
    run: RunDirectory, cell: Cell, episodes: int, mode: Mode, seed: int
) -> np.ndarray:
    """Evaluates the newest stored policy of a cell again.

    Args:
        run: where it is stored.
        cell: whose policy.
        episodes: how many episodes E, from start states drawn by `seed`.
        mode: `deterministic` or `sample`.
        seed: draws start states and the policy's noise.

    Returns:
        [E] returns.

    Raises:
        UserError: there is no such policy, or its checkpoint cannot be read.
    """
    algorithm, task, state = stored_policy(run, cell)
    starts = start_states(task, episodes, seed)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    play = jax.jit(lambda s, b, k: run_episodes(algorithm, task, s, b, k, (mode,)))
    return np.asarray(play(state, starts, key).returns[0])


def _configuration(run: RunDirectory, cell: Cell) -> Configuration:
    record = run.files(cell).read_run()
    if record is None:
        raise UserError(f"{run.path} has no {cell}; `suite status` lists what it has")
    return record.configuration


def stored_algorithm(
    run: RunDirectory, cell: Cell, configuration: Configuration, engine: str = ""
) -> tuple[Algorithm[Any], Task]:
    """Builds the algorithm of a stored cell, fitted to its task, and loads that.

    Args:
        run: where the cell is.
        cell: whose.
        configuration: of the cell.
        engine: of the task; by default the one it was trained with.

    Raises:
        UserError: the method or the task is not known here, or the method has other fields.
        EnvError: the engine is not to be had here.
    """
    stored = configuration.hyperparameters
    values = {name: immutable(value) for name, value in stored.items()}
    _check_installed(run, cell, values)
    restore_task(run, cell)
    task = load_task(configuration.task, engine or configuration.engine)
    return build_algorithm(configuration.algorithm, values, task, run.protocol), task


def _check_installed(run: RunDirectory, cell: Cell, values: Mapping[str, object]) -> None:
    """Raises UserError unless the method of a stored cell is here, with the same fields."""
    where = f"{run.path}/{cell} was trained by {cell.algorithm}"
    try:
        fields = hyperparameter_fields(registry.lookup(cell.algorithm).cls)
    except KeyError:
        advice = how_to_trust(run, cell) or f"install {_package(run, cell)}"
        raise UserError(f"{where}, which is not installed here; {advice}") from None
    if strange := sorted(set(values) - set(fields)):
        raise UserError(
            f"{where} with {', '.join(strange)}, which the version installed here does not have; "
            f"install {_package(run, cell)}"
        )


def _package(run: RunDirectory, cell: Cell) -> str:
    """Returns the package that a cell's method came with, as far as its run tells."""
    record = run.files(cell).read_run()
    starts = record.provenance if record else ()
    methods = [each for start in starts if isinstance(each := start.get("method"), Mapping)]
    if not methods or not methods[-1].get("distribution"):
        return "the package that it comes with"
    return f"{methods[-1]['distribution']} {methods[-1].get('version') or ''}".strip()
