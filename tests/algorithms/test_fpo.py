"""FPO's data, ratios and loss against loops."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, conditional_mlp, float64
from tiny import SPEC, Sampled, make, sample

from algorithms.fpo import FPO, loss_ratio
from algorithms.parts.on_policy import Coefficients

RATIOS: tuple[Literal["averaged", "per-pair"], ...] = ("averaged", "per-pair")
COEFFICIENTS = Coefficients(jnp.float32(0.05), jnp.float32(0.0), jnp.float32(0.0))


def pair_losses(policy: object, obs: Array, extras: dict[str, Array]) -> Array:
    """Losses [..., n] of the stored pairs, one pair after another."""
    losses = np.zeros(extras["noise"].shape[:-1])
    for index in np.ndindex(losses.shape):
        where = index[:-1]
        action, noise, t = extras["pre_tanh"][where], extras["noise"][index], extras["time"][index]
        x = t * noise + (1 - t) * action
        velocity = 0.25 * conditional_mlp(policy, obs[where], x, float(t[0]))
        losses[index] = np.mean((noise - (x + (1 - t) * velocity)) ** 2)
    return losses


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return sample("fpo", 300)


def test_what_a_rollout_stores(sampled: Sampled) -> None:
    _, state, obs, action, extras = sampled
    policy = state.networks.policy
    assert extras["noise"].shape == (300, 8, SPEC.action_size)
    assert extras["time"].shape == (300, 8, 1)
    np.testing.assert_allclose(action, np.tanh(extras["pre_tanh"]), rtol=1e-5, atol=1e-6)
    losses = pair_losses(policy, float64(obs[:5]), float64({k: v[:5] for k, v in extras.items()}))
    np.testing.assert_allclose(extras["loss"][:5], losses, rtol=1e-3, atol=1e-6)
    # Standard normal noise that has nothing to do with the action.
    assert abs(float(extras["noise"].mean())) < 0.05
    assert abs(float(extras["noise"].std()) - 1.0) < 0.05
    pairs = float64(extras["noise"]).mean(axis=1).ravel(), float64(extras["pre_tanh"]).ravel()
    assert abs(np.corrcoef(*pairs)[0, 1]) < 4 / np.sqrt(900)


def test_times_lie_on_the_grid(sampled: Sampled) -> None:
    times, counts = np.unique(np.round(sampled.extras["time"], 6), return_counts=True)
    np.testing.assert_allclose(times, np.arange(1, 11) / 10, rtol=1e-5)
    # Binomial(2400, .1): std 14.7.
    assert np.all(np.abs(counts - 240) < 4 * 14.7)


@pytest.mark.parametrize("form", RATIOS)
def test_ratio(form: Literal["averaged", "per-pair"]) -> None:
    random = np.random.default_rng(0)
    old, new = (3.0 * random.random(size=(6, 8)) for _ in range(2))
    old[0, 0], new[0, 0], old[1, 1], new[1, 1] = 9.0, 0.5, 0.5, 9.0
    got = np.asarray(loss_ratio(jnp.asarray(old), jnp.asarray(new), form))
    for index in np.ndindex(got.shape):
        if form == "averaged":
            log_ratio = float(np.mean(old[index[0]]) - np.mean(new[index[0]]))
        else:
            log_ratio = min(max(float(old[index] - new[index]), -3.0), 3.0)
        np.testing.assert_allclose(got[index], np.exp(log_ratio), rtol=1e-5)
    assert got.shape == ((6, 1) if form == "averaged" else (6, 8))


@pytest.mark.parametrize("form", RATIOS)
def test_policy_loss(sampled: Sampled, form: Literal["averaged", "per-pair"]) -> None:
    _, state, obs, _, extras = sampled
    policy = state.networks.policy
    algorithm: FPO = make("fpo", ratio=form)
    changed = jax.tree.map(lambda x: x + 0.1, policy)
    few = {name: x[:12].reshape(4, 3, *x.shape[1:]) for name, x in extras.items()}
    obs = obs[:12].reshape(4, 3, -1)
    advantage = jax.random.normal(jax.random.key(3), (4, 3))
    loss, metrics = quickly(algorithm.policy_loss)(
        changed, obs, few, advantage, COEFFICIENTS, jax.random.key(0)
    )
    wide = float64(few)
    new = pair_losses(changed, float64(obs), wide)
    total, outside, count = 0.0, 0, 0
    for index in np.ndindex(4, 3):
        gains = wide["loss"][index] - new[index]
        gains = gains.mean(keepdims=True) if form == "averaged" else np.clip(gains, -3, 3)
        ratios = np.exp(gains).tolist()
        for ratio in ratios:
            a = float(advantage[index])
            bounded = min(max(ratio, 0.95), 1.05)
            total -= min(ratio * a, bounded * a) / len(ratios) / 12
            outside, count = outside + (abs(ratio - 1) > 0.05), count + 1
    np.testing.assert_allclose(loss, total, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(metrics["clip_fraction"], outside / count, rtol=1e-5)
    np.testing.assert_allclose(metrics["flow_loss"], new.mean(), rtol=1e-4)


@pytest.mark.parametrize("form", RATIOS)
def test_pairs_at_time_one_teach_nothing(
    sampled: Sampled, form: Literal["averaged", "per-pair"]
) -> None:
    _, state, obs, _, extras = sampled
    policy = state.networks.policy
    algorithm: FPO = make("fpo", ratio=form)
    at_one = {**extras, "time": jnp.ones_like(extras["time"]), "loss": jnp.zeros((300, 8))}

    @quickly
    @jax.grad
    def slope(policy: object) -> jax.Array:
        key = jax.random.key(0)
        return algorithm.policy_loss(policy, obs, at_one, jnp.ones(300), COEFFICIENTS, key)[0]

    assert not any(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(slope(policy)))
