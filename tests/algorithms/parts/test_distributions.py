"""The Gaussian head against float64 closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from references import float64, gaussian_entropy, gaussian_head, gaussian_log_prob

from algorithms.parts.distributions import gaussian, log_tanh_jacobian, standard_normal_bias


def test_log_prob_and_entropy() -> None:
    output = 2.0 * jax.random.normal(jax.random.key(0), (6, 2, 8))
    x = 3.0 * jax.random.normal(jax.random.key(1), (6, 2, 4))
    mean, std = gaussian_head(float64(output))
    policy = gaussian(output)
    np.testing.assert_allclose(
        policy.log_prob(x), gaussian_log_prob(float64(x), mean, std), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(policy.entropy(), gaussian_entropy(std), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(policy.mean(), mean, rtol=1e-6)
    np.testing.assert_allclose(policy.stddev(), std, rtol=1e-5)


def test_std_stays_in_bounds() -> None:
    std = gaussian(jnp.array([0.0, 0.0, 0.0, -100.0, 5.0, 100.0])).stddev()
    np.testing.assert_allclose(std, [1e-3, np.log1p(np.exp(5.0)) + 1e-3, 10.0], rtol=1e-6)


def test_standard_normal_bias() -> None:
    policy = gaussian(standard_normal_bias(5))
    np.testing.assert_array_equal(policy.mean(), np.zeros(5))
    np.testing.assert_allclose(policy.stddev(), np.ones(5), atol=2e-7)  # two roundings


def test_log_tanh_jacobian() -> None:
    x = np.array([-40.0, -5.0, -0.1, 0.0, 1e-3, 0.7, 3.0, 40.0], np.float32)
    wide = x.astype(np.float64)
    expected = -2.0 * np.log(np.cosh(wide))  # sech^2
    np.testing.assert_allclose(log_tanh_jacobian(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6)
