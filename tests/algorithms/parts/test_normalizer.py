"""Observation statistics against NumPy and the published figures."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest

from algorithms.parts import normalizer
from algorithms.parts.normalizer import Normalizer


def batches(count: int) -> list[np.ndarray]:
    """Batches [T, N, O] whose mean and spread drift."""
    random = np.random.default_rng(0)
    return [
        (random.normal(size=(7, 4, 3)) * (1.0 + k) + [100.0, 0.0, -k]).astype(np.float32)
        for k in range(count)
    ]


def test_identity_before_data() -> None:
    obs = jnp.array([[1.5, -2.0, 0.0], [1e6, -1e-6, 3.0]])
    np.testing.assert_array_equal(normalizer.initial(3)(obs), obs)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_cumulative_is_the_statistics_of_all_data(count: int) -> None:
    stats = normalizer.initial(3)
    for batch in batches(count):
        stats = normalizer.advance(stats, jnp.asarray(batch), "cumulative")
    everything = np.concatenate(batches(count)).reshape(-1, 3).astype(np.float64)
    # Float32 sums around an offset of 100.
    np.testing.assert_allclose(stats.mean, everything.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(stats.std, everything.std(axis=0), rtol=1e-4)
    normalized = np.asarray(stats(jnp.asarray(everything, jnp.float32)))
    expected = (everything - everything.mean(axis=0)) / everything.std(axis=0)
    np.testing.assert_allclose(normalized, expected, rtol=1e-3, atol=1e-3)


def test_legacy_is_the_reference_loop() -> None:
    stats = normalizer.initial(3)
    count, mean = 0, np.zeros(3)
    for batch in batches(9):
        stats = normalizer.advance(stats, jnp.asarray(batch), "legacy")
        rows = batch.reshape(-1, 3).astype(np.float64)
        count += len(rows)
        old_mean = mean
        mean = mean + np.sum(rows - mean, axis=0) / count
        newest_squares = np.sum((rows - old_mean) * (rows - mean), axis=0)
        np.testing.assert_allclose(stats.mean, mean, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(stats.std, np.sqrt(newest_squares / count), rtol=1e-4)


@pytest.mark.parametrize(("count", "std"), [(1, 1.00), (10, 0.32), (61, 0.128), (183, 0.074)])
def test_legacy_std_shrinks_as_published(count: int, std: float) -> None:
    random = np.random.default_rng(1)
    stats = normalizer.initial(1)
    for _ in range(count):
        batch = jnp.asarray(random.normal(size=(100, 100, 1)), jnp.float32)
        stats = normalizer.advance(stats, batch, "legacy")
    # Half a unit of the printed figure, and 3 standard errors of a batch's std.
    printed = 0.005 if std > 0.2 else 0.0005
    assert abs(float(stats.std[0]) - std) < printed + 0.02 * std


def test_std_stays_in_bounds() -> None:
    stats = Normalizer(jnp.int32(5), jnp.zeros(2), jnp.array([0.0, 1e20]))
    np.testing.assert_allclose(stats.std, [1e-6, 1e6], rtol=1e-6)


@pytest.mark.parametrize("kind", ["cumulative", "legacy"])
@pytest.mark.parametrize("spread", [0.0, 1e-4])
def test_nearly_constant_observations(kind: Literal["cumulative", "legacy"], spread: float) -> None:
    random = np.random.default_rng(0)
    offset = np.linspace(0.1, 2.0, 20)
    data = (offset + spread * random.normal(size=(50, 40, 20))).astype(np.float32)
    stats = normalizer.advance(normalizer.initial(20), jnp.asarray(data), kind)
    expected = np.maximum(data.reshape(-1, 20).astype(np.float64).std(axis=0), 1e-6)
    np.testing.assert_allclose(stats.std, expected, rtol=0.01)
