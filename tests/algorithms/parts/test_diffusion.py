"""The diffusion model and its DDIM decoder against float64 loops."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import conditional_mlp, float64

from algorithms.parts.diffusion import Diffusion

OBS, ACTION, BATCH = 4, 3, 5
MODEL = Diffusion(OBS, ACTION, (7, 6))
KEYS = jax.random.split(jax.random.key(0), 4)
PARAMS = jax.tree.map(lambda x: x + 0.05, MODEL.init(KEYS[0]))
OBSERVATIONS = jax.random.normal(KEYS[1], (BATCH, OBS))
LATENT = jax.random.normal(KEYS[2], (BATCH, ACTION))


def cosine(k: int) -> float:
    return math.cos((k / 10 + 0.008) / 1.008 * math.pi / 2) ** 2


COSINE = [cosine(k) / cosine(0) for k in range(10)]


def test_cosine_schedule() -> None:
    schedule = MODEL.schedule()
    np.testing.assert_allclose(schedule, COSINE, rtol=1e-5)
    assert schedule[0] == 1.0
    np.testing.assert_allclose(schedule[9], 0.0241, atol=5e-5)


def test_linear_schedule() -> None:
    expected, product = [], 1.0
    for k in range(10):
        product *= 1.0 - (1e-4 + (2e-2 - 1e-4) * k / 9)
        expected.append(product)
    np.testing.assert_allclose(MODEL.linear_schedule(), expected, rtol=1e-6)


@pytest.mark.parametrize("linear", [False, True])
def test_decode(linear: bool) -> None:
    schedule = MODEL.linear_schedule() if linear else MODEL.schedule()
    actions = MODEL.decode(PARAMS, schedule, OBSERVATIONS, LATENT)
    signal = float64(schedule)
    evaluations = 0
    for b, obs in enumerate(float64(OBSERVATIONS)):
        x = float64(LATENT)[b]
        for k in range(9, 0, -1):
            target = 1.0 if k == 1 else signal[k - 1]
            noise = conditional_mlp(PARAMS, obs, x, k / 10)
            evaluations += 1
            clean = (x - math.sqrt(1 - signal[k]) * noise) / math.sqrt(signal[k])
            x = math.sqrt(target) * clean + math.sqrt(1 - target) * noise
        np.testing.assert_allclose(actions[b], x, rtol=1e-3, atol=1e-4)
    assert evaluations == BATCH * MODEL.evaluations == BATCH * 9


def test_identity_factor() -> None:
    """1.052 with the linear schedule it uses; it would be 6.44 with the cosine one."""
    params, schedule = MODEL.identity(KEYS[0])
    for levels, factor in ((schedule, 1.052), (MODEL.schedule(), 6.44)):
        ratio = np.asarray(MODEL.decode(params, levels, OBSERVATIONS, LATENT) / LATENT)
        np.testing.assert_allclose(ratio, factor, rtol=1e-3)
        np.testing.assert_allclose(ratio, 1.0 / np.sqrt(float64(levels)[9]), rtol=1e-5)


def test_loss_is_the_expected_squared_error() -> None:
    """Against Gauss-Hermite quadrature over the noise and the ten levels in equal shares."""
    model = Diffusion(1, 1, (4,))
    params = jax.tree.map(lambda x: x + 0.1, model.init(KEYS[0]))
    obs, action = jnp.full((1, 1), 0.3), jnp.full((1, 1), -1.5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    expected = 0.0
    for e, w in zip(nodes, weights / weights.sum(), strict=True):
        for k in range(10):
            x = np.array([math.sqrt(COSINE[k]) * -1.5 + math.sqrt(1 - COSINE[k]) * e])
            error = e - conditional_mlp(params, np.array([0.3]), x, k / 10)[0]
            expected += w * 0.1 * error**2
    draws = 100_000
    losses = [float(model.loss(params, obs, action, draws, key)) for key in KEYS[:2]]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(np.mean(losses), expected, rtol=4 * 1.5 / np.sqrt(2 * draws))


def test_loss_on_given_latents() -> None:
    """They are the noise of every draw of their action; only the levels are random."""
    action = jax.random.normal(KEYS[3], (BATCH, ACTION))
    got = MODEL.loss(PARAMS, OBSERVATIONS, action, 4, KEYS[0], LATENT)
    levels = jax.random.randint(jax.random.split(KEYS[0])[1], (BATCH, 4, 1), 0, 10)
    errors = []
    for b, i in np.ndindex(BATCH, 4):
        k, obs, z = int(levels[b, i, 0]), float64(OBSERVATIONS)[b], float64(LATENT)[b]
        x = math.sqrt(COSINE[k]) * float64(action)[b] + math.sqrt(1 - COSINE[k]) * z
        errors.append((z - conditional_mlp(PARAMS, obs, x, k / 10)) ** 2)
    np.testing.assert_allclose(got, np.mean(errors), rtol=1e-4)
