"""Transport of particles towards exp(Q / tau): Stein variational gradient descent.

Liu & Wang 2016 (arXiv 1608.04471), as RLDT applies it to the actions of a flow (ALGORITHMS 6).
Shapes: P particles, I points that are moved, actions [..., A].
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

MIN_BANDWIDTH = 1e-6
"""Particles that all lie on one point neither attract nor repel each other by infinities."""


def bandwidth(squared: jax.Array) -> jax.Array:
    """The median heuristic h_i = median_j / (2 log(P + 1)) of each point, [..., I, 1].

    With it the kernels of P particles that are as far from a point as the median add up to about
    1. Of an even number the median is the lower of the two middle ones, as in RLDT's code.

    Args:
        squared: [..., I, P] squared distances of points and particles.
    """
    middle = jnp.quantile(squared, 0.5, axis=-1, keepdims=True, method="lower")
    return jnp.maximum(middle / (2.0 * jnp.log(squared.shape[-1] + 1.0)), MIN_BANDWIDTH)


def field(
    points: jax.Array, particles: jax.Array, gradient: jax.Array, temperature: jax.Array
) -> jax.Array:
    """SVGD's direction at each point, times the temperature: [..., I, A].

    phi(x) = 1/P sum_j k(x, a_j) (grad Q(a_j) + tau (x - a_j) / h) with the kernel
    k(x, a) = exp(-|x - a|^2 / (2 h)), whose width h is each point's own. The first part leads to
    where Q is high, the second keeps points away from the particles.

    Args:
        points: [..., I, A] x, what is moved.
        particles: [..., P, A] a_j, draws of the density that is moved.
        gradient: [..., P, A] of Q at the particles.
        temperature: [...] tau.
    """
    away = points[..., :, None, :] - particles[..., None, :, :]
    squared = jnp.sum(jnp.square(away), axis=-1)
    width = bandwidth(squared)
    kernel = jnp.exp(-squared / (2.0 * width))
    repulsion = temperature[..., None, None, None] * away / width[..., None]
    pull = gradient[..., None, :, :] + repulsion
    return jnp.mean(kernel[..., None] * pull, axis=-2)


def relative_temperature(gradient: jax.Array, share: float) -> jax.Array:
    """tau [...] as a share of the gradients' [..., P, A] mean length, which frees it of scale."""
    return share * jnp.mean(jnp.linalg.norm(gradient, axis=-1), axis=-1)
