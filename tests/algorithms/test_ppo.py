"""PPO's loss terms against float64 closed forms."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiling import quickly
from references import (
    clipped_surrogate,
    float64,
    gaussian_entropy,
    gaussian_head,
    gaussian_log_prob,
    mlp,
)
from tiny import PIPELINE, SPEC, make

from algorithms.api import EnvSpec
from algorithms.parts.networks import constant_output
from algorithms.parts.on_policy import Coefficients
from algorithms.ppo import PPO, latent_penalty


def coefficients(clip: float, penalty: float) -> Coefficients:
    return Coefficients(jnp.float32(clip), jnp.float32(0.0), jnp.float32(penalty))


def test_policy_loss_matches_a_loop() -> None:
    algorithm: PPO = make("ppo", entropy_cost=0.3, tanh_entropy=False)
    keys = jax.random.split(jax.random.key(0), 5)
    policy = algorithm.init_policy(keys[0])
    obs = jax.random.normal(keys[1], (4, 6, SPEC.obs_size))
    drawn = jax.random.normal(keys[2], (4, 6, SPEC.action_size))
    advantage = jax.random.normal(keys[3], (4, 6))
    mean, std = gaussian_head(mlp(policy, float64(obs)))
    now = gaussian_log_prob(float64(drawn), mean, std)
    old = now + 0.3 * float64(jax.random.normal(keys[4], (4, 6)))
    extras = {"drawn": drawn, "log_prob": jnp.asarray(old, jnp.float32)}
    loss, metrics = quickly(algorithm.policy_loss)(
        policy, obs, extras, advantage, coefficients(0.2, 0.7), keys[0]
    )
    ratio = np.exp(now - old)
    expected = (
        clipped_surrogate(ratio, float64(advantage), 0.2)
        - 0.3 * gaussian_entropy(std).mean()
        + 0.7 * (np.mean(mean**2) + np.mean(std**2))
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["clip_fraction"], np.mean(np.abs(ratio - 1) > 0.2))
    np.testing.assert_allclose(metrics["entropy"], gaussian_entropy(std).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["mean_abs"], np.abs(mean).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["std"], std.mean(), rtol=1e-5)


def test_tanh_entropy_is_that_of_the_squashed_action() -> None:
    """Against Gauss-Hermite quadrature of E log(1 - tanh(x)^2)."""
    algorithm: PPO = make("ppo")
    output = jnp.array([0.4, -1.0, 0.0, 0.5, -0.5, 1.5])
    policy = constant_output(algorithm.init_policy(jax.random.key(0)), output)
    mean, std = gaussian_head(float64(output))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    jacobian = -2.0 * np.log(np.cosh(mean[:, None] + std[:, None] * nodes))
    expected = gaussian_entropy(std) + np.sum(jacobian @ weights)
    variance = np.sum(jacobian**2 @ weights - (jacobian @ weights) ** 2)

    samples = 40_000
    obs = jnp.zeros((samples, 1, SPEC.obs_size))
    extras = {"drawn": jnp.zeros((samples, 1, 3)), "log_prob": jnp.zeros((samples, 1))}
    _, metrics = quickly(algorithm.policy_loss)(
        policy, obs, extras, jnp.zeros((samples, 1)), coefficients(0.2, 0.0), jax.random.key(1)
    )
    error = np.sqrt(variance / samples)
    assert abs(float(metrics["entropy"]) - expected) < 4 * error
    assert abs(np.sum(jacobian @ weights)) > 40 * error  # the term could not be missed


@pytest.mark.parametrize("shape", [(7, 3), (4, 5, 2)])
def test_latent_penalty(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    mean, std = random.normal(size=shape), np.exp(random.normal(size=shape))
    code = np.mean([m**2 + s**2 for m, s in zip(mean.ravel(), std.ravel(), strict=True)])
    # KL(p || q) of Gaussians is the cross-entropy less the entropy.
    cross_entropy = np.sum(0.5 * np.log(2 * np.pi) + 0.5 * (mean**2 + std**2), axis=-1)
    divergence = np.mean(cross_entropy - gaussian_entropy(std))
    wanted: dict[Literal["code", "kl"], Any] = {"code": code, "kl": divergence}
    for form, expected in wanted.items():
        got = latent_penalty(jnp.asarray(mean), jnp.asarray(std), form)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_divergence_from_the_prior_vanishes_at_the_prior() -> None:
    assert latent_penalty(jnp.zeros((2, 3)), jnp.ones((2, 3)), "kl") == 0.0


@pytest.mark.parametrize(
    ("form", "size", "penalty", "std"),
    [
        # sigma^2 = entropy_cost * d / (2 beta): ALGORITHMS 3.2.
        ("code", 6, 5e-4, 7.746),
        ("code", 6, 1e-3, 5.477),
        ("code", 2, 1e-3, 3.162),
        # sigma^2 = 1 + entropy_cost / beta, whatever d.
        ("kl", 6, 1e-3, 3.317),
        ("kl", 2, 1e-2, 1.414),
    ],
)
def test_where_entropy_and_penalty_balance(
    form: Literal["code", "kl"], size: int, penalty: float, std: float
) -> None:
    """Without advantages, descent on PPO's own loss ends at the known std and at mean 0."""
    algorithm = PPO(
        env=EnvSpec(1, size),
        pipeline=PIPELINE,
        tanh_entropy=False,
        penalty_form=form,
        actor_hidden=(2,),
    )
    blank = algorithm.init_policy(jax.random.key(0))
    obs, nothing = jnp.zeros((1, 1, 1)), jnp.zeros((1, 1))
    extras = {"drawn": jnp.zeros((1, 1, size)), "log_prob": nothing}
    adam = optax.adam(optax.cosine_decay_schedule(0.05, 1500))

    def loss(output: jax.Array) -> tuple[jax.Array, Any]:
        policy = constant_output(blank, output)
        key = jax.random.key(0)
        return algorithm.policy_loss(policy, obs, extras, nothing, coefficients(0.2, penalty), key)

    def descend(carry: Any, _: None) -> tuple[Any, Any]:
        output, moments = carry
        gradient, metrics = jax.grad(loss, has_aux=True)(output)
        change, moments = adam.update(gradient, moments)
        return (optax.apply_updates(output, change), moments), metrics

    start = jnp.full(2 * size, 0.5)
    _, metrics = quickly(lambda c: jax.lax.scan(descend, c, None, 1500))((start, adam.init(start)))
    np.testing.assert_allclose(metrics["std"][-1], std, rtol=2e-3)
    assert metrics["mean_abs"][-1] < 1e-2


def test_a_shared_std_is_the_bias_s_alone_and_restarts_like_any_other() -> None:
    """The paper of 2026; what a state has of its own is the mean."""
    algorithm: Any = make("gorl-identity", std_form="shared")
    keys = jax.random.split(jax.random.key(0), 3)
    policy = jax.tree.map(lambda x: x + 0.2, algorithm.init_policy(keys[0]))
    obs = 3.0 * jax.random.normal(keys[1], (6, SPEC.obs_size))
    size = SPEC.action_size
    last = float64(policy["params"]["Dense_2"]["bias"])
    mean, _ = gaussian_head(mlp(policy, float64(obs)))
    _, std = gaussian_head(np.concatenate([np.zeros(size), last[size:]]))
    got = algorithm.gaussian(policy, obs)
    np.testing.assert_allclose(got.mean(), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.stddev(), np.tile(std, (6, 1)), rtol=1e-5)

    def likelihood(params: Any) -> jax.Array:
        return algorithm.gaussian(params, obs).log_prob(jnp.zeros((6, size))).sum()

    slope = jax.grad(likelihood)(policy)["params"]["Dense_2"]
    assert jnp.all(slope["bias"] != 0.0)
    assert not jnp.any(slope["kernel"][:, size:]) and jnp.any(slope["kernel"][:, :size])

    learner = algorithm.advance(algorithm.init(keys[0]), keys[2])
    restarted = algorithm.gaussian(learner.networks.policy, obs)
    np.testing.assert_allclose(restarted.stddev(), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(restarted.mean(), 0.0)
