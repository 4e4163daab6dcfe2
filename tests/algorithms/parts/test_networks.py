"""Networks, their start values and the time embedding against NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from references import float64, layers, mlp

from algorithms.parts.networks import (
    MLP,
    conditional_input,
    conditional_size,
    constant_output,
    parameter_count,
    time_embedding,
)


def test_mlp_is_dense_layers_with_silu_between() -> None:
    network = MLP((7, 6), 4)
    params = network.create(jax.random.key(0), 5)
    params = jax.tree.map(lambda x: x + 0.1, params)  # no bias is zero
    x = jax.random.normal(jax.random.key(1), (3, 2, 5))
    np.testing.assert_allclose(network.forward(params, x), mlp(params, float64(x)), atol=1e-5)


def test_start_values_are_lecun_uniform_with_zero_biases() -> None:
    params = MLP((400, 300), 200).create(jax.random.key(0), 500)
    for kernel, bias in layers(params):
        fan_in = kernel.shape[0]
        bound = np.sqrt(3.0 / fan_in)
        assert np.abs(kernel).max() <= bound * (1 + 1e-6)
        assert np.abs(kernel).max() > 0.99 * bound  # uniform, not a truncated normal
        np.testing.assert_allclose(kernel.var(), 1.0 / fan_in, rtol=0.02)
        assert not bias.any()


def test_networks_with_more_than_ten_layers_have_one_linear_output() -> None:
    network = MLP((2,) * 11, 3)
    params = jax.tree.map(lambda x: x + 0.3, network.create(jax.random.key(0), 2))
    x = jax.random.normal(jax.random.key(1), (4, 2))
    np.testing.assert_allclose(network.forward(params, x), mlp(params, float64(x)), atol=1e-5)


def test_time_embedding() -> None:
    t = np.array([[0.0], [0.3], [1.0]])
    angles = t * np.array([1.0, 2.0, 4.0, 8.0])
    expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    np.testing.assert_allclose(time_embedding(jnp.asarray(t)), expected, atol=1e-6)


def test_conditional_input_broadcasts() -> None:
    obs, x = jnp.arange(6.0).reshape(2, 1, 3), jnp.arange(16.0).reshape(2, 4, 2)
    joined = conditional_input(obs, x, jnp.array([0.5]))
    assert joined.shape == (2, 4, conditional_size(3, 2)) == (2, 4, 13)
    np.testing.assert_array_equal(joined[1, 3, :5], [3.0, 4.0, 5.0, 14.0, 15.0])
    np.testing.assert_array_equal(joined[1, 3, 5:], time_embedding(jnp.array([0.5])))


def test_constant_output() -> None:
    network = MLP((7, 6), 2)
    bias = jnp.array([0.25, -3.0])
    params = constant_output(network.create(jax.random.key(0), 5), bias)
    output = network.forward(params, jax.random.normal(jax.random.key(1), (9, 5)))
    np.testing.assert_array_equal(output, np.broadcast_to(bias, (9, 2)))
    assert np.any(layers(params)[0][0])  # the layers below may learn at once


def test_parameter_count() -> None:
    params = MLP((7, 6), 4).create(jax.random.key(0), 5)
    assert parameter_count(params) == (5 * 7 + 7) + (7 * 6 + 6) + (6 * 4 + 4)
