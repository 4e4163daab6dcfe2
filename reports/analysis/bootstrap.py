"""Aggregate scores and their uncertainty, on plain arrays.

Scores are one array [N] a task, of N runs each, which may differ between tasks. A
bootstrap resample is described by how often it holds each run: counts [N, R] of R
resamples, tasks one below the other. Every metric takes such counts, so that 50,000
resamples cost milliseconds. Runs are resampled within their task (stratified bootstrap);
intervals are percentile intervals.

Definitions are those of rliable (Agarwal et al. 2021, "Deep reinforcement learning at
the edge of the statistical precipice"). Its functions give the estimates themselves, see
`point_estimates`; ours give those of the resamples, and the tests hold them to its code.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from reports.analysis import point_estimates
from reports.analysis.point_estimates import Scores
from reports.runs.remembered import remembered

Metric = Callable[[Scores, np.ndarray], np.ndarray]

REPETITIONS = 50_000
CONFIDENCE = 0.95
TRIM = 0.25
BAND_REPETITIONS = 10_000
"""Most resamples behind a point of a drawn curve; printed numbers use all of them."""

THRESHOLDS = np.linspace(0.0, 1.0, 101)
"""Scores at which performance profiles are evaluated."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval, whose ends are NaN where it cannot be given."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether the interval is known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def __str__(self) -> str:
        # Adding 0 turns a rounded -0 into 0.
        value, low, high = (f"{round(x, 3) + 0.0:.3f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]" if self.has_interval else value


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """A curve with pointwise confidence intervals; arrays [P] over P points."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def iqm(scores: Scores, counts: np.ndarray) -> np.ndarray:
    """Returns [R] interquartile means: of all scores together, less a quarter at either end."""
    values = np.concatenate(scores)
    size = int(counts[:, 0].sum())
    cut = int(TRIM * size)
    total = np.zeros(counts.shape[1])
    rank = np.zeros(counts.shape[1], counts.dtype)  # small whole numbers are quickest
    below = np.full(counts.shape[1], cut, counts.dtype)
    for index in np.argsort(values, kind="stable"):
        rank = rank + counts[index]
        kept = np.minimum(np.maximum(rank, cut), size - cut)  # np.clip is slower
        total += values[index] * (kept - below)
        below = kept
    return total / (size - 2 * cut)


def mean(scores: Scores, counts: np.ndarray) -> np.ndarray:
    """Returns [R] means over tasks of the means over runs."""
    means: np.ndarray = _task_means(scores, counts).mean(axis=0)
    return means


def median(scores: Scores, counts: np.ndarray) -> np.ndarray:
    """Returns [R] medians over tasks of the means over runs."""
    medians: np.ndarray = np.median(_task_means(scores, counts), axis=0)
    return medians


def optimality_gap(scores: Scores, counts: np.ndarray) -> np.ndarray:
    """Returns [R] by how much scores fall short of 1 on average; lower is better."""
    return 1.0 - mean([np.minimum(task, 1.0) for task in scores], counts)


METRICS: Mapping[str, Metric] = {
    "IQM": iqm,
    "mean": mean,
    "median": median,
    "optimality gap": optimality_gap,
}

_POINT_ESTIMATES: Mapping[Metric, Callable[[Scores], float]] = {
    iqm: point_estimates.iqm,
    mean: point_estimates.mean,
    median: point_estimates.median,
    optimality_gap: point_estimates.optimality_gap,
}
"""What rliable makes of the scores as they are."""


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of a report.

    Each purpose draws from a stream of its own, so that another algorithm more changes no
    interval of the others.

    Attributes:
        repetitions: of the bootstrap and of the permutation test.
        seed: of both.
    """

    repetitions: int = REPETITIONS
    seed: int = 0

    @property
    def band_repetitions(self) -> int:
        """Resamples behind each point of a drawn curve."""
        return min(self.repetitions, BAND_REPETITIONS)

    def generator(self, purpose: str) -> np.random.Generator:
        """Returns a source of randomness for what the text says."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    @remembered
    def counts(self, purpose: str, sizes: tuple[int, ...]) -> np.ndarray:
        """Returns `bootstrap_counts` of so many runs of each task."""
        return bootstrap_counts(sizes, self.repetitions, self.generator(purpose))


def bootstrap_counts(
    sizes: Sequence[int], repetitions: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws how often each run is in each stratified resample.

    Args:
        sizes: runs of each task.
        repetitions: R.
        generator: source of randomness.

    Returns:
        [sum(sizes), R] whole numbers.
    """
    tasks = []
    for runs in sizes:
        drawn = generator.integers(runs, size=(runs, repetitions), dtype=np.int16)
        tasks += [(drawn == run).sum(axis=0, dtype=np.int16) for run in range(runs)]
    return np.stack(tasks)


def point(metric: Metric, scores: Scores) -> float:
    """Returns one of `METRICS` of the scores as they are, by rliable."""
    return _POINT_ESTIMATES[metric](scores)


def sizes_of(scores: Scores) -> tuple[int, ...]:
    """Returns the number of runs of each task."""
    return tuple(len(task) for task in scores)


def interval(samples: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Returns the percentile interval [2, ...] of samples [..., R]."""
    tail = (1 - confidence) / 2
    ends: np.ndarray = np.quantile(samples, (tail, 1 - tail), axis=-1)
    return ends


def estimate(metric: Metric, scores: Scores, counts: np.ndarray) -> Estimate:
    """Returns a metric with its bootstrap interval, none if some task has a single run."""
    value = point(metric, scores)
    if min(map(len, scores)) < 2:
        return Estimate(value)
    low, high = interval(metric(scores, counts))
    return Estimate(value, float(low), float(high))


def iqm_curve(x: np.ndarray, curves: Scores, counts: np.ndarray) -> Band:
    """Returns the IQM at each point of learning curves.

    Args:
        x: [P] points.
        curves: one array [N, P] a task.
        counts: [sum of N, R]; the same for all points, so a band moves smoothly.
    """
    estimates = [
        estimate(iqm, [task[:, index] for task in curves], counts) for index in range(len(x))
    ]
    return _band(x, estimates)


def mean_curve(x: np.ndarray, curves: np.ndarray, counts: np.ndarray) -> Band:
    """Returns the mean of the runs of one task, curves [N, P], at each point of x [P]."""
    value = curves.mean(axis=0)
    if len(curves) < 2:
        return Band(np.asarray(x, float), value, *np.full((2, len(x)), math.nan))
    low, high = interval(curves.T @ counts / len(curves))
    return Band(np.asarray(x, float), value, low, high)


def performance_profile(
    scores: Scores, counts: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> Band:
    """Returns the share of runs that score above each threshold, tasks weighing equally."""
    above = np.concatenate(scores)[None, :] > np.asarray(thresholds)[:, None]
    # Between two scores nothing changes, so few of many thresholds need a computation.
    different, place = np.unique(above, axis=0, return_inverse=True)
    ends = np.cumsum([len(task) for task in scores])[:-1]
    shares = [estimate(mean, np.split(row.astype(float), ends), counts) for row in different]
    return _band(thresholds, [shares[index] for index in place.reshape(-1)])


def probability_of_improvement(
    x: Scores, y: Scores, counts_x: np.ndarray, counts_y: np.ndarray
) -> np.ndarray:
    """Returns [R] mean over tasks of the probability that a run of x beats one of y.

    Ties count half (Mann-Whitney U over the number of pairs).
    """
    wins = np.zeros(counts_x.shape[1])
    parts = zip(x, y, _by_task(x, counts_x), _by_task(y, counts_y), strict=True)
    for task_x, task_y, part_x, part_y in parts:
        beats = np.greater.outer(task_x, task_y) + 0.5 * np.equal.outer(task_x, task_y)
        # Single precision is exact for such small multiples of a half.
        won = part_x.astype(np.float32) * (beats.astype(np.float32) @ part_y.astype(np.float32))
        wins += won.sum(axis=0) / beats.size
    return wins / len(x)


def improvement(x: Scores, y: Scores, counts_x: np.ndarray, counts_y: np.ndarray) -> Estimate:
    """Returns the probability of improvement of x over y with its interval."""
    value = point_estimates.probability_of_improvement(x, y)
    if min(map(len, (*x, *y))) < 2:
        return Estimate(value)
    samples = probability_of_improvement(x, y, counts_x, counts_y)
    low, high = interval(samples)
    return Estimate(value, float(low), float(high))


def difference(
    metric: Metric, x: Scores, y: Scores, counts_x: np.ndarray, counts_y: np.ndarray
) -> Estimate:
    """Returns metric(x) - metric(y) with its interval; the two are resampled independently."""
    value = point(metric, x) - point(metric, y)
    if min(map(len, (*x, *y))) < 2:
        return Estimate(value)
    low, high = interval(metric(x, counts_x) - metric(y, counts_y))
    return Estimate(value, float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number (Holm 1979): families, not claims, at 5%."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


SIX_TASKS_COVERAGE: Mapping[int, tuple[float, float]] = {
    2: (0.744, 0.7132),
    3: (0.8586, 0.8378),
    4: (0.8863, 0.8796),
    5: (0.903, 0.8947),
    6: (0.9108, 0.9067),
    8: (0.9254, 0.9179),
    10: (0.9301, 0.9267),
    20: (0.9411, 0.9372),
}
"""`simulated_coverage` of 10,000 trials with six tasks, by runs: no and a fifth failing."""


@functools.lru_cache(maxsize=64)
def coverage(runs: int, tasks: int) -> tuple[float, float]:
    """Returns `simulated_coverage` without failing runs and with a fifth of them failing.

    Args:
        runs: per task, at least 2.
        tasks: number of tasks.
    """
    if tasks == 6 and runs in SIX_TASKS_COVERAGE:
        return SIX_TASKS_COVERAGE[runs]
    return simulated_coverage(runs, tasks), simulated_coverage(runs, tasks, failing=0.2)


def simulated_coverage(
    runs: int, tasks: int, failing: float = 0.0, trials: int = 1000, repetitions: int = 1000
) -> float:
    """Simulates how often the nominal 95% interval of the IQM holds the true IQM.

    The scores of a task scatter by 0.1 around its own level, the levels lie evenly
    between 0.2 and 0.9, and a share of the runs fails (scores around 0.05).

    Args:
        runs: per task, at least 2.
        tasks: number of tasks.
        failing: share of runs that fail.
        trials: simulated comparisons.
        repetitions: bootstrap repetitions of each.
    """
    generator = np.random.default_rng([runs, tasks, round(1000 * failing)])
    levels = np.linspace(0.2, 0.9, tasks)

    def simulate(n: int) -> list[np.ndarray]:
        fails = generator.random((tasks, n)) < failing
        centre = np.where(fails, 0.05, levels[:, None])
        return list(generator.normal(centre, np.where(fails, 0.03, 0.1)))

    truth = float(_trimmed_mean(np.concatenate(simulate(100_000))))
    hits = 0
    for _ in range(trials):
        counts = bootstrap_counts([runs] * tasks, repetitions, generator)
        low, high = interval(iqm(simulate(runs), counts))
        hits += int(low <= truth <= high)
    return hits / trials


def _trimmed_mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the last axis less a quarter at either end."""
    size = values.shape[-1]
    cut = int(TRIM * size)
    means: np.ndarray = np.sort(values, axis=-1)[..., cut : size - cut].mean(axis=-1)
    return means


def _by_task(scores: Scores, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(counts, np.cumsum([len(task) for task in scores])[:-1])


def _task_means(scores: Scores, counts: np.ndarray) -> np.ndarray:
    """Returns [tasks, R] means over runs."""
    parts = zip(scores, _by_task(scores, counts), strict=True)
    return np.stack([task @ part / len(task) for task, part in parts])


def _band(x: np.ndarray, estimates: Sequence[Estimate]) -> Band:
    value, low, high = np.array([(e.value, e.low, e.high) for e in estimates]).reshape(-1, 3).T
    return Band(np.asarray(x, float), value, low, high)
