"""PPO whose networks restart at stage boundaries: GoRL's encoder (ALGORITHMS 2.4).

On its own it is the control `gorl-identity`, and with other settings `ppo-matched-reset`: they
tell the effect of the settings and restarts from that of the decoder.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from algorithms.api import Stage
from algorithms.bounds import NOT_TUNED, NotNegative, Positive, Range, Shares
from algorithms.parts import normalizer
from algorithms.parts.distributions import standard_normal_bias
from algorithms.parts.networks import Params, constant_output, output_bias
from algorithms.parts.normalizer import Normalizer
from algorithms.parts.on_policy import Coefficients, Learner, Networks
from algorithms.ppo import PPO, PPOSettings


@dataclasses.dataclass(frozen=True)
class StagedPPOSettings(PPOSettings):
    """Hyper-parameters of PPO in stages.

    Attributes:
        learning_rate: 1e-3, GoRL's encoder (ALGORITHMS 1.5).
        clip: .15 in stage 0 (ALGORITHMS 2.4). Tuned with `later_clip`, which keeps its ratio, up
            to twice the default.
        max_grad_norm: .5 in stage 0, joint over actor and critic. Not tuned: both releases of
            GoRL cut gradients everywhere (ALGORITHMS 1.5).
        entropy_cost: as PPO's. Not tuned, for its balance with the latent penalty is what sets
            the encoder's spread, and that is (ALGORITHMS 3.2).
        tanh_entropy: false; the encoder's entropy is the Gaussian's own.
        latent_penalty: 5e-4 in stage 0. Tuned with `later_latent_penalty`, which keeps its ratio,
            over about the published sweep's region (ALGORITHMS 4); the releases go up to .01 in
            single stages (ALGORITHMS 3.4).
        later_clip: .30 in the later stages.
        later_max_grad_norm: 1.0 in the later stages.
        later_latent_penalty: 1e-3 in the later stages.
        stage_shares: shares of the budget; 60M, 60M, 30M and 30M of 180M steps.
        spend_remainder: whether the last stage takes the updates that rounding the
            shares down leaves over; the published runs dropped them (182 of 183).
        encoder_restart: `gaussian` makes the policy exactly N(0, I), the paper's reset to
            the prior; `fresh` is a random network, as the first release does; `warm`
            keeps the policy with its observation statistics.
        keep_critic: keep the critic at a restart; the first release wipes it.
        keep_statistics: keep the observation statistics, as a warm restart always does; the
            first release wipes them.
        restart_envs: start the environments afresh too, as the first release does.
        stage_policy: the policy of a stage that goes on into the next one, its `last` or,
            as in the first release, its `best` by the noise-free evaluation. The run's
            final numbers are the last policy's either way.
    """

    learning_rate: float = 1e-3
    clip: Annotated[float, Range(0.05, 0.3, log=True, also=("later_clip",))] = 0.15
    max_grad_norm: Annotated[float, NOT_TUNED] = 0.5
    entropy_cost: Annotated[float, NOT_TUNED] = 0.01
    tanh_entropy: bool = False
    latent_penalty: Annotated[
        float, Range(5e-5, 5e-3, log=True, also=("later_latent_penalty",))
    ] = 5e-4
    later_clip: Positive = 0.30
    later_max_grad_norm: NotNegative = 1.0
    later_latent_penalty: NotNegative = 1e-3
    stage_shares: Shares = (1 / 3, 1 / 3, 1 / 6, 1 / 6)
    spend_remainder: bool = True
    encoder_restart: Literal["gaussian", "fresh", "warm"] = "gaussian"
    keep_critic: bool = True
    keep_statistics: bool = True
    restart_envs: bool = False
    stage_policy: Literal["last", "best"] = "last"


@dataclasses.dataclass(frozen=True)
class StagedPPO(StagedPPOSettings, PPO):
    """PPO in stages, with other settings after the first; an `Encoder`."""

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stages with their updates; see `stage_shares`.

        Raises:
            ValueError: the shares are no shares, or too small for the budget; see `stage_updates`.
        """
        updates = stage_updates(self.pipeline.updates, self.stage_shares, self.spend_remainder)
        return make_stages(updates, self.restart_envs, self.stage_policy)

    def stage(self, state: Learner) -> jax.Array:
        """Returns the index [] of the stage being trained."""
        return state.stage

    def candidate(self, state: Learner) -> tuple[Networks, Normalizer]:
        """The networks and statistics; Adam's moments do not survive the stage."""
        return state.networks, state.normalizer

    def reinstate(self, state: Learner, candidate: tuple[Networks, Normalizer]) -> Learner:
        """Puts networks and statistics back."""
        networks, stats = candidate
        return state._replace(networks=networks, normalizer=stats)

    def coefficients(self, stage: jax.Array) -> Coefficients:
        """The coefficients in force in `stage`."""
        first = Coefficients(
            jnp.float32(self.clip),
            jnp.float32(self.max_grad_norm),
            jnp.float32(self.latent_penalty),
        )
        later = Coefficients(
            jnp.float32(self.later_clip),
            jnp.float32(self.later_max_grad_norm),
            jnp.float32(self.later_latent_penalty),
        )
        chosen = [jnp.where(stage == 0, a, b) for a, b in zip(first, later, strict=True)]
        return Coefficients(*chosen)

    def advance(self, state: Learner, key: jax.Array) -> Learner:
        """Restarts the policy, and what is not kept; Adam's moments always restart."""
        stats = state.normalizer
        # A policy that goes on would see other inputs if its statistics did not.
        if not (self.keep_statistics or self.encoder_restart == "warm"):
            stats = normalizer.initial(self.env.obs_size)
        fresh = self._fresh(key, stats, state.stage + 1)
        policy = restarted(self.encoder_restart, state.networks.policy, fresh.networks.policy)
        critic = state.networks.critic if self.keep_critic else fresh.networks.critic
        return fresh._replace(networks=Networks(policy, critic))


def restarted(way: Literal["gaussian", "fresh", "warm"], old: Params, fresh: Params) -> Params:
    """Returns the parameters of a Gaussian policy that a stage begins with.

    Args:
        way: see `StagedPPOSettings.encoder_restart`.
        old: of the last stage.
        fresh: random ones, which all but the last layer of `gaussian` are too.
    """
    if way == "warm":
        return old
    if way == "fresh":
        return fresh
    return constant_output(fresh, standard_normal_bias(output_bias(fresh).shape[-1] // 2))


def make_stages(
    updates: tuple[int, ...], restart_envs: bool, stage_policy: Literal["last", "best"]
) -> tuple[Stage, ...]:
    """Returns stages of so many updates each; the last one's policy is always its own last."""
    stages = [Stage(each, restart_envs=restart_envs) for each in updates]
    if stage_policy == "best":
        stages[:-1] = [stage._replace(select_by="deterministic") for stage in stages[:-1]]
    return tuple(stages)


def stage_updates(
    updates: int, shares: tuple[float, ...], spend_remainder: bool
) -> tuple[int, ...]:
    """Splits `updates` by `shares`, rounding down; the last may take what is left over.

    Raises:
        ValueError: the shares are not positive or do not add up to 1, or a stage would
            have no update: a decoder cannot be fitted on nothing.
    """
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"stage_shares must be positive and add up to 1, not {shares}")
    # A hair is added so that a third of 183, in floats, is not 60.999.
    split = [int(updates * share + 1e-6) for share in shares]
    if spend_remainder:
        split[-1] += updates - sum(split)
    if min(split) < 1:
        raise ValueError(f"{updates} updates are too few for stage_shares {shares}")
    return tuple(split)
