"""DPPO's paths, likelihoods and ratios against scipy and loops."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import conditional_mlp, float64
from scipy import stats
from tiny import SPEC, Sampled, sample

from algorithms.parts.on_policy import Coefficients

SIGMA = 0.05
COEFFICIENTS = Coefficients(jnp.float32(0.2), jnp.float32(0.0), jnp.float32(0.0))


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return sample("dppo", 300)


def landing(policy: object, obs: np.ndarray, path: np.ndarray, k: int) -> np.ndarray:
    """Mean of the k-th step of one path [K + 1, A]."""
    return path[k] - 0.1 * 0.25 * conditional_mlp(policy, obs, path[k], 1.0 - 0.1 * k)


def test_path(sampled: Sampled) -> None:
    _, state, obs, action, extras = sampled
    path, policy, wide = float64(extras["path"]), float64(state.networks.policy), float64(obs)
    assert path.shape == (300, 11, SPEC.action_size)
    assert extras["log_prob"].shape == (300, 10)
    np.testing.assert_allclose(action, np.tanh(path[:, -1]), rtol=1e-5, atol=1e-6)
    residual = np.array(
        [
            [path[n, k + 1] - landing(policy, wide[n], path[n], k) for k in range(10)]
            for n in range(300)
        ]
    )
    # Every step kicks with std sigma, the last one too: 900 numbers each, std known to 2.4%.
    np.testing.assert_allclose(residual.std(axis=(0, 2)), SIGMA, rtol=4 * 0.024)
    assert np.all(np.abs(residual.mean(axis=(0, 2))) < 4 * SIGMA / 30)
    np.testing.assert_allclose(path[:, 0].std(), 1.0, rtol=4 * 0.024)


def test_likelihood_of_each_step(sampled: Sampled) -> None:
    algorithm, state, obs, _, extras = sampled
    policy = state.networks.policy
    changed = jax.tree.map(lambda x: x + 0.05, policy)
    path = float64(extras["path"][:6])
    got = quickly(algorithm.log_likelihood)(changed, obs[:6], extras["path"][:6])
    left_out = -SPEC.action_size * np.log(SIGMA)
    for n, k in np.ndindex(6, 10):
        mean = landing(changed, float64(obs[n]), path[n], k)
        exact = stats.norm.logpdf(path[n, k + 1], mean, SIGMA).sum()
        np.testing.assert_allclose(got[n, k] + left_out, exact, rtol=1e-3, atol=1e-3)


def test_ratio_is_one_for_unchanged_parameters(sampled: Sampled) -> None:
    algorithm, state, obs, _, extras = sampled
    policy = state.networks.policy
    again = quickly(algorithm.log_likelihood)(policy, obs, extras["path"])
    # Rounding of states of size 4 (2e-7), in units of sigma, times residuals of 4 sigma.
    np.testing.assert_allclose(jnp.exp(again - extras["log_prob"]), 1.0, atol=1e-4)


def test_policy_loss_clips_each_step(sampled: Sampled) -> None:
    algorithm, state, obs, _, extras = sampled
    policy = state.networks.policy
    changed = jax.tree.map(lambda x: x + 0.05, policy)
    few = {name: x[:6].reshape(2, 3, *x.shape[1:]) for name, x in extras.items()}
    obs = obs[:6].reshape(2, 3, -1)
    advantage = jax.random.normal(jax.random.key(3), (2, 3))
    loss, metrics = quickly(algorithm.policy_loss)(
        changed, obs, few, advantage, COEFFICIENTS, jax.random.key(0)
    )
    path, start = float64(few["path"]), float64(policy)
    terms, outside = [], []
    for index in np.ndindex(2, 3):
        for k in range(10):
            wide = float64(obs[index])
            new, old = (
                stats.norm.logpdf(path[index][k + 1], landing(p, wide, path[index], k), SIGMA)
                for p in (changed, start)
            )
            ratio, a = np.exp(np.sum(new - old)), float(advantage[index])
            terms.append(min(ratio * a, min(max(ratio, 0.8), 1.2) * a))
            outside.append(abs(ratio - 1) > 0.2)
    np.testing.assert_allclose(loss, -np.mean(terms), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(metrics["clip_fraction"], np.mean(outside), rtol=1e-5)
    assert 0 < np.mean(outside) < 1
