"""Rollouts cut into chunks, and the value targets and advantages on them (ALGORITHMS 1.3)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from algorithms.api import Extras, Rollout


class Chunks(NamedTuple):
    """A rollout cut into C sub-sequences of L steps.

    Attributes:
        obs: [C, L, O].
        extras: [C, L, ...] each.
        reward, terminated, truncated: [C, L].
        last_obs: [C, O] observation after each chunk's last step, before any reset.
        final_obs: [C, O] final observation of the episode that a time limit cut
            inside the chunk; arbitrary where none was.
    """

    obs: jax.Array
    extras: Extras
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    last_obs: jax.Array
    final_obs: jax.Array


class Returns(NamedTuple):
    """Value targets and advantages, [..., L] each, and the weight of each step."""

    target: jax.Array
    advantage: jax.Array
    weight: jax.Array


def cut_into_chunks(rollout: Rollout, length: int) -> Chunks:
    """Cuts [T, N, ...] into [T/length * N, length, ...] consecutive sub-sequences.

    An episode is longer than a chunk, so at most one time limit falls into each.
    """

    def cut(x: jax.Array) -> jax.Array:
        steps, envs = x.shape[:2]
        x = x.reshape(steps // length, length, envs, *x.shape[2:]).swapaxes(1, 2)
        return x.reshape(steps // length * envs, length, *x.shape[3:])

    parts = jax.tree.map(cut, rollout)
    cut_at = jnp.argmax(parts.truncated, axis=1)
    final_obs = jnp.take_along_axis(parts.next_obs, cut_at[:, None, None], axis=1)[:, 0]
    return Chunks(
        obs=parts.obs,
        extras=parts.extras,
        reward=parts.reward,
        terminated=parts.terminated,
        truncated=parts.truncated,
        last_obs=parts.next_obs[:, -1],
        final_obs=final_obs,
    )


def chunk_returns(
    reward: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    values: jax.Array,
    last_value: jax.Array,
    final_value: jax.Array,
    *,
    discount: float,
    gae_lambda: float,
    truncation: Literal["bootstrapped", "masked"],
) -> Returns:
    """Lambda-returns and one-step look-ahead advantages on chunks (ALGORITHMS 1.3).

    Args:
        reward, terminated, truncated, values: [C, L], the reward already scaled.
        last_value: [C] value of the observation after each chunk.
        final_value: [C] value of the final observation of a truncated episode.
        discount: gamma.
        gae_lambda: lambda of the value target's trace.
        truncation: `bootstrapped` continues a cut episode with `final_value`;
            `masked` drops its last step from both losses.
    """
    weight = 1.0 - truncated if truncation == "masked" else jnp.ones_like(truncated)
    decay = discount * (1.0 - terminated)
    following = jnp.concatenate([values[:, 1:], last_value[:, None]], axis=1)
    following = jnp.where(truncated > 0, final_value[:, None], following)
    delta = weight * (reward + decay * following - values)
    carry = decay * (1.0 - truncated)

    def backward(
        trace: jax.Array, step: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        delta_t, carry_t = step
        here = delta_t + gae_lambda * carry_t * trace
        return here, trace

    steps = (delta.swapaxes(0, 1), carry.swapaxes(0, 1))
    _, trace_after = jax.lax.scan(backward, jnp.zeros_like(last_value), steps, reverse=True)
    trace_after = trace_after.swapaxes(0, 1)
    target = values + delta + gae_lambda * carry * trace_after
    advantage = delta + weight * carry * trace_after
    return Returns(target, advantage, weight)
