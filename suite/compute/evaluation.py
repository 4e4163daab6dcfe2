"""Evaluation: whole episodes from common start states, in both modes.

Shapes: E episodes, M modes, O observation size, K steps and G episodes that observations
are kept of.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import Algorithm, Mode, State
from envs.api import Task, TaskState
from envs.vector import select
from suite.contract.soundness import action_excess

KEPT_EPISODES = 4
"""Episodes whose observations are kept, or all of them if there are fewer."""

KEPT_STEPS = 4
"""Steps of an episode whose observations are kept: its start and each quarter."""

SKETCHED = 8
"""Sums in a sketch of start states: a chance likeness of all of them is one in billions."""


class Episodes(NamedTuple):
    """What evaluation episodes gave.

    Attributes:
        returns: [M, E] undiscounted sums of rewards.
        steps: [] int32 environment steps taken in episodes that were not over.
        obs: [K, G, O] what the first episodes of the first mode saw at `kept_steps`; of an
            episode that was over by then, the last of it.
        excess: [] `suite.contract.soundness.action_excess` of all actions together.
    """

    returns: jax.Array
    steps: jax.Array
    obs: jax.Array
    excess: jax.Array


def kept_steps(task: Task) -> tuple[int, ...]:
    """Returns the steps [K] of an episode whose observations are kept; see `KEPT_STEPS`."""
    return tuple(task.episode_length * i // KEPT_STEPS for i in range(KEPT_STEPS))


def start_states(task: Task, episodes: int, seed: int) -> TaskState:
    """Draws the start states [E, ...] that all algorithms and seeds are evaluated from.

    They are drawn on the CPU, whatever trains: of a GPU, XLA chooses the kernels anew in each
    process, by timing them, and a reset that steps the physics 200 times (CheetahRun's) makes
    more of the last digits in which kernels differ than `suite audit` takes for rounding.
    """
    with jax.default_device(_cpu()):
        keys = jax.random.split(jax.random.key(seed), episodes)
        starts = jax.jit(jax.vmap(task.on_cpu().reset))(keys)
    return jax.jit(lambda drawn: drawn)(starts)  # on the default device again


def _cpu() -> jax.Device | None:
    try:
        return jax.devices("cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return None


def describe_starts(starts: TaskState) -> dict[str, Any]:
    """Returns what tells start states [E, ...] apart, for run.json.

    Returns:
        `sha256`, 16 hex digits of every bit of them; `projection`, a weighted sum of their
        numbers; and `sketch`, `SKETCHED` such sums over the numbers' own size, of which two
        unrelated draws differ by about 1. Processors may round the last bits differently,
        which changes the first and hardly the others.
    """
    leaves = [
        np.ascontiguousarray(leaf)
        for leaf in jax.tree.leaves(starts)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    digest = hashlib.sha256()
    for leaf in leaves:
        digest.update(leaf.tobytes())
    values = np.nan_to_num(np.concatenate([leaf.astype(np.float64).ravel() for leaf in leaves]))
    sums = _weighted_sums(values)
    size = float(np.sqrt(values @ values / 2)) or 1.0
    return {
        "sha256": digest.hexdigest()[:16],
        "projection": round(sums[0], 3),
        "sketch": [round(each / size, 4) for each in sums],
    }


def _weighted_sums(values: np.ndarray) -> list[float]:
    places = np.arange(values.size)
    return [float(values @ np.cos(places * (1 + k))) for k in range(SKETCHED)]


def run_episodes(
    algorithm: Algorithm[State],
    task: Task,
    state: State,
    starts: TaskState,
    key: jax.Array,
    modes: tuple[Mode, ...],
) -> Episodes:
    """Plays one episode from each of `starts` in each mode, all in step.

    An episode whose numbers stop being finite, or that the task ends, earns nothing more.
    """
    episodes = starts.obs.shape[0]

    def act(obs: jax.Array, key: jax.Array) -> jax.Array:
        parts = obs.reshape(len(modes), episodes, -1)
        keys = jax.random.split(key, len(modes))
        actions = [
            algorithm.act(state, part, mode_key, mode)[0]
            for part, mode_key, mode in zip(parts, keys, modes, strict=True)
        ]
        return jnp.concatenate(actions)

    def step(
        carry: tuple[TaskState, jax.Array, jax.Array, jax.Array], key: jax.Array
    ) -> tuple[tuple[TaskState, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        envs, alive, returns, steps = carry
        seen = envs.obs[: min(KEPT_EPISODES, episodes)]
        steps += jnp.sum(alive)
        action = act(envs.obs, key)
        after = jax.vmap(task.step)(envs, action)
        alive &= jnp.isfinite(after.reward) & jnp.isfinite(after.obs).all(axis=-1)
        returns += jnp.where(alive, after.reward, 0.0)
        # An episode that is over stands still, or the engine would step it from NaN.
        envs = select(alive, after, envs)
        carry = envs, alive & (after.done == 0), returns, steps
        return carry, (seen, action_excess(action))

    envs = jax.tree.map(lambda x: jnp.concatenate([x] * len(modes)), starts)
    alive = jnp.ones(len(modes) * episodes, bool)
    carry = (envs, alive, jnp.zeros(alive.shape), jnp.int32(0))
    keys = jax.random.split(key, task.episode_length)
    (_, _, returns, steps), (obs, excess) = jax.lax.scan(step, carry, keys)
    seen = obs[jnp.asarray(kept_steps(task))]
    return Episodes(returns.reshape(len(modes), episodes), steps, seen, excess.sum())
