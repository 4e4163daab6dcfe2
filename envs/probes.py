"""Five small tasks whose best actions and values are known in closed form.

After the probe environments of rejax and of others: each needs one more ability of
an algorithm than the one before, so the first that fails tells what is broken.
They are pure JAX, their rewards lie in [0, 1], and their episodes terminate after
one step, or two where said so; the time limit is never what ends them.
"""

from __future__ import annotations

import abc
import hashlib

import jax
import jax.numpy as jnp

from envs.api import Task, TaskState


class Probe(Task):
    """A task with a known optimum. `TaskState.physics` is the step of the episode, []."""

    engine = "probe"
    obs_size = 1
    action_size = 1
    episode_length = 1000
    steps_per_episode = 1

    def __init__(self) -> None:
        self.name = type(self).__name__
        self.model_hash = hashlib.sha256(f"probe {self.name} 1".encode()).hexdigest()

    def reset(self, key: jax.Array) -> TaskState:
        """Draws the first observation."""
        zero = jnp.zeros((), jnp.float32)
        return TaskState(physics=zero, obs=self.first_obs(key), reward=zero, done=zero)

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Rewards `action` [A] on the current observation."""
        elapsed = state.physics + 1.0
        return TaskState(
            physics=elapsed,
            obs=self.next_obs(state.obs),
            reward=self.reward(state.obs, action).astype(jnp.float32),
            done=(elapsed >= self.steps_per_episode).astype(jnp.float32),
        )

    def first_obs(self, key: jax.Array) -> jax.Array:
        """Returns the observation that an episode starts with, [O]."""
        del key
        return jnp.ones((self.obs_size,), jnp.float32)

    def next_obs(self, obs: jax.Array) -> jax.Array:
        """Returns the observation that follows `obs`, [O]."""
        return obs

    def optimal_action(self, obs: jax.Array) -> jax.Array:
        """Returns the best action [A]; zeros where every action is as good."""
        del obs
        return jnp.zeros((self.action_size,), jnp.float32)

    @abc.abstractmethod
    def reward(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Returns the reward [] for `action` [A] on `obs` [O]."""

    def optimal_value(self, obs: jax.Array, discount: float) -> jax.Array:
        """Returns the discounted sum of rewards from `obs` under the best actions, []."""
        del discount
        return self.reward(obs, self.optimal_action(obs))


class ConstantReward(Probe):
    """Reward 1 whatever is seen and done: the critic learns a constant.

    Optimal value: 1.
    """

    def reward(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Returns 1."""
        del obs, action
        return jnp.ones(())


class ObsReward(Probe):
    """The observation is -1 or 1, the reward 0 or 1: the critic learns a function.

    Optimal value: (obs + 1) / 2.
    """

    def first_obs(self, key: jax.Array) -> jax.Array:
        """Returns -1 or 1 with equal probability."""
        return jax.random.rademacher(key, (1,), jnp.float32)

    def reward(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Returns 1 on observation 1, 0 on observation -1."""
        del action
        return (obs[0] + 1.0) / 2.0


class DelayedReward(Probe):
    """Two steps, observations 0 and 1, the reward of 1 comes with the second.

    The critic learns to discount. Optimal value: the discount on observation 0, and
    1 on observation 1.
    """

    steps_per_episode = 2

    def first_obs(self, key: jax.Array) -> jax.Array:
        """Returns 0."""
        del key
        return jnp.zeros((1,), jnp.float32)

    def next_obs(self, obs: jax.Array) -> jax.Array:
        """Returns 1."""
        return jnp.ones_like(obs)

    def reward(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Returns 0 on the first step and 1 on the second."""
        del action
        return obs[0]

    def optimal_value(self, obs: jax.Array, discount: float) -> jax.Array:
        """Returns `discount` on observation 0 and 1 on observation 1."""
        return jnp.where(obs[0] > 0.5, 1.0, discount)


class ActionReward(Probe):
    """The reward falls with the distance from one action: the policy learns it.

    Optimal action: (0.5, -0.5), of value 1.
    """

    action_size = 2

    def optimal_action(self, obs: jax.Array) -> jax.Array:
        """Returns (0.5, -0.5)."""
        del obs
        return jnp.array([0.5, -0.5], jnp.float32)

    def reward(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Returns 1 at the best action; 0 is the least."""
        return _closeness(action, self.optimal_action(obs))


class ObsActionReward(Probe):
    """The best action depends on the observation: policy and critic learn together.

    The observation is uniform in [-1, 1]. Optimal action: 0.8 obs, of value 1.
    """

    def first_obs(self, key: jax.Array) -> jax.Array:
        """Returns a number uniform in [-1, 1]."""
        return jax.random.uniform(key, (1,), jnp.float32, -1.0, 1.0)

    def optimal_action(self, obs: jax.Array) -> jax.Array:
        """Returns 0.8 obs."""
        return 0.8 * obs

    def reward(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Returns 1 at the best action; 0 is the least."""
        return _closeness(action, self.optimal_action(obs))


def _closeness(action: jax.Array, best: jax.Array) -> jax.Array:
    """Returns 1 where `action` [A] is `best` [A], 0 where they are furthest apart."""
    return 1.0 - jnp.mean(jnp.square((action - best) / 2.0))


PROBES: dict[str, Probe] = {
    probe.name: probe
    for probe in (ConstantReward(), ObsReward(), DelayedReward(), ActionReward(), ObsActionReward())
}
"""The probes in the order in which they need more abilities."""
