"""Gaussian PPO (ALGORITHMS 2.1), the unimodal baseline."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from algorithms.api import Extras, Metrics, Mode
from algorithms.bounds import NotNegative, Range
from algorithms.parts.distributions import MultivariateNormalDiag, gaussian, log_tanh_jacobian
from algorithms.parts.networks import MLP, Params, output_bias
from algorithms.parts.on_policy import (
    Coefficients,
    Learner,
    OnPolicy,
    OnPolicySettings,
    clip_fraction,
    clipped_surrogate,
)


@dataclasses.dataclass(frozen=True)
class PPOSettings(OnPolicySettings):
    """Hyper-parameters of Gaussian PPO.

    Attributes:
        learning_rate: 3e-4, the FPO repository's tuned baseline (ALGORITHMS 1.5).
        clip: .1, likewise.
        entropy_cost: .01 (ALGORITHMS 1.5). Tuned within a factor of about three, or ten below;
            the only other published value is .005 (ALGORITHMS 3.4).
        tanh_entropy: adds log(1 - tanh(x)^2) of a fresh sample to the entropy, as the
            PPO baseline does; GoRL's encoder does not.
        latent_penalty: weight of `penalty_form`; 0 for the baseline, 5e-4 and 1e-3 for
            GoRL's encoder (ALGORITHMS 2.4).
        penalty_form: `code` is mean(mu^2) + mean(sigma^2) over states and dimensions,
            as both releases compute; `kl` is KL(pi || N(0, I)), the paper's Eq. 3.
        std_form: `state` is an output of the network, as in all releases; `shared` is one std for
            all states, as the paper of 2026 says (ALGORITHMS 8.1): the output's bias alone.
    """

    learning_rate: float = 3e-4
    clip: float = 0.1
    entropy_cost: Annotated[NotNegative, Range(1e-3, 3e-2, log=True)] = 0.01
    tanh_entropy: bool = True
    latent_penalty: NotNegative = 0.0
    penalty_form: Literal["code", "kl"] = "code"
    std_form: Literal["state", "shared"] = "state"


@dataclasses.dataclass(frozen=True)
class PPO(PPOSettings, OnPolicy):
    """PPO on a diagonal Gaussian over the pre-tanh action; deterministic mode is its mean."""

    @property
    def actor(self) -> MLP:
        return MLP(self.actor_hidden, 2 * self.env.action_size)

    def init_policy(self, key: jax.Array) -> Params:
        """Returns fresh parameters of the Gaussian's network."""
        return self.actor.create(key, self.env.obs_size)

    def coefficients(self, stage: jax.Array) -> Coefficients:
        """The coefficients in force; the latent penalty comes from the hyper-parameters."""
        return super().coefficients(stage)._replace(latent_penalty=jnp.float32(self.latent_penalty))

    def act(
        self, state: Learner, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Samples the Gaussian, or takes its mean; the environment sees tanh of either."""
        pre_tanh, extras = self.draw(state, obs, key, mode)
        return jnp.tanh(pre_tanh), extras

    def gaussian(self, policy: Params, obs: jax.Array) -> MultivariateNormalDiag:
        """The policy over [..., A] at normalized obs [..., O]."""
        output = self.actor.forward(policy, obs)
        if self.std_form == "shared":
            size = self.env.action_size
            shared = jnp.broadcast_to(output_bias(policy)[size:], output[..., size:].shape)
            output = jnp.concatenate([output[..., :size], shared], axis=-1)
        return gaussian(output)

    def draw(
        self, state: Learner, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """The Gaussian's sample or mean [N, A] for obs [N, O], and what `update` needs."""
        policy = self.gaussian(state.networks.policy, state.normalizer(obs))
        if mode == "deterministic":
            return policy.mean(), {}
        drawn, log_prob = policy.sample_and_log_prob(seed=key)
        return drawn, {"drawn": drawn, "log_prob": log_prob}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns what the Gaussian gave [N, A]."""
        return extras["drawn"]

    def policy_loss(
        self,
        policy: Params,
        obs: jax.Array,
        extras: Extras,
        advantage: jax.Array,
        coefficients: Coefficients,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Clipped surrogate, entropy bonus and latent penalty.

        The ratio is that of the Gaussian densities: tanh's Jacobian would cancel.
        """
        now = self.gaussian(policy, obs)
        ratio = jnp.exp(now.log_prob(extras["drawn"]) - extras["log_prob"])
        entropy = now.entropy()
        if self.tanh_entropy:
            entropy += jnp.sum(log_tanh_jacobian(now.sample(seed=key)), axis=-1)
        penalty = latent_penalty(now.mean(), now.stddev(), self.penalty_form)
        loss = (
            clipped_surrogate(ratio, advantage, coefficients.clip)
            - self.entropy_cost * jnp.mean(entropy)
            + coefficients.latent_penalty * penalty
        )
        return loss, {
            "clip_fraction": clip_fraction(ratio, coefficients.clip),
            "entropy": jnp.mean(entropy),
            "mean_abs": jnp.mean(jnp.abs(now.mean())),
            "std": jnp.mean(now.stddev()),
        }


def latent_penalty(mean: jax.Array, std: jax.Array, form: Literal["code", "kl"]) -> jax.Array:
    """How far Gaussians with mean and std [..., A] are from the prior N(0, I), [].

    `code` averages mean^2 + std^2 over dimensions too and so pulls std to zero;
    `kl` is the divergence, summed over dimensions (ALGORITHMS 3.2).
    """
    if form == "code":
        return jnp.mean(jnp.square(mean)) + jnp.mean(jnp.square(std))
    divergence = 0.5 * (jnp.square(mean) + jnp.square(std) - 1.0) - jnp.log(std)
    return jnp.mean(jnp.sum(divergence, axis=-1))
