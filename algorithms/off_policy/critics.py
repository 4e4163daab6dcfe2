"""Q-networks of off-policy methods: twins, their targets and the average that those follow.

Twins and their minimum: Fujimoto et al. 2018 (arXiv 1802.09477); the targets' average: Lillicrap
et al. 2015 (arXiv 1509.02971). Shapes: K critics, transitions [B, ...]. Observations are
normalized by the caller.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp

from algorithms.api import Tree
from algorithms.parts.networks import MLP, Params


@dataclasses.dataclass(frozen=True)
class Critics:
    """K networks Q_k(s, a) of one shape, each with parameters of its own.

    Attributes:
        hidden: widths of each network's hidden layers.
        layer_norm: whether hidden layers are followed by layer normalization.
        count: K.
    """

    hidden: tuple[int, ...]
    layer_norm: bool = False
    count: int = 2

    @property
    def network(self) -> MLP:
        return MLP(self.hidden, 1, self.layer_norm)

    def init(self, key: jax.Array, obs_size: int, action_size: int) -> Params:
        """Returns fresh parameters, each leaf [K, ...]."""
        keys = jax.random.split(key, self.count)
        return jax.vmap(lambda each: self.network.create(each, obs_size + action_size))(keys)

    def values(self, params: Params, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Q [K, B] of every critic for obs [B, O] and actions [B, A]."""
        inputs = jnp.concatenate([obs, action], axis=-1)
        return jax.vmap(lambda each: self.network.forward(each, inputs)[..., 0])(params)

    def least(self, params: Params, obs: jax.Array, action: jax.Array) -> jax.Array:
        """The smallest Q [B] among the critics: one alone overrates what it is maximized over."""
        return jnp.min(self.values(params, obs, action), axis=0)

    def loss(
        self,
        params: Params,
        obs: jax.Array,
        action: jax.Array,
        target: jax.Array,
        weight: jax.Array,
    ) -> jax.Array:
        """Half the mean squared error to target [B], weighted by [B], summed over critics: []."""
        error = (self.values(params, obs, action) - target) * weight
        return 0.5 * jnp.sum(jnp.mean(jnp.square(error), axis=-1))


def one_step_target(
    reward: jax.Array, terminated: jax.Array, next_value: jax.Array, discount: float
) -> jax.Array:
    """r + gamma (1 - terminated) V(s'), [B], without gradient.

    A time limit is no end: s' is then the episode's final observation, and goes on.

    Args:
        reward: [B] scaled.
        terminated: [B] 1.0 where the episode ended for good.
        next_value: [B] of the state after the step.
        discount: gamma.
    """
    return jax.lax.stop_gradient(reward + discount * (1.0 - terminated) * next_value)


def polyak(target: Tree, online: Tree, rate: float) -> Tree:
    """Moves target parameters towards the online ones: (1 - rate) target + rate online."""
    moved = jax.tree.map(lambda old, new: (1.0 - rate) * old + rate * new, target, online)
    return cast(Tree, moved)
