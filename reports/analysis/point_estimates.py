"""Point estimates of the scores as they are, by rliable's own metric functions.

rliable's matrices are [runs, tasks], so all tasks have equally many runs there. Where they do
not, each function says how it is given to rliable all the same; the numbers are those of
`bootstrap`, of whose resamples the intervals are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

Scores = Sequence[np.ndarray]
"""One array [N] a task, of N runs each."""


def iqm(scores: Scores) -> float:
    """Returns the interquartile mean of all scores together, however many a task has."""
    return float(_metrics().aggregate_iqm(np.concatenate(scores)))


def mean(scores: Scores) -> float:
    """Returns the mean over tasks of the means over runs."""
    return float(_metrics().aggregate_mean(_matrix(scores)))


def median(scores: Scores) -> float:
    """Returns the median over tasks of the means over runs."""
    return float(_metrics().aggregate_median(_matrix(scores)))


def optimality_gap(scores: Scores) -> float:
    """Returns by how much scores fall short of 1 on average, tasks weighing equally."""
    capped = [np.minimum(task, 1.0) for task in scores]  # before a mean could hide what is above
    return float(_metrics().aggregate_optimality_gap(_matrix(capped)))


def probability_of_improvement(x: Scores, y: Scores) -> float:
    """Returns the mean over tasks of the probability that a run of x beats one of y.

    Each task is given to rliable by itself, which allows the sides other numbers of runs on each.
    """
    with np.errstate(all="ignore"):  # of a p-value beside it, which nobody reads
        tasks = [
            _metrics().probability_of_improvement(task_x[:, None], task_y[:, None])
            for task_x, task_y in zip(x, y, strict=True)
        ]
    return float(np.mean(tasks))


def _metrics() -> ModuleType:
    """Returns rliable's metrics, imported when first asked for.

    SciPy's statistics, which come along, take half a second: for who estimates nothing too long.
    """
    from rliable import metrics

    found: ModuleType = metrics
    return found


def _matrix(scores: Scores) -> np.ndarray:
    """Returns [runs, tasks]; a single row of the means over runs where the runs are unequal.

    What is made of it begins with that mean over runs, which a single row is already.
    """
    if len({len(task) for task in scores}) == 1:
        return np.stack(scores, axis=1)
    return np.array([[task.mean() for task in scores]])
