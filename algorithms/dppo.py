"""DPPO as the GoRL paper ran it: PPO on every step of a noisy flow (ALGORITHMS 2.3).

This is not Ren et al.'s DPPO: there is no pre-training, no noise schedule and no
denoising discount. The name follows the paper under comparison.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from algorithms.api import Extras, Metrics, Mode
from algorithms.bounds import Positive, Range
from algorithms.parts.flow_policy import FlowPolicy
from algorithms.parts.networks import Params
from algorithms.parts.on_policy import (
    Coefficients,
    Learner,
    clip_fraction,
    clipped_surrogate,
)


@dataclasses.dataclass(frozen=True)
class DPPO(FlowPolicy):
    """Every Euler step is a Gaussian transition with its own clipped ratio.

    The deterministic mode starts at zero noise and adds none; `sample` keeps both the
    initial noise and that of each step, as the published numbers did.

    Attributes:
        learning_rate: 3e-4 (ALGORITHMS 1.5).
        clip: .2, on each step's ratio (ALGORITHMS 1.5).
        sigma: std of the noise added by each step, the last one included (ALGORITHMS 2.3). Tuned
            up to twice the .1 below which Ren et al.'s DPPO lets no step's std fall, near
            ReinFlow's largest, .24 (ALGORITHMS 2.3, 7).
    """

    learning_rate: float = 3e-4
    clip: float = 0.2
    sigma: Annotated[Positive, Range(0.02, 0.2, log=True)] = 0.05

    def act(
        self, state: Learner, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Walks the chain; `sample` keeps the whole path [N, K + 1, A] for the update."""
        policy, flow = state.networks.policy, self.flow
        normalized = state.normalizer(obs)
        start = jnp.zeros((*obs.shape[:-1], self.env.action_size))
        if mode == "deterministic":
            return jnp.tanh(flow.decode(policy, flow.schedule(), normalized, start)), {}
        start_key, kick_key = jax.random.split(key)
        start = jax.random.normal(start_key, start.shape)
        kicks = self.sigma * jax.random.normal(kick_key, (self.flow_steps, *start.shape))
        path = flow.noisy_path(policy, normalized, start, kicks)
        old = self.log_likelihood(policy, normalized, path)
        return jnp.tanh(path[..., -1, :]), {"path": path, "log_prob": old}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns where the chain ended [N, A]."""
        return extras["path"][..., -1, :]

    def log_likelihood(self, policy: Params, obs: jax.Array, path: jax.Array) -> jax.Array:
        """Log-density of each step of path [..., K + 1, A] up to a constant: [..., K].

        The constant -A log sigma is left out as in the reference; it cancels in ratios.
        """
        residual = path[..., 1:, :] - self.flow.step_means(policy, obs, path)
        z = residual / (self.sigma + 1e-6)
        size = path.shape[-1]
        return -0.5 * jnp.sum(jnp.square(z), axis=-1) - 0.5 * size * jnp.log(2.0 * jnp.pi)

    def policy_loss(
        self,
        policy: Params,
        obs: jax.Array,
        extras: Extras,
        advantage: jax.Array,
        coefficients: Coefficients,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Mean over the K steps of clipped surrogates that share the action's advantage."""
        del key
        ratio = jnp.exp(self.log_likelihood(policy, obs, extras["path"]) - extras["log_prob"])
        metrics = {"clip_fraction": clip_fraction(ratio, coefficients.clip)}
        return clipped_surrogate(ratio, advantage[..., None], coefficients.clip), metrics
