"""GoRL whose encoder is SAC: Q over latents in front of a frozen decoder (ALGORITHMS 8, 10.2).

All but the encoder is `EncoderDecoder`, as it is for GoRL with PPO. With the decoder of another
run and `refits` off it is latent steering of a frozen policy, DSRL (Wagenmaker et al. 2025; a
card of it is in ALGORITHMS 10.3).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax

from algorithms.api import Stage, settings_of
from algorithms.bounds import Positive, Shares
from algorithms.gorl import EncoderDecoder
from algorithms.parts import normalizer
from algorithms.parts.normalizer import Normalizer
from algorithms.sac import SACSettings, SACState, SoftActorCritic, SoftNetworks
from algorithms.staged_ppo import make_stages, restarted, stage_updates


@dataclasses.dataclass(frozen=True)
class StagedSACSettings(SACSettings):
    """Hyper-parameters of SAC on latents, in stages.

    Attributes:
        latent_bound: c of the latents z = c tanh(x / c). At 3 the latents are all but 0.3% of
            what the decoder was fitted on, and the identity decoder reaches tanh(3) = .995 of
            the action range. DSRL has 1.5.
        stage_shares: shares of the budget, as GoRL with PPO has them; the paper's runs with
            SAC are half, a quarter and a quarter.
        spend_remainder: whether the last stage takes the updates that rounding the shares
            down leaves over.
        encoder_restart: `gaussian` draws x from N(0, I) exactly, the paper's reset to the
            prior; `fresh` is a random network; `warm` keeps the policy with its observation
            statistics.
        keep_statistics: keep the observation statistics, as a warm restart always does.
        restart_envs: start the environments afresh at a restart, too.
        stage_policy: the policy of a stage that goes on into the next one, its `last` or its
            `best` by the noise-free evaluation.
    """

    latent_bound: Positive = 3.0
    stage_shares: Shares = (1 / 3, 1 / 3, 1 / 6, 1 / 6)
    spend_remainder: bool = True
    encoder_restart: Literal["gaussian", "fresh", "warm"] = "gaussian"
    keep_statistics: bool = True
    restart_envs: bool = False
    stage_policy: Literal["last", "best"] = "last"


@dataclasses.dataclass(frozen=True)
class StagedSAC(StagedSACSettings, SoftActorCritic):
    """SAC on latents that restarts with each new decoder; an `Encoder`.

    What keeps latents where the decoder was fitted, on N(0, I), is their bound, and in the
    beginning of a stage the restart. The paper names no penalty for SAC, and there is none: the
    entropy bonus works against a collapse, as it does in SAC.

    The next decoder makes something else of a latent, so critics, buffer and temperature do not
    outlive a stage. There is no random warm-up but the prior: until `learning_starts` each stage
    only fills the buffer, and acts by the policy that it began with.
    """

    @property
    def bound(self) -> float:
        """c."""
        return self.latent_bound

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stages with their updates; see `stage_shares`.

        Raises:
            ValueError: the shares are no shares, or too small for the budget; see `stage_updates`.
        """
        updates = stage_updates(self.pipeline.updates, self.stage_shares, self.spend_remainder)
        return make_stages(updates, self.restart_envs, self.stage_policy)

    def stage(self, state: SACState) -> jax.Array:
        """Returns the index [] of the stage being trained."""
        return state.stage

    def candidate(self, state: SACState) -> tuple[SoftNetworks, Normalizer]:
        """The networks and statistics: the rest does not survive the stage."""
        return state.networks, state.normalizer

    def reinstate(self, state: SACState, candidate: tuple[SoftNetworks, Normalizer]) -> SACState:
        """Puts networks and statistics back."""
        networks, stats = candidate
        return state._replace(networks=networks, normalizer=stats)

    def advance(self, state: SACState, key: jax.Array) -> SACState:
        """Begins anew, but for what is kept of the policy and its statistics."""
        stats = state.normalizer
        if not (self.keep_statistics or self.encoder_restart == "warm"):
            stats = normalizer.initial(self.env.obs_size)
        fresh = self._fresh(key, stats, state.stage + 1)
        policy = restarted(self.encoder_restart, state.networks.policy, fresh.networks.policy)
        return fresh._replace(networks=fresh.networks._replace(policy=policy))


# The encoder's settings come first: its rollouts are a number, and not asked of it.
@dataclasses.dataclass(frozen=True)
class GoRLSAC(StagedSACSettings, EncoderDecoder[SACState]):
    """GoRL with SAC for an encoder, of which it has the settings.

    The decoder's data are rollouts as for GoRL with PPO, never the replay buffer.
    """

    @property
    def encoder(self) -> StagedSAC:
        """SAC on the latents; its deterministic mode is the latent of the Gaussian's mean."""
        return StagedSAC(**settings_of(StagedSAC, self))
