"""The Gaussian policy head, and the only module that imports distrax."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp

with warnings.catch_warnings():
    # distrax imports TFP, which still touches names that JAX has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import distrax

MultivariateNormalDiag = distrax.MultivariateNormalDiag
MIN_STD, MAX_STD = 1e-3, 10.0


def gaussian(output: jax.Array) -> distrax.MultivariateNormalDiag:
    """Turns a network output [..., 2A] into N(mean, diag std^2) over [..., A].

    std = clip(softplus(raw) + 1e-3, 1e-3, 10) (ALGORITHMS 1.5).
    """
    mean, raw = jnp.split(output, 2, axis=-1)
    std = jnp.clip(jax.nn.softplus(raw) + MIN_STD, MIN_STD, MAX_STD)
    return distrax.MultivariateNormalDiag(mean, std)


def standard_normal_bias(size: int) -> jax.Array:
    """The constant network output [2A] for which `gaussian` is exactly N(0, I)."""
    raw = jnp.log(jnp.expm1(1.0 - MIN_STD))
    return jnp.concatenate([jnp.zeros(size), jnp.full(size, raw)])


def log_tanh_jacobian(x: jax.Array) -> jax.Array:
    """log(1 - tanh(x)^2), stable for large |x|; same shape as x."""
    return 2.0 * (jnp.log(2.0) - x - jax.nn.softplus(-2.0 * x))
