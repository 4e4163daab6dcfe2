"""The conditional flow against float64 loops over samples and steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import Array, conditional_mlp, float64

from algorithms.parts.flow import Flow

OBS, ACTION, BATCH = 4, 3, 5
FLOW = Flow(OBS, ACTION, (7, 6), steps=10, output_scale=0.25)
KEYS = jax.random.split(jax.random.key(0), 6)
# Larger weights than at the start, so that the state along the path matters.
PARAMS = jax.tree.map(lambda x: 2.0 * x + 0.1, FLOW.init(KEYS[0]))
OBSERVATIONS = jax.random.normal(KEYS[1], (BATCH, OBS))
NOISE = jax.random.normal(KEYS[2], (BATCH, ACTION))


def velocity(obs: Array, x: Array, t: float) -> Array:
    return 0.25 * conditional_mlp(PARAMS, obs, x, t)


def test_schedule() -> None:
    np.testing.assert_allclose(
        FLOW.schedule(), [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], rtol=1e-6
    )
    assert FLOW.schedule()[0] == 1.0
    assert FLOW.evaluations == 10


def test_decode() -> None:
    actions = FLOW.decode(PARAMS, FLOW.schedule(), OBSERVATIONS, NOISE)
    for obs, start, action in zip(
        float64(OBSERVATIONS), float64(NOISE), np.asarray(actions), strict=True
    ):
        x = start
        for k in range(10):
            x = x - 0.1 * velocity(obs, x, 1.0 - 0.1 * k)
        np.testing.assert_allclose(action, x, rtol=1e-4, atol=1e-5)


def test_noisy_path_and_where_its_steps_would_land() -> None:
    kicks = 0.3 * jax.random.normal(KEYS[3], (10, BATCH, ACTION))
    path = FLOW.noisy_path(PARAMS, OBSERVATIONS, NOISE, kicks)
    landings = FLOW.step_means(PARAMS, OBSERVATIONS, path)
    assert path.shape == (BATCH, 11, ACTION)
    assert landings.shape == (BATCH, 10, ACTION)
    for b, obs in enumerate(float64(OBSERVATIONS)):
        x = float64(NOISE)[b]
        np.testing.assert_allclose(path[b, 0], x)
        for k in range(10):
            landing = x - 0.1 * velocity(obs, x, 1.0 - 0.1 * k)
            np.testing.assert_allclose(landings[b, k], landing, rtol=1e-4, atol=1e-5)
            x = landing + float64(kicks)[k, b]
            np.testing.assert_allclose(path[b, k + 1], x, rtol=1e-4, atol=1e-5)


def test_path_without_kicks_is_decode() -> None:
    path = FLOW.noisy_path(PARAMS, OBSERVATIONS, NOISE, jnp.zeros((10, BATCH, ACTION)))
    actions = FLOW.decode(PARAMS, FLOW.schedule(), OBSERVATIONS, NOISE)
    np.testing.assert_allclose(path[:, -1], actions, atol=1e-6)


def test_noise_errors() -> None:
    noise = jax.random.normal(KEYS[3], (BATCH, 8, ACTION))
    t = jax.random.uniform(KEYS[4], (BATCH, 8, 1))
    action = jax.random.normal(KEYS[5], (BATCH, ACTION))
    errors = FLOW.noise_errors(PARAMS, OBSERVATIONS, action, noise, t)
    for b, i in np.ndindex(BATCH, 8):
        obs, a, e, s = (float64(x) for x in (OBSERVATIONS[b], action[b], noise[b, i], t[b, i, 0]))
        v = velocity(obs, s * e + (1 - s) * a, float(s))
        np.testing.assert_allclose(
            errors[b, i], (1 - s) ** 2 * np.mean((e - a - v) ** 2), rtol=1e-3, atol=1e-6
        )


def test_noise_errors_carry_no_weight_at_time_one() -> None:
    noise = jax.random.normal(KEYS[3], (BATCH, 1, ACTION))
    action = jax.random.normal(KEYS[5], (BATCH, ACTION))

    def error(params: object, t: float) -> jax.Array:
        times = jnp.full((BATCH, 1, 1), t)
        return FLOW.noise_errors(params, OBSERVATIONS, action, noise, times).sum()

    for t, silent in ((FLOW.schedule()[0], True), (FLOW.schedule()[1], False)):
        value, gradient = jax.value_and_grad(error)(PARAMS, t)
        moved = [bool(jnp.any(leaf != 0.0)) for leaf in jax.tree.leaves(gradient)]
        assert (value == 0.0) == silent
        assert all(moved) != silent
        assert any(moved) != silent


def test_loss_is_the_expected_squared_error() -> None:
    """A draw's mean over (noise, t), against Gauss-Hermite by Gauss-Legendre quadrature."""
    flow = Flow(1, 1, (4,))
    params = jax.tree.map(lambda x: 2.0 * x + 0.1, flow.init(KEYS[0]))
    obs, action = jnp.full((1, 1), 0.3), jnp.full((1, 1), -1.5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    times, shares = np.polynomial.legendre.leggauss(20)
    expected = 0.0
    for e, w in zip(nodes, weights / weights.sum(), strict=True):
        for t, share in zip((times + 1) / 2, shares / 2, strict=True):
            x = np.array([t * e + (1 - t) * -1.5])
            v = conditional_mlp(params, np.array([0.3]), x, float(t))
            expected += w * share * float((e + 1.5 - v[0]) ** 2)
    draws = 100_000
    losses = [float(flow.loss(params, obs, action, draws, key)) for key in KEYS[:2]]
    assert losses[0] != losses[1]
    # The squared error's std is about 1.5 times its mean.
    np.testing.assert_allclose(np.mean(losses), expected, rtol=4 * 1.5 / np.sqrt(2 * draws))


@pytest.mark.parametrize("steps", [1, 10])
def test_identity_returns_its_latent_exactly(steps: int) -> None:
    flow = Flow(OBS, ACTION, (7, 6), steps)
    params, schedule = flow.identity(KEYS[0])
    np.testing.assert_array_equal(flow.decode(params, schedule, OBSERVATIONS, NOISE), NOISE)


def test_loss_on_given_latents() -> None:
    """Every draw of an action starts at its own latent; only the times are random."""
    action = jax.random.normal(KEYS[5], (BATCH, ACTION))
    got = FLOW.loss(PARAMS, OBSERVATIONS, action, 4, KEYS[3], NOISE)
    times = jax.random.uniform(jax.random.split(KEYS[3])[1], (BATCH, 4, 1))
    errors = []
    for b, i in np.ndindex(BATCH, 4):
        a, z, t = float64(action)[b], float64(NOISE)[b], float(times[b, i, 0])
        errors.append((z - a - velocity(float64(OBSERVATIONS)[b], t * z + (1 - t) * a, t)) ** 2)
    np.testing.assert_allclose(got, np.mean(errors), rtol=1e-4)
