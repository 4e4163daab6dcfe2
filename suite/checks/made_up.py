"""Rollouts that no environment gave, each number of which is found again where it went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from algorithms.api import Algorithm, Extras, Rollout

Act = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Extras]]
"""As `Algorithm.explore`."""


def made_up(
    algorithm: Algorithm[Any], state: Any, key: jax.Array, act: Act, length: int = 0
) -> Rollout:
    """Returns a rollout whose numbers are all different, [T, N, ...].

    The extras are those that `act` gives; some episodes end.

    Args:
        algorithm: for its sizes.
        state: for `act`.
        key: of everything.
        act: what acts.
        length: steps, if not the method's T.
    """
    lead = (length or algorithm.rollout_length, algorithm.pipeline.num_envs)
    obs_key, next_key, reward_key, act_key, end_key = jax.random.split(key, 5)
    obs = jax.random.normal(obs_key, (*lead, algorithm.env.obs_size))
    following = jax.random.normal(next_key, obs.shape)
    _, extras = jax.lax.map(
        lambda given: act(state, *given), (obs, jax.random.split(act_key, lead[0]))
    )
    reward = jax.random.uniform(reward_key, lead)
    terminated = jax.random.bernoulli(end_key, 0.05, lead).astype(jnp.float32)
    return Rollout(obs, extras, reward, terminated, jnp.zeros(lead), following)
