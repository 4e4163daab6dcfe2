"""Aggregates and intervals, against rliable, slow references and known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from rliable import library, metrics

from reports.analysis import bootstrap
from reports.analysis.bootstrap import Estimate


def matrix(seed: int = 0, runs: int = 5, tasks: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).beta(2, 2, (runs, tasks))


def counts(sizes: list[int], repetitions: int = 20_000, seed: int = 0) -> np.ndarray:
    return bootstrap.bootstrap_counts(sizes, repetitions, np.random.default_rng(seed))


def once(tasks: list[np.ndarray]) -> np.ndarray:
    """Returns the counts of the one resample that is the scores themselves."""
    return np.ones((sum(map(len, tasks)), 1), np.int16)


DEFINITIONS = {
    "IQM": metrics.aggregate_iqm,
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "optimality gap": metrics.aggregate_optimality_gap,
}


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 3), (5, 6), (7, 5)])
def test_metrics_are_those_of_rliable(name: str, shape: tuple[int, int]) -> None:
    """To the last bit as values; but for round-off, as what resamples are made of."""
    scores = 1.3 * matrix(3, *shape)  # some above 1, which the optimality gap clips
    metric, tasks, expected = bootstrap.METRICS[name], list(scores.T), DEFINITIONS[name](scores)
    assert bootstrap.point(metric, tasks) == pytest.approx(expected, abs=1e-15)
    assert metric(tasks, once(tasks)) == pytest.approx([expected], abs=1e-12)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_metrics_of_resamples_are_those_of_the_repeated_scores(name: str) -> None:
    scores = np.round(matrix(), 1)  # with ties
    drawn = counts([5] * 6, 50)
    ours = bootstrap.METRICS[name](list(scores.T), drawn)
    for index in range(50):
        times = drawn[:, index].reshape(6, 5)
        resample = np.stack([np.repeat(scores[:, m], times[m]) for m in range(6)], axis=1)
        assert ours[index] == pytest.approx(DEFINITIONS[name](resample), abs=1e-12)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_intervals_agree_with_rliable(name: str) -> None:
    scores = matrix()
    ours = bootstrap.estimate(bootstrap.METRICS[name], list(scores.T), counts([5] * 6))
    np.random.seed(0)  # noqa: NPY002 - rliable draws from the global generator
    _, theirs = library.get_interval_estimates(
        {"x": scores}, lambda x: np.array([DEFINITIONS[name](x)]), reps=2000
    )
    # An end of an interval of width w has a standard error of about 0.015 w at 2,000 draws.
    width = ours.high - ours.low
    assert [ours.low, ours.high] == pytest.approx(list(theirs["x"][:, 0]), abs=0.06 * width)


def test_bootstrap_counts_resample_within_tasks() -> None:
    drawn = counts([2, 5], 20_000)
    assert drawn.shape == (7, 20_000)
    assert (drawn[:2].sum(axis=0) == 2).all()
    assert (drawn[2:].sum(axis=0) == 5).all()
    assert drawn.mean(axis=1) == pytest.approx(np.ones(7), abs=0.03)
    # A run is drawn k times with the binomial probability; and runs of tasks independently.
    share = np.bincount(drawn[3], minlength=6)[:6] / 20_000
    assert share == pytest.approx(scipy.stats.binom.pmf(np.arange(6), 5, 0.2), abs=0.015)
    assert abs(np.corrcoef(drawn[0], drawn[2])[0, 1]) < 0.03


def test_bootstrap_of_three_runs_is_the_exact_one() -> None:
    runs = np.array([0.1, 0.4, 0.9])
    means = [np.mean(each) for each in itertools.product(runs, repeat=3)]
    samples = bootstrap.mean([runs], counts([3], 100_000))
    for value in sorted(set(np.round(means, 12))):
        expected = np.mean(np.isclose(means, value))
        assert np.mean(np.isclose(samples, value)) == pytest.approx(expected, abs=0.006)


def test_same_seed_same_interval() -> None:
    scores = list(matrix().T)
    first = bootstrap.estimate(bootstrap.iqm, scores, counts([5] * 6, seed=1))
    assert first == bootstrap.estimate(bootstrap.iqm, scores, counts([5] * 6, seed=1))
    assert first != bootstrap.estimate(bootstrap.iqm, scores, counts([5] * 6, seed=2))


def test_one_run_has_no_interval() -> None:
    estimate = bootstrap.estimate(bootstrap.iqm, [np.array([0.3])], counts([1], 10))
    assert estimate.value == 0.3
    assert not estimate.has_interval
    assert str(estimate) == "0.300"
    assert str(Estimate(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IQM", (0.4 + 0.5 + 0.6) / 3),  # of all five, less one at either end
        ("mean", (0.3 + 0.8) / 2),
        ("median", (0.3 + 0.8) / 2),
        ("optimality gap", 1 - (0.3 + 0.7) / 2),  # 1.3 counts as 1
    ],
)
def test_unequal_numbers_of_runs(name: str, expected: float) -> None:
    scores = [np.array([0.2, 0.4]), np.array([0.5, 0.6, 1.3])]
    metric = bootstrap.METRICS[name]
    assert bootstrap.point(metric, scores) == pytest.approx(expected)
    assert metric(scores, once(scores)) == pytest.approx([expected])


def test_improvement_with_unequal_numbers_of_runs() -> None:
    x, y = [np.array([0.1, 0.5]), np.array([0.9])], [np.array([0.5]), np.array([0.2, 0.9, 0.9])]
    ours = bootstrap.improvement(x, y, once(x), once(y))
    assert ours.value == pytest.approx((0.25 + 2 / 3) / 2)  # ties count half
    wins = bootstrap.probability_of_improvement(x, y, once(x), once(y))
    assert wins == pytest.approx([ours.value], abs=1e-7)  # single precision
    same = [np.zeros(2)]
    assert bootstrap.improvement(same, [np.zeros(3)], once(same), once([np.zeros(3)])).value == 0.5


def test_performance_profile() -> None:
    scores = matrix()
    taus = np.array([0.0, 0.3, 0.31, 0.5, 1.0])
    band = bootstrap.performance_profile(list(scores.T), counts([5] * 6), taus)
    expected = [sum(score > tau for score in scores.flat) / scores.size for tau in taus]
    assert band.value == pytest.approx(expected)
    assert (band.low <= band.value + 1e-12).all() and (band.value <= band.high + 1e-12).all()
    np.random.seed(0)  # noqa: NPY002 - rliable draws from the global generator
    _, theirs = library.create_performance_profile({"x": scores}, taus, reps=2000)
    assert np.stack([band.low, band.high]) == pytest.approx(theirs["x"], abs=0.035)


def test_probability_of_improvement() -> None:
    x, y = np.round(matrix(1), 1), np.round(matrix(2, runs=4), 1)
    ours = bootstrap.improvement(
        list(x.T), list(y.T), counts([5] * 6, seed=1), counts([4] * 6, seed=2)
    )
    wins = [np.mean([(a > b) + 0.5 * (a == b) for a in x[:, m] for b in y[:, m]]) for m in range(6)]
    assert ours.value == pytest.approx(np.mean(wins))
    assert ours.value == pytest.approx(metrics.probability_of_improvement(x, y))
    np.random.seed(0)  # noqa: NPY002 - rliable draws from the global generator
    _, theirs = library.get_interval_estimates(
        {"xy": [x, y]}, lambda a, b: np.array([metrics.probability_of_improvement(a, b)]), reps=300
    )
    assert [ours.low, ours.high] == pytest.approx(list(theirs["xy"][:, 0]), abs=0.05)


def test_curves_are_estimates_at_each_point() -> None:
    curves = [matrix(m, 5, 4) for m in range(3)]
    drawn = counts([5] * 3, 500)
    band = bootstrap.iqm_curve(np.arange(4), curves, drawn)
    for index in range(4):
        scores = np.stack([task[:, index] for task in curves], axis=1)
        assert band.value[index] == pytest.approx(metrics.aggregate_iqm(scores))
        low, high = np.quantile(bootstrap.iqm(list(scores.T), drawn), [0.025, 0.975])
        assert (band.low[index], band.high[index]) == pytest.approx((low, high))
    means = bootstrap.mean_curve(np.arange(4), curves[0], drawn[:5])
    assert means.value == pytest.approx(curves[0].mean(axis=0))


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm(p_values: list[float], adjusted: list[float]) -> None:
    assert bootstrap.holm(p_values) == pytest.approx(adjusted)


def test_simulated_coverage_of_five_runs() -> None:
    # Known from an independent simulation: 0.90 with normal scatter, 0.88 with failing runs.
    # A share of 1,000 trials has a standard error of 0.01.
    assert bootstrap.simulated_coverage(5, 6) == pytest.approx(0.90, abs=0.03)
    assert bootstrap.simulated_coverage(5, 6, failing=0.2) == pytest.approx(0.88, abs=0.035)


@pytest.mark.parametrize("runs", [2, 3, 10])
def test_stored_coverage_is_the_simulated_one(runs: int) -> None:
    normal, failing = bootstrap.SIX_TASKS_COVERAGE[runs]
    assert bootstrap.coverage(runs, 6) == (normal, failing)
    assert bootstrap.simulated_coverage(runs, 6, trials=400) == pytest.approx(normal, abs=0.06)
    assert bootstrap.simulated_coverage(runs, 6, 0.2, trials=400) == pytest.approx(
        failing, abs=0.06
    )


def test_coverage_of_other_numbers_is_simulated() -> None:
    normal, failing = bootstrap.coverage(4, 1)
    assert 0.6 < failing < 0.95 and 0.7 < normal < 0.95
