"""SAC, soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905; ALGORITHMS 10)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from algorithms.api import Algorithm, Extras, Metrics, Mode
from algorithms.bounds import Nats, Positive, Range, Widths
from algorithms.off_policy.critics import one_step_target
from algorithms.off_policy.learner import (
    Held,
    OffPolicy,
    OffPolicySettings,
    OffPolicyState,
    Transition,
)
from algorithms.off_policy.warm_up import RandomWarmUp
from algorithms.parts.distributions import gaussian, log_tanh_jacobian
from algorithms.parts.networks import MLP, Params


class SoftNetworks(NamedTuple):
    """What gradients train: policy and critics, and the logarithm [] of the temperature."""

    policy: Params
    critic: Params
    log_temperature: jax.Array


SACState = OffPolicyState[SoftNetworks]


@dataclasses.dataclass(frozen=True)
class SACSettings(OffPolicySettings):
    """Hyper-parameters of soft actor-critic; for the sources see `OffPolicySettings`.

    Attributes:
        actor_hidden: widths of the policy's hidden layers; two of 256 in SAC's paper and in
            Playground's SAC.
        target_entropy: of what the policy gives, an action in [-1, 1] or a latent as it is, per
            dimension; that of SAC's paper, Playground's SAC has -.5. Tuned from twice the former
            to half of the latter.
        initial_temperature: Playground's SAC's.
    """

    actor_hidden: Widths = (256, 256)
    target_entropy: Annotated[Nats, Range(-2.0, -0.25)] = -1.0
    initial_temperature: Positive = 1.0


@dataclasses.dataclass(frozen=True)
class SoftActorCritic(SACSettings, OffPolicy[SoftNetworks]):
    """Learning of a policy y = c tanh(x / c) with x ~ N(mu(s), diag sigma(s)^2), from replay.

    What y means is not its business: an action for `SAC`, where c = 1, a latent for GoRL's
    encoder. y is bounded by c in each dimension, so that the critics are never asked about
    what is far from all that was tried.
    """

    @property
    def bound(self) -> float:
        """c."""
        return 1.0

    @property
    def actor(self) -> MLP:
        return MLP(self.actor_hidden, 2 * self.env.action_size)

    @property
    def evaluations_per_action(self) -> int:
        """One: the policy's network."""
        return 1

    def fresh_networks(self, key: jax.Array) -> SoftNetworks:
        """Returns a random policy and critics, and the initial temperature."""
        policy_key, critic_key = jax.random.split(key)
        obs_size, action_size = self.env.obs_size, self.env.action_size
        return SoftNetworks(
            self.actor.create(policy_key, obs_size),
            self.critics.init(critic_key, obs_size, action_size),
            jnp.log(jnp.float32(self.initial_temperature)),
        )

    def draw(
        self, state: SACState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Samples y [N, A] for obs [N, O], or takes that of the Gaussian's mean."""
        policy = gaussian(self.actor.forward(state.networks.policy, state.normalizer(obs)))
        if mode == "deterministic":
            return self._squashed(policy.mean()), {}
        drawn = policy.sample(seed=key)
        action = self._squashed(drawn)
        return action, {"drawn": drawn, "action": action}

    def loss(
        self, networks: SoftNetworks, held: Held[SoftNetworks], batch: Transition, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Sum of the three losses on a minibatch; each has a gradient for its own part alone."""
        obs = held.normalizer(batch.obs)
        next_key, now_key = jax.random.split(key)
        target = self._critic_target(networks, held, batch, next_key)
        value_loss = self.critics.loss(
            networks.critic, obs, batch.action, target, self.weight(batch)
        )
        fixed = jax.lax.stop_gradient(networks)
        action, log_prob = self._sampled(networks.policy, obs, now_key)
        q = self.critics.least(fixed.critic, obs, action)
        policy_loss = jnp.mean(jnp.exp(fixed.log_temperature) * log_prob - q)
        temperature = jnp.exp(networks.log_temperature)
        entropy = -jnp.mean(jax.lax.stop_gradient(log_prob))
        surplus = entropy - self.target_entropy * self.env.action_size
        temperature_loss = temperature * surplus
        return value_loss + policy_loss + temperature_loss, {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "temperature_loss": temperature_loss,
            "temperature": temperature,
            "entropy": entropy,
            "q": jnp.mean(q),
        }

    def _critic_target(
        self, networks: SoftNetworks, held: Held[SoftNetworks], batch: Transition, key: jax.Array
    ) -> jax.Array:
        """r + gamma (1 - terminated) (min_k Q_k(s', y') - alpha log pi(y' | s')), [B]."""
        next_obs = held.normalizer(batch.next_obs)
        action, log_prob = self._sampled(networks.policy, next_obs, key)
        temperature = jnp.exp(networks.log_temperature)
        value = self.critics.least(held.target, next_obs, action) - temperature * log_prob
        reward = self.reward_scale * batch.reward
        return one_step_target(reward, batch.terminated, value, self.env.discount)

    def _sampled(
        self, policy: Params, obs: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Draws y [B, A] for normalized obs [B, O], with its log-density [B]."""
        drawn, log_prob = gaussian(self.actor.forward(policy, obs)).sample_and_log_prob(seed=key)
        log_prob -= jnp.sum(log_tanh_jacobian(drawn / self.bound), axis=-1)
        return self._squashed(drawn), log_prob

    def _squashed(self, drawn: jax.Array) -> jax.Array:
        return self.bound * jnp.tanh(drawn / self.bound)


@dataclasses.dataclass(frozen=True)
class SAC(RandomWarmUp, SoftActorCritic, Algorithm[SACState]):
    """SAC on actions in [-1, 1]; its deterministic mode is tanh of the Gaussian's mean."""

    def act(
        self, state: SACState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Samples the policy, or takes tanh of the Gaussian's mean."""
        return self.draw(state, obs, key, mode)

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns what the Gaussian gave [N, A]."""
        return extras["drawn"]
