"""The transport field against a slow SVGD, and where it leads particles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import float64, slow_field

from algorithms.off_policy import transport


def test_the_field_is_that_of_svgd() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    points = jax.random.normal(keys[0], (4, 5, 3))
    particles, gradient = jax.random.normal(keys[1], (2, 4, 7, 3))
    temperature = jax.random.uniform(keys[2], (4,))
    found = quickly(transport.field)(points, particles, gradient, temperature)
    for state in range(4):
        of_state = [float64(each[state]) for each in (points, particles, gradient)]
        known = slow_field(of_state[0], of_state[1], of_state[2], float(temperature[state]))
        np.testing.assert_allclose(found[state], known, rtol=1e-4, atol=1e-5)
    share = quickly(transport.relative_temperature)(gradient, 0.1)
    lengths = np.sqrt(np.sum(float64(gradient) ** 2, axis=-1))
    np.testing.assert_allclose(share, 0.1 * lengths.mean(axis=-1), rtol=1e-5)


def test_particles_on_one_point_follow_the_gradient_alone() -> None:
    particles = jnp.ones((6, 2))
    gradient = jnp.broadcast_to(jnp.array([1.0, -2.0]), (6, 2))
    moved = transport.field(particles, particles, gradient, jnp.float32(0.5))
    np.testing.assert_allclose(moved, gradient, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2])
def test_both_modes_of_a_known_q_keep_their_mass(size: int) -> None:
    """Q = tau log of two Gaussians of std .5 around -1.2 and 1.2: exp(Q / tau) is theirs."""
    temperature, std, mode = 0.2, 0.5, 1.2 * jnp.ones(size)

    def q(a: jax.Array) -> jax.Array:
        logs = [-jnp.sum(jnp.square(a - m)) / (2.0 * std**2) for m in (-mode, mode)]
        return temperature * jax.nn.logsumexp(jnp.stack(logs))

    def step(_: int, a: jax.Array) -> jax.Array:
        gradient = jax.vmap(jax.grad(q))(a)
        return a + 0.5 * transport.field(a, a, gradient, jnp.float32(temperature))

    start = jax.random.normal(jax.random.key(1), (60, size))
    end = np.asarray(jax.jit(lambda a: jax.lax.fori_loop(0, 600, step, a))(start))
    right = end.sum(axis=-1) > 0
    assert 0.35 < right.mean() < 0.65
    for side, middle in ((right, mode), (~right, -mode)):
        np.testing.assert_allclose(end[side].mean(axis=0), middle, atol=0.15)
        spread = end[side].std(axis=0)
        # A kernel as wide as the modes' distance makes few particles keep closer together.
        assert ((0.6 * std < spread) & (spread < 1.2 * std)).all()
