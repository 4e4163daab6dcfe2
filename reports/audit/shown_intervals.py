"""The intervals that a report shows, each with the scores that it was computed from.

Shapes: N runs, M tasks, L scores of a run on a task (its last one, points of its curve),
K intervals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from reports.analysis.arms import Arms
from reports.analysis.bootstrap import METRICS, THRESHOLDS, TRIM, Band, Estimate
from reports.analysis.comparison import Analysis, Pair
from reports.analysis.estimates import on_one_grid
from reports.analysis.scores import AXES, REDUCTIONS, Axis, common_curves
from reports.runs.names import Label, display_name
from reports.tables.variants import CONTROLLED
from suite.catalog.names import CONTROLS

Part = tuple[Sequence[str], np.ndarray, int]
"""Names of intervals, their values and ends [3, K], and the resamples behind them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """Intervals that are computed from the same scores.

    Attributes:
        whose: algorithms, for readers.
        names: [K] what they are intervals of.
        scores: [N, M, L] of each of the algorithms; None if tasks have unequal numbers of runs,
            which such an array cannot hold.
        statistic: of such arrays, one for each algorithm; gives [K].
        values, low, high: [K] as the report shows them.
        repetitions: [K] resamples behind each.
        are_scores: whether they are on the scale of scores, not of returns.
    """

    whose: str
    names: tuple[str, ...]
    scores: tuple[np.ndarray, ...] | None
    statistic: Callable[..., np.ndarray]
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    repetitions: np.ndarray
    are_scores: bool = True


def shown_intervals(analyses: Sequence[Analysis], arms: Arms | None = None) -> Iterator[Shown]:
    """Yields every interval of a report.

    Args:
        analyses: one for each evaluation mode; the others than the first are only drawn.
        arms: of the ablation that the report is about, if any.
    """
    analysis = analyses[0]
    for each in analyses:
        for algorithm in each.results.algorithms:
            for task in each.results.tasks:
                yield _task_means(each, algorithm, task, drawn_only=each is not analysis)
    by_arm = arms is not None and bool(arms.ablation.axes)
    for algorithm in analysis.algorithms:
        yield _aggregates(analysis, algorithm, only_iqm=by_arm)
    if not by_arm:
        yield from (_pair(analysis, pair) for pair in analysis.differences.pairs)
    for first, second in _compared(analysis, arms):
        difference = analysis.differences.iqm(first, second)
        if difference is not None:
            yield _difference(analysis, first, second, difference)


# --- Of one algorithm --------------------------------------------------------------------


def _task_means(analysis: Analysis, algorithm: str, task: str, drawn_only: bool) -> Shown:
    """Means over runs on one task: of the final score, and at each point of the curve."""
    results, mode = analysis.results, analysis.scores.mode_of(algorithm)
    name = f"{display_name(algorithm)} on {task}"
    parts: list[Part] = []
    columns = []
    final, band = (
        analysis.estimates.task_estimate(algorithm, task),
        analysis.estimates.learning_curve(algorithm, task),
    )
    if final is not None and not drawn_only:
        parts.append(_estimates([f"mean of {name}"], [final], analysis.repetitions))
        columns.append(analysis.scores.of(algorithm, task).scores[:, None])
    if band is not None:
        _, curves = common_curves(results, algorithm, task, mode, "env_steps", analysis.policy)
        to_score = results.bounds(task).to_score
        scaled = Band(band.x, *map(to_score, (band.value, band.low, band.high)))
        parts.append(_points(f"{mode} mean of {name}", scaled, analysis.draws.band_repetitions))
        columns.append(curves)
    known = results.bounds(task).known
    return _shown(name, parts, _stacked([columns]), _mean_of_runs, known)


def _aggregates(analysis: Analysis, algorithm: str, only_iqm: bool) -> Shown:
    """What is over all tasks: metrics, IQMs along curves, and shares above thresholds."""
    name = display_name(algorithm)
    if only_iqm:
        part = _estimates(
            [f"IQM of {name}"], [analysis.estimates.aggregate(algorithm)], analysis.repetitions
        )
        return _shown(name, [part], _stacked(_finals(analysis, algorithm)), _iqm)
    reductions = [
        *(("IQM", reduction) for reduction in REDUCTIONS),
        *((metric, "final") for metric in METRICS if metric != "IQM"),
    ]
    estimates = {
        (each.metric, reduction): each.estimate
        for reduction in REDUCTIONS
        for each in analysis.estimates.aggregates(reduction)
        if each.algorithm == algorithm
    }
    titles = [f"{metric} of {name} ({reduction})" for metric, reduction in reductions]
    parts = [_estimates(titles, [estimates[each] for each in reductions], analysis.repetitions)]
    profile = analysis.estimates.profiles[algorithm]
    parts.append(_points(f"profile of {name}", profile, analysis.draws.band_repetitions))
    columns = [
        [analysis.scores.of(algorithm, task, reduction).scores[:, None] for reduction in REDUCTIONS]
        for task in analysis.tasks
    ]
    for axis in AXES:
        if band := analysis.estimates.sample_efficiency(axis).get(algorithm):
            parts.append(_points(f"IQM of {name}, {axis}", band, analysis.draws.band_repetitions))
            for task, curves in zip(columns, _curves(analysis, algorithm, axis), strict=True):
                task.append(curves)
    return _shown(name, parts, _stacked(columns), _every_metric)


def _curves(analysis: Analysis, algorithm: str, axis: Axis) -> list[np.ndarray]:
    """Returns curves [N, P] of each task at the points of its sample efficiency."""
    results, mode, policy = analysis.results, analysis.scores.mode_of(algorithm), analysis.policy
    parts = [common_curves(results, algorithm, t, mode, axis, policy) for t in analysis.tasks]
    return on_one_grid(parts)[1]


# --- Of two algorithms -------------------------------------------------------------------


def _pair(analysis: Analysis, pair: Pair) -> Shown:
    whose = f"{display_name(pair.first)} and {display_name(pair.second)}"
    names = [
        f"{name} of {whose}" for name in ("IQM difference", "P(first > second)", "mean difference")
    ]
    estimates = [pair.difference, pair.improvement, pair.mean_difference]
    scores = [_stacked(_finals(analysis, a)) for a in (pair.first, pair.second)]
    part = _estimates(names, estimates, analysis.repetitions)
    return _shown(whose, [part], _both(scores), _pair_statistics)


def _difference(analysis: Analysis, first: str, second: str, estimate: Estimate) -> Shown:
    """The difference of the IQM on the tasks that both have."""
    whose = f"{display_name(first)} and {display_name(second)}"
    tasks = [
        task
        for task in analysis.scores.scored_tasks
        if all(len(analysis.scores.of(each, task)) for each in (first, second))
    ]
    scores = [
        _stacked([[analysis.scores.of(each, task).scores[:, None]] for task in tasks])
        for each in (first, second)
    ]
    part = _estimates([f"IQM difference of {whose}"], [estimate], analysis.repetitions)
    return _shown(whose, [part], _both(scores), lambda x, y: _iqm(x) - _iqm(y))


def _compared(analysis: Analysis, arms: Arms | None) -> list[tuple[str, str]]:
    """Returns who is compared with whom beside the table of pairs."""
    if arms is not None:
        return [(label, arms.reference_of(Label(label).method)) for label in arms.comparisons]
    known = analysis.results.algorithms
    found = [(label, Label(label).method) for label in known if label != Label(label).method]
    found += [(label, CONTROLLED) for label in known if label in CONTROLS]
    return [(label, base) for label, base in found if base in known]


# --- Statistics of arrays [N, M, L] ------------------------------------------------------


def _iqm(scores: np.ndarray) -> np.ndarray:
    flat = np.sort(scores.reshape(-1, scores.shape[-1]), axis=0)  # scipy's trim_mean is slow
    cut = int(TRIM * len(flat))
    return np.asarray(flat[cut : len(flat) - cut].mean(axis=0))


def _mean_of_runs(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores.mean(axis=(0, 1)))


def _every_metric(scores: np.ndarray) -> np.ndarray:
    """IQMs of the reductions, other metrics of the first, its profile, IQMs along curves."""
    final = scores[..., 0]
    means = final.mean(axis=0)
    others = [means.mean(), np.median(means), 1.0 - np.minimum(final, 1.0).mean()]
    shares = (final[..., None] > THRESHOLDS).mean(axis=(0, 1))
    iqms = _iqm(scores)
    return np.concatenate([iqms[: len(REDUCTIONS)], others, shares, iqms[len(REDUCTIONS) :]])


def _pair_statistics(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wins = (x[:, None] > y).mean() + 0.5 * (x[:, None] == y).mean()
    return np.array([(_iqm(x) - _iqm(y))[0], wins, x.mean() - y.mean()])


# --- Parts -------------------------------------------------------------------------------


def _estimates(names: Sequence[str], estimates: Sequence[Estimate], repetitions: int) -> Part:
    ends = np.array([(each.value, each.low, each.high) for each in estimates]).T
    return names, ends, repetitions


def _points(name: str, band: Band, repetitions: int) -> Part:
    names = [f"{name} at {x:,.0f}" if x > 100 else f"{name} at {x:g}" for x in band.x]
    return names, np.stack([band.value, band.low, band.high]), repetitions


def _finals(analysis: Analysis, algorithm: str) -> list[list[np.ndarray]]:
    """Returns the final scores [N, 1] of each task of the aggregates."""
    return [[analysis.scores.of(algorithm, task).scores[:, None]] for task in analysis.tasks]


def _stacked(tasks: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, ...] | None:
    """Joins columns [N, ...] of each task to one array, None if tasks have unequal N."""
    joined = [np.concatenate(columns, axis=1) for columns in tasks if columns]
    if len({len(each) for each in joined}) != 1:
        return None
    return (np.stack(joined, axis=1),)


def _both(scores: Sequence[tuple[np.ndarray, ...] | None]) -> tuple[np.ndarray, ...] | None:
    known = [each for each in scores if each is not None]
    return sum(known, ()) if len(known) == len(scores) else None


def _shown(
    whose: str,
    parts: Sequence[Part],
    scores: tuple[np.ndarray, ...] | None,
    statistic: Callable[..., np.ndarray],
    are_scores: bool = True,
) -> Shown:
    names = tuple(name for part in parts for name in part[0])
    values, low, high = np.concatenate([np.empty((3, 0)), *(part[1] for part in parts)], axis=1)
    repetitions = np.repeat([part[2] for part in parts], [len(part[0]) for part in parts])
    return Shown(whose, names, scores, statistic, values, low, high, repetitions, are_scores)
