"""From stored curves to scores: one number, or one curve, for each run that counts.

A score says where a return lies between its task's bounds, so it is in [0, 1] whatever is
compared. `counted_runs` is the one rule on which runs count, and as what: every table and every
figure over runs rests on it. Runs are reduced one by one before anything is aggregated.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from reports.runs.results import Results, Run

Reduction = Literal["final", "best", "auc"]
Axis = Literal["env_steps", "wall_seconds", "network_evaluations"]
Treatment = Literal["keep", "zero", "last", "exclude"]

REDUCTIONS: dict[Reduction, str] = {
    "final": "score at the end",
    "best": "best score of any evaluation, chosen after the fact, so biased upwards",
    "auc": "mean score over the budget (area under the learning curve)",
}
AXES: dict[Axis, str] = {
    "env_steps": "environment steps",
    "wall_seconds": "wall-clock seconds of the job, which may train several seeds at once",
    "network_evaluations": "policy-network evaluations to act in training, per seed",
}


@dataclasses.dataclass(frozen=True)
class ScorePolicy:
    """What runs count as that did not end well; printed in every report.

    Attributes:
        diverged: `zero` scores 0 from the first evaluation that the run no longer had, to the
            end of the budget; `last` keeps the last evaluation until there; `exclude` leaves
            the run out.
        incomplete: the same for runs that are unfinished, damaged or missing. Damaged and
            missing runs score 0 throughout under `zero`, and `last` leaves them out.
    """

    diverged: Literal["zero", "last", "exclude"] = "zero"
    incomplete: Literal["zero", "last", "exclude"] = "exclude"

    def describe(self) -> str:
        """Returns one sentence for readers."""
        words = {
            "zero": "score 0 from there on",
            "last": "keep their last evaluation",
            "exclude": "are left out",
        }
        diverged = f"Diverged runs {words[self.diverged]}"
        if self.incomplete == "exclude":
            return f"{diverged}; unfinished, damaged and missing runs are left out."
        others = "score 0 throughout" if self.incomplete == "zero" else "are left out"
        unfinished = f"unfinished runs {words[self.incomplete]}"
        return f"{diverged}; {unfinished}; damaged and missing runs {others}."

    def treatment(self, run: Run, mode: str) -> Treatment:
        """Returns how to score one run."""
        if run.state == "diverged":
            chosen = self.diverged
        elif run.state == "done" and mode in run.modes:
            return "keep"
        else:
            chosen = self.incomplete
        if chosen == "last" and (run.state == "damaged" or mode not in run.modes):
            return "zero" if run.state == "diverged" else "exclude"
        return chosen


DEFAULT_POLICY = ScorePolicy()


@dataclasses.dataclass(frozen=True, eq=False)
class CountedRun:
    """A run that numbers are made from.

    Attributes:
        run: what is stored, None for a seed that is missing.
        treatment: `keep`, or how it goes on from where it stopped.
        mode: of the evaluations that count.
    """

    run: Run | None
    treatment: Treatment
    mode: str

    @property
    def run_id(self) -> str:
        """The run's id, or `missing`."""
        return self.run.run_id if self.run else "missing"

    @property
    def evaluated(self) -> Run | None:
        """The run if it has evaluations to be trusted, else None: then it scores 0 throughout."""
        run = self.run
        return run if run and run.state != "damaged" and self.mode in run.modes else None


def counted_runs(
    results: Results, algorithm: str, task: str, mode: str, policy: ScorePolicy
) -> list[CountedRun]:
    """Returns the runs of an algorithm on a task that count, by seed; missing ones last.

    Where a task's bounds are not known there is no return that a score of 0 would stand for:
    runs that were to score 0 are left out.
    """
    treated = [(run, policy.treatment(run, mode)) for run in results.runs_of(algorithm, task)]
    found = [CountedRun(run, how, mode) for run, how in treated if how != "exclude"]
    if policy.incomplete == "zero":
        missing = results.missing_seeds(algorithm, task)
        found += [CountedRun(None, "zero", mode)] * len(missing)
    known = results.bounds(task).known
    return [each for each in found if known or each.treatment != "zero"]


@dataclasses.dataclass(frozen=True, eq=False)
class TaskScores:
    """Scores [N] of an algorithm on a task, each with the id of its run or `missing`."""

    scores: np.ndarray
    run_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.run_ids)


def run_curve(run: Run, mode: str, axis: Axis = "env_steps") -> tuple[np.ndarray, np.ndarray]:
    """Returns a run's learning curve as stored: x [P] on the axis, and returns [P]."""
    rows = run.mode_curve(mode)
    returns = rows["return_mean"].to_numpy(float)
    if axis == "network_evaluations":
        per_action = run.configuration.evaluations_per_action if run.configuration else 1
        return rows["env_steps"].to_numpy(float) * per_action, returns
    return rows[axis].to_numpy(float), returns


def whole_curve(counted: CountedRun, results: Results, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a run's learning curve to the end of the budget, as its treatment says.

    A run that stopped goes on over the evaluations that the protocol had for it, with 0 or its
    last score.

    Returns:
        Environment steps [P], ascending, and scores [P].
    """
    protocol = results.protocol
    grid = np.array(protocol.evaluation_grid(), float) * protocol.steps_per_update
    run = counted.evaluated
    if run is None:
        return grid, np.zeros(len(grid))
    steps, returns = run_curve(run, counted.mode)
    scores = results.bounds(task).to_score(returns)
    if counted.treatment == "keep":
        return steps, scores
    further = grid[grid > steps[-1]]
    if not len(further):
        further = steps[-1:]
    rest = 0.0 if counted.treatment == "zero" else scores[-1]
    return np.append(steps, further), np.append(scores, np.full(len(further), rest))


def time_to_threshold(x: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """Returns the first x [P] whose score [P] is at least `threshold`, or infinity."""
    reached = np.flatnonzero(scores >= threshold)
    return float(x[reached[0]]) if len(reached) else math.inf


def median_time(times: Sequence[float]) -> float:
    """Returns the median of times of which some may be infinite.

    Of an even number it is the mean of the two in the middle, so it is infinite as soon as half
    of the runs have not got there: their times are not known, but that they are longer is.
    """
    return float(np.median(times))


def reduce_curve(x: np.ndarray, scores: np.ndarray, reduction: Reduction) -> float:
    """Reduces a learning curve, x and scores [P] with P >= 1, to one score."""
    if reduction == "best":
        return float(scores.max())
    if reduction == "auc" and x[-1] > x[0]:
        return float(np.trapezoid(scores, x) / (x[-1] - x[0]))
    return float(scores[-1])


def task_scores(
    results: Results,
    algorithm: str,
    task: str,
    mode: str,
    reduction: Reduction,
    policy: ScorePolicy,
) -> TaskScores:
    """Returns the scores of all runs of an algorithm on a task that count under a policy."""
    counted = counted_runs(results, algorithm, task, mode, policy)
    scores = [reduce_curve(*whole_curve(each, results, task), reduction) for each in counted]
    return TaskScores(np.array(scores), tuple(each.run_id for each in counted))


def common_curves(
    results: Results, algorithm: str, task: str, mode: str, axis: Axis, policy: ScorePolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the learning curves of one algorithm and task on common points.

    Runs evaluated at other points are interpolated linearly. A run that stopped goes on with
    0 or its last score, as the policy says, up to the end of the shortest run that did not
    stop. Where all stopped, it goes on to the budget; the time that would have taken is
    projected from the pace until then. The last point is what `task_scores` gives.

    Returns:
        x [P], and scores [N, P]; P = 0 where no run counts, or its time is unknown.
    """
    counted = counted_runs(results, algorithm, task, mode, policy)
    curves = [_points(each, results, task, axis) for each in counted]
    ends = [x[-1] for (x, _), each in zip(curves, counted, strict=True) if each.treatment == "keep"]
    end = min(ends) if ends else _projected_end(results, algorithm, task, mode, axis)
    if math.isnan(end) or not counted:
        return np.empty(0), np.empty((0, 0))
    evaluated = [x for (x, _), each in zip(curves, counted, strict=True) if each.evaluated]
    grid = _grid(evaluated, end, len(results.protocol.evaluation_grid()))
    rows = np.stack([np.interp(grid, x, scores) for x, scores in curves])
    for row, (x, _), each in zip(rows, curves, counted, strict=True):
        if each.treatment == "zero":
            row[grid > x[-1]] = row[-1] = 0.0
    return grid, rows


def budget_cost(
    results: Results, algorithm: str, task: str, mode: str, axis: Axis, policy: ScorePolicy
) -> float:
    """Returns what the whole budget took: the median over the runs that came to its end.

    Where all that count stopped, it is projected from the pace until then; NaN if no run tells.
    """
    counted = counted_runs(results, algorithm, task, mode, policy)
    kept = [each.run for each in counted if each.run and each.treatment == "keep"]
    if kept:
        return float(np.median([run_curve(run, mode, axis)[0][-1] for run in kept]))
    return _projected_end(results, algorithm, task, mode, axis)


def seconds_at(run: Run, mode: str, env_steps: np.ndarray) -> np.ndarray:
    """Returns a run's wall-clock seconds at each of env_steps [P], at its pace beyond its end."""
    steps, _ = run_curve(run, mode)
    seconds, _ = run_curve(run, mode, "wall_seconds")
    pace = (seconds[-1] - seconds[0]) / (steps[-1] - steps[0]) if steps[-1] > steps[0] else 0.0
    beyond = np.maximum(env_steps - steps[-1], 0.0)
    extrapolated: np.ndarray = np.interp(env_steps, steps, seconds) + pace * beyond
    return extrapolated


def _points(
    counted: CountedRun, results: Results, task: str, axis: Axis
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a run's curve of scores, or a score of 0 at 0 if it has no evaluation."""
    if counted.evaluated is None:
        return np.zeros(1), np.zeros(1)
    x, returns = run_curve(counted.evaluated, counted.mode, axis)
    return x, results.bounds(task).to_score(returns)


def _projected_end(results: Results, algorithm: str, task: str, mode: str, axis: Axis) -> float:
    """Returns where the budget ends on an axis, NaN where no run tells."""
    if axis == "env_steps":
        return float(results.budget)
    if axis == "network_evaluations":
        found = [r.configuration for r in results.runs if r.algorithm == algorithm]
        costs = [each.evaluations_per_action for each in found if each]
        return float(results.budget * max(costs)) if costs else math.nan
    runs = results.runs_of(algorithm, task)
    evaluated = [run for run in runs if mode in run.modes and run.state != "damaged"]
    end = np.array([results.budget])
    return max((float(seconds_at(run, mode, end)[0]) for run in evaluated), default=math.nan)


def _grid(points: list[np.ndarray], end: float, evaluations: int) -> np.ndarray:
    """Returns the longest run's points, gone on with to `end`, if all runs agree.

    Else equal steps, as many as the protocol has evaluations or more.
    """
    longest = max(points, key=len, default=np.zeros(1))
    if all(np.array_equal(x, longest[: len(x)]) for x in points):
        if end in longest:
            return longest[longest <= end]
        if len(longest) > 1 and end > longest[-1]:
            step = longest[-1] - longest[-2]
            further = np.arange(longest[-1] + step, end - step / 2, step)
            return np.concatenate([longest, further, [end]])
    start = max((float(x[0]) for x in points), default=0.0)
    return np.linspace(start, max(start, end), max(len(longest), evaluations))
