"""Twin critics, their target values and the average that their targets follow."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import float64, twins

from algorithms.off_policy.critics import Critics, one_step_target, polyak


@pytest.mark.parametrize("layer_norm", [True, False])
def test_twins_are_two_networks(layer_norm: bool) -> None:
    critics = Critics((4, 5), layer_norm)
    params = critics.init(jax.random.key(0), 3, 2)
    # The offsets of a fresh normalization are zero: any others are told apart as well.
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    obs_key, action_key = jax.random.split(jax.random.key(1))
    obs = jax.random.normal(obs_key, (7, 3))
    action = jax.random.normal(action_key, (7, 2))
    expected = twins(params, float64(obs), float64(action))
    assert np.abs(expected[0] - expected[1]).min() > 1e-3
    values = quickly(critics.values)(params, obs, action)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    least = [min(pair) for pair in expected.T]
    np.testing.assert_allclose(
        quickly(critics.least)(params, obs, action), least, rtol=1e-4, atol=1e-5
    )
    target, weight = np.linspace(-1.0, 2.0, 7), np.array([1.0] * 5 + [0.0] * 2)
    loss = 0.0
    for values in expected:
        loss += sum(0.5 * w * (q - y) ** 2 for q, y, w in zip(values, target, weight, strict=True))
    found = quickly(critics.loss)(params, obs, action, jnp.asarray(target), jnp.asarray(weight))
    np.testing.assert_allclose(found, loss / 7, rtol=1e-4)


def test_only_a_real_end_stops_the_value() -> None:
    target = one_step_target(
        jnp.array([1.0, 2.0]), jnp.array([0.0, 1.0]), jnp.array([10.0, 10.0]), 0.9
    )
    np.testing.assert_allclose(target, [10.0, 2.0])
    slope = jax.grad(lambda v: one_step_target(v, jnp.zeros(1), v, 0.9).sum())(jnp.ones(1))
    assert not np.any(slope)


def test_a_target_is_the_average_of_its_past_with_weights_that_fade() -> None:
    rate, online = 0.1, [3.0, -1.0, 4.0, 1.5]
    target = {"w": jnp.float32(2.0)}
    for value in online:
        target = polyak(target, {"w": jnp.float32(value)}, rate)
    steps = len(online)
    faded = sum(rate * (1 - rate) ** (steps - 1 - i) * value for i, value in enumerate(online))
    np.testing.assert_allclose(target["w"], (1 - rate) ** steps * 2.0 + faded, rtol=1e-6)
