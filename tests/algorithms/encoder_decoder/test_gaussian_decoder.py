"""The Gaussian decoder against NumPy, and its fit against what made the data."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, float64, gaussian_head, gaussian_log_prob, mlp

from algorithms.encoder_decoder.decoder import Fit
from algorithms.encoder_decoder.gaussian_decoder import GaussianDecoder

OBS, ACTION, BATCH = 4, 3, 6
MODEL = GaussianDecoder(OBS, ACTION, (7, 6))
KEYS = jax.random.split(jax.random.key(0), 5)
PARAMS = jax.tree.map(lambda x: 2.0 * x + 0.1, MODEL.init(KEYS[0]))
OBSERVATIONS = jax.random.normal(KEYS[1], (BATCH, OBS))
LATENT = jax.random.normal(KEYS[2], (BATCH, ACTION))
ACTIONS = jax.random.normal(KEYS[3], (BATCH, ACTION))


def head() -> tuple[Array, Array]:
    """Mean and std [B, A] at the observations."""
    return gaussian_head(mlp(PARAMS, float64(OBSERVATIONS)))


def test_decode_shifts_and_scales_the_latent() -> None:
    mean, std = head()
    got = MODEL.decode(PARAMS, MODEL.schedule(), OBSERVATIONS, LATENT)
    np.testing.assert_allclose(got, mean + std * float64(LATENT), rtol=1e-4)
    assert MODEL.evaluations == 1


def test_identity_returns_its_latent() -> None:
    params, schedule = MODEL.identity(KEYS[0])
    got = MODEL.decode(params, schedule, OBSERVATIONS, LATENT)
    np.testing.assert_allclose(got, LATENT, rtol=1e-6)


def test_losses() -> None:
    mean, std = head()
    likelihood = gaussian_log_prob(float64(ACTIONS), mean, std)
    fitted = MODEL.loss(PARAMS, OBSERVATIONS, ACTIONS, 8, KEYS[4])
    np.testing.assert_allclose(fitted, -likelihood.mean() / ACTION, rtol=1e-4)
    error = float64(ACTIONS) - mean - std * float64(LATENT)
    paired = MODEL.loss(PARAMS, OBSERVATIONS, ACTIONS, 8, KEYS[4], LATENT)
    np.testing.assert_allclose(paired, np.mean(error**2), rtol=1e-4)


@pytest.mark.parametrize("paired", [False, True])
def test_a_fit_finds_the_gaussian_that_made_the_actions(paired: bool) -> None:
    """Mean 1 + s and std .3 + .2 s on s in [-1, 1]; seen from its pairs it is exact."""
    fit = Fit(GaussianDecoder(1, 1, (16, 16)), 0.01, 256, 40, 1, 10_000, 40, 4)
    fit = dataclasses.replace(fit, paired=paired)
    obs = jax.random.uniform(KEYS[0], (40, 100, 1), minval=-1.0)
    latent = jax.random.normal(KEYS[1], (40, 100, 1))
    data = fit.empty(1, 4000).add(obs, 1.0 + obs + (0.3 + 0.2 * obs) * latent, True, latent)
    assert (data.latent is not None) == paired
    decoder = quickly(fit.__call__)(data, KEYS[2])
    s = jnp.linspace(-0.8, 0.8, 9)[:, None]
    middle, above = (decoder.decode(fit.model, s, jnp.full((9, 1), z)) for z in (0.0, 1.0))
    np.testing.assert_allclose(middle, 1.0 + s, atol=0.03 if paired else 0.08)
    np.testing.assert_allclose(above - middle, 0.3 + 0.2 * s, atol=0.03 if paired else 0.08)
