"""FPO++ (arXiv 2602.02481; ALGORITHMS 7.1): FPO's ratios one pair at a time, reined in twice."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax

from algorithms.api import Extras, Metrics, Mode
from algorithms.bounds import Choice, Count, NotNegative, Positive, Range
from algorithms.parts.flow_policy import FlowPolicy
from algorithms.parts.networks import Params
from algorithms.parts.on_policy import Coefficients, Learner, clip_fraction

TIMES = (0.005, 0.995)
"""Between which the pairs' times are uniform: the ends of the path are left out."""

TrustRegion = Literal["aspo", "spo", "ppo"]


@dataclasses.dataclass(frozen=True)
class FPOPlusPlus(FlowPolicy):
    """A ratio for every (noise, time) pair, and a penalty in place of a clip on bad actions.

    The deterministic mode starts the flow at zero noise, as its authors evaluate it; `sample`
    starts it at N(0, I) and perturbs the action. Its authors keep an average of the actor over
    the last updates for evaluation, integrate over 64 steps and use wider networks; here the
    policy itself is evaluated, and steps and networks are the suite's.

    Attributes:
        learning_rate: 1e-4, AdamW's (ALGORITHMS 7.1, as is all that follows).
        clip: .05, the clip range where the advantage is positive and the width of the penalty
            where it is not. Tuned by a factor of four, as FPO's.
        max_grad_norm: 1.
        output_scale: 1.
        pairs: (noise, t) pairs per action, 16; each has a ratio of its own. Tuned by a factor
            of two.
        trust_region: `aspo` clips as PPO does where the advantage is positive and penalizes
            the squared distance of the ratio from 1 elsewhere; `spo` penalizes and `ppo`
            clips everywhere.
        max_loss: larger flow-matching losses, old and new, count as this; 20.
        max_log_ratio: larger log-ratios count as this, though their gradient stays; 10.
        action_noise: std of the noise added to a sampled action before tanh, which is stored
            and executed; .02. Tuned from none to five times as much.
        weight_decay: AdamW's; 1e-4.
    """

    learning_rate: float = 1e-4
    clip: Annotated[float, Range(0.0125, 0.2, log=True)] = 0.05
    max_grad_norm: float = 1.0
    output_scale: float = 1.0
    pairs: Annotated[Count, Choice((8, 16, 32))] = 16
    trust_region: TrustRegion = "aspo"
    max_loss: Positive = 20.0
    max_log_ratio: Positive = 10.0
    action_noise: Annotated[NotNegative, Range(0.0, 0.1)] = 0.02
    weight_decay: NotNegative = 1e-4

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """AdamW on policy and critic."""
        return optax.adamw(self.learning_rate, weight_decay=self.weight_decay)

    def act(
        self, state: Learner, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Integrates the flow from zero or Gaussian noise."""
        policy, flow = state.networks.policy, self.flow
        normalized = state.normalizer(obs)
        start = jnp.zeros((*obs.shape[:-1], self.env.action_size))
        if mode == "deterministic":
            return jnp.tanh(flow.decode(policy, flow.schedule(), normalized, start)), {}
        start_key, kick_key, noise_key, time_key = jax.random.split(key, 4)
        start = jax.random.normal(start_key, start.shape)
        action = flow.decode(policy, flow.schedule(), normalized, start)
        action += self.action_noise * jax.random.normal(kick_key, action.shape)
        noise = jax.random.normal(noise_key, (*start.shape[:-1], self.pairs, start.shape[-1]))
        t = jax.random.uniform(time_key, (*noise.shape[:-1], 1), jnp.float32, *TIMES)
        old = self.pair_losses(policy, normalized, action, noise, t)
        return jnp.tanh(action), {"pre_tanh": action, "noise": noise, "time": t, "loss": old}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns where the flow ended, perturbation included [N, A]."""
        return extras["pre_tanh"]

    def pair_losses(
        self, policy: Params, obs: jax.Array, action: jax.Array, noise: jax.Array, t: jax.Array
    ) -> jax.Array:
        """Flow-matching loss of each pair, |e - a - v|^2 / sqrt(A): [..., n].

        Args:
            policy: of the velocity network.
            obs: [..., O] normalized.
            action: [..., A] before tanh.
            noise: [..., n, A].
            t: [..., n, 1].
        """
        clean = action[..., None, :]
        x = t * noise + (1.0 - t) * clean
        error = noise - clean - self.flow.velocity(policy, obs[..., None, :], x, t)
        return jnp.sum(jnp.square(error), axis=-1) / jnp.sqrt(error.shape[-1])

    def policy_loss(
        self,
        policy: Params,
        obs: jax.Array,
        extras: Extras,
        advantage: jax.Array,
        coefficients: Coefficients,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Mean over pairs of the trust region's surrogate; no entropy term."""
        del key
        loss = self.pair_losses(policy, obs, extras["pre_tanh"], extras["noise"], extras["time"])
        ratio = pair_ratio(extras["loss"], loss, self.max_loss, self.max_log_ratio)
        metrics = {
            "clip_fraction": clip_fraction(ratio, coefficients.clip),
            "flow_loss": loss.mean(),
        }
        terms = surrogate(ratio, advantage[..., None], coefficients.clip, self.trust_region)
        return -jnp.mean(terms), metrics


def pair_ratio(old: jax.Array, new: jax.Array, max_loss: float, max_log_ratio: float) -> jax.Array:
    """Ratios exp(old - new) [..., n] from losses [..., n] of the same pairs.

    A loss above `max_loss` counts as that and has no gradient. A log-ratio above `max_log_ratio`
    counts as that and keeps its gradient (straight-through).
    """
    log_ratio = jnp.minimum(old, max_loss) - jnp.minimum(new, max_loss)
    excess = log_ratio - jnp.minimum(log_ratio, max_log_ratio)
    return jnp.exp(log_ratio - jax.lax.stop_gradient(excess))


def surrogate(
    ratio: jax.Array, advantage: jax.Array, clip: jax.Array, trust_region: TrustRegion
) -> jax.Array:
    """What is maximized, one term for each ratio, over broadcast axes.

    `ppo` is min(r A, clip(r, 1 - eps, 1 + eps) A), `spo` is r A - |A| (r - 1)^2 / (2 eps), whose
    maximum over r lies at 1 + eps or 1 - eps, and `aspo` is the first where A > 0 and the second
    elsewhere.
    """
    bounded = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    clipped = jnp.minimum(ratio * advantage, bounded * advantage)
    penalty = jnp.abs(advantage) * jnp.square(ratio - 1.0) / (2.0 * clip)
    penalized = ratio * advantage - penalty
    if trust_region == "aspo":
        return jnp.where(advantage > 0.0, clipped, penalized)
    return clipped if trust_region == "ppo" else penalized
