"""A small method that does all that the contract asks for, and learns the probes: to be broken."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, emptied
from algorithms.bounds import Count, Positive
from algorithms.parts import replay
from algorithms.parts.replay import Replay


class Learned(NamedTuple):
    """A linear policy, a linear critic, what was seen, and how often it was updated.

    Attributes:
        weights: [O, A] of the policy.
        bias: [A] likewise.
        critic: [O].
        buffer: observations and rewards that the critic learns from.
        updates: [] so far.
        more: nothing; for what a broken method adds.
    """

    weights: jax.Array
    bias: jax.Array
    critic: jax.Array
    buffer: Replay[Any]
    updates: jax.Array
    more: Any = ()


@dataclasses.dataclass(frozen=True)
class Learner(Algorithm[Learned]):
    """Follows the reward by the likelihood ratio, with noise that shrinks.

    Attributes:
        learning_rate: of the policy; the critic's is as large.
        capacity: of the buffer; more than the checks put in at first.
    """

    learning_rate: Positive = 0.2
    capacity: Count = 4000

    def init(self, key: jax.Array) -> Learned:
        """Starts with small weights and an empty buffer."""
        shape = (self.env.obs_size, self.env.action_size)
        slot = {"obs": jnp.zeros(shape[0]), "reward": jnp.float32(0.0)}
        buffer = replay.empty(slot, self.capacity)
        weights = 0.1 * jax.random.normal(key, shape)
        return Learned(weights, jnp.zeros(shape[1]), jnp.ones(shape[0]), buffer, jnp.float32(0.0))

    def act(
        self, state: Learned, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Squashes a Gaussian's sample, or its mean."""
        mean = obs @ state.weights + state.bias
        if mode == "deterministic":
            return jnp.tanh(mean), {}
        noise = jax.random.normal(key, mean.shape)
        std = jnp.maximum(0.1, 0.5 * 0.9**state.updates)
        drawn = mean + std * noise
        return jnp.tanh(drawn), {"noise": noise, "drawn": drawn}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns the sample."""
        return extras["drawn"]

    def update(self, state: Learned, rollout: Rollout, key: jax.Array) -> tuple[Learned, Metrics]:
        """Takes one step with the policy, and one with the critic on what was drawn."""
        reward = rollout.reward
        advantage = (reward - reward.mean()) / (reward.std() + 1e-6)
        slope = advantage[..., None] * rollout.extras["noise"]
        weights = jnp.einsum("tno,tna->oa", rollout.obs, slope) / reward.size
        state = state._replace(
            weights=state.weights + self.learning_rate * weights,
            bias=state.bias + self.learning_rate * slope.mean(axis=(0, 1)),
            buffer=self.kept(state.buffer, rollout),
            updates=state.updates + jnp.float32(1.0),
        )
        batch = self.drawn(state.buffer, key)
        error = batch["reward"] - batch["obs"] @ state.critic
        critic = state.critic + self.learning_rate * (error[:, None] * batch["obs"]).mean(axis=0)
        metrics = {"reward": reward.mean(), "error": jnp.square(error).mean()}
        return state._replace(critic=critic), metrics

    def kept(self, buffer: Replay[Any], rollout: Rollout) -> Replay[Any]:
        """Puts a rollout into the buffer."""
        return buffer.add({"obs": rollout.obs, "reward": rollout.reward})

    def drawn(self, buffer: Replay[Any], key: jax.Array) -> Any:
        """Draws a minibatch out of the buffer."""
        return buffer.sample(key, 64)

    def parameters(self, state: Learned) -> Any:
        """Returns policy and critic."""
        return state.weights, state.bias, state.critic

    def policy(self, state: Learned) -> Learned:
        """Returns the policy."""
        return state._replace(buffer=emptied(state.buffer), critic=emptied(state.critic))
