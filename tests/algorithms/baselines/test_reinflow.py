"""ReinFlow's noise, chain density and loss against scipy and loops."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, conditional_mlp, float64, mlp
from scipy import stats
from tiny import PIPELINE, SPEC, Sampled, make, sample

from algorithms.baselines.reinflow import FlowAndNoise, ReinFlow
from algorithms.parts.on_policy import Coefficients

COEFFICIENTS = Coefficients(jnp.float32(0.01), jnp.float32(0.0), jnp.float32(0.0))
STEPS, LEAST, MOST = 4, 0.10, 0.24


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return sample("reinflow", 300)


def std_of(params: object, obs: Array, k: int) -> Array:
    """Std [A] of the k-th step, between its bounds on a log scale."""
    angles = [f * (1 - k / STEPS) for f in (1.0, 2.0, 4.0, 8.0)]
    embedded = [*map(math.cos, angles), *map(math.sin, angles)]
    share = (np.tanh(mlp(params, np.concatenate([obs, embedded]))) + 1) / 2
    return np.asarray(LEAST ** (1 - share) * MOST**share)


def landing(params: object, obs: Array, path: Array, k: int) -> Array:
    """Mean of the k-th step of one path [K + 1, A]."""
    return path[k] - 0.25 * conditional_mlp(params, obs, path[k], 1 - k / STEPS) / STEPS


def density(policy: FlowAndNoise, obs: Array, path: Array) -> tuple[float, float]:
    """Log-density and entropy of one chain, means over all its numbers."""
    densities = [stats.norm.logpdf(path[0])]
    entropies = [np.full(SPEC.action_size, stats.norm.entropy())]
    for k in range(STEPS):
        std = std_of(policy.noise, obs, k)
        mean = landing(policy.velocity, obs, path, k)
        densities.append(stats.norm.logpdf(path[k + 1], mean, std))
        entropies.append(stats.norm.entropy(scale=std))
    return float(np.mean(densities)), float(np.mean(entropies))


def test_path(sampled: Sampled) -> None:
    _, state, obs, action, extras = sampled
    policy, path, wide = state.networks.policy, float64(extras["path"]), float64(obs)
    assert path.shape == (300, STEPS + 1, SPEC.action_size)
    np.testing.assert_allclose(action, np.tanh(path[:, -1]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(extras["bound"], MOST, rtol=1e-6)
    z = np.array(
        [
            [
                (path[n, k + 1] - landing(policy.velocity, wide[n], path[n], k))
                / std_of(policy.noise, wide[n], k)
                for k in range(STEPS)
            ]
            for n in range(300)
        ]
    )
    # Standard normal but for the cut at 3: 900 numbers a step, std known to 2.4%.
    np.testing.assert_allclose(z.std(axis=(0, 2)), 0.987, rtol=4 * 0.024)
    assert np.all(np.abs(z.mean(axis=(0, 2))) < 4 / 30)
    assert np.abs(z).max() <= 3.001
    np.testing.assert_allclose(path[:, 0].std(), 1.0, rtol=4 * 0.024)


def test_noise_between_its_bounds(sampled: Sampled) -> None:
    algorithm, state, obs, _, _ = sampled
    larger = jax.tree.map(lambda x: 1.5 * x, state.networks.policy.noise)
    bound = jnp.full(6, MOST)
    got = quickly(algorithm.noise)(larger, obs[:6], bound)
    for n, k in np.ndindex(6, STEPS):
        np.testing.assert_allclose(got[n, k], std_of(larger, float64(obs[n]), k), rtol=1e-4)
    assert LEAST < got.min() < 0.8 * MOST < got.max() < MOST


def test_the_largest_noise_is_held_and_then_falls() -> None:
    algorithm: ReinFlow = make("reinflow")
    end = LEAST + 0.7 * (MOST - LEAST)
    for batches in range(PIPELINE.updates + 1):
        share = batches / PIPELINE.updates
        fallen = min(max((share - 0.35) / 0.65, 0.0), 1.0)
        expected = end + (MOST - end) * (1 + math.cos(math.pi * fallen)) / 2
        assert float(algorithm.largest_noise(jnp.int32(batches))) == pytest.approx(expected)
    assert float(algorithm.largest_noise(jnp.int32(2))) == pytest.approx(MOST)
    assert float(algorithm.largest_noise(jnp.int32(PIPELINE.updates))) == pytest.approx(end)
    held: ReinFlow = make("reinflow", noise_hold=1.0)
    assert float(held.largest_noise(jnp.int32(PIPELINE.updates - 1))) == pytest.approx(MOST)


def test_density_of_the_whole_chain(sampled: Sampled) -> None:
    algorithm, state, obs, _, extras = sampled
    policy: Any = state.networks.policy
    changed = jax.tree.map(lambda x: x + 0.05, policy)
    evaluate = quickly(algorithm.chain_density)
    for params in (policy, changed):
        got, entropy = evaluate(params, obs[:6], extras["path"][:6], extras["bound"][:6])
        for n in range(6):
            exact = density(params, float64(obs[n]), float64(extras["path"][n]))
            np.testing.assert_allclose((got[n], entropy[n]), exact, rtol=1e-3, atol=1e-4)
    again, _ = evaluate(policy, obs, extras["path"], extras["bound"])
    np.testing.assert_allclose(again, extras["log_prob"], atol=1e-5)


def test_policy_loss_has_one_ratio_for_a_chain(sampled: Sampled) -> None:
    algorithm, state, obs, _, extras = sampled
    policy = state.networks.policy
    changed = jax.tree.map(lambda x: x + 0.01, policy)
    few = {name: x[:12].reshape(4, 3, *x.shape[1:]) for name, x in extras.items()}
    # One old density that lies beyond the bound counts as the bound.
    few["log_prob"] = few["log_prob"].at[0, 0].set(1.7)
    obs = obs[:12].reshape(4, 3, -1)
    advantage = jax.random.normal(jax.random.key(3), (4, 3))
    loss, metrics = quickly(algorithm.policy_loss)(
        changed, obs, few, advantage, COEFFICIENTS, jax.random.key(0)
    )
    terms, entropies, outside = [], [], []
    for index in np.ndindex(4, 3):
        path = float64(few["path"][index])
        new, entropy = density(changed, float64(obs[index]), path)
        ratio = math.exp(min(max(new, -1), 1) - min(float(few["log_prob"][index]), 1))
        a = float(advantage[index])
        terms.append(min(ratio * a, min(max(ratio, 0.99), 1.01) * a))
        entropies.append(entropy)
        outside.append(abs(ratio - 1) > 0.01)
    expected = -np.mean(terms) - 0.03 * np.mean(entropies)
    np.testing.assert_allclose(loss, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(metrics["entropy"], np.mean(entropies), rtol=1e-4)
    np.testing.assert_allclose(metrics["clip_fraction"], np.mean(outside), rtol=1e-5)
    assert 0 < np.mean(outside) < 1


def test_both_networks_learn_from_the_ratio(sampled: Sampled) -> None:
    _, state, obs, _, extras = sampled
    algorithm: ReinFlow = make("reinflow", entropy_cost=0.0)

    @quickly
    @jax.grad
    def slope(policy: FlowAndNoise) -> jax.Array:
        key, advantage = jax.random.key(0), obs[:, 0]
        return algorithm.policy_loss(policy, obs, extras, advantage, COEFFICIENTS, key)[0]

    found = slope(state.networks.policy)
    for part in (found.velocity, found.noise):
        assert all(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(part))


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match=r"min_noise = 0\.3: above max_noise = 0\.24"):
        make("reinflow", min_noise=0.3)
