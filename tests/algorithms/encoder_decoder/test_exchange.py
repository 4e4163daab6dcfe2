"""GoRL with another encoder and with another decoder: what its parts must offer, and no more."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import PIPELINE, SETTINGS, SPEC, compiled, init, play

from algorithms.api import Extras, Metrics, Mode, Rollout, Stage
from algorithms.encoder_decoder.decoder import Decoder
from algorithms.gorl import EncoderDecoder, GoRL
from algorithms.parts.networks import Params


class BestLatent(NamedTuple):
    """State of `Elitist`: a latent [A], the best reward it is from [], and its stage []."""

    latent: jax.Array
    reward: jax.Array
    stage_index: jax.Array


@dataclasses.dataclass(frozen=True)
class Elitist:
    """An encoder without networks: it draws around the best rewarded latent of its stage."""

    size: int
    spread: float
    note: str = "latent"
    evaluations_per_action: int = 0
    rollout_length: int = PIPELINE.rollout_length // 2
    gradient_steps: int | None = 0

    def init(self, key: jax.Array) -> BestLatent:
        """Begins at zero."""
        return BestLatent(jnp.zeros(self.size), jnp.float32(-jnp.inf), jnp.int32(0))

    def draw(
        self, state: BestLatent, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """The best latent, with noise in mode `sample`."""
        latent = jnp.broadcast_to(state.latent, (obs.shape[0], self.size))
        if mode == "deterministic":
            return latent, {}
        latent += self.spread * jax.random.normal(key, latent.shape)
        return latent, {self.note: latent}

    def update(
        self, state: BestLatent, rollout: Rollout, key: jax.Array
    ) -> tuple[BestLatent, Metrics]:
        """Takes the best latent of the rollout if it is better."""
        best = jnp.argmax(rollout.reward)
        reward = rollout.reward.reshape(-1)[best]
        latent = rollout.extras["latent"].reshape(-1, self.size)[best]
        latent = jnp.where(reward > state.reward, latent, state.latent)
        state = state._replace(latent=latent, reward=jnp.maximum(reward, state.reward))
        return state, {"best_reward": state.reward}

    def stages(self) -> tuple[Stage, ...]:
        """Two."""
        return Stage(4, select_by="sample"), Stage(2)

    def stage(self, state: BestLatent) -> jax.Array:
        """Its own count."""
        return state.stage_index

    def advance(self, state: BestLatent, key: jax.Array) -> BestLatent:
        """Begins anew."""
        return self.init(key)._replace(stage_index=state.stage_index + 1)

    def policy(self, state: BestLatent) -> BestLatent:
        """Needs all of it."""
        return state

    def parameters(self, state: BestLatent) -> jax.Array:
        """The latent."""
        return state.latent

    def candidate(self, state: BestLatent) -> jax.Array:
        """The latent."""
        return state.latent

    def reinstate(self, state: BestLatent, candidate: jax.Array) -> BestLatent:
        """Puts the latent back."""
        return state._replace(latent=candidate)


@dataclasses.dataclass(frozen=True)
class ElitistGoRL(EncoderDecoder[BestLatent]):
    """GoRL with `Elitist` for an encoder; it has none of PPO's hyper-parameters.

    Attributes:
        spread: std of the noise.
        note: name of the extra that holds the latent.
    """

    spread: float = 0.7
    note: str = "latent"

    @property
    def encoder(self) -> Elitist:
        """From its own hyper-parameters."""
        return Elitist(self.env.action_size, self.spread, self.note)


@dataclasses.dataclass(frozen=True)
class LinearGaussian:
    """A decoder without a generative model: N(W s + b, diag sigma^2), by maximum likelihood."""

    obs_size: int
    action_size: int
    evaluations: int = 1

    def init(self, key: jax.Array) -> Params:
        """Small weights, and std 1."""
        weights = 0.01 * jax.random.normal(key, (self.obs_size, self.action_size))
        return {"W": weights, "b": jnp.zeros(self.action_size), "log_std": jnp.zeros(())}

    def schedule(self) -> jax.Array:
        """None needed."""
        return jnp.zeros(0)

    def identity(self, key: jax.Array) -> tuple[Params, jax.Array]:
        """N(0, I)."""
        return jax.tree.map(jnp.zeros_like, self.init(key)), self.schedule()

    def decode(
        self, params: Params, schedule: jax.Array, obs: jax.Array, latent: jax.Array
    ) -> jax.Array:
        """Mean plus scaled latent."""
        return obs @ params["W"] + params["b"] + jnp.exp(params["log_std"]) * latent

    def loss(
        self,
        params: Params,
        obs: jax.Array,
        action: jax.Array,
        draws: int,
        key: jax.Array,
        latent: jax.Array | None = None,
    ) -> jax.Array:
        """Negative log-likelihood, but for a constant."""
        z = (action - obs @ params["W"] - params["b"]) / jnp.exp(params["log_std"])
        return jnp.mean(0.5 * jnp.square(z)) + params["log_std"]


@dataclasses.dataclass(frozen=True)
class GaussianGoRL(GoRL):
    """GoRL with another decoder."""

    @property
    def decoder_model(self) -> LinearGaussian:
        """Linear."""
        return LinearGaussian(self.env.obs_size, self.env.action_size)


def with_tiny_settings(cls: type[EncoderDecoder[Any]], **changes: Any) -> Any:
    names = {field.name for field in dataclasses.fields(cls)}
    small = {name: value for name, value in SETTINGS.items() if name in names}
    return cls(env=SPEC, pipeline=PIPELINE, **{**small, **changes})


def test_another_encoder_learns_on_the_latents_of_a_decoder_that_is_refitted() -> None:
    algorithm = with_tiny_settings(ElitistGoRL, decoder_data="extra", decoder_rollouts=1)
    names = {field.name for field in dataclasses.fields(algorithm)}
    assert "spread" in names and not names & {"clip", "stage_shares", "actor_hidden"}
    assert [(s.updates, s.extra_rollouts) for s in algorithm.stages()] == [(4, 1), (2, 0)]

    assert algorithm.evaluations_per_action == algorithm.decoder_steps == 10
    assert (algorithm.rollouts_per_update, algorithm.gradient_steps) == (2, 0)
    state = init(algorithm, jax.random.key(0))
    # One update's worth of steps, in the shorter rollouts that the encoder asks for.
    assert state.experience.obs.shape == (2, 8 * 6, SPEC.obs_size)
    rollout = play(algorithm, state, jax.random.key(1))
    latents = np.asarray(rollout.extras["latent"])
    np.testing.assert_array_equal(rollout.extras["pre_tanh"], latents)
    state, metrics = algorithm.update(state, rollout, jax.random.key(2))
    best = np.unravel_index(np.argmax(rollout.reward), rollout.reward.shape)
    np.testing.assert_array_equal(algorithm.parameters(state)[0], latents[best])
    assert set(metrics) == {"best_reward", "decoder_loss"}

    candidate = algorithm.candidate(state)
    state = algorithm.record(state, rollout)
    after = compiled(ElitistGoRL.advance)(algorithm, state, jax.random.key(3))
    assert int(after.learner.stage_index) == 1 and not np.any(after.learner.latent)
    assert float(after.decoder.validation_loss) > 0.0
    np.testing.assert_array_equal(
        algorithm.reinstate(after, candidate).learner.latent, latents[best]
    )
    # The last stage records nothing, and an adopted decoder comes with a restarted encoder.
    assert int(algorithm.record(after, rollout).experience.written) == 0
    adopted = algorithm.adopt(state, algorithm.policy(after), jax.random.key(4))
    action, extras = algorithm.act(adopted, rollout.obs[0], jax.random.key(5), "sample")
    decoded = after.decoder.decode(algorithm.decoder_model, rollout.obs[0], extras["latent"])
    np.testing.assert_allclose(algorithm.unsquashed(action, extras), decoded, rtol=1e-5)


def test_an_encoder_cannot_hide_the_decoders_output() -> None:
    algorithm = with_tiny_settings(ElitistGoRL, note="pre_tanh")
    state = init(algorithm, jax.random.key(0))
    with pytest.raises(ValueError, match=r"Elitist\.draw: pre_tanh"):
        algorithm.act(state, jnp.zeros((2, SPEC.obs_size)), jax.random.key(1), "sample")


def test_another_decoder_is_fitted_and_decodes() -> None:
    """Least squares on the same data is the known answer of the fit."""
    algorithm = with_tiny_settings(GaussianGoRL, decoder_learning_rate=0.02, decoder_epochs=200)
    state = init(algorithm, jax.random.key(0))
    assert isinstance(state.decoder, Decoder)
    assert algorithm.evaluations_per_action == 2
    rollout = play(algorithm, state, jax.random.key(1))
    np.testing.assert_array_equal(rollout.extras["pre_tanh"], rollout.extras["drawn"])

    slope = jnp.asarray([[1.0, -0.5, 0.0]] * 2 + [[0.0, 0.0, 0.8]] * 3)
    noise = 0.1 * jax.random.normal(jax.random.key(2), rollout.extras["drawn"].shape)
    target = rollout.obs @ slope + jnp.asarray([1.0, 0.0, -1.0]) + noise
    rollout = rollout._replace(extras={**rollout.extras, "pre_tanh": target})
    state = algorithm.record(state, rollout)
    after = compiled(GoRL.advance)(algorithm, state, jax.random.key(3))

    obs = np.asarray(rollout.obs).reshape(-1, SPEC.obs_size)
    inputs = np.column_stack([obs, np.ones(len(obs))])
    outputs = np.asarray(target).reshape(-1, SPEC.action_size)
    weights, *_ = np.linalg.lstsq(inputs, outputs, rcond=None)
    decoded = after.decoder.decode(algorithm.decoder_model, obs, jnp.zeros(outputs.shape))
    np.testing.assert_allclose(decoded, inputs @ weights, atol=0.15)
    spread = np.std(outputs - inputs @ weights)
    np.testing.assert_allclose(np.exp(after.decoder.params["log_std"]), spread, rtol=0.2)
