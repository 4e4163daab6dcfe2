"""Stages, their settings, and what a restart keeps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import SPEC, init, make

from algorithms.parts.distributions import gaussian
from algorithms.parts.on_policy import Learner
from algorithms.staged_ppo import stage_updates

SHARES = (1 / 3, 1 / 3, 1 / 6, 1 / 6)


@pytest.mark.parametrize(
    ("updates", "spend_remainder", "split"),
    [
        (183, True, (61, 61, 30, 31)),
        (183, False, (61, 61, 30, 30)),
        (6, True, (2, 2, 1, 1)),
        (260, True, (86, 86, 43, 45)),
    ],
)
def test_stage_updates(updates: int, spend_remainder: bool, split: tuple[int, ...]) -> None:
    assert stage_updates(updates, SHARES, spend_remainder) == split


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.5, -0.5), (1.0, 0.0)])
def test_impossible_shares_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="stage_shares"):
        stage_updates(183, shares, True)


@pytest.mark.parametrize("spend_remainder", [True, False])
def test_a_stage_without_an_update_is_refused(spend_remainder: bool) -> None:
    with pytest.raises(ValueError, match="5 updates are too few"):
        stage_updates(5, SHARES, spend_remainder)


def test_stages_follow_the_settings() -> None:
    algorithm = make("gorl-fm", restart_envs=True, stage_shares=(0.5, 0.5))
    assert [(stage.updates, stage.restart_envs) for stage in algorithm.stages()] == [
        (3, True),
        (3, True),
    ]


@pytest.mark.parametrize(
    ("name", "first", "later"),
    [
        ("gorl-fm", (0.15, 0.5, 5e-4), (0.30, 1.0, 1e-3)),
        ("gorl-diff", (0.15, 0.5, 5e-4), (0.30, 1.0, 1e-3)),
        ("gorl-identity", (0.15, 0.5, 5e-4), (0.30, 1.0, 1e-3)),
        ("ppo-matched", (0.15, 0.5, 5e-4), (0.15, 0.5, 5e-4)),
        ("ppo-matched-reset", (0.15, 0.5, 5e-4), (0.15, 0.5, 5e-4)),
        ("ppo", (0.1, 0.0, 0.0), (0.1, 0.0, 0.0)),
        ("fpo", (0.05, 0.0, 0.0), (0.05, 0.0, 0.0)),
        ("dppo", (0.2, 0.0, 0.0), (0.2, 0.0, 0.0)),
    ],
)
def test_settings_of_each_stage(
    name: str, first: tuple[float, ...], later: tuple[float, ...]
) -> None:
    """Clip, gradient norm and latent penalty of ALGORITHMS 1.5 and 2.4."""
    algorithm = make(name)
    learner = algorithm.encoder if name in ("gorl-fm", "gorl-diff") else algorithm
    for stage in range(4):
        expected = later if stage else first
        np.testing.assert_allclose(learner.coefficients(jnp.int32(stage)), expected, rtol=1e-6)


@pytest.fixture(scope="module")
def trained() -> Learner:
    """A learner in its first stage of which nothing else is as at the start."""
    state: Learner = init(make("ppo-matched-reset"), jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + 1, state)._replace(stage=state.stage)


def restarted(trained: Learner, **changes: Any) -> Learner:
    """What `advance` makes of the learner."""
    state: Learner = make("ppo-matched-reset", **changes).advance(trained, jax.random.key(3))
    assert int(state.stage) == 1
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.optimizer))
    return state


def same(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_gaussian_restart_is_the_prior(trained: Learner) -> None:
    algorithm = make("ppo-matched-reset", encoder_restart="gaussian")
    state = restarted(trained, encoder_restart="gaussian")
    obs = 10.0 * jax.random.normal(jax.random.key(4), (50, SPEC.obs_size))
    policy = gaussian(algorithm.actor.forward(state.networks.policy, obs))
    np.testing.assert_array_equal(policy.mean(), np.zeros((50, SPEC.action_size)))
    np.testing.assert_allclose(policy.stddev(), 1.0, atol=2e-7)


@pytest.mark.parametrize("keep", [True, False])
def test_warm_restart_keeps_the_policy_and_what_it_sees(trained: Learner, keep: bool) -> None:
    state = restarted(trained, encoder_restart="warm", keep_statistics=keep)
    assert same(state.networks.policy, trained.networks.policy)
    assert same(state.normalizer, trained.normalizer)


def test_fresh_restart_is_a_random_network(trained: Learner) -> None:
    state = restarted(trained, encoder_restart="fresh")
    other = make("ppo-matched-reset").advance(trained, jax.random.key(9))
    assert not same(state.networks.policy, trained.networks.policy)
    assert not same(state.networks.policy, other.networks.policy)
    kernel = state.networks.policy["params"]["Dense_2"]["kernel"]
    assert np.all(np.asarray(kernel) != 0.0)


@pytest.mark.parametrize("keep", [True, False])
def test_critic_and_statistics_are_kept_or_wiped(trained: Learner, keep: bool) -> None:
    critic = restarted(trained, keep_critic=keep, keep_statistics=not keep)
    assert same(critic.networks.critic, trained.networks.critic) == keep
    assert same(critic.normalizer, trained.normalizer) != keep
    if keep:
        assert int(critic.normalizer.batches) == 0
        assert not np.any(critic.normalizer.mean)
        assert np.all(np.asarray(critic.normalizer.std) == 1.0)


def test_the_reset_control_wipes_everything(trained: Learner) -> None:
    state = restarted(trained)
    assert not same(state.networks.policy, trained.networks.policy)
    assert not same(state.networks.critic, trained.networks.critic)
    assert int(state.normalizer.batches) == 0
