"""Made-up sizes, arrays and rollouts, and what a fresh policy does with them.

Shapes: T rollout steps, N environments, O observation size, A action size.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from algorithms.api import MODES, Algorithm, Mode, PyTree, Rollout

OBS_SIZE, ACTION_SIZE = 11, 3
"""Unlike each other and 1, or a transposed or broadcast array would pass."""

_ROWS = 8
_SCALES = (0.0, 1.0, 10.0, 100.0)
"""Of the made-up observations that a fresh policy acts on."""


def floats(*shape: int) -> PyTree:
    """Returns what stands for an array in a trace."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def rollout_shapes(
    algorithm: Algorithm[PyTree], extras: Mapping[str, PyTree], length: int = 0
) -> Rollout:
    """Returns the shapes of a rollout with the extras of `act`, [N, ...] each."""
    lead = (length or algorithm.rollout_length, algorithm.pipeline.num_envs)
    over_time = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((lead[0], *leaf.shape), leaf.dtype), extras
    )
    obs, number = floats(*lead, OBS_SIZE), floats(*lead)
    return Rollout(obs, over_time, number, number, number, obs)


def play(algorithm: Algorithm[PyTree], key: jax.Array) -> dict[str, jax.Array]:
    """Lets a fresh policy act: actions [N, A] by what was asked of it."""
    init_key, obs_key, first, second = jax.random.split(key, 4)
    state = algorithm.init(init_key)
    scale = jnp.resize(jnp.asarray(_SCALES), (_ROWS, 1))
    obs = scale * jax.random.normal(obs_key, (_ROWS, OBS_SIZE))

    def act(state: PyTree, key: jax.Array, mode: Mode) -> jax.Array:
        return algorithm.act(state, obs, key, mode)[0]

    played: dict[str, jax.Array] = {mode: act(state, first, mode) for mode in MODES}
    played["other key"] = act(state, second, "deterministic")
    played["other sample"] = act(state, second, "sample")
    if algorithm.stages()[0].warm_up:
        played["explore"] = algorithm.explore(state, obs, first)[0]
    if acts_alone(algorithm):
        played["kept"] = act(algorithm.policy(state), first, "sample")
    return played


@functools.lru_cache(maxsize=64)
def acts_alone(algorithm: Algorithm[PyTree]) -> bool:
    """Returns whether `act` can do with what `Algorithm.policy` leaves of a state."""

    def act(key: jax.Array) -> list[PyTree]:
        state = algorithm.policy(algorithm.init(key))
        obs = jnp.zeros((_ROWS, algorithm.env.obs_size))
        return [algorithm.act(state, obs, key, mode) for mode in MODES]

    try:
        jax.eval_shape(act, jax.random.key(0))
    except Exception:  # it is the user's code, which meets None where an array was
        return False
    return True
