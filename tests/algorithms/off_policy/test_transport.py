"""The transport field against a slow SVGD, and where it leads particles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, float64, slow_field

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


TEMPERATURE = 0.2


def transported(start: jax.Array, modes: jax.Array, shares: Array, std: float) -> Array:
    """Where particles [P, A] end whose Q is tau log of a mixture of Gaussians at modes [M, A]."""

    def q(a: jax.Array) -> jax.Array:
        logs = -jnp.sum(jnp.square(a - modes), axis=-1) / (2.0 * std**2) + jnp.log(shares)
        return TEMPERATURE * jax.nn.logsumexp(logs)

    def step(_: int, a: jax.Array) -> jax.Array:
        gradient = jax.vmap(jax.grad(q))(a)
        return a + 0.5 * transport.field(a, a, gradient, jnp.float32(TEMPERATURE))

    return np.asarray(jax.jit(lambda a: jax.lax.fori_loop(0, 2000, step, a))(start))


@pytest.mark.parametrize("size", [1, 2])
def test_both_modes_of_a_known_q_keep_their_mass(size: int) -> None:
    """exp(Q / tau) is two Gaussians of std .5 around -1.2 and 1.2, alike."""
    std, mode = 0.5, 1.2 * jnp.ones(size)
    start = jax.random.normal(jax.random.key(1), (60, size))
    end = transported(start, jnp.stack([-mode, mode]), np.array([0.5, 0.5]), std)
    right = end.sum(axis=-1) > 0
    assert 0.35 < right.mean() < 0.65
    for side, middle in ((right, mode), (~right, -mode)):
        np.testing.assert_allclose(end[side].mean(axis=0), middle, atol=0.15)
        spread = end[side].std(axis=0)
        # A kernel as wide as the modes' distance makes few particles keep closer together.
        assert ((0.6 * std < spread) & (spread < 1.2 * std)).all()


@pytest.mark.parametrize("share", [0.7, 0.9])
@pytest.mark.parametrize(("size", "mode"), [(1, 1.0), (2, 0.7)])
def test_particles_at_a_lesser_mode_go_over_to_a_greater(
    size: int, mode: float, share: float
) -> None:
    """From around one of two modes to exp(Q / tau), whose share, mean and std are known."""
    modes = jnp.stack([-mode * jnp.ones(size), mode * jnp.ones(size)])
    start = modes[0] + 0.3 * jax.random.normal(jax.random.key(1), (60, size))
    end = transported(start, modes, np.array([1.0 - share, share]), 0.6)
    mean = (2.0 * share - 1.0) * mode
    np.testing.assert_allclose((end.sum(axis=-1) > 0).mean(), share, atol=0.08)
    np.testing.assert_allclose(end.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(end.std(axis=0), np.sqrt(0.36 + mode**2 - mean**2), atol=0.05)
