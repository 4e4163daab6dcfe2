"""Does everything run on this machine: both engines, vmapped seeds, all five algorithms?

For each engine and algorithm: two updates of a tiny size with two seeds in one program,
done twice to see whether the results are bit-identical; GoRL's change of stage; an
evaluation in both modes. For each pair of engines: whether they agree from the same states.

    python -m benchmarks.gpu.everything --minutes 5
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu.common import Record, checked, open_bench, recording_parser, suitable_engines
from envs.api import EnvError, Task, TaskState
from envs.tasks import resolve_tasks
from suite.compute.compiled import Compiled
from suite.configuration.protocol import load_protocol
from suite.configuration.selection import parse_algorithms

SEEDS = (0, 1)
UPDATES = 2
EPISODES = 4
WARMUP_STEPS = 20
COMPARED_STEPS = 5
TRAINING_SHAPE = (5, 2048)
TINY_SHAPE = (2, 8)
"""Seeds and environments [S, N] that engines are compared on.

At the size of real training, because MJX-Warp's room for contacts is shared by all of them.
"""
SAME = 2e-4
"""Observations that differ by less than this, relative to 1 + |obs|, count as the same."""

COLUMNS = {
    "compile_seconds": "compile s",
    "seconds_per_update": "s/update",
    "finite": "finite",
    "repeatable": "same twice",
    "stage_seconds": "stage s",
    "evaluate_seconds": "evaluate s",
    "differing_first": "differing, step 1",
    "differing_last": f"step {COMPARED_STEPS}",
    "reward_difference": "reward diff",
}


def train(task: str, engine: str, algorithm: str) -> dict[str, Any]:
    """Makes two updates, twice, and changes stage if the algorithm has several."""
    bench = open_bench(task, engine)
    program = bench.program(algorithm, load_protocol("smoke"))
    compiled, start = Compiled(program), bench.starter(program)
    state, _ = compiled.train(start(SEEDS), UPDATES)
    first, compile_seconds = digest(state), compiled.seconds
    again = jax.block_until_ready(start(SEEDS))
    began = time.perf_counter()
    state, _ = compiled.train(again, UPDATES)
    seconds = (time.perf_counter() - began) / UPDATES
    outcome = {
        "compile_seconds": compile_seconds,
        "seconds_per_update": seconds,
        "repeatable": digest(state) == first,
        "digest": first,
    }
    if len(program.algorithm.stages()) > 1:
        began = time.perf_counter()
        state = compiled.advance(state)
        outcome["stage_seconds"] = time.perf_counter() - began
    finite = compiled.finite(state).values()
    return {**outcome, "finite": all(bool(each.all()) for each in finite)}


def digest(tree: Any) -> str:
    """Returns the SHA-256 of all bits of a pytree."""
    result = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        result.update(np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes())
    return result.hexdigest()


def evaluate(task: str, engine: str, algorithm: str) -> dict[str, Any]:
    """Plays whole episodes with an untrained policy, in both modes."""
    bench = open_bench(task, engine)
    program = bench.program(algorithm, load_protocol("smoke"))
    compiled = Compiled(program)
    state = bench.starter(program)(SEEDS)
    starts = jax.tree.map(lambda leaf: leaf[:EPISODES], bench.bank)
    began = time.perf_counter()
    episodes = compiled.evaluate(state, starts)
    seconds = time.perf_counter() - began - compiled.seconds
    return {
        "compile_seconds": compiled.seconds,
        "evaluate_seconds": seconds,
        "finite": bool(jnp.isfinite(episodes.returns).all()),
        "return_mean": float(episodes.returns.mean()),
        "steps": episodes.steps.tolist(),
    }


class Seen(NamedTuple):
    """What T steps showed: obs [T, S, N, O], reward [T, S, N], the state after each step."""

    obs: jax.Array
    reward: jax.Array
    states: TaskState


def take_steps(task: Task, states: TaskState, actions: jax.Array) -> Seen:
    """Steps [S, N, ...] states, vmapped as in training, with `actions` [T, S, N, A]."""

    def step(states: TaskState, action: jax.Array) -> tuple[TaskState, TaskState]:
        states = jax.vmap(jax.vmap(task.step))(states, action)
        return states, states

    def run(states: TaskState, actions: jax.Array) -> TaskState:
        return jax.lax.scan(step, states, actions)[1]

    after = jax.jit(run)(states, actions)
    return Seen(after.obs, after.reward, after)


def compare(task: str, engine: str, other_engine: str, shape: tuple[int, int]) -> dict[str, Any]:
    """Steps two engines with the same actions from the same states, some steps into an episode.

    Returns:
        Shares of environments whose observations differ in the first and in the last
        step compared, quantiles and the maximum of the differences in each step, and
        the largest difference of a reward.
    """
    reference, other = open_bench(task, engine), open_bench(task, other_engine)
    action_key, draw_key = jax.random.split(jax.random.key(1))
    steps = WARMUP_STEPS + COMPARED_STEPS
    size = (steps, *shape, reference.task.action_size)
    actions = jax.random.uniform(action_key, size, minval=-1.0, maxval=1.0)
    entries = jax.random.randint(draw_key, shape, 0, reference.bank.obs.shape[0])
    starts = jax.tree.map(lambda leaf: leaf[entries], reference.bank)
    expected = take_steps(reference.task, starts, actions)
    midway = jax.tree.map(lambda leaf: leaf[WARMUP_STEPS - 1], expected.states)
    actual = take_steps(other.task, midway, actions[WARMUP_STEPS:])
    return differences(
        np.asarray(expected.obs[WARMUP_STEPS:]),
        np.asarray(expected.reward[WARMUP_STEPS:]),
        np.asarray(actual.obs),
        np.asarray(actual.reward),
    )


def differences(
    obs: np.ndarray, reward: np.ndarray, other_obs: np.ndarray, other_reward: np.ndarray
) -> dict[str, Any]:
    """Sums up how observations [T, S, N, O] and rewards [T, S, N] of two engines differ."""
    relative = np.abs(other_obs - obs) / (1 + np.abs(obs))
    per_env = relative.max(axis=-1).reshape(len(obs), -1)
    # A number that is not finite in one engine only must count as a difference.
    per_env = np.where(np.isnan(per_env), np.inf, per_env)
    shares, quantiles = (per_env > SAME).mean(axis=1), (0.5, 0.9, 0.99)
    return {
        "differing_first": float(shares[0]),
        "differing_last": float(shares[-1]),
        "reward_difference": float(np.abs(other_reward - reward).max()),
        "obs_quantiles": np.quantile(per_env, quantiles, axis=1, method="higher").T.tolist(),
        "obs_max": per_env.max(axis=1).tolist(),
    }


def run_parts(record: Record, options: argparse.Namespace) -> None:
    """Runs the parts in order of importance: one method, agreement, the others, evaluation."""
    task, algorithms = options.task, options.algos
    engines = options.engines or suitable_engines()
    shape = TINY_SHAPE if options.tiny else TRAINING_SHAPE
    for algorithm in algorithms:
        for engine in engines:
            part = functools.partial(train, task, engine, algorithm)
            record.run(f"train {engine} {algorithm}", part)
        if algorithm == algorithms[0]:
            for one, two in itertools.combinations(engines, 2):
                record.run(
                    f"compare {one} {two}", functools.partial(compare, task, one, two, shape)
                )
    for algorithm, engine in itertools.product(algorithms, engines):
        part = functools.partial(evaluate, task, engine, algorithm)
        record.run(f"evaluate {engine} {algorithm}", part)


def only_task(name: str) -> str:
    """Returns the task called `name`.

    Raises:
        EnvError: it is unknown, or a set of several.
    """
    tasks = resolve_tasks(name)
    if len(tasks) > 1:
        raise EnvError(f"{name} is {len(tasks)} tasks; name one of them")
    return tasks[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is not in the record yet; returns 1 if a part failed."""
    parser = recording_parser("everything", __doc__)
    parser.add_argument("--task", type=checked(only_task), default="CheetahRun")
    parser.add_argument("--algos", type=checked(parse_algorithms), default="all", help="names")
    options = parser.parse_args(arguments)
    record = Record(options)
    run_parts(record, options)
    return record.finish(COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
