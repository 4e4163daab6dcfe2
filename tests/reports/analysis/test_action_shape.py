"""Shapes of action clouds against loops, scipy and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.analysis.action_shape import (
    WIDE_BANDWIDTH,
    density,
    describe,
    describe_along,
    first_component,
    mardia_p_value,
    scott_bandwidth,
)


def two_gaussians(separation: float, size: int = 2000) -> np.ndarray:
    """Half and half, both of std 1, `separation` apart, by their quantiles: no noise."""
    half = stats.norm.ppf((np.arange(size // 2) + 0.5) / (size // 2))
    return np.concatenate([half - separation / 2, half + separation / 2])


def mardia_by_loops(actions: np.ndarray) -> float:
    count, size = actions.shape
    centred = actions - actions.mean(axis=0)
    distances = centred @ np.linalg.inv(centred.T @ centred / count) @ centred.T
    skewness = sum(distances[i, j] ** 3 for i in range(count) for j in range(count)) / count**2
    kurtosis = sum(distances[i, i] ** 2 for i in range(count)) / count
    degrees = size * (size + 1) * (size + 2) / 6
    skewness_p = 1.0 - stats.chi2.cdf(count * skewness / 6, degrees)
    z = (kurtosis - size * (size + 2)) / np.sqrt(8 * size * (size + 2) / count)
    return min(1.0, 2 * min(skewness_p, 2 * (1.0 - stats.norm.cdf(abs(z)))))


@pytest.mark.parametrize("bandwidth", [WIDE_BANDWIDTH, 0.158])
def test_density_is_that_of_scipy(bandwidth: float) -> None:
    values = np.random.default_rng(0).gamma(2.0, size=2000)
    curve = density(values, bandwidth)
    expected = stats.gaussian_kde(values, bandwidth)(curve.x)
    np.testing.assert_allclose(curve.density, expected, atol=2e-3 * expected.max())


def test_the_papers_bandwidth_hides_two_modes_that_scotts_shows() -> None:
    # A kernel of .8 sigma makes N(-m, s^2) + N(m, s^2), of variance m^2 + s^2 = 1, unimodal
    # if m^2 < s^2 + .64: so it hides up to 4.27 s between two modes, where 2 s are enough.
    hidden = two_gaussians(4.1)
    assert density(hidden, WIDE_BANDWIDTH).peaks == 1
    assert density(hidden, scott_bandwidth(hidden.size)).peaks == 2
    assert describe(hidden[:, None]).dip_p[0] <= 0.001
    assert density(two_gaussians(4.6), WIDE_BANDWIDTH).peaks == 2


def test_one_gaussian_is_gaussian_and_has_one_mode() -> None:
    rng = np.random.default_rng(2)
    mixing = np.array([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [0.0, -1.0, 0.3]])
    shape = describe(rng.normal(size=(2000, 3)) @ mixing)
    covariance = mixing.T @ mixing
    np.testing.assert_allclose(shape.std, np.sqrt(np.diag(covariance)), rtol=0.05)
    correlations = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert shape.correlation == pytest.approx(np.abs(correlations - np.eye(3)).max(), abs=0.03)
    assert np.abs(shape.skewness).max() < 0.25
    assert np.abs(shape.kurtosis).max() < 0.4
    assert shape.gaussian_p > 0.05
    assert (shape.adjusted_dip_p > 0.5).all()


def test_moments_are_those_of_scipy() -> None:
    actions = np.random.default_rng(4).exponential(size=(500, 2))
    shape = describe(actions)
    np.testing.assert_allclose(shape.skewness, stats.skew(actions), rtol=1e-12)
    np.testing.assert_allclose(shape.kurtosis, stats.kurtosis(actions), rtol=1e-12)
    assert shape.gaussian_p < 1e-6


def test_mardias_test_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(6)
    for actions in (rng.normal(size=(60, 3)), rng.uniform(size=(60, 2)) ** 2):
        assert mardia_p_value(actions) == pytest.approx(mardia_by_loops(actions), rel=1e-6)


def test_mardias_test_is_rarely_wrong_about_gaussians() -> None:
    rng = np.random.default_rng(8)
    wrong = [mardia_p_value(rng.normal(size=(1000, 4))) < 0.05 for _ in range(300)]
    assert np.mean(wrong) < 0.08


def test_the_first_component_is_the_direction_of_largest_variance() -> None:
    rng = np.random.default_rng(9)
    direction = np.array([0.6, -0.8])
    actions = 5.0 + np.outer(rng.normal(size=2000), 3.0 * direction) + rng.normal(size=(2000, 2))
    origin, found = first_component(actions)
    np.testing.assert_allclose(found, [-0.6, 0.8], atol=0.03)
    along = describe_along(actions, origin, found)
    assert along.share == pytest.approx(10 / 11, abs=0.02)
    assert along.dip_p > 0.5


def test_actions_that_do_not_vary_have_a_shape_too() -> None:
    shape = describe(np.ones((200, 2)))
    assert np.isnan(shape.gaussian_p)
    assert (shape.dip_p > 0.05).all()
    assert (shape.kurtosis == 0).all()
    along = describe_along(np.ones((200, 2)), *first_component(np.ones((200, 2))))
    assert np.isnan(along.share)
    assert along.scott.peaks == 1


def test_a_wide_gaussian_has_two_modes_after_tanh_and_one_before() -> None:
    # The density of tanh(x), x ~ N(0, s^2), has its minimum at 0 as soon as s^2 > 1/2.
    wide = 1.5 * np.random.default_rng(10).normal(size=(2000, 1))
    assert describe(wide).dip_p[0] > 0.5
    assert describe(np.tanh(wide)).dip_p[0] <= 0.001
    assert describe(np.tanh(0.4 * wide / 1.5)).dip_p[0] > 0.5
