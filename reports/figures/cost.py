"""Figures of scores against what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from reports.analysis.comparison import Analysis
from reports.analysis.scores import AXES, Axis, budget_cost
from reports.analysis.sentences import (
    band_text,
    interval_text,
    left_out_text,
    run_counts,
    task_count,
)
from reports.figures.drawing import (
    EDGE,
    FULL_WIDTH,
    INK,
    Figure,
    draw_band,
    draw_legend,
    draw_point,
    make_canvas,
    styles_of,
)


def sample_efficiency(analysis: Analysis) -> Figure:
    """The IQM over the budget, against steps, time and network evaluations."""

    def draw() -> Canvas:
        canvas, panels = make_canvas(FULL_WIDTH, 2.2, 1, len(AXES), sharey=True)
        styles = styles_of(analysis.results)
        for axes, axis in zip(panels, AXES, strict=True):
            bands = analysis.estimates.sample_efficiency(axis)
            for algorithm, band in bands.items():
                draw_band(axes, band, styles[algorithm])
            _label_cost(axes, axis)
            axes.set_ylim(bottom=-EDGE)
        panels[0].set_ylabel("IQM score")
        draw_legend(canvas, {algorithm: styles[algorithm] for algorithm in analysis.algorithms})
        return canvas

    caption = (
        f"IQM score over {task_count(analysis)} against what it took: environment steps, "
        "wall-clock time of the job, which may train several seeds at once, and policy-network "
        f"evaluations for acting. {run_counts(analysis)} {band_text(analysis)}"
        f"{left_out_text(analysis)}"
    )
    return Figure("sample-efficiency", "Sample efficiency", caption, draw)


def trade_off(analysis: Analysis) -> Figure:
    """The final IQM against the cost of the whole budget, with its Pareto front."""
    axes_shown: tuple[Axis, ...] = ("wall_seconds", "network_evaluations")

    def draw() -> Canvas:
        canvas, panels = make_canvas(FULL_WIDTH, 2.5, 1, 2, sharey=True)
        styles = styles_of(analysis.results)
        for axes, axis in zip(panels, axes_shown, strict=True):
            # Who has no run to show, and counts as 0 by the score policy, has no known cost.
            costs = {a: cost for a, cost in _costs(analysis, axis).items() if np.isfinite(cost)}
            _draw_front(axes, [(costs[a], analysis.estimates.aggregate(a).value) for a in costs])
            for algorithm, cost in costs.items():
                draw_point(axes, cost, analysis.estimates.aggregate(algorithm), styles[algorithm])
            axes.set_xscale("log" if axis == "network_evaluations" else "linear")
            axes.margins(0.12)
            _label_cost(axes, axis)
            _make_room(axes, list(costs.values()))
        panels[0].set_ylabel("final IQM score")
        draw_legend(canvas, {a: styles[a] for a in analysis.algorithms}, markers=True)
        return canvas

    caption = (
        f"Final IQM score over {task_count(analysis)} against the cost of the whole budget: median "
        "over the runs that came to its end, mean over tasks; where every run stopped early, it is "
        "projected from their pace. The "
        "dotted line joins the algorithms that no other beats in both (Pareto front). "
        f"{run_counts(analysis)} {interval_text(analysis)}{left_out_text(analysis)}"
    )
    return Figure("trade-off", "Score against cost", caption, draw)


def _costs(analysis: Analysis, axis: Axis) -> dict[str, float]:
    """Returns the mean over tasks of what the whole budget took."""
    return {
        algorithm: float(
            np.mean([_cost(analysis, algorithm, task, axis) for task in analysis.tasks])
        )
        for algorithm in analysis.algorithms
    }


def _cost(analysis: Analysis, algorithm: str, task: str, axis: Axis) -> float:
    mode = analysis.scores.mode_of(algorithm)
    return budget_cost(analysis.results, algorithm, task, mode, axis, analysis.policy)


def _draw_front(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    best = -math.inf
    front = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if score > best:
            front.append((cost, score))
            best = score
    costs, scores = [cost for cost, _ in front], [score for _, score in front]
    axes.plot(costs, scores, ":", color=INK, linewidth=0.8)


def _make_room(axes: Axes, costs: Sequence[float]) -> None:
    """Leaves the markers of the least and the greatest cost whole, however close these are."""
    if not costs:
        return
    if axes.get_xscale() == "log":
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, min(costs) / 1.2), max(high, max(costs) * 1.2))
    else:
        axes.set_xlim(0, max(axes.get_xlim()[1], 1.08 * max(costs)))


def _label_cost(axes: Axes, axis: Axis) -> None:
    words = {
        "env_steps": "environment steps",
        "wall_seconds": "wall-clock time",
        "network_evaluations": "policy-network evaluations",
    }
    axes.set_xlabel(words[axis])
    if axis == "wall_seconds":
        axes.set_xlim(left=0)
        axes.set_xticks(_duration_ticks(axes.get_xlim()[1]))
        axes.xaxis.set_major_formatter(lambda seconds, _: format_duration(seconds))
        return
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if axes.get_xscale() == "log":
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _duration_ticks(end: float) -> np.ndarray:
    """Returns up to five round durations from 0 to `end` seconds."""
    unit = 1 if end < 120 else 60 if end < 7200 else 3600
    power = 10 ** math.floor(math.log10(end / unit / 4))
    step = unit * next(power * each for each in (1, 2, 5, 10) if power * each >= end / unit / 4)
    return np.arange(0, end, step)


def format_duration(seconds: float) -> str:
    """Returns a duration in its largest fitting unit: `90 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:g} s" if seconds else "0"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
