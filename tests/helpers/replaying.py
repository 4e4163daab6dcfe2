"""Learners with a replay buffer: one that only takes note, and one that learns from it."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from counting import ActionTask

from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, Stage, emptied
from algorithms.bounds import Count
from algorithms.parts import replay
from algorithms.parts.learning_warm_up import LearningWarmUp
from algorithms.parts.replay import Replay
from envs.api import TaskState

EXPLORED = 0.75
"""Reward of every action in the warm-up of `Noting`."""


class ClockTask(ActionTask):
    """Observes the tenths of its episode that are over, from zero on."""

    def reset(self, key: jax.Array) -> TaskState:
        """Starts at zero."""
        zero = jnp.zeros(())
        return TaskState(zero, jnp.stack([zero, 1.0]), zero, zero)


class Notes(NamedTuple):
    """What was seen, how often `update` and `record` were called, and weights [3]."""

    buffer: Replay[Any]
    updates: jax.Array
    recorded: jax.Array
    weights: jax.Array


@dataclasses.dataclass(frozen=True)
class Noting(Algorithm[Notes]):
    """Acts by how often it was updated, in both modes, and remembers what it was shown.

    Attributes:
        rollout_length: two steps, whatever the protocol's.
        gradient_steps: none of them is one, but as many minibatches are drawn.
        capacity: of the buffer.
        warm_up: updates of the budget that go into it.
    """

    rollout_length: Count = 2
    gradient_steps: Count = 3
    capacity: Count = 150
    warm_up: int = 2

    def init(self, key: jax.Array) -> Notes:
        """Starts at nothing."""
        obs, action, zero = (jnp.zeros(n) for n in (self.env.obs_size, self.env.action_size, ()))
        slot = {"obs": obs, "action": action, "reward": zero}
        weights = 0.1 * jax.random.normal(key, (3,))
        return Notes(replay.empty(slot, self.capacity), zero, zero, weights)

    def parameters(self, state: Notes) -> Any:
        """Returns the weights."""
        return state.weights

    def policy(self, state: Notes) -> Notes:
        """Returns all but the buffer."""
        return state._replace(buffer=emptied(state.buffer))

    def stages(self) -> tuple[Stage, ...]:
        """The warm-up, and the rest."""
        if not self.warm_up:
            return super().stages()
        return Stage(self.warm_up, warm_up=True), Stage(self.pipeline.updates - self.warm_up)

    def act(self, state: Notes, obs: jax.Array, key: jax.Array, mode: Mode) -> tuple[Any, Extras]:
        """Acts so that the reward is updates / 100."""
        return self._rewarded(state.updates / 100.0, obs)

    def explore(self, state: Notes, obs: jax.Array, key: jax.Array) -> tuple[Any, Extras]:
        """Acts so that the reward is `EXPLORED`."""
        return self._rewarded(EXPLORED, obs)

    def _rewarded(self, reward: Any, obs: jax.Array) -> tuple[jax.Array, Extras]:
        action = jnp.broadcast_to(2.0 * reward - 1.0, (obs.shape[0], self.env.action_size))
        return action, {"action": action}

    def record(self, state: Notes, rollout: Rollout) -> Notes:
        """Notes a rollout."""
        return self._noted(state, rollout)._replace(recorded=state.recorded + 1)

    def _noted(self, state: Notes, rollout: Rollout) -> Notes:
        new = {"obs": rollout.obs, "action": rollout.extras["action"], "reward": rollout.reward}
        return state._replace(buffer=state.buffer.add(new))

    def update(self, state: Notes, rollout: Rollout, key: jax.Array) -> tuple[Notes, Metrics]:
        """Notes a rollout, and learns from minibatches out of the buffer."""
        state = self._noted(state, rollout)

        def step(weights: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            batch = state.buffer.sample(key, 64)
            return self.learned(weights, batch["action"][:, 0], batch["reward"]), weights[0]

        keys = jax.random.split(key, self.gradient_steps)
        weights, _ = jax.lax.scan(step, state.weights, keys)
        metrics = {"updates": state.updates, "filled": state.buffer.size}
        return state._replace(weights=weights, updates=state.updates + 1), metrics

    def learned(self, weights: jax.Array, action: jax.Array, reward: jax.Array) -> jax.Array:
        """Mixes a minibatch, actions [B] and their rewards [B], into the weights."""
        return weights + 0.01 * (action.mean() + reward.mean())


@dataclasses.dataclass(frozen=True)
class Warming(Noting, LearningWarmUp[Notes]):
    """Learns in its warm-up, too: after rollouts that are three times as long as its others."""

    @property
    def warm_up_rollout_length(self) -> int:
        """Three of its own rollouts."""
        return 3 * self.rollout_length

    def warm_up_update(self, state: Notes, rollout: Rollout, key: jax.Array) -> Notes:
        """Notes a rollout, and puts a number of the key into the weights."""
        drawn = jax.random.uniform(key)
        weights = jnp.stack([state.weights[1], drawn, rollout.reward.size])
        return self.record(state, rollout)._replace(weights=weights)


@dataclasses.dataclass(frozen=True)
class BestOfN(Noting):
    """Takes the best of some actions by its critic, w . (1, a, a^2); it explores at random.

    Attributes:
        candidates: how many.
    """

    gradient_steps: Count = 20
    candidates: Count = 16

    def act(self, state: Notes, obs: jax.Array, key: jax.Array, mode: Mode) -> tuple[Any, Extras]:
        """Draws the candidates in mode `sample`; without noise they are evenly spread."""
        shape = (obs.shape[0], self.candidates)
        drawn = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        spread = jnp.broadcast_to(jnp.linspace(-1.0, 1.0, self.candidates), shape)
        action = drawn if mode == "sample" else spread
        best = jnp.argmax(features(action) @ state.weights, axis=-1)
        chosen = jnp.take_along_axis(action, best[:, None], axis=-1)
        action = jnp.broadcast_to(chosen, (obs.shape[0], self.env.action_size))
        return action, {"action": action}

    def explore(self, state: Notes, obs: jax.Array, key: jax.Array) -> tuple[Any, Extras]:
        """Acts at random."""
        shape = (obs.shape[0], self.env.action_size)
        action = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        return action, {"action": action}

    def learned(self, weights: jax.Array, action: jax.Array, reward: jax.Array) -> jax.Array:
        """Takes a step down the squared error of the critic."""

        def loss(weights: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(features(action) @ weights - reward))

        return weights - 0.3 * jax.grad(loss)(weights)


def features(action: jax.Array) -> jax.Array:
    """Returns 1, a and a^2 for actions [...]: [..., 3]."""
    return jnp.stack([jnp.ones_like(action), action, jnp.square(action)], axis=-1)
