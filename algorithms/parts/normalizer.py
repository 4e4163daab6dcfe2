"""Running observation statistics, right and as published (ALGORITHMS 1.4 and 3.1)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

MIN_STD, MAX_STD = 1e-6, 1e6


class Normalizer(NamedTuple):
    """Statistics of the observations seen so far.

    Batches all have the same size, so batches are counted rather than observations:
    a float32 count of observations would stop counting at 2^24.

    Attributes:
        batches: [] int32 batches taken in.
        mean: [O].
        variance: [O].
    """

    batches: jax.Array
    mean: jax.Array
    variance: jax.Array

    @property
    def std(self) -> jax.Array:
        """[O] standard deviation, kept in [1e-6, 1e6]."""
        return jnp.clip(jnp.sqrt(self.variance), MIN_STD, MAX_STD)

    def __call__(self, obs: jax.Array) -> jax.Array:
        """Normalizes obs [..., O]; the identity before the first batch."""
        return (obs - self.mean) / self.std


def initial(obs_size: int) -> Normalizer:
    """Statistics before any observation: mean 0, std 1."""
    return Normalizer(jnp.int32(0), jnp.zeros(obs_size), jnp.ones(obs_size))


def advance(stats: Normalizer, obs: jax.Array, kind: Literal["cumulative", "legacy"]) -> Normalizer:
    """Takes in a batch obs [T, N, O].

    `cumulative` is Welford's update. `legacy` reproduces the reference code, whose sum
    of squares is overwritten by the newest batch's and then divided by the count of all
    batches: for stationary data its std shrinks as 1/sqrt(batches).
    """
    batches = stats.batches + 1
    count = batches.astype(jnp.float32)
    axes = tuple(range(obs.ndim - 1))
    batch_mean = jnp.mean(obs, axis=axes)
    shift = batch_mean - stats.mean
    # Welford's sum of products, as two squares: rounding must not make it negative.
    scatter = jnp.mean(jnp.square(obs - batch_mean), axis=axes)
    scatter += jnp.square(shift) * (1.0 - 1.0 / count)
    kept = stats.variance * (count - 1.0) if kind == "cumulative" else 0.0
    return Normalizer(batches, stats.mean + shift / count, (kept + scatter) / count)
