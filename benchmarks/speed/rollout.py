"""Measures environment steps per second of the native engine inside a jitted rollout.

The rollout is the one that training takes: `VectorEnv` with bank starts and random
phases, acted on by a policy of PPO's size, in one `lax.scan`. Its speed is given as
a share of the physics alone: `mujoco.batch.Batch.step` with the same model, number
of simulations, threads and states, measured alternately with it. With --mjx it is
also given as a ratio to the same rollout on MJX in JAX.

    python benchmarks/speed/rollout.py --tasks CheetahRun,WalkerWalk --envs 256,2048
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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from mujoco.batch import Batch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from envs.engines.choice import load_task
from envs.engines.cpus import available_cpus
from envs.engines.native import NativeTask, prepare_model
from envs.tasks import resolve_tasks
from envs.vector import EnvState, VectorEnv

_HIDDEN_SIZES = (32, 32, 32, 32)
_MIN_STEPS = 30
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


class Rollout:
    """Jitted rollouts of a vector environment under an untrained policy."""

    def __init__(self, env: VectorEnv, steps: int) -> None:
        """Compiles, and takes `steps` control steps from the start states."""
        self.env = env
        self.steps = steps
        self._weights = init_policy(jax.random.key(0), env.task.obs_size, env.task.action_size)
        self._run = jax.jit(self._scan)
        self.state = jax.jit(env.reset)(jax.random.key(1))
        self.measure()

    def measure(self) -> float:
        """Takes `steps` control steps; returns environment steps per second."""
        start = time.perf_counter()
        self.state, _ = jax.block_until_ready(self._run(self.state, jax.random.key(2)))
        return self.env.num_envs * self.steps / (time.perf_counter() - start)

    def _scan(self, state: EnvState, key: jax.Array) -> tuple[EnvState, Any]:
        def body(state: EnvState, key: jax.Array) -> tuple[EnvState, Any]:
            act_key, env_key = jax.random.split(key)
            action = act(self._weights, state.obs, act_key)
            next_state, transition = self.env.step(state, action, env_key)
            return next_state, (state.obs, action, transition)

        return jax.lax.scan(body, state, jax.random.split(key, self.steps))


class Physics:
    """The physics alone, from the states that a rollout has reached."""

    def __init__(self, task: NativeTask, rollout: Rollout) -> None:
        """Makes a batch of as many simulations as the rollout has environments."""
        self._task = task
        self._rollout = rollout
        self._batch = Batch(prepare_model(task.model), rollout.env.num_envs, available_cpus())
        self._batch.reset()
        self._random = np.random.default_rng(0)

    def measure(self) -> float:
        """Steps under random controls; returns steps per second within Batch.step."""
        self._load_states()
        ctrl = self._batch.bind("ctrl")
        seconds = 0.0
        for _ in range(self._rollout.steps):
            ctrl[:] = self._random.uniform(-1, 1, ctrl.shape)
            start = time.perf_counter()
            self._batch.step(nstep=self._task.substeps)
            seconds += time.perf_counter() - start
        return self._batch.nsim * self._rollout.steps / seconds

    def _load_states(self) -> None:
        rows = np.asarray(self._rollout.state.task.physics)
        for field, columns in self._task.layout.slices.items():
            target = self._batch.bind(field)
            target[...] = rows[:, columns].reshape(target.shape)


def compare(name: str, num_envs: int, repeats: int, steps: int, mjx: float | None) -> Result:
    """Measures rollout and physics alternately, `repeats` times each."""
    task = NativeTask(name)
    rollout = Rollout(VectorEnv(task, num_envs), max(_MIN_STEPS, steps // num_envs))
    physics = Physics(task, rollout)
    pairs = [(rollout.measure(), physics.measure()) for _ in range(repeats)]
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
    rollout = Rollout(env, _MJX_STEPS)
    return statistics.median(rollout.measure() for _ in range(3))


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
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tasks", default="CheetahRun,WalkerWalk,FishSwim")
    parser.add_argument("--envs", default="256,2048", help="numbers of environments")
    parser.add_argument("--repeats", type=int, default=7, help="pairs of measurements")
    parser.add_argument(
        "--steps", type=int, default=60_000, help="environment steps per measurement"
    )
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
            result = compare(name, num_envs, options.repeats, options.steps, mjx)
            results.append(result)
            print(table_row(result), flush=True)
    if options.json:
        record = {"versions": versions(), "results": [dataclasses.asdict(r) for r in results]}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
