"""GoRL with SAC for its encoder: the same decoder, another optimizer of latents."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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

from algorithms.gorl import EncoderDecoder, GoRL
from algorithms.gorl_sac import GoRLSAC, StagedSAC
from algorithms.parts.distributions import gaussian


def test_the_decoder_is_the_same_code_as_with_ppo() -> None:
    """Each of the two classes adds its encoder to the one they share, and nothing else."""
    for cls in (GoRL, GoRLSAC):
        kinds = (property, types.FunctionType)
        own = {name for name, each in vars(cls).items() if isinstance(each, kinds)}
        assert {name for name in own if not name.startswith("__")} == {"encoder"}
        assert issubclass(cls, EncoderDecoder)
    settings = {field.name for field in dataclasses.fields(GoRLSAC)}
    assert not settings & {"clip", "gae_lambda", "latent_penalty"}


@pytest.mark.parametrize(("name", "factor"), [("gorl-sac-fm", 1.0), ("gorl-sac-diff", 1.052)])
def test_stage_zero_decodes_a_bounded_latent_itself(name: str, factor: float) -> None:
    _, _, _, action, extras = sample(name, 9)
    np.testing.assert_allclose(extras["action"], 3.0 * np.tanh(extras["drawn"] / 3.0), rtol=1e-5)
    np.testing.assert_allclose(extras["pre_tanh"], factor * extras["action"], rtol=1e-3)
    np.testing.assert_allclose(action, np.tanh(extras["pre_tanh"]), rtol=1e-5, atol=1e-6)


def test_an_update_learns_of_latents_alone() -> None:
    algorithm = make("gorl-sac-diff")
    plain = init(algorithm, jax.random.key(0))
    state = with_random_decoder(algorithm, plain)
    rollout = play(algorithm, state, jax.random.key(1))
    after, metrics = update(algorithm, state, rollout, jax.random.key(2))
    assert_same(after.decoder, state.decoder)
    assert {"policy_loss", "temperature", "decoder_loss"} <= set(metrics)
    # The encoder learns the same whatever the decoder: no gradient passes through it.
    identity, _ = update(algorithm, plain, rollout, jax.random.key(2))
    assert_same(after.learner, identity.learner)
    kept = after.learner.replay.ring.action[: PIPELINE.num_envs]
    np.testing.assert_array_equal(kept, rollout.extras["action"][0])
    # The decoder's data are the rollout's own actions, of the newest policy.
    recorded = after.experience.action[0]
    np.testing.assert_array_equal(recorded, rollout.extras["pre_tanh"][0])


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any]:
    """GoRL(SAC) at the end of a stage, with what that left in its buffers."""
    algorithm = make("gorl-sac-fm")
    state = init(algorithm, jax.random.key(0))
    for seed in range(3):
        rollout = play(algorithm, state, jax.random.key(seed), 2.0)
        state, _ = update(algorithm, state, rollout, jax.random.key(seed))
    return algorithm, state


def test_a_new_decoder_ends_all_that_is_known_of_latents(trained: tuple[Any, Any]) -> None:
    algorithm, state = trained
    after = compiled(GoRLSAC.advance)(algorithm, state, jax.random.key(3))
    learner = after.learner
    assert int(learner.stage) == 1
    assert float(after.decoder.validation_loss) > 0.0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(learner.replay))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(learner.optimizer))
    assert_same(learner.normalizer, state.learner.normalizer)
    assert_same(learner.target, learner.networks.critic)
    pairs = zip(
        jax.tree.leaves(learner.networks.critic),
        jax.tree.leaves(state.learner.networks.critic),
        strict=True,
    )
    assert all(np.any(new != old) for new, old in pairs)
    # The policy is the prior: N(0, I), softly cut at the bound.
    obs = 10.0 * jax.random.normal(jax.random.key(4), (50, SPEC.obs_size))
    policy = gaussian(algorithm.encoder.actor.forward(learner.networks.policy, obs))
    assert not np.any(policy.mean())
    np.testing.assert_allclose(policy.stddev(), 1.0, atol=2e-7)


def test_what_a_restart_keeps_is_a_setting(trained: tuple[Any, Any]) -> None:
    state = trained[1].learner
    algorithm: StagedSAC = make(
        "gorl-sac-fm", encoder_restart="fresh", keep_statistics=False, stage_policy="best"
    ).encoder
    assert [each.select_by for each in algorithm.stages()] == ["deterministic"] * 3 + [None]
    after = compiled(StagedSAC.advance)(algorithm, state, jax.random.key(3))
    assert int(after.normalizer.batches) == 0
    assert all(np.any(leaf) for leaf in jax.tree.leaves(after.networks.policy)[1::2])
    candidate = algorithm.candidate(state)
    emptier = state._replace(replay=after.replay)
    back = algorithm.reinstate(emptier._replace(networks=after.networks), candidate)
    assert_same(back.networks, state.networks)
    assert_same(back.replay, after.replay)


def test_without_a_restart_the_policy_goes_on_and_the_critics_do_not(
    trained: tuple[Any, Any],
) -> None:
    state = trained[1].learner
    algorithm: StagedSAC = make(
        "gorl-sac-fm", encoder_restart="warm", keep_statistics=False
    ).encoder
    after = compiled(StagedSAC.advance)(algorithm, state, jax.random.key(3))
    assert_same(after.networks.policy, state.networks.policy)
    assert_same(after.normalizer, state.normalizer)
    assert int(after.replay.size) == 0 and not np.any(after.networks.log_temperature)
    pairs = zip(
        jax.tree.leaves(after.networks.critic), jax.tree.leaves(state.networks.critic), strict=True
    )
    assert all(np.any(new != old) for new, old in pairs)


def test_with_a_frozen_decoder_it_is_dsrl() -> None:
    """SAC steers the latents of a policy from elsewhere, which stays as it is."""
    algorithm = make("gorl-sac-fm", refits=False, latent_bound=1.5, target_entropy=0.405)
    assert [each.updates for each in algorithm.stages()] == [PIPELINE.updates]
    fresh = init(algorithm, jax.random.key(0))
    source = make("gorl-fm")  # any GoRL's decoder will do, whichever its encoder
    other = with_random_decoder(source, init(source, jax.random.key(1)))
    state = algorithm.adopt(fresh, source.policy(other), jax.random.key(2))
    for seed in range(2):
        rollout = play(algorithm, state, jax.random.key(seed))
        decoded = other.decoder.decode(
            algorithm.decoder_model, rollout.obs[0], rollout.extras["action"][0]
        )
        np.testing.assert_allclose(rollout.extras["pre_tanh"][0], decoded, rtol=1e-4, atol=1e-5)
        assert np.abs(rollout.extras["action"]).max() < 1.5
        before = state
        state, _ = update(algorithm, state, rollout, jax.random.key(seed))
        assert_same(state.decoder, other.decoder)
        assert int(state.experience.written) == 0  # nothing will be fitted
        old, new = before.learner.networks.policy, state.learner.networks.policy
        assert any(
            np.any(a != b) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
        )
    action, _ = algorithm.act(state, jnp.ones((2, SPEC.obs_size)), jax.random.key(5), "sample")
    assert np.abs(action).max() <= 1.0
