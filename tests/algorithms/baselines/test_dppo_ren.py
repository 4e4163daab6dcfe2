"""DPPO's diffusion, densities, discount and loss against textbook formulas and loops."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, conditional_mlp, float64
from scipy import stats
from tiny import SPEC, Sampled, make, sample

from algorithms.baselines.dppo_ren import DPPORen, step_clips
from algorithms.parts.on_policy import Coefficients, Networks

COEFFICIENTS = Coefficients(jnp.float32(0.1), jnp.float32(0.0), jnp.float32(0.0))
STEPS = 10


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return sample("dppo-ren", 300)


def alpha_bars() -> list[float]:
    """Signal after 0, ..., K noising steps; a step keeps at least a thousandth."""

    def curve(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    kept = [1.0]
    for k in range(1, STEPS + 1):
        beta = min(1 - curve(k / STEPS) / curve((k - 1) / STEPS), 0.999)
        kept.append(kept[-1] * (1 - beta))
    return kept


def posterior(level: int) -> tuple[float, float, float]:
    """q(x_{k-1} | x_k, x_0) by Bayes' rule for level k: weights of x_0 and x_k, and std.

    Its precision is that of N(sqrt(alpha) x_{k-1}, beta) in x_{k-1} plus that of
    N(sqrt(ab) x_0, 1 - ab) one step earlier.
    """
    before, after = alpha_bars()[level - 1], alpha_bars()[level]
    alpha = after / before
    if before == 1.0:
        return 1.0, 0.0, 0.0
    precision = alpha / (1 - alpha) + 1 / (1 - before)
    clean = math.sqrt(before) / (1 - before) / precision
    noisy = math.sqrt(alpha) / (1 - alpha) / precision
    return clean, noisy, precision**-0.5


def landing(policy: object, obs: Array, path: Array, index: int) -> tuple[Array, float]:
    """Mean [A] and std of the step from path[index], the noisiest first."""
    level = STEPS - index
    signal = alpha_bars()[level]
    noise = conditional_mlp(policy, obs, path[index], (level - 1) / STEPS)
    clean = np.clip((path[index] - math.sqrt(1 - signal) * noise) / math.sqrt(signal), -1, 1)
    clean_weight, noisy_weight, std = posterior(level)
    return clean_weight * clean + noisy_weight * path[index], max(std, 0.1)


def step_density(policy: object, obs: Array, path: Array, index: int) -> float:
    """Mean over dimensions of the log-density, each cut to [-5, 2]."""
    mean, std = landing(policy, obs, path, index)
    return float(np.clip(stats.norm.logpdf(path[index + 1], mean, std), -5, 2).mean())


def test_constants_of_the_chain() -> None:
    algorithm: DPPORen = make("dppo-ren")
    chain = algorithm.chain()
    for index in range(STEPS):
        level = STEPS - index
        assert int(chain.level[index]) == level - 1
        np.testing.assert_allclose(chain.signal[index], alpha_bars()[level], rtol=2e-3)
        clean, noisy, std = posterior(level)
        np.testing.assert_allclose(chain.clean_weight[index], clean, rtol=1e-3)
        np.testing.assert_allclose(chain.noisy_weight[index], noisy, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(chain.std[index], max(std, 0.1), rtol=1e-3)
    # The floor holds where the posterior leaves no noise, the last step.
    assert chain.std[-1] == pytest.approx(0.1) and float(chain.std[0]) > 0.9


def test_path(sampled: Sampled) -> None:
    algorithm, state, obs, action, extras = sampled
    path, policy, wide = float64(extras["path"]), state.networks.policy, float64(obs)
    assert path.shape == (300, STEPS + 1, SPEC.action_size)
    np.testing.assert_array_equal(action, np.clip(extras["path"][:, -1], -1, 1))
    z = np.zeros((300, STEPS, SPEC.action_size))
    for n, index in np.ndindex(300, STEPS):
        mean, std = landing(policy, wide[n], path[n], index)
        z[n, index] = (path[n, index + 1] - mean) / std
    np.testing.assert_allclose(z.std(axis=(0, 2)), 0.987, rtol=4 * 0.024)
    assert np.all(np.abs(z.mean(axis=(0, 2))) < 4 / 30)
    assert np.abs(z).max() <= 3.01
    np.testing.assert_allclose(path[:, 0].std(), 1.0, rtol=4 * 0.024)
    # Some actions are executed at the edge, and what was drawn is told.
    assert np.any(np.abs(path[:, -1]) > 1)
    np.testing.assert_array_equal(algorithm.unsquashed(action, extras), extras["path"][:, -1])


def test_without_noise_it_walks_the_means(sampled: Sampled) -> None:
    algorithm, state, obs, _, _ = sampled
    action, extras = algorithm.act(state, obs[:3], jax.random.key(0), "deterministic")
    assert not extras
    for n in range(3):
        path = np.zeros((STEPS + 1, SPEC.action_size))
        for index in range(STEPS):
            path[index + 1], _ = landing(state.networks.policy, float64(obs[n]), path, index)
        np.testing.assert_allclose(action[n], np.clip(path[-1], -1, 1), rtol=1e-3, atol=1e-4)


def test_density_of_each_step(sampled: Sampled) -> None:
    algorithm, state, obs, _, extras = sampled
    changed = jax.tree.map(lambda x: x + 0.1, state.networks.policy)
    got = quickly(algorithm.log_prob)(changed, obs[:6], extras["path"][:6])
    for n, index in np.ndindex(6, STEPS):
        path = float64(extras["path"][n])
        exact = step_density(changed, float64(obs[n]), path, index)
        np.testing.assert_allclose(got[n, index], exact, rtol=2e-3, atol=2e-3)
    again = quickly(algorithm.log_prob)(state.networks.policy, obs, extras["path"])
    np.testing.assert_allclose(again, extras["log_prob"], atol=1e-4)


def test_clip_ranges_along_the_chain() -> None:
    got = step_clips(STEPS, 0.001, jnp.float32(0.1), 3.0)
    for index in range(STEPS):
        share = (math.exp(3.0 * index / 9) - 1) / (math.exp(3.0) - 1)
        np.testing.assert_allclose(got[index], 0.001 + 0.099 * share, rtol=1e-5)
    np.testing.assert_allclose(step_clips(4, 0.1, jnp.float32(0.1), 3.0), 0.1, rtol=1e-6)


def test_policy_loss_discounts_along_the_chain(sampled: Sampled) -> None:
    _, state, obs, _, extras = sampled
    algorithm: DPPORen = make("dppo-ren", denoising_discount=0.8, first_clip=0.01)
    policy = state.networks.policy
    changed = jax.tree.map(lambda x: x + 0.1, policy)
    few = {name: x[:6].reshape(2, 3, *x.shape[1:]) for name, x in extras.items()}
    obs = obs[:6].reshape(2, 3, -1)
    advantage = jax.random.normal(jax.random.key(3), (2, 3))
    loss, metrics = quickly(algorithm.policy_loss)(
        changed, obs, few, advantage, COEFFICIENTS, jax.random.key(0)
    )
    terms, outside = [], []
    for where in np.ndindex(2, 3):
        path, wide = float64(few["path"][where]), float64(obs[where])
        for index in range(STEPS):
            new, old = (step_density(p, wide, path, index) for p in (changed, policy))
            ratio = math.exp(new - old)
            clip = 0.01 + 0.09 * (math.exp(index / 3) - 1) / (math.exp(3) - 1)
            # The last step has the whole advantage, the one before it 0.8 of it, and so on.
            a = float(advantage[where]) * 0.8 ** (STEPS - 1 - index)
            terms.append(min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a))
            outside.append(abs(ratio - 1) > clip)
    np.testing.assert_allclose(loss, -np.mean(terms), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(metrics["clip_fraction"], np.mean(outside), atol=1.01 / 60)
    assert 0 < np.mean(outside) < 1


@pytest.mark.parametrize("name", ["dppo-ren", "reinflow"])
def test_policy_and_critic_have_rates_of_their_own(name: str) -> None:
    """Adam's first step is its learning rate, whatever the gradient's size."""
    optimizer = make(name, learning_rate=0.01, critic_learning_rate=0.3).optimizer
    networks = Networks({"w": jnp.ones(2)}, {"w": jnp.ones(3)})
    gradient = jax.tree.map(lambda x: 5.0 * x, networks)
    change, _ = optimizer.update(gradient, optimizer.init(networks), networks)
    np.testing.assert_allclose(change.policy["w"], -0.01, rtol=1e-5)
    np.testing.assert_allclose(change.critic["w"], -0.3, rtol=1e-5)
