"""Policies out of run directories: the newest of a cell, and those of its stage ends."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
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
from suite.storage.digests import is_own_checkpoint
from suite.storage.origin import origin_faults
from suite.storage.records import Cell, Configuration, Job
from suite.storage.run_directory import RunDirectory, check_fingerprint
from suite.training.job_files import load_newest

MAX_POLICY_BYTES = 1 << 28
"""Of a policy in memory: 67 million numbers, where those of the suite have some forty thousand."""


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
        UserError: the cell was never started, or its checkpoint cannot be read or is not its own.
    """
    configuration = _configuration(run, cell)
    algorithm, task = stored_algorithm(run, cell, configuration)
    job = Job(cell.algorithm, cell.task, configuration.seeds_together)
    sized_template(run, cell, algorithm)
    template = Compiled(build_program(algorithm, task, run.protocol)).abstract_start(job.seeds)
    _check_memory(f"{run.path}/{cell}", template)
    path = run.checkpoint_path(job)
    check_own(path)
    state, facts, source = load_newest(path, template)
    index = job.seeds.index(cell.seed)
    _check_origin(source, facts, index, configuration, run)
    return algorithm, task, jax.tree.map(lambda leaf: leaf[index], state.algorithm)


def check_own(path: Path) -> None:
    """Raises UserError if a job's newest checkpoint is not what was written.

    Training can go on from the one before; what that does is not what the newest one does.
    """
    if path.exists() and not is_own_checkpoint(path, path):
        raise UserError(
            f"{path} is not what its run wrote, by the digests beside it; restore it, or let "
            "`suite run` go on from the one before"
        )


def _check_origin(
    path: Path, facts: Mapping[str, Any], index: int, now: Configuration, run: RunDirectory
) -> None:
    """Raises UserError if a checkpoint says that another configuration made it."""
    differing = origin_faults(facts, index, now, run.protocol)
    if differing:
        raise UserError(
            f"{path} is of another run, which differs in {', '.join(differing)}; restore it"
        )


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
    state, _ = checkpoint.load(path, sized_template(run, cell, algorithm))
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
    check_fingerprint(run)
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


def sized_template(run: RunDirectory, cell: Cell, algorithm: Algorithm[Any]) -> PyTree:
    """Returns the shapes of what a policy acts with, which a stranger's run.json decides.

    Raises:
        UserError: it would take more than any run's policy does.
    """
    template = policy_template(algorithm)
    size = checkpoint.size_of(template)
    if size > MAX_POLICY_BYTES:
        raise UserError(
            f"{run.path}/{cell} has a policy of {size:,} bytes by its hyper-parameters; at most "
            f"{MAX_POLICY_BYTES:,} are read"
        )
    return template


def _check_memory(where: str, template: object) -> None:
    """Raises UserError where the state of a whole job would not go into this machine."""
    size = checkpoint.size_of(template)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise UserError(
            f"{where} has a state of {size:,} bytes by its run.json and protocol.json, and this "
            f"machine a memory of {memory:,}; evaluate it on a larger one"
        )


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
