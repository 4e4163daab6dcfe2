"""Hartigan's dip against a linear program over all unimodal distributions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

import reports.analysis.dip
from reports.analysis.dip import NULL_REPETITIONS, dip, dip_p_value

Term = tuple[int, float]


def least_distance(x: np.ndarray, mode: int) -> float:
    """Least sup-distance of the cdf of sorted, distinct x [n] to one with its mode at x[mode].

    The unknowns are the convex part at x[0..mode], its value at the mode being the limit from
    the left; the concave part at x[mode..n - 1]; and the distance.
    """
    n = x.size
    left = list(range(mode + 1))
    right = list(range(mode + 1, n + 1))
    distance = n + 1
    rows: list[np.ndarray] = []
    limits: list[float] = []

    def at_most(limit: float, *terms: Term) -> None:
        row = np.zeros(n + 2)
        for index, factor in terms:
            row[index] += factor
        rows.append(row)
        limits.append(limit)

    def within(variable: int, low: float, high: float) -> None:
        at_most(high, (variable, 1.0), (distance, -1.0))
        at_most(-low, (variable, -1.0), (distance, -1.0))

    for i in left:
        within(left[i], (i + (i < mode)) / n, i / n)
    for k, i in enumerate(range(mode, n)):
        within(right[k], (i + 1) / n, (i + (k == 0)) / n)
    for part, offset, sign in ((left, 0, 1.0), (right, mode, -1.0)):
        for k in range(1, len(part) - 1):
            before, after = x[offset + k] - x[offset + k - 1], x[offset + k + 1] - x[offset + k]
            slopes = ((part[k], 1 / before + 1 / after), (part[k - 1], -1 / before))
            terms = (*slopes, (part[k + 1], -1 / after))
            at_most(0.0, *((index, sign * factor) for index, factor in terms))
    values = [*left, *right]
    for below, above in itertools.pairwise(values):
        at_most(0.0, (below, 1.0), (above, -1.0))
    goal = np.eye(n + 2)[distance]
    solved = linprog(goal, A_ub=np.array(rows), b_ub=limits, bounds=(None, None))
    return float(solved.fun)


def draw(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "two":
        return rng.normal(size=size) + np.where(np.arange(size) % 2, 4.0, -4.0)
    if kind == "exponential":
        return rng.exponential(size=size)
    return rng.normal(size=size) if kind == "normal" else rng.random(size)


@pytest.mark.parametrize("kind", ["normal", "uniform", "exponential", "two"])
def test_no_unimodal_distribution_is_nearer(kind: str) -> None:
    rng = np.random.default_rng(7)
    for size in (2, 3, 5, 8, 11):
        x = np.sort(draw(kind, size, rng))
        expected = min(least_distance(x, mode) for mode in range(size))
        assert dip(rng.permutation(x)) == pytest.approx(expected, abs=1e-9)


def test_position_and_scale_do_not_matter() -> None:
    x = draw("two", 300, np.random.default_rng(1))
    assert dip(1e6 - 1e3 * x) == pytest.approx(dip(x), abs=1e-12)


def test_equal_values_are_a_peak() -> None:
    assert dip(np.ones(50)) == pytest.approx(1 / 100)
    assert dip(np.repeat([0.0, 1.0], 5000)) == pytest.approx(1 / 4, abs=1e-3)
    assert dip(np.repeat([0.0, 1.0], [9000, 1000])) == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize("sample", [np.array([]), np.array([0.0, np.nan])])
def test_what_is_no_sample_is_refused(sample: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        dip(sample)


def test_p_values_are_uniform_for_uniform_samples_and_large_for_gaussian_ones() -> None:
    rng = np.random.default_rng(3)
    size = 200
    uniform = [dip_p_value(dip(rng.random(size)), size) for _ in range(400)]
    gaussian = [dip_p_value(dip(rng.normal(size=size)), size) for _ in range(400)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(uniform) <= level) == pytest.approx(level, abs=0.06)
        assert np.mean(np.array(gaussian) <= level) <= level


def test_long_samples_are_compared_with_shorter_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports.analysis.dip, "MAX_NULL_SIZE", 200)
    rng = np.random.default_rng(4)
    uniform = [dip_p_value(dip(rng.random(800)), 800) for _ in range(400)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(uniform) <= level) == pytest.approx(level, abs=0.07)


def test_two_separate_modes_have_the_smallest_p_value() -> None:
    sample = draw("two", 200, np.random.default_rng(5))
    assert dip_p_value(dip(sample), 200) == 1 / (NULL_REPETITIONS + 1)


@pytest.mark.parametrize(("apart", "seen"), [(2.2, 0), (2.8, 20)])
def test_how_far_apart_two_modes_must_be_to_be_seen(apart: float, seen: int) -> None:
    """Two equal Gaussians have two modes from 2 stds on; 10,000 draws do not show them at once."""
    rng = np.random.default_rng(6)
    side = np.where(np.arange(10_000) % 2, apart / 2, -apart / 2)
    samples = [rng.normal(size=side.size) + side for _ in range(20)]
    assert sum(dip_p_value(dip(sample), sample.size) < 0.05 for sample in samples) == seen
