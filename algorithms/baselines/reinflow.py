"""ReinFlow (arXiv 2505.22094; ALGORITHMS 7.2): a flow whose steps are noisy by a learned amount."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from algorithms.api import Extras, Metrics, Mode
from algorithms.bounds import NotNegative, Positive, Range, UnitInterval, Widths
from algorithms.parts.flow_policy import FlowPolicy
from algorithms.parts.networks import MLP, TIME_FREQUENCIES, Params, time_embedding
from algorithms.parts.on_policy import Coefficients, Learner, clip_fraction, clipped_surrogate
from algorithms.parts.separate_rates import SeparateRates

NOISE_LIMIT = 3.0
"""Standard normal numbers beyond this are cut to it before they are scaled, as in its code."""


class FlowAndNoise(NamedTuple):
    """Parameters of the velocity network and of the one that says how noisy its steps are."""

    velocity: Params
    noise: Params


@dataclasses.dataclass(frozen=True)
class ReinFlow(SeparateRates, FlowPolicy):
    """PPO on the density of the whole chain from starting noise to action.

    Each Euler step lands at N(where the flow leads, s(obs, t)^2), s being a network's output
    between two bounds. The deterministic mode starts at zero noise and adds none; `sample` has
    both. Its authors evaluate from random starting noise without that of the steps.

    The method was made to fine-tune a flow that has learned from demonstrations. Here it starts
    from nothing, so there is no pull towards a pre-trained policy, and the rate of the policy is
    the suite's. States of the chain are not cut to [-1, 1], as tanh bounds the action.

    Attributes:
        learning_rate: 3e-4; its own range from 3e-5 to 4e-4 (ALGORITHMS 7.2, as is all that
            follows).
        critic_learning_rate: 6.5e-4.
        clip: .01, of a ratio whose logarithm is a mean over steps and dimensions. Tuned by a
            factor of three, and ten above, as it was chosen for fine-tuning.
        flow_steps: 4.
        noise_hidden: widths of the noise network's hidden layers.
        min_noise: the least std of a step, .10.
        max_noise: the largest one as training begins, .24. Tuned by a factor of two.
        noise_hold: share of the budget after which the largest std begins to fall, .35.
        noise_decay: how much of the way from the least to the largest std is left at the end, .7.
        entropy_cost: weight of the entropy rate of the chain, .03. Tuned as PPO's.
        max_log_prob: bound on the mean log-density, old and new, above and below; 1. Beyond it
            there is no gradient.
    """

    learning_rate: float = 3e-4
    critic_learning_rate: float = 6.5e-4
    clip: Annotated[float, Range(0.003, 0.1, log=True)] = 0.01
    flow_steps: int = 4
    noise_hidden: Widths = (64, 64)
    min_noise: Positive = 0.10
    max_noise: Annotated[Positive, Range(0.12, 0.5, log=True)] = 0.24
    noise_hold: UnitInterval = 0.35
    noise_decay: UnitInterval = 0.7
    entropy_cost: Annotated[NotNegative, Range(0.003, 0.1, log=True)] = 0.03
    max_log_prob: Positive = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_noise > self.max_noise:
            raise ValueError(f"min_noise = {self.min_noise}: above max_noise = {self.max_noise}")

    @property
    def noise_network(self) -> MLP:
        """Of the steps' std, from (obs, time)."""
        return MLP(self.noise_hidden, self.env.action_size)

    def init_policy(self, key: jax.Array) -> FlowAndNoise:
        """Returns fresh parameters of both networks."""
        velocity_key, noise_key = jax.random.split(key)
        size = self.env.obs_size + 2 * TIME_FREQUENCIES
        return FlowAndNoise(
            self.flow.init(velocity_key), self.noise_network.create(noise_key, size)
        )

    @property
    def evaluations_per_action(self) -> int:
        """Policy-network forward passes needed for one action, those of the noise included."""
        return 2 * self.flow_steps

    def act(
        self, state: Learner, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Walks the chain; `sample` keeps its path [N, K + 1, A], density and bound [N]."""
        policy, flow = state.networks.policy, self.flow
        normalized = state.normalizer(obs)
        start = jnp.zeros((*obs.shape[:-1], self.env.action_size))
        if mode == "deterministic":
            action = flow.decode(policy.velocity, flow.schedule(), normalized, start)
            return jnp.tanh(action), {}
        start_key, kick_key = jax.random.split(key)
        start = jax.random.normal(start_key, start.shape)
        bound = jnp.full(start.shape[:-1], self.largest_noise(state.normalizer.batches))
        kicks = jax.random.normal(kick_key, (*start.shape[:-1], self.flow_steps, start.shape[-1]))
        kicks = jnp.clip(kicks, -NOISE_LIMIT, NOISE_LIMIT)
        kicks *= self.noise(policy.noise, normalized, bound)
        path = flow.noisy_path(policy.velocity, normalized, start, jnp.moveaxis(kicks, -2, 0))
        old, _ = self.chain_density(policy, normalized, path, bound)
        return jnp.tanh(path[..., -1, :]), {"path": path, "log_prob": old, "bound": bound}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns where the chain ended [N, A]."""
        return extras["path"][..., -1, :]

    def largest_noise(self, batches: jax.Array) -> jax.Array:
        """The bound on the std [] after so many rollouts: held, then down a half cosine."""
        progress = batches / (self.pipeline.updates * self.rollouts_per_update)
        fallen = (progress - self.noise_hold) / max(1.0 - self.noise_hold, 1e-6)
        end = self.min_noise + self.noise_decay * (self.max_noise - self.min_noise)
        left = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(fallen, 0.0, 1.0)))
        return end + (self.max_noise - end) * left

    def noise(self, params: Params, obs: jax.Array, bound: jax.Array) -> jax.Array:
        """Std of each step [..., K, A] for obs [..., O]: `min_noise` to bound [...], by tanh."""
        embedded = time_embedding(self.flow.schedule()[:, None])
        lead = (*obs.shape[:-1], self.flow_steps)
        inputs = [
            jnp.broadcast_to(obs[..., None, :], (*lead, obs.shape[-1])),
            jnp.broadcast_to(embedded, (*lead, embedded.shape[-1])),
        ]
        output = self.noise_network.forward(params, jnp.concatenate(inputs, axis=-1))
        lowest, highest = jnp.log(self.min_noise), jnp.log(bound)[..., None, None]
        return jnp.exp(lowest + (highest - lowest) * 0.5 * (jnp.tanh(output) + 1.0))

    def chain_density(
        self, policy: FlowAndNoise, obs: jax.Array, path: jax.Array, bound: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Log-density and entropy of chains path [..., K + 1, A], [...] each.

        Both are those of starting noise and steps together, over (K + 1) A: means over all
        numbers that were drawn.
        """
        std = self.noise(policy.noise, obs, bound)
        means = self.flow.step_means(policy.velocity, obs, path)
        steps = norm.logpdf(path[..., 1:, :], means, std).sum(axis=(-2, -1))
        start = norm.logpdf(path[..., 0, :]).sum(axis=-1)
        count = path.shape[-2] * path.shape[-1]
        unit = 0.5 * jnp.log(2.0 * jnp.pi * jnp.e)
        return (start + steps) / count, unit + jnp.log(std).sum(axis=(-2, -1)) / count

    def policy_loss(
        self,
        policy: FlowAndNoise,
        obs: jax.Array,
        extras: Extras,
        advantage: jax.Array,
        coefficients: Coefficients,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Clipped surrogate on the chain's one ratio, and the entropy rate."""
        del key
        new, entropy = self.chain_density(policy, obs, extras["path"], extras["bound"])
        old, limit = extras["log_prob"], self.max_log_prob
        ratio = jnp.exp(jnp.clip(new, -limit, limit) - jnp.clip(old, -limit, limit))
        loss = clipped_surrogate(ratio, advantage, coefficients.clip)
        metrics = {
            "clip_fraction": clip_fraction(ratio, coefficients.clip),
            "entropy": jnp.mean(entropy),
            "std": jnp.mean(self.noise(policy.noise, obs, extras["bound"])),
        }
        return loss - self.entropy_cost * jnp.mean(entropy), metrics
