"""What the page's script draws the interactive learning curves from, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from reports.analysis.comparison import Analysis
from reports.analysis.scores import run_curve, seconds_at
from reports.figures.palette import Style, algorithm_styles
from reports.figures.references import Curves, reference_curves, reference_styles
from reports.references.published import Reference
from reports.runs.names import display_name
from reports.runs.results import Results, Run

Numbers = list[float | int]
"""Rounded for the page, whole ones without a decimal point."""


class AlgorithmStyle(TypedDict):
    """Name and line of an algorithm."""

    name: str
    colour: str
    dash: list[float]


class RunCurve(TypedDict):
    """The returns of one run."""

    label: str
    steps: Numbers
    seconds: Numbers
    y: Numbers


class CurveGroup(TypedDict):
    """The curves of one algorithm on one task, by their numbers, in one evaluation mode.

    Attributes:
        perAction: evaluations of the network for one action.
        steps, seconds, mean: of the mean curve; empty where no run counts.
        low, high: its interval, None where there is none.
        count: how many runs count.
        runs: all with evaluations that can be trusted.
    """

    algorithm: int
    task: int
    mode: str
    perAction: int
    steps: Numbers
    seconds: Numbers
    mean: Numbers
    low: Numbers | None
    high: Numbers | None
    count: int
    runs: list[RunCurve]


class PublishedCurve(TypedDict):
    """A published curve, with the name and line of an algorithm, on one task by its number."""

    style: int
    task: int
    steps: Numbers
    y: Numbers


class PublishedCurves(TypedDict):
    """What others published."""

    styles: list[AlgorithmStyle]
    curves: list[PublishedCurve]


class CurveData(TypedDict):
    """Everything that is drawn; `published` where there is any within the budget."""

    algorithms: list[AlgorithmStyle]
    tasks: list[str]
    modes: list[str]
    mode: str
    bounds: list[Numbers | None]
    runs: list[str]
    curves: list[CurveGroup]
    published: NotRequired[PublishedCurves]


def curve_data(analyses: Sequence[Analysis], references: Sequence[Reference] = ()) -> CurveData:
    """Returns the curves of every algorithm on every task, in each evaluation mode."""
    results = analyses[0].results
    styles = algorithm_styles(results.algorithms)
    data: CurveData = {
        "algorithms": [
            {"name": display_name(label), "colour": style.colour, "dash": list(style.dash)}
            for label, style in styles.items()
        ],
        "tasks": list(results.tasks),
        "modes": [analysis.mode for analysis in analyses],
        "mode": analyses[0].mode,
        "bounds": [_plain_bounds(results, task) for task in results.tasks],
        "runs": [run.run_id for run in results.runs],
        "curves": [
            _curve_group(analysis, (index, algorithm), (number, task))
            for analysis in analyses
            for number, task in enumerate(results.tasks)
            for index, algorithm in enumerate(results.algorithms)
            if _shown_runs(analysis, algorithm, task)
        ],
    }
    if published := reference_curves(results, references, results.budget):
        data["published"] = _published_curves(
            results, published, reference_styles(results, references)
        )
    return data


def _published_curves(
    results: Results, curves: Curves, styles: Mapping[str, Style]
) -> PublishedCurves:
    return {
        "styles": [
            {"name": name, "colour": "currentColor", "dash": list(styles[name].dash)}
            for name in curves
        ],
        "curves": [
            {
                "style": number,
                "task": results.tasks.index(task),
                "steps": _rounded(evaluations.steps, 0),
                "y": _rounded(evaluations.mean, 1),
            }
            for number, by_task in enumerate(curves.values())
            for task, evaluations in by_task.items()
        ],
    }


def _plain_bounds(results: Results, task: str) -> Numbers | None:
    bounds = results.bounds(task)
    return _rounded(np.array([bounds.low, bounds.high]), 1) if bounds.known else None


def _shown_runs(analysis: Analysis, algorithm: str, task: str) -> list[Run]:
    """Returns the runs with evaluations that can be trusted, whatever they count as."""
    runs = analysis.results.runs_of(algorithm, task)
    mode = analysis.scores.mode_of(algorithm)
    return [run for run in runs if mode in run.modes and run.state != "damaged"]


def _curve_group(
    analysis: Analysis, algorithm: tuple[int, str], task: tuple[int, str]
) -> CurveGroup:
    """Returns the curves of one algorithm (its number and label) on one task."""
    runs = _shown_runs(analysis, algorithm[1], task[1])
    mode = analysis.scores.mode_of(algorithm[1])
    band = analysis.estimates.learning_curve(algorithm[1], task[1])
    counted = [
        run for each in analysis.scores.counted(algorithm[1], task[1]) if (run := each.evaluated)
    ]
    drawn = band is not None and np.isfinite(band.low).all()
    return {
        "algorithm": algorithm[0],
        "task": task[0],
        "mode": analysis.mode,
        "perAction": max(
            (run.configuration.evaluations_per_action for run in runs if run.configuration),
            default=1,
        ),
        "steps": [] if band is None else _rounded(band.x, 0),
        "seconds": [] if band is None else _rounded(_mean_seconds(counted, mode, band.x), 1),
        "mean": [] if band is None else _rounded(band.value, 1),
        "low": _rounded(band.low, 1) if band is not None and drawn else None,
        "high": _rounded(band.high, 1) if band is not None and drawn else None,
        "count": len(analysis.scores.of(algorithm[1], task[1])),
        "runs": [_single_curve(run, mode) for run in runs],
    }


def _mean_seconds(runs: Sequence[Run], mode: str, steps: np.ndarray) -> np.ndarray:
    """Returns the mean over runs of the wall-clock time at each of steps [P], 0 without runs."""
    seconds = [seconds_at(run, mode, steps) for run in runs]
    return np.asarray(np.mean(seconds or [0 * steps], axis=0))


def _single_curve(run: Run, mode: str) -> RunCurve:
    steps, returns = run_curve(run, mode)
    seconds, _ = run_curve(run, mode, "wall_seconds")
    ending = "" if run.state == "done" else f", {run.state}"
    return {
        "label": f"seed {run.seed}{ending}",
        "steps": _rounded(steps, 0),
        "seconds": _rounded(seconds, 1),
        "y": _rounded(returns, 1),
    }


def _rounded(values: np.ndarray, digits: int) -> Numbers:
    """Returns plain numbers, whole ones without a decimal point."""
    rounded = [round(float(value), digits) for value in values]
    return [int(value) if value == math.floor(value) else value for value in rounded]
