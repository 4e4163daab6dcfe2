"""What PPO, FPO, DPPO and GoRL's encoder share: chunked advantages, minibatches, the
clipped surrogate, the critic and the SGD scan. A method adds `act` and `policy_loss`.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax

from algorithms.api import Algorithm, Extras, Metrics, Pipeline, Rollout, Settings, emptied
from algorithms.bounds import Choice, NotNegative, Positive, Range, UnitInterval, Widths
from algorithms.parts import normalizer
from algorithms.parts.networks import MLP, Params
from algorithms.parts.normalizer import Normalizer
from algorithms.parts.returns import (
    Chunks,
    Returns,
    chunk_returns,
    cut_into_chunks,
)


class Networks(NamedTuple):
    """Parameters that one optimizer trains together (ALGORITHMS 1.5)."""

    policy: Params
    critic: Params


class Learner(NamedTuple):
    """State of an on-policy learner.

    Attributes:
        networks: policy and critic parameters.
        optimizer: Adam's moments for both.
        normalizer: observation statistics.
        stage: [] int32, the part of the budget being trained.
    """

    networks: Networks
    optimizer: optax.OptState
    normalizer: Normalizer
    stage: jax.Array


class Coefficients(NamedTuple):
    """What of an update may change between stages, hence run-time values, [] each."""

    clip: jax.Array
    max_grad_norm: jax.Array
    latent_penalty: jax.Array


def standardize(advantage: jax.Array) -> jax.Array:
    """Shifts and scales to mean 0 and std 1 over the whole array."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def clipped_surrogate(ratio: jax.Array, advantage: jax.Array, clip: jax.Array) -> jax.Array:
    """PPO's loss -mean(min(r A, clip(r, 1 - eps, 1 + eps) A)) over broadcast axes."""
    bounded = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.mean(jnp.minimum(ratio * advantage, bounded * advantage))


def clip_fraction(ratio: jax.Array, clip: jax.Array) -> jax.Array:
    """Share of ratios outside the clip range, []."""
    return jnp.mean(jnp.abs(ratio - 1.0) > clip)


def minibatch_indices(key: jax.Array, chunks: int, pipeline: Pipeline) -> jax.Array:
    """A fresh permutation of the chunks per epoch: [epochs * minibatches, C / minibatches]."""
    keys = jax.random.split(key, pipeline.num_epochs)
    order = jax.vmap(lambda k: jax.random.permutation(k, chunks))(keys)
    return order.reshape(pipeline.num_epochs * pipeline.num_minibatches, -1)


@dataclasses.dataclass(frozen=True)
class OnPolicySettings(Settings):
    """Hyper-parameters of the on-policy methods (ALGORITHMS 1.3, 1.5).

    Attributes:
        learning_rate: Adam's, constant; b1 .9, b2 .999, eps 1e-8. Tuned around the published
            3e-4 and 1e-3 (ALGORITHMS 1.5), past the upper one, at which the search of
            results/lite-search ended for four methods of five.
        clip: half-width of the ratio's clip range. Tuned between the published .05 and .30
            (ALGORITHMS 1.5, 9) and somewhat above.
        max_grad_norm: joint gradient norm of policy and critic is cut to this; 0 is off. Tuned
            among off, as PPO, FPO and DPPO are published, and GoRL's .5 and 1 (ALGORITHMS 1.5).
        gae_lambda: lambda of the value target.
        reward_scale: rewards are multiplied by this before learning.
        value_cost: weight of the critic's squared error.
        actor_hidden: widths of the policy network's hidden layers.
        critic_hidden: widths of the critic's hidden layers.
    """

    learning_rate: Annotated[Positive, Range(1e-4, 3e-3, log=True)] = 3e-4
    clip: Annotated[Positive, Range(0.05, 0.4, log=True)] = 0.1
    max_grad_norm: Annotated[NotNegative, Choice((0.0, 0.5, 1.0))] = 0.0
    gae_lambda: UnitInterval = 0.95
    reward_scale: Positive = 10.0
    value_cost: NotNegative = 0.25
    actor_hidden: Widths = (32, 32, 32, 32)
    critic_hidden: Widths = (256, 256, 256, 256, 256)


@dataclasses.dataclass(frozen=True)
class OnPolicy(OnPolicySettings, Algorithm[Learner]):
    """Update of the on-policy methods (ALGORITHMS 1.3, 1.5)."""

    @abc.abstractmethod
    def init_policy(self, key: jax.Array) -> Params:
        """Returns fresh policy parameters."""

    @abc.abstractmethod
    def policy_loss(
        self,
        policy: Params,
        obs: jax.Array,
        extras: Extras,
        advantage: jax.Array,
        coefficients: Coefficients,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Loss of a minibatch: obs [M, L, O] normalized, advantage [M, L] standardized."""

    @property
    def critic(self) -> MLP:
        return MLP(self.critic_hidden, 1)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    @property
    def gradient_steps(self) -> int:
        """Minibatches of all epochs over a rollout."""
        return self.pipeline.num_epochs * self.pipeline.num_minibatches

    def init(self, key: jax.Array) -> Learner:
        """Returns a fresh learner with empty statistics."""
        return self._fresh(key, normalizer.initial(self.env.obs_size), jnp.int32(0))

    def parameters(self, state: Learner) -> Params:
        """Returns the policy's and the critic's parameters."""
        return state.networks

    def policy(self, state: Learner) -> Learner:
        """Returns the policy with its observation statistics, without critic and optimizer."""
        networks = state.networks._replace(critic=emptied(state.networks.critic))
        return state._replace(networks=networks, optimizer=emptied(state.optimizer))

    def _fresh(self, key: jax.Array, stats: Normalizer, stage: jax.Array) -> Learner:
        policy_key, critic_key = jax.random.split(key)
        critic = self.critic.create(critic_key, self.env.obs_size)
        networks = Networks(self.init_policy(policy_key), critic)
        return Learner(networks, self.optimizer.init(networks), stats, stage)

    def coefficients(self, stage: jax.Array) -> Coefficients:
        """The coefficients in force in `stage`; the same in all stages unless overridden."""
        del stage
        return Coefficients(
            jnp.float32(self.clip), jnp.float32(self.max_grad_norm), jnp.float32(0.0)
        )

    def update(self, state: Learner, rollout: Rollout, key: jax.Array) -> tuple[Learner, Metrics]:
        """Advances the statistics and takes the epochs of minibatch steps on `rollout`."""
        advanced = normalizer.advance(state.normalizer, rollout.obs, self.pipeline.normalizer)
        if self.pipeline.normalizer_timing == "before":
            state = state._replace(normalizer=advanced)
        state, metrics = self._sgd(state, rollout, key)
        return state._replace(normalizer=advanced), metrics

    def _sgd(self, state: Learner, rollout: Rollout, key: jax.Array) -> tuple[Learner, Metrics]:
        chunks = cut_into_chunks(rollout, self.pipeline.chunk_length)
        order_key, loss_key = jax.random.split(key)
        order = minibatch_indices(order_key, chunks.reward.shape[0], self.pipeline)
        coefficients = self.coefficients(state.stage)

        def gradient_step(
            carry: tuple[Networks, optax.OptState], step: tuple[jax.Array, jax.Array]
        ) -> tuple[tuple[Networks, optax.OptState], Metrics]:
            networks, optimizer = carry
            picked, step_key = step
            batch = jax.tree.map(lambda x: x[picked], chunks)
            gradient, metrics = jax.grad(self._loss, has_aux=True)(
                networks, state.normalizer, batch, coefficients, step_key
            )
            gradient, norm = limit_norm(gradient, coefficients.max_grad_norm)
            change, optimizer = self.optimizer.update(gradient, optimizer, networks)
            networks = optax.apply_updates(networks, change)
            return (networks, optimizer), {**metrics, "gradient_norm": norm}

        keys = jax.random.split(loss_key, order.shape[0])
        (networks, optimizer), metrics = jax.lax.scan(
            gradient_step, (state.networks, state.optimizer), (order, keys)
        )
        state = state._replace(networks=networks, optimizer=optimizer)
        return state, jax.tree.map(jnp.mean, metrics)

    def _loss(
        self,
        networks: Networks,
        stats: Normalizer,
        batch: Chunks,
        coefficients: Coefficients,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        obs = stats(batch.obs)
        returns, values = self._returns(networks.critic, stats, obs, batch)
        policy_loss, metrics = self.policy_loss(
            networks.policy, obs, batch.extras, standardize(returns.advantage), coefficients, key
        )
        error = (returns.target - values) * returns.weight
        value_loss = self.value_cost * jnp.mean(jnp.square(error))
        metrics = {**metrics, "policy_loss": policy_loss, "value_loss": value_loss}
        return policy_loss + value_loss, metrics

    def _returns(
        self, critic: Params, stats: Normalizer, obs: jax.Array, batch: Chunks
    ) -> tuple[Returns, jax.Array]:
        """Returns without gradient, and values [M, L] with it, from the current critic."""
        beyond = stats(jnp.stack([batch.last_obs, batch.final_obs], axis=1))
        everything = self.critic.forward(critic, jnp.concatenate([obs, beyond], axis=1))[..., 0]
        values = everything[:, :-2]
        fixed = jax.lax.stop_gradient(everything)
        returns = chunk_returns(
            self.reward_scale * batch.reward,
            batch.terminated,
            batch.truncated,
            fixed[:, :-2],
            fixed[:, -2],
            fixed[:, -1],
            discount=self.env.discount,
            gae_lambda=self.gae_lambda,
            truncation=self.pipeline.truncation,
        )
        return returns, values


def limit_norm(gradient: Networks, maximum: jax.Array) -> tuple[Networks, jax.Array]:
    """Scales a gradient down to a joint norm of `maximum` (0: off); also returns its norm."""
    norm = optax.tree.norm(gradient)
    scale = jnp.where(maximum > 0.0, jnp.minimum(1.0, maximum / (norm + 1e-8)), 1.0)
    return jax.tree.map(lambda g: g * scale, gradient), norm
