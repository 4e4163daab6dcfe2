"""DPPO as its authors define it (Ren et al. 2024, arXiv 2409.00588; ALGORITHMS 7.3).

`dppo` is another method: what the GoRL paper ran under this name.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from algorithms.api import Extras, Metrics, Mode
from algorithms.bounds import Bounds, Choice, Positive, Range, UnitInterval
from algorithms.parts.diffusion import Diffusion
from algorithms.parts.networks import Params
from algorithms.parts.on_policy import (
    Coefficients,
    Learner,
    OnPolicy,
    clip_fraction,
    clipped_surrogate,
)
from algorithms.parts.separate_rates import SeparateRates

MAX_BETA = 0.999
"""Of the schedule's last step, at whose end no signal would be left."""

CLEAN_LIMIT = 1.0
"""A predicted action is cut to [-1, 1] in every dimension, at every step."""

NOISE_LIMIT = 3.0
"""Standard normal numbers beyond this are cut to it before they are scaled."""

LOG_PROB_RANGE = (-5.0, 2.0)
"""To which the log-density of each dimension is cut."""


class Chain(NamedTuple):
    """Constants of the denoising steps, [K] each, the noisiest step first.

    Attributes:
        level: K - 1, ..., 0: the step's number, which the network is told.
        signal: alpha-bar of what the step starts from.
        clean_weight: of the predicted action in the mean of where it ends.
        noisy_weight: of what it starts from.
        std: of the noise added, no less than the floor.
    """

    level: jax.Array
    signal: jax.Array
    clean_weight: jax.Array
    noisy_weight: jax.Array
    std: jax.Array


@dataclasses.dataclass(frozen=True)
class DPPORen(SeparateRates, OnPolicy):
    """PPO on a diffusion policy, whose denoising steps are actions of a longer decision process.

    A network predicts the noise; each step draws from the diffusion's posterior, whose std has a
    floor. Every step has a clipped ratio and the environment's advantage, discounted by how many
    denoising steps still follow. The diffusion is over the action itself, which is cut to
    [-1, 1] when it is executed; there is no tanh. The deterministic mode starts at zero noise and
    adds none; its authors' evaluation starts at random and leaves out the last step's alone.

    It was made to fine-tune a policy that has learned from demonstrations; numbers here are those
    of its authors' runs from scratch where they have some, but for the denoising discount.
    Advantages, critic and epochs are the suite's own: no stop at a KL divergence, no running
    scale of rewards, networks of 4 x 32.

    Attributes:
        learning_rate: 1e-4 (ALGORITHMS 7.3, as is all that follows).
        critic_learning_rate: 1e-3.
        clip: .1, of the last step's ratio. Tuned between its fine-tuning's .01 and PPO's, the
            first step's with it.
        first_clip: .1, of the first and noisiest step's; the others lie between, by `clip_rate`.
        clip_rate: how late in the chain the clip range grows, exponentially; 3. float32 holds e
            to the power of 80, and not much beyond.
        denoising_steps: K, 10.
        denoising_discount: .99, of its fine-tuning; its runs from scratch do not discount, 1.
            Tuned among both and .9.
        min_std: floor of the steps' std, for sampling and densities, .1. Tuned by a factor of two
            to three.
    """

    learning_rate: float = 1e-4
    critic_learning_rate: float = 1e-3
    clip: Annotated[float, Range(0.02, 0.3, log=True, also=("first_clip",))] = 0.1
    first_clip: Positive = 0.1
    clip_rate: Annotated[float, Bounds(0, 80, above=True)] = 3.0
    denoising_steps: Annotated[int, Bounds(2)] = 10
    denoising_discount: Annotated[UnitInterval, Choice((0.9, 0.99, 1.0))] = 0.99
    min_std: Annotated[Positive, Range(0.05, 0.3, log=True)] = 0.1

    @property
    def model(self) -> Diffusion:
        """The network that predicts noise, and the cosine schedule."""
        return Diffusion(
            self.env.obs_size, self.env.action_size, self.actor_hidden, self.denoising_steps
        )

    @property
    def evaluations_per_action(self) -> int:
        """Policy-network forward passes needed for one action."""
        return self.denoising_steps

    def init_policy(self, key: jax.Array) -> Params:
        """Returns fresh parameters of the noise network."""
        return self.model.init(key)

    def act(
        self, state: Learner, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Walks the chain; `sample` keeps the whole path [N, K + 1, A] for the update."""
        policy, normalized = state.networks.policy, state.normalizer(obs)
        start = jnp.zeros((*obs.shape[:-1], self.env.action_size))
        kicks = jnp.zeros((self.denoising_steps, *start.shape))
        if mode == "sample":
            start_key, kick_key = jax.random.split(key)
            start = jax.random.normal(start_key, start.shape)
            kicks = jax.random.normal(kick_key, kicks.shape)
            kicks = jnp.clip(kicks, -NOISE_LIMIT, NOISE_LIMIT)
        path = self.denoise(policy, normalized, start, kicks)
        action = jnp.clip(path[..., -1, :], -1.0, 1.0)
        if mode == "deterministic":
            return action, {}
        return action, {"path": path, "log_prob": self.log_prob(policy, normalized, path)}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns where the chain ended, before it was cut [N, A]."""
        return extras["path"][..., -1, :]

    def chain(self) -> Chain:
        """The steps' constants, from the cosine schedule."""
        return ancestral_chain(self.model.schedule(), self.min_std)

    def step_means(self, policy: Params, obs: jax.Array, x: jax.Array, step: Chain) -> jax.Array:
        """Mean [..., A] of where steps from x [..., A] end, given their constants [..., 1]."""
        noise = self.model.noise(policy, obs, x, step.level)
        clean = (x - jnp.sqrt(1.0 - step.signal) * noise) / jnp.sqrt(step.signal)
        clean = jnp.clip(clean, -CLEAN_LIMIT, CLEAN_LIMIT)
        return step.clean_weight * clean + step.noisy_weight * x

    def denoise(
        self, policy: Params, obs: jax.Array, start: jax.Array, kicks: jax.Array
    ) -> jax.Array:
        """The chain's states [N, K + 1, A] from start [N, A] with standard kicks [K, N, A]."""

        def step(x: jax.Array, at: tuple[Chain, jax.Array]) -> tuple[jax.Array, jax.Array]:
            constants, kick = at
            here = Chain(*(each[None] for each in constants))
            x = self.step_means(policy, obs, x, here) + here.std * kick
            return x, x

        _, states = jax.lax.scan(step, start, (self.chain(), kicks))
        return jnp.moveaxis(jnp.concatenate([start[None], states]), 0, -2)

    def log_prob(self, policy: Params, obs: jax.Array, path: jax.Array) -> jax.Array:
        """Log-density of each step of path [..., K + 1, A], mean over dimensions: [..., K]."""
        steps = Chain(*(each[:, None] for each in self.chain()))
        means = self.step_means(policy, obs[..., None, :], path[..., :-1, :], steps)
        each = norm.logpdf(path[..., 1:, :], means, steps.std)
        return jnp.mean(jnp.clip(each, *LOG_PROB_RANGE), axis=-1)

    def policy_loss(
        self,
        policy: Params,
        obs: jax.Array,
        extras: Extras,
        advantage: jax.Array,
        coefficients: Coefficients,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Mean over the K steps of clipped surrogates with the discounted advantage."""
        del key
        ratio = jnp.exp(self.log_prob(policy, obs, extras["path"]) - extras["log_prob"])
        following = jnp.arange(self.denoising_steps - 1, -1, -1)
        advantage = advantage[..., None] * self.denoising_discount**following
        clip = step_clips(self.denoising_steps, self.first_clip, coefficients.clip, self.clip_rate)
        metrics = {"clip_fraction": clip_fraction(ratio, clip)}
        return clipped_surrogate(ratio, advantage, clip), metrics


def ancestral_chain(signal: jax.Array, min_std: float) -> Chain:
    """Constants of a DDPM's reverse steps (Ho et al. 2020, Eq. 6 and 7), the noisiest first.

    Args:
        signal: alpha-bar [K] before each forward step, 1 first; after the last step none is left,
            but for `MAX_BETA`.
        min_std: floor of the std.
    """
    left = jnp.concatenate([signal[1:], jnp.zeros(1)]) / signal
    beta = jnp.clip(1.0 - left, 0.0, MAX_BETA)
    after = jnp.cumprod(1.0 - beta)
    before = jnp.concatenate([jnp.ones(1), after[:-1]])
    variance = beta * (1.0 - before) / (1.0 - after)
    constants = Chain(
        jnp.arange(signal.shape[0]),
        after,
        beta * jnp.sqrt(before) / (1.0 - after),
        (1.0 - before) * jnp.sqrt(1.0 - beta) / (1.0 - after),
        jnp.maximum(jnp.sqrt(variance), min_std),
    )
    return Chain(*(each[::-1] for each in constants))


def step_clips(steps: int, first: float, last: jax.Array, rate: float) -> jax.Array:
    """Clip ranges [K] from the first denoising step to the last, growing as exp(rate t) - 1."""
    t = jnp.arange(steps) / (steps - 1)
    return first + (last - first) * jnp.expm1(rate * t) / jnp.expm1(rate)
