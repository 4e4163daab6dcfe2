"""GoRL: PPO in the latent space of a generative decoder (ALGORITHMS 2.4 to 2.6)."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple

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
from algorithms.bounds import Count, Positive, Widths
from algorithms.parts.decoder import (
    Decoder,
    DecoderModel,
    Experience,
    Fit,
)
from algorithms.parts.diffusion import Diffusion
from algorithms.parts.encoder import Encoder, EncoderState
from algorithms.parts.flow import Flow
from algorithms.parts.gaussian_decoder import GaussianDecoder
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
class EncoderDecoder(Algorithm[GoRLState[EncoderState]]):
    """An encoder's latents z, through a decoder g(s, z) that is refitted between stages.

    This is all of GoRL but the choice of its encoder, which a subclass names. The decoder
    starts as the identity. After each stage a new one is fitted, from noise z ~ N(0, I)
    independent of the encoder's, to the actions of that stage; the encoder then restarts.
    The deterministic mode decodes the encoder's.

    Attributes:
        generative_model: `flow` is GoRL(FM), `diffusion` is GoRL(Diff), `gaussian` is the
            control whose decoder is a state's Gaussian (ALGORITHMS 8.2).
        decoder_hidden: widths of the decoder's hidden layers (ALGORITHMS 2.5, 2.6).
        decoder_steps: Euler steps, or noise levels (likewise); a Gaussian has none.
        decoder_data: `recent` fits to the newest rollouts inside the budget, as the paper
            says; `extra` to rollouts taken for the purpose and counted, as its code does.
        decoder_rollouts: of how many updates the fit sees the rollouts; the first release
            takes 20 extra (ALGORITHMS 2.4, as is all that follows).
        decoder_time_limits: whether extra rollouts cut episodes at the time limit; the first
            release's do not, so that nine tenths of its data lie beyond it.
        decoder_samples: an epoch passes over at most so many transitions.
        decoder_epochs: epochs of a fit.
        decoder_batch_size: transitions per step of a fit.
        decoder_draws: (noise, time) draws per transition and step.
        decoder_learning_rate: Adam's.
        decoder_start: a fit starts from a `fresh` network, as the first release's, or `warm`
            from the previous decoder's parameters; the first one is fresh either way, as
            the identity's parameters are all zero and no gradient gets past them.
        refits: whether there are later stages with refitted decoders at all; if not, the
            whole budget is one stage with the decoder that the run starts with.
        decoder_noise: the latents that a fit leads to the actions: of the fixed `prior`
            N(0, I), independent of what was seen, or of the `encoder`, each action's own
            (ALGORITHMS 8.3).
        decoder_patience: epochs without a better validation loss before a fit stops.
        decoder_validation_batches: batches that the validation loss is measured on.
    """

    generative_model: Literal["flow", "diffusion", "gaussian"] = "flow"
    decoder_hidden: Widths = (64, 64, 64, 64)
    decoder_steps: Count = 10
    decoder_data: Literal["recent", "extra"] = "recent"
    decoder_rollouts: Count = 10
    decoder_time_limits: bool = True
    decoder_samples: Count = 10_000_000
    decoder_epochs: Count = 50
    decoder_batch_size: Count = 8192
    decoder_draws: Count = 8
    decoder_learning_rate: Positive = 3e-4
    decoder_start: Literal["fresh", "warm"] = "fresh"
    refits: bool = True
    decoder_noise: Literal["prior", "encoder"] = "prior"
    decoder_patience: Count = 20
    decoder_validation_batches: Count = 50

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
        """The stages; with `extra` data each but the last ends with further rollouts."""
        if not self.refits:
            return (Stage(self.pipeline.updates),)
        stages = self.encoder.stages()
        if self.decoder_data == "recent":
            return stages
        rollouts, limits = self.decoder_rollouts, self.decoder_time_limits
        extra = [each._replace(extra_rollouts=rollouts, time_limits=limits) for each in stages]
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
        if taken := {"pre_tanh", "decoded_latent"} & set(extras):
            name = type(self.encoder).__name__
            raise ValueError(f"{name}.draw: {taken.pop()} is the decoder's own")
        pre_tanh = state.decoder.decode(self.decoder_model, obs, latent)
        if mode == "sample":
            extras = {**extras, "pre_tanh": pre_tanh}
            if self.fit.paired:
                extras = {**extras, "decoded_latent": latent}
        return jnp.tanh(pre_tanh), extras

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns the decoder's output [N, A]."""
        return extras["pre_tanh"]

    def update(
        self, state: GoRLState[EncoderState], rollout: Rollout, key: jax.Array
    ) -> tuple[GoRLState[EncoderState], Metrics]:
        """Updates the encoder on the latents; no gradient passes through the decoder."""
        learner, metrics = self.encoder.update(state.learner, rollout, key)
        if self.decoder_data == "recent" and self.refits:
            state = self.record(state, rollout)
        metrics = {**metrics, "decoder_loss": state.decoder.validation_loss}
        return state._replace(learner=learner), metrics

    def record(self, state: GoRLState[EncoderState], rollout: Rollout) -> GoRLState[EncoderState]:
        """Keeps a rollout's observations and pre-tanh actions for the next fit, if there is one."""
        another_fit = self.encoder.stage(state.learner) + 1 < len(self.stages())
        action, latent = rollout.extras["pre_tanh"], rollout.extras.get("decoded_latent")
        experience = state.experience.add(rollout.obs, action, another_fit, latent)
        return state._replace(experience=experience)

    def advance(self, state: GoRLState[EncoderState], key: jax.Array) -> GoRLState[EncoderState]:
        """Fits a new decoder and restarts the encoder."""
        fit_key, encoder_key = jax.random.split(key)
        decoder = self.fit(state.experience, fit_key, self._fit_start(state))
        learner = self.encoder.advance(state.learner, encoder_key)
        # Nothing from before the refit may reach the next one, and zeros take no room in a file.
        return GoRLState(learner, decoder, jax.tree.map(jnp.zeros_like, state.experience))

    def adopt(
        self, state: GoRLState[EncoderState], policy: GoRLState[EncoderState], key: jax.Array
    ) -> GoRLState[EncoderState]:
        """Takes the decoder, with the encoder as after a refit: restarted, in a later stage."""
        learner = self.encoder.advance(state.learner, key)
        return state._replace(learner=learner, decoder=policy.decoder)

    def _fit_start(self, state: GoRLState[EncoderState]) -> Callable[[Params], Params]:
        if self.decoder_start == "fresh":
            return lambda new: new
        fitted = self.encoder.stage(state.learner) > 0
        return lambda new: jax.tree.map(
            lambda old, fresh: jnp.where(fitted, old, fresh), state.decoder.params, new
        )


@dataclasses.dataclass(frozen=True)
class GoRL(EncoderDecoder[Learner], StagedPPOSettings):
    """GoRL as published: its encoder is PPO in stages, with the settings of `StagedPPO`."""

    @property
    def encoder(self) -> StagedPPO:
        """PPO on the latents; its deterministic mode is the Gaussian's mean."""
        return StagedPPO(**settings_of(StagedPPO, self))
