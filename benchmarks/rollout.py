"""Measures environment steps per second of the native engine inside a jitted rollout.

The rollout is the one that training takes: `VectorEnv` with bank starts and random
phases, acted on by a policy of PPO's size, in one `lax.scan`. Its speed is given as
a share of the physics alone, `mujoco.batch.Batch.step` with the same model, batch
and threads, measured alternately with it; with --mjx also as a ratio to the same
rollout on MJX in JAX.

    python benchmarks/rollout.py --tasks CheetahRun,WalkerWalk --envs 256,2048
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from mujoco.batch import Batch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from envs.engines import load_task
from envs.native import NativeTask, available_cpus
from envs.tasks import resolve_tasks
from envs.vector import EnvState, VectorEnv

Measure = Callable[[], float]
"""Runs for a while and returns the environment steps per second."""

_HIDDEN_SIZES = (32, 32, 32, 32)
_MJX_ENVS = 512
_MJX_STEPS = 10
_PACKAGES = ("jax", "jaxlib", "mujoco", "mujoco-mjx", "playground", "numpy")


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the table; speeds are environment steps per second, medians."""

    task: str
    envs: int
    rollout: float
    raw: float
    share: float
    share_min: float
    share_max: float
    mjx: float | None = None
    mjx_ratio: float | None = None


def init_policy(key: jax.Array, obs_size: int, action_size: int) -> list[jax.Array]:
    """Returns the weights of an MLP that gives the mean and scale of a Gaussian."""
    sizes = (obs_size, *_HIDDEN_SIZES, 2 * action_size)
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes, sizes[1:], strict=False)
    return [jax.random.normal(k, (m, n)) / np.sqrt(m) for k, m, n in pairs]


def act(weights: list[jax.Array], obs: jax.Array, key: jax.Array) -> jax.Array:
    """Returns sampled actions [N, A] for observations [N, O], squashed by tanh."""
    hidden = (obs - 0.1) / 1.5  # stands for the running normalizer
    for weight in weights[:-1]:
        hidden = jax.nn.silu(hidden @ weight)
    mean, scale = jnp.split(hidden @ weights[-1], 2, axis=-1)
    noise = jax.random.normal(key, mean.shape)
    return jnp.tanh(mean + noise * jnp.clip(jax.nn.softplus(scale) + 1e-3, 1e-3, 10.0))


def measure_rollout(env: VectorEnv, steps: int) -> Measure:
    """Returns a measurement of jitted rollouts of `steps` control steps."""
    weights = init_policy(jax.random.key(0), env.task.obs_size, env.task.action_size)

    @jax.jit
    def rollout(state: EnvState, key: jax.Array) -> tuple[EnvState, Any]:
        def body(state: EnvState, key: jax.Array) -> tuple[EnvState, Any]:
            act_key, env_key = jax.random.split(key)
            action = act(weights, state.obs, act_key)
            next_state, transition = env.step(state, action, env_key)
            return next_state, (state.obs, action, transition)

        return jax.lax.scan(body, state, jax.random.split(key, steps))

    state, _ = jax.block_until_ready(
        rollout(jax.jit(env.reset)(jax.random.key(1)), jax.random.key(2))
    )

    def measure() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = jax.block_until_ready(rollout(state, jax.random.key(3)))
        return env.num_envs * steps / (time.perf_counter() - start)

    return measure


def measure_physics(task: NativeTask, num_envs: int, steps: int) -> Measure:
    """Returns a measurement of the physics alone under random controls."""
    batch = Batch(task.model, num_envs, available_cpus())
    batch.reset()
    batch.bind("ctrl")[:] = np.random.default_rng(0).uniform(-1, 1, (num_envs, task.model.nu))
    batch.step(nstep=task.substeps * 20)

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            batch.step(nstep=task.substeps)
        return num_envs * steps / (time.perf_counter() - start)

    return measure


def compare(name: str, num_envs: int, repeats: int, seconds: float, mjx: float | None) -> Result:
    """Measures rollout and physics alternately, each for about `seconds` at a time."""
    task = load_task(name, "native")
    assert isinstance(task, NativeTask)
    speed = measure_physics(task, num_envs, steps=10)()
    steps = max(10, round(seconds * speed / num_envs))
    rollout = measure_rollout(VectorEnv(task, num_envs), steps)
    physics = measure_physics(task, num_envs, steps)
    pairs = [(rollout(), physics()) for _ in range(repeats)]
    shares = [r / p for r, p in pairs]
    median = statistics.median(r for r, _ in pairs)
    return Result(
        task=name,
        envs=num_envs,
        rollout=median,
        raw=statistics.median(p for _, p in pairs),
        share=statistics.median(shares),
        share_min=min(shares),
        share_max=max(shares),
        mjx=mjx,
        mjx_ratio=median / mjx if mjx else None,
    )


def measure_mjx(name: str) -> float:
    """Returns the speed of the same rollout with MJX in JAX on this device."""
    env = VectorEnv(load_task(name, "jax"), _MJX_ENVS, bank_size=_MJX_ENVS)
    measure = measure_rollout(env, _MJX_STEPS)
    return statistics.median(measure() for _ in range(3))


def versions() -> dict[str, str]:
    """Returns what the figures depend on beside the code."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": str(available_cpus()),
        **packages,
    }


def table_row(result: Result) -> str:
    """Formats one line of the table."""
    share = f"{result.share:6.1%} ({result.share_min:.1%} to {result.share_max:.1%})"
    mjx = f"{result.mjx:9,.0f} {result.mjx_ratio:6.0f}x" if result.mjx else ""
    line = f"{result.task:16}{result.envs:6}{result.rollout:12,.0f}{result.raw:12,.0f}  {share:24}"
    return f"{line}{mjx}".rstrip()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tasks", default="CheetahRun,WalkerWalk,FishSwim")
    parser.add_argument("--envs", default="256,2048", help="numbers of environments")
    parser.add_argument("--repeats", type=int, default=7, help="pairs of measurements")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a measurement")
    parser.add_argument("--mjx", action="store_true", help="compare with MJX in JAX too")
    parser.add_argument("--json", type=pathlib.Path, help="file for the record")
    return parser.parse_args()


def main() -> None:
    """Prints the table, and writes the record if asked to."""
    options = parse_arguments()
    print(f"{'task':16}{'envs':>6}{'rollout/s':>12}{'physics/s':>12}  share (min to max)")
    results = []
    for name in resolve_tasks(options.tasks):
        mjx = measure_mjx(name) if options.mjx else None
        for num_envs in (int(number) for number in options.envs.split(",")):
            result = compare(name, num_envs, options.repeats, options.seconds, mjx)
            results.append(result)
            print(table_row(result), flush=True)
    if options.json:
        record = {"versions": versions(), "results": [dataclasses.asdict(r) for r in results]}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
