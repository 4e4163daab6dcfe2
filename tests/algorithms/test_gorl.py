"""GoRL: its encoder is PPO, its decoder is frozen, and its refits see the right data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import float64
from tiny import (
    PIPELINE,
    SPEC,
    assert_same,
    compiled,
    init,
    make,
    play,
    sample,
    update,
    with_random_decoder,
)

from algorithms.encoder_decoder.decoder import Decoder
from algorithms.gorl import GoRL, GoRLState

KEY = jax.random.key(2)
VARIANTS = ("gorl-fm", "gorl-diff", "gorl-gauss")


@pytest.mark.parametrize(
    ("name", "factor"), [("gorl-fm", 1.0), ("gorl-diff", 1.052), ("gorl-gauss", 1.0)]
)
def test_stage_zero_decodes_the_latent_itself(name: str, factor: float) -> None:
    _, _, _, action, extras = sample(name, 9)
    np.testing.assert_allclose(extras["pre_tanh"], factor * extras["drawn"], rtol=1e-3)
    np.testing.assert_allclose(action, np.tanh(extras["pre_tanh"]), rtol=1e-5, atol=1e-6)
    if name == "gorl-fm":
        np.testing.assert_array_equal(extras["pre_tanh"], extras["drawn"])


def test_stage_zero_is_the_matched_control_bit_for_bit() -> None:
    gorl, control = make("gorl-fm"), make("ppo-matched")
    state = init(gorl, jax.random.key(0))
    learner = state.learner
    for seed in range(2):
        rollout = play(gorl, state, jax.random.key(seed), 0.5)
        state, gorl_metrics = update(gorl, state, rollout, jax.random.key(seed))
        theirs = play(control, learner, jax.random.key(seed), 0.5)
        np.testing.assert_array_equal(rollout.extras["drawn"], theirs.extras["drawn"])
        np.testing.assert_array_equal(rollout.reward, theirs.reward)
        learner, metrics = update(control, learner, theirs, jax.random.key(seed))
        assert_same(state.learner, learner)
        assert_same({name: gorl_metrics[name] for name in metrics}, metrics)


@pytest.mark.parametrize("name", VARIANTS)
def test_an_update_leaves_the_decoder_alone(name: str) -> None:
    algorithm = make(name)
    plain = init(algorithm, jax.random.key(0))
    state = with_random_decoder(algorithm, plain)
    rollout = play(algorithm, state, jax.random.key(1))
    after, _ = update(algorithm, state, rollout, jax.random.key(2))
    assert_same(after.decoder, state.decoder)
    # The encoder learns the same whatever the decoder: no gradient passes through it.
    identity, _ = update(algorithm, plain, rollout, jax.random.key(2))
    assert_same(after.learner, identity.learner)


@pytest.mark.parametrize("data", ["recent", "extra"])
def test_where_decoder_data_comes_from(data: str) -> None:
    algorithm = make("gorl-fm", decoder_data=data)
    state = init(algorithm, jax.random.key(0))
    rollout = play(algorithm, state, jax.random.key(1))
    updated, _ = update(algorithm, state, rollout, jax.random.key(2))
    extra = [stage.extra_rollouts for stage in algorithm.stages()]
    if data == "recent":
        assert extra == [0, 0, 0, 0]
        assert int(updated.experience.written) == 1
        kept = updated
    else:
        assert extra == [2, 2, 2, 0]  # the last stage's decoder would never be used
        assert int(updated.experience.written) == 0
        kept = algorithm.record(state, rollout)
    size = PIPELINE.steps_per_update
    np.testing.assert_array_equal(kept.experience.obs[0], rollout.obs.reshape(size, -1))
    np.testing.assert_array_equal(
        kept.experience.action[0], rollout.extras["pre_tanh"].reshape(size, -1)
    )


def test_nothing_is_recorded_in_the_last_stage() -> None:
    algorithm = make("gorl-fm")
    state = init(algorithm, jax.random.key(0))
    rollout = play(algorithm, state, jax.random.key(1))
    for stage, written in enumerate([1, 1, 1, 0]):
        learner = state.learner._replace(stage=jnp.int32(stage))
        kept = algorithm.record(state._replace(learner=learner), rollout).experience
        assert int(kept.written) == written
        assert kept.written.dtype == state.experience.written.dtype
        assert all(np.any(leaf) == bool(written) for leaf in jax.tree.leaves(kept))


@pytest.mark.parametrize("name", VARIANTS)
def test_advance_refits_and_restarts(name: str) -> None:
    algorithm = make(name, encoder_restart="gaussian")
    state = init(algorithm, jax.random.key(0))
    for seed in range(2):
        rollout = play(algorithm, state, jax.random.key(seed), 2.0)
        state = algorithm.record(state, rollout)
    after = compiled(GoRL.advance)(algorithm, state, jax.random.key(3))
    assert int(after.learner.stage) == 1
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(after.experience))
    np.testing.assert_allclose(
        after.decoder.schedule, algorithm.decoder_model.schedule(), rtol=1e-5
    )
    # All but a random tenth of the data; 192 observations of std 1.
    seen = float64(state.experience.obs).reshape(-1, SPEC.obs_size)
    np.testing.assert_allclose(after.decoder.mean, seen.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(after.decoder.std, seen.std(axis=0), atol=0.15)
    assert after.decoder.validation_loss > 0.0
    assert all(np.any(leaf) for leaf in jax.tree.leaves(after.decoder.params))
    kernel = after.learner.networks.policy["params"]["Dense_2"]["kernel"]
    assert not np.any(kernel)
    assert_same(after.learner.networks.critic, state.learner.networks.critic)


def test_network_evaluations() -> None:
    counts = {
        name: make(name).evaluations_per_action
        for name in ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff", "gorl-gauss")
    }
    assert counts == {
        "ppo": 1,
        "fpo": 10,
        "dppo": 10,
        "gorl-fm": 11,
        "gorl-diff": 10,
        "gorl-gauss": 2,
    }


def test_a_warm_fit_starts_from_the_previous_decoder_but_not_from_the_identity() -> None:
    """At a learning rate that is 0 in float32 a fit ends where it starts."""

    def refit(stage: int, decoder_start: str) -> Any:
        algorithm = make(
            "gorl-fm",
            decoder_start=decoder_start,
            decoder_last_layer="zero",
            decoder_learning_rate=1e-300,
        )
        state = init(algorithm, jax.random.key(0))
        state = algorithm.record(state, play(algorithm, state, jax.random.key(1)))
        if stage:
            state = with_random_decoder(algorithm, state)
            state = state._replace(learner=state.learner._replace(stage=jnp.int32(stage)))
        after = compiled(GoRL.advance)(algorithm, state, jax.random.key(3))
        return state.decoder.params, after.decoder.params

    _, new = refit(0, "fresh")
    assert any(np.any(leaf) for leaf in jax.tree.leaves(new))
    assert_same(refit(0, "warm")[1], new)
    assert_same(refit(2, "fresh")[1], new)
    previous, started = refit(2, "warm")
    assert_same(started, previous)
    pairs = zip(jax.tree.leaves(previous), jax.tree.leaves(new), strict=True)
    assert any(np.any(old != fresh) for old, fresh in pairs)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fit_can_start_from_a_last_layer_of_zeros(name: str) -> None:
    """At a learning rate that is 0 in float32 a fit ends where it starts."""

    def start(last_layer: str) -> Decoder:
        algorithm = make(name, decoder_last_layer=last_layer, decoder_learning_rate=1e-300)
        state = init(algorithm, jax.random.key(0))
        state = algorithm.record(state, play(algorithm, state, jax.random.key(1)))
        return compiled(GoRL.advance)(algorithm, state, jax.random.key(3)).decoder

    usual, zero = start("random"), start("zero")
    layers, others = dict(zero.params["params"]), dict(usual.params["params"])
    last = layers.pop("Dense_2")
    assert np.any(others.pop("Dense_2")["kernel"]) and not np.any(last["kernel"])
    assert_same(layers, others)
    if name == "gorl-diff":  # one that predicts no noise makes a latent larger
        assert not np.any(last["bias"])
    else:
        obs, latent = jnp.ones((4, SPEC.obs_size)), jax.random.normal(KEY, (4, SPEC.action_size))
        model = make(name).decoder_model
        np.testing.assert_allclose(zero.decode(model, obs, latent), latent, rtol=1e-5)


def test_an_adopted_decoder_gets_a_new_encoder_in_a_later_stage() -> None:
    algorithm = make("gorl-diff", refits=False, encoder_restart="gaussian", keep_critic=True)
    assert [stage.updates for stage in algorithm.stages()] == [PIPELINE.updates]
    fresh = init(algorithm, jax.random.key(0))
    other = with_random_decoder(algorithm, init(algorithm, jax.random.key(1)))
    state = algorithm.adopt(fresh, algorithm.policy(other), jax.random.key(2))
    assert_same(state.decoder, other.decoder)
    assert_same(state.learner.networks.critic, fresh.learner.networks.critic)
    assert not np.any(state.learner.networks.policy["params"]["Dense_2"]["kernel"])
    # The settings of later stages, whichever snapshot it is.
    assert float(algorithm.encoder.coefficients(state.learner.stage).clip) == pytest.approx(0.3)
    rollout = play(algorithm, state, jax.random.key(3))
    after, _ = update(algorithm, state, rollout, jax.random.key(4))
    assert_same(after.decoder, other.decoder)
    assert int(after.experience.written) == 0  # nothing will be fitted
    with pytest.raises(ValueError, match="PPO has nothing"):
        make("ppo").adopt(fresh.learner, other.learner, jax.random.key(2))


def test_a_decoder_can_be_fitted_to_the_encoder_s_own_latents() -> None:
    """In stage 0 an action is its latent: from its own there is nothing to learn, from others is.

    By default no latent is kept, and a checkpoint has the arrays that it always had.
    """

    def refit(noise: str) -> tuple[GoRLState[Any], float]:
        algorithm = make(
            "gorl-fm", decoder_noise=noise, decoder_epochs=15, decoder_learning_rate=0.02
        )
        state = init(algorithm, jax.random.key(0))
        rollout = play(algorithm, state, jax.random.key(1))
        state, _ = update(algorithm, state, rollout, jax.random.key(2))
        if noise == "encoder":
            kept, drawn = state.experience.latent, rollout.extras["drawn"]
            assert kept is not None
            np.testing.assert_array_equal(kept[0], drawn.reshape(-1, SPEC.action_size))
        after = compiled(GoRL.advance)(algorithm, state, jax.random.key(3))
        return state, float(after.decoder.validation_loss)

    prior, (paired, own_loss) = refit("prior"), refit("encoder")
    assert len(jax.tree.leaves(prior[0].experience)) == 3
    assert len(jax.tree.leaves(paired.experience)) == 4
    assert own_loss < 0.05 < 0.3 < prior[1]


def test_a_warm_restart_goes_on_with_the_encoder() -> None:
    """What `suite ablate restart` compares with the reset to the prior."""
    algorithm = make("gorl-fm", encoder_restart="warm")
    state = init(algorithm, jax.random.key(0))
    state, _ = update(algorithm, state, play(algorithm, state, jax.random.key(1)), KEY)
    after = compiled(GoRL.advance)(algorithm, state, jax.random.key(3))
    assert_same(after.learner.networks, state.learner.networks)
    assert_same(after.learner.normalizer, state.learner.normalizer)
