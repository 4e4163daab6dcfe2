"""One episode of a stored policy, with every state that it went through.

Shapes: T control steps of an episode, K numbers of a state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import Algorithm, Mode, PyTree
from envs.api import Task, TaskState
from envs.engines.pictures import state_row
from envs.vector import select


class Played(NamedTuple):
    """An episode.

    Attributes:
        rows: [T + 1, K] the states, of the start and after every step. Where the episode was over
            they repeat the last one.
        returns: [T + 1] undiscounted sum of the rewards so far.
        over: steps after which the task, or a number that was not finite, ended it; None if only
            the time limit did.
    """

    rows: np.ndarray
    returns: np.ndarray
    over: int | None


def play(
    algorithm: Algorithm[Any],
    task: Task,
    policy: PyTree,
    start: TaskState,
    key: jax.Array,
    mode: Mode,
) -> Played:
    """Plays one episode as `suite.compute.evaluation.run_episodes` does.

    Args:
        algorithm: fitted to the task.
        task: any that can be drawn.
        policy: what `Algorithm.act` takes.
        start: [1, ...].
        key: of the policy's noise.
        mode: `deterministic` or `sample`.
    """

    def step(
        carry: tuple[TaskState, jax.Array, jax.Array], key: jax.Array
    ) -> tuple[tuple[TaskState, jax.Array, jax.Array], tuple[jax.Array, ...]]:
        env, alive, total = carry
        action = algorithm.act(policy, env.obs, key, mode)[0]
        after = jax.vmap(task.step)(env, action)
        alive &= jnp.isfinite(after.reward) & jnp.isfinite(after.obs).all(axis=-1)
        total += jnp.where(alive, after.reward, 0.0)
        env = select(alive, after, env)
        alive &= after.done == 0
        return (env, alive, total), (state_row(env.physics)[0], total[0], alive[0])

    @jax.jit
    def episode(start: TaskState, key: jax.Array) -> tuple[jax.Array, ...]:
        carry = start, jnp.ones(1, bool), jnp.zeros(1)
        return jax.lax.scan(step, carry, jax.random.split(key, task.episode_length))[1]

    rows, returns, alive = map(np.asarray, episode(start, key))
    first = np.asarray(state_row(start.physics))
    return Played(
        rows=np.concatenate([first, rows]),
        returns=np.concatenate([[0.0], returns]),
        over=None if alive.all() else int(np.argmin(alive)) + 1,
    )
