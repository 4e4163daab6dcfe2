"""The decoder's data and its fit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import float64

from algorithms.encoder_decoder.decoder import Decoder, Fit, _Progress
from algorithms.encoder_decoder.experience import Experience, split
from algorithms.parts.diffusion import Diffusion
from algorithms.parts.flow import Flow

FIT = Fit(
    model=Flow(2, 1, (4,)),
    learning_rate=3e-3,
    batch_size=256,
    epochs=10,
    draws=4,
    samples=10_000,
    patience=10,
    validation_batches=4,
)


def numbered(ring: Experience, number: float) -> Experience:
    """Adds a rollout of 2 steps by 3 environments that is `number` everywhere."""
    obs = jnp.full((2, 3, 2), number) + jnp.arange(6.0).reshape(2, 3, 1) / 10
    return ring.add(obs, -obs[..., :1])


def filled_ring(slots: int, rollouts: int) -> Experience:
    """A ring with rollouts 1, 2, ... added to it, and rubbish where none has been."""
    ring = FIT.empty(slots, 6)
    ring = ring._replace(obs=ring.obs + 1e3, action=ring.action - 1e3)
    for number in range(1, rollouts + 1):
        ring = numbered(ring, float(number))
    return ring


@pytest.mark.parametrize(("rollouts", "kept"), [(2, [1, 2]), (3, [1, 2, 3]), (8, [6, 7, 8])])
def test_ring_keeps_the_newest_rollouts(rollouts: int, kept: list[int]) -> None:
    ring = filled_ring(3, rollouts)
    assert int(ring.filled) == len(kept)
    held = np.sort(np.asarray(ring.obs[: len(kept)]), axis=0)  # slots in any order
    expected = np.array(kept)[:, None] + np.arange(6) / 10
    np.testing.assert_allclose(held, np.stack([expected] * 2, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(ring.action[..., 0], -ring.obs[..., 0])


@pytest.mark.parametrize(("size", "held_out"), [(200, 20), (7, 1)])
def test_split_is_disjoint_and_random(size: int, held_out: int) -> None:
    train, validation = split(FIT.empty(2, size), jax.random.key(0))
    assert len(validation.positions) == held_out
    everything = np.concatenate([train.positions, validation.positions])
    assert sorted(everything) == list(range(size))
    other = split(FIT.empty(2, size), jax.random.key(1))[1]
    assert not np.array_equal(validation.positions, other.positions)


@pytest.mark.parametrize("rollouts", [1, 2, 5])
def test_draws_come_evenly_from_what_was_written(rollouts: int) -> None:
    ring = filled_ring(3, rollouts)
    train, validation = split(ring, jax.random.key(0))
    slots = min(rollouts, 3)
    for part in (train, validation):
        obs, action, latent = part.draw(jax.random.key(1), 3000)
        assert latent is None
        np.testing.assert_array_equal(action[:, 0], -obs[:, 0])
        allowed = np.asarray(ring.obs[:slots, part.positions, 0]).ravel()
        values, counts = np.unique(obs[:, 0], return_counts=True)
        np.testing.assert_array_equal(values, np.sort(allowed))
        share = 1 / len(allowed)
        assert np.all(np.abs(counts / 3000 - share) <= 4 * math.sqrt(share * (1 - share) / 3000))


@pytest.mark.parametrize("rollouts", [1, 2, 5])
def test_statistics_are_those_of_the_training_part(rollouts: int) -> None:
    ring = filled_ring(3, rollouts)
    train, _ = split(ring, jax.random.key(0))
    mean, std = train.statistics()
    rows = float64(ring.obs)[: min(rollouts, 3), train.positions].reshape(-1, 2)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, rows.std(axis=0), rtol=1e-4)


def test_decoding_uses_the_fit_statistics() -> None:
    model = Flow(2, 1, (4,))
    mean, std = jnp.array([3.0, -1.0]), jnp.array([0.5, 2.0])
    params = jax.tree.map(lambda x: x + 0.2, model.init(jax.random.key(0)))
    decoder = Decoder(params, model.schedule(), mean, std, jnp.zeros(()))
    obs, latent = jax.random.normal(jax.random.key(1), (2, 5, 2))
    got = decoder.decode(model, obs, latent[:, :1])
    expected = model.decode(params, model.schedule(), (obs - mean) / std, latent[:, :1])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("losses", "best", "last"),
    [
        ([3.0, 2.0, 1.0], 2, 2),
        ([3.0, 2.0, 4.0, 1.0], 3, 3),
        # Two stale epochs end the fit: the better one after them never happens.
        ([3.0, 2.0, 4.0, 5.0, 1.0], 1, 3),
    ],
)
def test_fit_keeps_the_best_epoch_and_stops_when_stale(
    losses: list[float], best: int, last: int
) -> None:
    fit = dataclasses.replace(FIT, patience=2)
    nothing = jnp.float32(-1.0)
    progress = _Progress(nothing, (), nothing, jnp.float32(jnp.inf), jnp.int32(0))
    for epoch, loss in enumerate(losses):
        trained = progress._replace(params=jnp.float32(epoch))
        progress = fit._keep_best(progress, trained, jnp.float32(loss))
    assert (int(progress.best), float(progress.best_loss)) == (best, losses[best])
    assert int(progress.params) == last


def ideal_flow_decoding(mean: float, std: float) -> tuple[float, float]:
    """Mean and std of Euler-decoded N(0, 1) noise under the best velocity for N(mean, std^2)."""
    m, s = 0.0, 1.0
    for k in range(10, 0, -1):
        t = k / 10
        # E[e - a | x_t] = gain (x_t - (1 - t) mean) - mean, by conditioning Gaussians.
        gain = (t - (1 - t) * std**2) / (t**2 + (1 - t) ** 2 * std**2)
        m, s = m - 0.1 * (gain * (m - (1 - t) * mean) - mean), s * abs(1 - 0.1 * gain)
    return m, s


def ideal_diffusion_decoding(mean: float, std: float) -> tuple[float, float]:
    """Mean and std of DDIM-decoded N(0, 1) noise under the best noise prediction."""
    signal = [math.cos((k / 10 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(10)]
    signal = [x / signal[0] for x in signal]
    m, s = 0.0, 1.0
    for k in range(9, 0, -1):
        here, target = signal[k], signal[k - 1]
        gain = math.sqrt(1 - here) / (here * std**2 + 1 - here)
        noise = gain * (m - math.sqrt(here) * mean)
        clean = (m - math.sqrt(1 - here) * noise) / math.sqrt(here)
        m = math.sqrt(target) * clean + math.sqrt(1 - target) * noise
        slope = math.sqrt(target / here) * (1 - math.sqrt(1 - here) * gain)
        s *= slope + math.sqrt(1 - target) * gain
    return m, s


@pytest.mark.parametrize(
    ("model", "ideal"),
    [
        (Flow(2, 1, (32, 32)), ideal_flow_decoding),
        (Diffusion(2, 1, (32, 32)), ideal_diffusion_decoding),
    ],
    ids=["flow", "diffusion"],
)
def test_fit_recovers_a_known_distribution(model: Any, ideal: Any) -> None:
    """Actions 2 sign(obs_0) + .3 noise; ten steps of a perfect model give nearly that."""
    fit = dataclasses.replace(FIT, model=model, epochs=25)
    obs_key, noise_key, fit_key, latent_key = jax.random.split(jax.random.key(0), 4)
    obs = 5.0 + 2.0 * jax.random.normal(obs_key, (2, 100, 50, 2))  # two rollouts, off centre
    side = jnp.sign(obs[..., :1] - 5.0)
    action = 2.0 * side + 0.3 * jax.random.normal(noise_key, side.shape)
    ring = fit.empty(3, 5000)
    for part in range(2):
        ring = ring.add(obs[part], action[part])
    decoder = quickly(fit.__call__)(ring, fit_key)

    mean, std = ideal(2.0, 0.3)
    latent = jax.random.normal(latent_key, (4000, 1))
    for sign in (-1.0, 1.0):
        where = jnp.tile(jnp.array([[5.0 + 1.5 * sign, 5.0]]), (4000, 1))
        decoded = decoder.decode(model, where, latent)
        np.testing.assert_allclose(decoded.mean() * sign, mean, atol=0.1)
        np.testing.assert_allclose(decoded.std(), std, atol=0.06)
    np.testing.assert_allclose(decoder.schedule, model.schedule(), rtol=1e-5)
    np.testing.assert_allclose(decoder.mean, [5.0, 5.0], atol=0.1)
    np.testing.assert_allclose(decoder.std, [2.0, 2.0], atol=0.1)


def test_validation_loss_is_that_of_the_returned_parameters() -> None:
    """With nothing learned, it is the loss of the identity on the held-out actions."""
    fit = dataclasses.replace(FIT, learning_rate=0.0, epochs=1, validation_batches=20)
    key = jax.random.key(0)
    obs, action = jax.random.normal(key, (50, 100, 2)), jnp.full((50, 100, 1), 3.0)
    ring = fit.empty(1, 5000).add(obs, action)
    decoder = quickly(fit.__call__)(ring, key)
    normalized = (obs.reshape(-1, 2) - decoder.mean) / decoder.std
    expected = fit.model.loss(decoder.params, normalized, action.reshape(-1, 1), 4, key)
    np.testing.assert_allclose(decoder.validation_loss, expected, rtol=0.1)
