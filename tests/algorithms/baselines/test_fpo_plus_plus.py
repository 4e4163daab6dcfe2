"""FPO++'s pairs, clamps and trust region against loops."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, conditional_mlp, float64
from tiny import SPEC, Sampled, make, sample

from algorithms.baselines.fpo_plus_plus import FPOPlusPlus, TrustRegion, pair_ratio, surrogate
from algorithms.parts.on_policy import Coefficients

CLIP = 0.05
COEFFICIENTS = Coefficients(jnp.float32(CLIP), jnp.float32(1.0), jnp.float32(0.0))


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return sample("fpo-plus-plus", 300)


def pair_losses(policy: object, obs: Array, extras: dict[str, Array]) -> Array:
    """Losses [..., n] of the stored pairs, one pair after another."""
    losses = np.zeros(extras["noise"].shape[:-1])
    for index in np.ndindex(losses.shape):
        where = index[:-1]
        action, noise, t = extras["pre_tanh"][where], extras["noise"][index], extras["time"][index]
        velocity = conditional_mlp(policy, obs[where], t * noise + (1 - t) * action, float(t[0]))
        losses[index] = np.sum((noise - action - velocity) ** 2) / len(action) ** 0.5
    return losses


def term(ratio: float, advantage: float, trust_region: TrustRegion) -> float:
    """What one ratio adds to the objective."""
    if trust_region == "ppo" or (trust_region == "aspo" and advantage > 0):
        return min(ratio * advantage, min(max(ratio, 1 - CLIP), 1 + CLIP) * advantage)
    return ratio * advantage - abs(advantage) / (2 * CLIP) * (ratio - 1) ** 2


def test_what_a_rollout_stores(sampled: Sampled) -> None:
    _, state, obs, action, extras = sampled
    policy = state.networks.policy
    assert extras["noise"].shape == (300, 16, SPEC.action_size)
    np.testing.assert_allclose(action, np.tanh(extras["pre_tanh"]), rtol=1e-5, atol=1e-6)
    few = float64({name: x[:5] for name, x in extras.items()})
    losses = pair_losses(policy, float64(obs[:5]), few)
    np.testing.assert_allclose(extras["loss"][:5], losses, rtol=1e-3)
    times = np.asarray(extras["time"])
    assert 0.005 <= times.min() < 0.01 and 0.99 < times.max() <= 0.995
    # Uniform, so of mean .5 and std .286; there are 4,800.
    assert abs(times.mean() - 0.5) < 4 * 0.286 / np.sqrt(times.size)
    # The same keys without the perturbation give the flow's end.
    still: FPOPlusPlus = make("fpo-plus-plus", action_noise=0.0)
    act = quickly(lambda o, k: still.act(state, o, k, "sample"))
    _, unmoved = act(obs, jax.random.key(2))
    moved = np.asarray(extras["pre_tanh"] - unmoved["pre_tanh"])
    np.testing.assert_allclose(moved.std(), 0.02, rtol=4 / np.sqrt(2 * moved.size))


def test_ratio_and_its_clamps() -> None:
    old = np.array([3.0, 25.0, 18.0, 0.5, 40.0, 15.0])
    new = np.array([2.5, 19.0, 30.0, 0.9, 50.0, 1.0])

    def total(losses: jax.Array) -> jax.Array:
        return jnp.sum(pair_ratio(jnp.asarray(old), losses, 20.0, 10.0))

    got = pair_ratio(jnp.asarray(old), jnp.asarray(new), 20.0, 10.0)
    slope = jax.grad(total)(jnp.asarray(new))
    for index in range(len(old)):
        log_ratio = min(min(old[index], 20.0) - min(new[index], 20.0), 10.0)
        np.testing.assert_allclose(got[index], np.exp(log_ratio), rtol=1e-5)
        # The cap on the log-ratio lets the gradient through, that on the loss does not.
        expected = -np.exp(log_ratio) if new[index] < 20.0 else 0.0
        np.testing.assert_allclose(slope[index], expected, rtol=1e-5)
    assert got[5] == pytest.approx(np.exp(10.0)) and slope[5] != 0.0


@pytest.mark.parametrize("trust_region", ["aspo", "spo", "ppo"])
def test_surrogate(trust_region: TrustRegion) -> None:
    ratios, advantages = np.linspace(0.8, 1.25, 19), [-2.0, -0.1, 0.0, 0.3, 1.7]
    got = surrogate(
        jnp.asarray(ratios)[:, None], jnp.asarray(advantages), jnp.float32(CLIP), trust_region
    )
    for i, j in np.ndindex(got.shape):
        expected = term(float(ratios[i]), advantages[j], trust_region)
        np.testing.assert_allclose(got[i, j], expected, rtol=1e-4, atol=1e-6)


def test_a_bad_action_is_held_at_the_edge_of_the_region() -> None:
    """The penalty's best ratio is 1 - eps; PPO's clip leaves what lies beyond it alone."""

    def slope(ratio: float, trust_region: TrustRegion) -> float:
        def value(r: jax.Array) -> jax.Array:
            return surrogate(r, jnp.float32(-1.3), jnp.float32(CLIP), trust_region)

        return float(jax.grad(value)(jnp.float32(ratio)))

    assert slope(1 - CLIP, "aspo") == pytest.approx(0.0, abs=1e-5)
    assert slope(0.9, "aspo") > 0 > slope(0.97, "aspo")
    assert slope(0.9, "ppo") == 0.0


@pytest.mark.parametrize("trust_region", ["aspo", "ppo"])
def test_policy_loss(sampled: Sampled, trust_region: TrustRegion) -> None:
    _, state, obs, _, extras = sampled
    policy = state.networks.policy
    algorithm: FPOPlusPlus = make("fpo-plus-plus", trust_region=trust_region)
    changed: Any = jax.tree.map(lambda x: x + 0.02, policy)
    few = {name: x[:12].reshape(4, 3, *x.shape[1:]) for name, x in extras.items()}
    obs = obs[:12].reshape(4, 3, -1)
    advantage = jax.random.normal(jax.random.key(3), (4, 3))
    loss, metrics = quickly(algorithm.policy_loss)(
        changed, obs, few, advantage, COEFFICIENTS, jax.random.key(0)
    )
    wide = float64(few)
    new = pair_losses(changed, float64(obs), wide)
    ratios = np.exp(np.minimum(np.minimum(wide["loss"], 20) - np.minimum(new, 20), 10))
    terms = [
        term(float(ratios[index]), float(advantage[index[:2]]), trust_region)
        for index in np.ndindex(4, 3, 16)
    ]
    np.testing.assert_allclose(loss, -np.mean(terms), rtol=2e-3, atol=1e-4)
    outside = np.abs(ratios - 1) > CLIP
    assert 0 < outside.mean() < 1
    np.testing.assert_allclose(metrics["clip_fraction"], outside.mean(), rtol=1e-5)


def test_weights_decay() -> None:
    """AdamW's first step on a gradient of zero is the decay alone."""
    algorithm: FPOPlusPlus = make("fpo-plus-plus", learning_rate=0.1, weight_decay=0.01)
    weights = {"w": jnp.array([2.0, -3.0])}
    still = jax.tree.map(jnp.zeros_like, weights)
    change, _ = algorithm.optimizer.update(still, algorithm.optimizer.init(weights), weights)
    np.testing.assert_allclose(change["w"], [-0.002, 0.003], rtol=1e-5)
