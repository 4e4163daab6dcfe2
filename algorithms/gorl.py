"""GoRL: PPO in the latent space of a generative decoder (ALGORITHMS 2.4 to 2.6)."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Generic, NamedTuple, cast

import jax
import jax.numpy as jnp

from algorithms.api import (
    Algorithm,
    Extras,
    Metrics,
    Mode,
    PyTree,
    Rollout,
    Stage,
    emptied,
    settings_of,
)
from algorithms.encoder_decoder.decoder import Decoder, DecoderModel, Fit
from algorithms.encoder_decoder.decoder_settings import DecoderSettings
from algorithms.encoder_decoder.encoder import Encoder, EncoderState, WarmedUp, checked, warms_up
from algorithms.encoder_decoder.experience import Experience
from algorithms.encoder_decoder.gaussian_decoder import GaussianDecoder
from algorithms.parts.diffusion import Diffusion
from algorithms.parts.flow import Flow
from algorithms.parts.networks import Params
from algorithms.parts.on_policy import Learner
from algorithms.staged_ppo import StagedPPO, StagedPPOSettings


class GoRLState(NamedTuple, Generic[EncoderState]):
    """State of a GoRL agent.

    Attributes:
        learner: the encoder's state; for `StagedPPO` with its critic.
        decoder: frozen within a stage.
        experience: what the next decoder will be fitted on.
    """

    learner: EncoderState
    decoder: Decoder
    experience: Experience


@dataclasses.dataclass(frozen=True)
class EncoderDecoder(DecoderSettings, Algorithm[GoRLState[EncoderState]]):
    """An encoder's latents z, through a decoder g(s, z) that is refitted between stages.

    This is all of GoRL but the choice of its encoder, which a subclass names. The decoder
    starts as the identity. After each stage a new one is fitted, from noise z ~ N(0, I)
    independent of the encoder's, to the actions of that stage; the encoder then restarts.
    The deterministic mode decodes the encoder's.
    """

    @property
    @abc.abstractmethod
    def encoder(self) -> Encoder[EncoderState]:
        """What optimizes the policy over latents."""

    @property
    def decoder_model(self) -> DecoderModel:
        """The generative model, without parameters."""
        sizes = self.env.obs_size, self.env.action_size, self.decoder_hidden
        if self.generative_model == "gaussian":
            return GaussianDecoder(*sizes)
        kind = Flow if self.generative_model == "flow" else Diffusion
        return kind(*sizes, self.decoder_steps)

    @property
    def fit(self) -> Fit:
        """How decoders are fitted."""
        return Fit(
            model=self.decoder_model,
            learning_rate=self.decoder_learning_rate,
            batch_size=self.decoder_batch_size,
            epochs=self.decoder_epochs,
            draws=self.decoder_draws,
            samples=self.decoder_samples,
            patience=self.decoder_patience,
            validation_batches=self.decoder_validation_batches,
            paired=self.decoder_noise == "encoder",
            zeroed=self.decoder_last_layer == "zero",
        )

    @property
    def evaluations_per_action(self) -> int:
        """Policy-network forward passes needed for one action: encoder and decoder."""
        return self.encoder.evaluations_per_action + self.decoder_model.evaluations

    @property
    def rollout_length(self) -> int:
        """The encoder's."""
        return self.encoder.rollout_length

    @property
    def gradient_steps(self) -> int | None:
        """The encoder's; the decoder learns between stages."""
        return self.encoder.gradient_steps

    def stages(self) -> tuple[Stage, ...]:
        """The stages; with `extra` data each that a refit follows ends with further rollouts.

        Raises:
            ValueError: the encoder's stages do not fit the budget.
        """
        stages = self.encoder.stages()
        if not self.refits:
            warm_up = stages[:1] if warms_up(self.encoder) else ()
            return (*warm_up, Stage(self.pipeline.updates - sum(each.updates for each in warm_up)))
        if self.decoder_data == "recent":
            return stages
        rollouts, limits = self.decoder_rollouts, self.decoder_time_limits
        extra = [
            each if each.warm_up else each._replace(extra_rollouts=rollouts, time_limits=limits)
            for each in stages
        ]
        return (*extra[:-1], stages[-1])

    def candidate(self, state: GoRLState[EncoderState]) -> PyTree:
        """The encoder's candidate; the decoder is frozen."""
        return self.encoder.candidate(state.learner)

    def reinstate(
        self, state: GoRLState[EncoderState], candidate: PyTree
    ) -> GoRLState[EncoderState]:
        """Puts the encoder's candidate back; what was recorded stays the newest."""
        return state._replace(learner=self.encoder.reinstate(state.learner, candidate))

    def init(self, key: jax.Array) -> GoRLState[EncoderState]:
        """Returns a fresh encoder in front of the identity."""
        encoder_key, decoder_key = jax.random.split(key)
        experience = self.fit.empty(
            self.decoder_rollouts * self.rollouts_per_update,
            self.pipeline.num_envs * self.rollout_length,
        )
        learner = self.encoder.init(encoder_key)
        return GoRLState(learner, self.fit.identity(decoder_key), experience)

    def parameters(self, state: GoRLState[EncoderState]) -> PyTree:
        """Returns the encoder's and the decoder's parameters."""
        return self.encoder.parameters(state.learner), state.decoder.params

    def policy(self, state: GoRLState[EncoderState]) -> GoRLState[EncoderState]:
        """Returns the encoder's policy and the decoder, without the experience."""
        learner = self.encoder.policy(state.learner)
        return state._replace(learner=learner, experience=emptied(state.experience))

    def act(
        self, state: GoRLState[EncoderState], obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Decodes the encoder's latents; the environment sees tanh of the result.

        Raises:
            ValueError: the encoder notes something as `pre_tanh` or `decoded_latent`.
        """
        latent, extras = self.encoder.draw(state.learner, obs, key, mode)
        extras = checked(extras, self.encoder)
        pre_tanh = state.decoder.decode(self.decoder_model, obs, latent)
        if mode == "sample":
            extras = {**extras, **_noted(self.fit, pre_tanh, latent)}
        return jnp.tanh(pre_tanh), extras

    def explore(
        self, state: GoRLState[EncoderState], obs: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Extras]:
        """Decodes the latents that the encoder chooses in its warm-up, if it asks for one."""
        if not warms_up(self.encoder):
            return self.act(state, obs, key, "sample")
        encoder = cast(WarmedUp[EncoderState], self.encoder)
        latent, extras = encoder.draw_first(state.learner, obs, key)
        pre_tanh = state.decoder.decode(self.decoder_model, obs, latent)
        noted = _noted(self.fit, pre_tanh, latent)
        return jnp.tanh(pre_tanh), {**checked(extras, encoder), **noted}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns the decoder's output [N, A]."""
        return extras["pre_tanh"]

    def update(
        self, state: GoRLState[EncoderState], rollout: Rollout, key: jax.Array
    ) -> tuple[GoRLState[EncoderState], Metrics]:
        """Updates the encoder on the latents; no gradient passes through the decoder."""
        learner, metrics = self.encoder.update(state.learner, rollout, key)
        if self.decoder_data == "recent" and self.refits:
            state = _remembered(self, state, rollout)
        metrics = {**metrics, "decoder_loss": state.decoder.validation_loss}
        return state._replace(learner=learner), metrics

    def record(self, state: GoRLState[EncoderState], rollout: Rollout) -> GoRLState[EncoderState]:
        """Keeps a rollout for the next fit, if there is one; the encoder sees it if it warms up."""
        if warms_up(self.encoder):
            encoder = cast(WarmedUp[EncoderState], self.encoder)
            state = state._replace(learner=encoder.record(state.learner, rollout))
        return _remembered(self, state, rollout)

    def advance(self, state: GoRLState[EncoderState], key: jax.Array) -> GoRLState[EncoderState]:
        """Fits a new decoder and restarts the encoder; a warm-up is left with the decoder it had.

        Seeds are advanced together, so that a warm-up pays for a fit that is thrown away.
        """
        if not warms_up(self.encoder):
            return self._refitted(state, key)
        left = state._replace(learner=self.encoder.advance(state.learner, key))
        if not self.refits:
            return left
        warm = self.encoder.stage(state.learner) == 0
        chosen = jax.lax.cond(warm, lambda: left, lambda: self._refitted(state, key))
        return cast(GoRLState[EncoderState], chosen)

    def _refitted(self, state: GoRLState[EncoderState], key: jax.Array) -> GoRLState[EncoderState]:
        fit_key, encoder_key = jax.random.split(key)
        start: Callable[[Params], Params] = _fresh_start
        if self.decoder_start == "warm":
            fitted = self.encoder.stage(state.learner) > int(warms_up(self.encoder))
            start = _warm_start(state.decoder.params, fitted)
        decoder = self.fit(state.experience, fit_key, start)
        learner = self.encoder.advance(state.learner, encoder_key)
        # Nothing from before the refit may reach the next one, and zeros take no room in a file.
        return GoRLState(learner, decoder, jax.tree.map(jnp.zeros_like, state.experience))

    def adopt(
        self, state: GoRLState[EncoderState], policy: GoRLState[EncoderState], key: jax.Array
    ) -> GoRLState[EncoderState]:
        """Takes the decoder, with the encoder as after a refit: restarted, in a later stage.

        One that warms up does so first, with that decoder.
        """
        learner = (
            state.learner if warms_up(self.encoder) else self.encoder.advance(state.learner, key)
        )
        return state._replace(learner=learner, decoder=policy.decoder)


def _noted(fit: Fit, pre_tanh: jax.Array, latent: jax.Array) -> dict[str, jax.Array]:
    """Returns what the next fit learns from, [N, A] each."""
    return {"pre_tanh": pre_tanh, **({"decoded_latent": latent} if fit.paired else {})}


def _remembered(
    algorithm: EncoderDecoder[EncoderState], state: GoRLState[EncoderState], rollout: Rollout
) -> GoRLState[EncoderState]:
    """Keeps observations and pre-tanh actions; of a warm-up none, as no fit follows it."""
    stage, encoder = algorithm.encoder.stage(state.learner), algorithm.encoder
    another_fit = stage + 1 < len(algorithm.stages())
    another_fit = another_fit & (stage > 0) if warms_up(encoder) else another_fit
    action, latent = rollout.extras["pre_tanh"], rollout.extras.get("decoded_latent")
    experience = state.experience.add(rollout.obs, action, another_fit, latent)
    return state._replace(experience=experience)


def _fresh_start(new: Params) -> Params:
    return new


def _warm_start(old: Params, fitted: jax.Array) -> Callable[[Params], Params]:
    """Returns what a fit starts from: parameters that were `fitted` [], or else the new ones."""
    return lambda new: jax.tree.map(lambda a, b: jnp.where(fitted, a, b), old, new)


@dataclasses.dataclass(frozen=True)
class GoRL(EncoderDecoder[Learner], StagedPPOSettings):
    """GoRL as published: its encoder is PPO in stages, with the settings of `StagedPPO`."""

    @property
    def encoder(self) -> StagedPPO:
        """PPO on the latents; its deterministic mode is the Gaussian's mean."""
        return StagedPPO(**settings_of(StagedPPO, self))
