"""Estimates with intervals of each algorithm: by task, over all tasks, and along curves."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from reports.analysis import bootstrap
from reports.analysis.bootstrap import Band, Draws, Estimate, sizes_of
from reports.analysis.run_scores import RunScores
from reports.analysis.scores import Axis, Reduction
from reports.runs.remembered import remembered

CURVE_POINTS = 31
"""Points of an aggregate curve whose tasks were evaluated at different places."""


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """One metric of one algorithm over all tasks.

    Attributes:
        algorithm: label.
        metric: key of `bootstrap.METRICS`.
        estimate: value and interval.
    """

    algorithm: str
    metric: str
    estimate: Estimate


@dataclasses.dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates of single algorithms, each made once, when first asked for.

    Attributes:
        scores: what they are of.
        draws: what the intervals are made of.
    """

    scores: RunScores
    draws: Draws

    # --- Of one task ---------------------------------------------------------------------

    def task_estimate(
        self, algorithm: str, task: str, reduction: Reduction = "final"
    ) -> Estimate | None:
        """Returns the mean score over runs with its interval, None without runs."""
        scores = self.scores.of(algorithm, task, reduction).scores
        if not len(scores):
            return None
        counts = self._task_counts(algorithm, task, len(scores))
        return bootstrap.estimate(bootstrap.mean, [scores], counts)

    def return_estimate(self, algorithm: str, task: str) -> Estimate | None:
        """Returns the mean final return over runs with its interval, None without runs."""
        found = self.task_estimate(algorithm, task)
        if found is None:
            return None
        bounds = self.scores.results.bounds(task)
        ends = bounds.to_return(np.array([found.value, found.low, found.high]))
        return Estimate(*map(float, ends))

    @remembered
    def learning_curve(self, algorithm: str, task: str, axis: Axis = "env_steps") -> Band | None:
        """Returns the mean return over runs with pointwise intervals, None without runs."""
        x, scores = self.scores.curves(algorithm, task, axis)
        if not len(x):
            return None
        curves = self.scores.results.bounds(task).to_return(scores)
        counts = self._task_counts(algorithm, task, len(curves))
        return bootstrap.mean_curve(x, curves, counts[:, : self.draws.band_repetitions])

    def _task_counts(self, algorithm: str, task: str, runs: int) -> np.ndarray:
        return self.draws.counts(f"{algorithm} on {task}", (runs,))

    # --- Over all tasks ------------------------------------------------------------------

    @remembered
    def aggregates(self, reduction: Reduction = "final") -> tuple[Aggregate, ...]:
        """Returns every metric of every algorithm."""
        rows = []
        for algorithm in self.scores.algorithms:
            scores = self.scores.by_task(algorithm, reduction)
            counts = self.draws.counts(algorithm, sizes_of(scores))
            for name, metric in bootstrap.METRICS.items():
                rows.append(Aggregate(algorithm, name, bootstrap.estimate(metric, scores, counts)))
        return tuple(rows)

    def aggregate(self, algorithm: str, metric: str = "IQM") -> Estimate:
        """Returns one metric of the final scores of one algorithm."""
        for each in self.aggregates():
            if (each.algorithm, each.metric) == (algorithm, metric):
                return each.estimate
        raise KeyError((algorithm, metric))

    @functools.cached_property
    def without_task(self) -> dict[str, dict[str, float]]:
        """IQM of the final scores without one task: task, then algorithm."""
        tasks = self.scores.tasks
        if len(tasks) < 2:
            return {}
        return {
            left_out: {
                algorithm: bootstrap.point(
                    bootstrap.iqm,
                    [self.scores.of(algorithm, t).scores for t in tasks if t != left_out],
                )
                for algorithm in self.scores.algorithms
            }
            for left_out in tasks
        }

    @functools.cached_property
    def profiles(self) -> dict[str, Band]:
        """Performance profiles of the final scores over `bootstrap.THRESHOLDS`."""
        bands: dict[str, Band] = {}
        for algorithm in self.scores.algorithms:
            scores = self.scores.by_task(algorithm)
            counts = self._few_counts(algorithm, scores)
            bands[algorithm] = bootstrap.performance_profile(scores, counts)
        return bands

    @remembered
    def sample_efficiency(self, axis: Axis = "env_steps") -> dict[str, Band]:
        """Returns the IQM over tasks and runs along an axis, by algorithm."""
        bands: dict[str, Band] = {}
        for algorithm in self.scores.algorithms:
            parts = [self.scores.curves(algorithm, task, axis) for task in self.scores.tasks]
            if all(len(x) for x, _ in parts):
                grid, curves = on_one_grid(parts)
                counts = self._few_counts(algorithm, curves)
                bands[algorithm] = bootstrap.iqm_curve(grid, curves, counts)
        return bands

    def coverage(self, algorithm: str) -> tuple[float, float]:
        """Returns what the nominal 95% interval of an IQM covers in simulation.

        Returns:
            Coverage with runs that scatter normally, and with a fifth of them failing;
            both NaN where a task has a single run.
        """
        runs, _ = self.scores.runs_per_task(algorithm)
        if runs < 2:
            return (np.nan, np.nan)
        return bootstrap.coverage(runs, len(self.scores.tasks))

    def _few_counts(self, algorithm: str, scores: Sequence[np.ndarray]) -> np.ndarray:
        """Returns as many resamples as a drawn curve takes."""
        return self.draws.counts(algorithm, sizes_of(scores))[:, : self.draws.band_repetitions]


def on_one_grid(
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Puts the curves of several tasks on the same points, up to the earliest end."""
    first = parts[0][0]
    if all(np.array_equal(x, first) for x, _ in parts):
        return first, [curves for _, curves in parts]
    start, end = max(x[0] for x, _ in parts), min(x[-1] for x, _ in parts)
    grid = np.linspace(start, max(start, end), CURVE_POINTS)
    return grid, [np.stack([np.interp(grid, x, curve) for curve in curves]) for x, curves in parts]
