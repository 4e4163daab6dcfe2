"""From stored curves to scores: one number, or one curve, for each run.

A score is the return divided by its bound, so it lies in [0, 1] whatever is compared.
Runs are reduced one by one before anything is aggregated.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

from reports.results import MAX_RETURN, Results, Run

Reduction = Literal["final", "best", "auc"]
Axis = Literal["env_steps", "wall_seconds", "network_evaluations"]

REDUCTIONS: dict[Reduction, str] = {
    "final": "score of the last evaluation",
    "best": "best score of any evaluation, chosen after the fact, so biased upwards",
    "auc": "mean score over the budget (area under the learning curve)",
}
AXES: dict[Axis, str] = {
    "env_steps": "environment steps",
    "wall_seconds": "wall-clock seconds of the job that trains all seeds together",
    "network_evaluations": "policy-network evaluations to act in training, per seed",
}


@dataclasses.dataclass(frozen=True)
class ScorePolicy:
    """What runs count as that did not end well; printed in every report.

    Attributes:
        diverged: `zero` scores 0; `last` keeps the last evaluation to the end of the
            budget; `exclude` leaves the run out.
        incomplete: the same for runs that are unfinished, damaged or missing; `last`
            leaves damaged and missing ones out.
    """

    diverged: Literal["zero", "last", "exclude"] = "zero"
    incomplete: Literal["zero", "last", "exclude"] = "exclude"

    def describe(self) -> str:
        """Returns one sentence for readers."""
        words = {
            "zero": "score 0",
            "last": "keep their last evaluation",
            "exclude": "are left out",
        }
        return (
            f"Diverged runs {words[self.diverged]}; "
            f"unfinished, damaged and missing runs {words[self.incomplete]}."
        )

    def treatment(self, run: Run, mode: str) -> Literal["keep", "zero", "last", "exclude"]:
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
class TaskScores:
    """Scores [N] of an algorithm on a task, each with the id of its run or `missing`."""

    scores: np.ndarray
    run_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.run_ids)


def to_score(returns: np.ndarray) -> np.ndarray:
    """Returns returns as scores, after asserting the bound that `load_results` enforced."""
    scores = np.asarray(returns, float) / MAX_RETURN
    assert np.all((scores > -1e-5) & (scores < 1 + 1e-5)), "a return outside its bound"
    return np.clip(scores, 0.0, 1.0)


def run_curve(run: Run, mode: str, axis: Axis = "env_steps") -> tuple[np.ndarray, np.ndarray]:
    """Returns a run's learning curve: x [P] on the axis, and scores [P]."""
    rows = run.mode_curve(mode)
    scores = to_score(rows["return_mean"].to_numpy())
    if axis == "network_evaluations":
        per_action = run.configuration.evaluations_per_action if run.configuration else 1
        return rows["env_steps"].to_numpy(float) * per_action, scores
    return rows[axis].to_numpy(float), scores


def time_to_threshold(run: Run, mode: str, threshold: float, axis: Axis = "env_steps") -> float:
    """Returns x of the first evaluation that scores at least `threshold`, or infinity."""
    x, scores = run_curve(run, mode, axis)
    reached = np.flatnonzero(scores >= threshold)
    return float(x[reached[0]]) if len(reached) else math.inf


def reduce_curve(x: np.ndarray, scores: np.ndarray, reduction: Reduction) -> float:
    """Reduces a learning curve, x and scores [P] with P >= 1, to one score."""
    if reduction == "best":
        return float(scores.max())
    if reduction == "auc" and x[-1] > x[0]:
        return float(np.trapezoid(scores, x) / (x[-1] - x[0]))
    return float(scores[-1])


def run_score(
    run: Run, mode: str, reduction: Reduction, policy: ScorePolicy, budget: int
) -> float | None:
    """Returns a run's score under a policy, None if it is left out.

    Args:
        budget: environment steps to which `last` extends a curve.
    """
    treatment = policy.treatment(run, mode)
    if treatment == "exclude":
        return None
    if treatment == "zero":
        return 0.0
    x, scores = run_curve(run, mode)
    if treatment == "last" and x[-1] < budget:
        x, scores = np.append(x, budget), np.append(scores, scores[-1])
    return reduce_curve(x, scores, reduction)


def task_scores(
    results: Results,
    algorithm: str,
    task: str,
    mode: str,
    reduction: Reduction,
    policy: ScorePolicy,
) -> TaskScores:
    """Returns the scores of all runs of an algorithm on a task that count under a policy."""
    scores: list[float] = []
    run_ids: list[str] = []
    for run in results.runs_of(algorithm, task):
        score = run_score(run, mode, reduction, policy, results.budget)
        if score is not None:
            scores.append(score)
            run_ids.append(run.run_id)
    if policy.incomplete == "zero":
        missing = results.missing_seeds(algorithm, task)
        scores += [0.0] * len(missing)
        run_ids += ["missing"] * len(missing)
    return TaskScores(np.array(scores), tuple(run_ids))


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
    counted = [
        (run, treatment)
        for run in results.runs_of(algorithm, task)
        if (treatment := policy.treatment(run, mode)) != "exclude"
    ]
    missing = results.missing_seeds(algorithm, task) if policy.incomplete == "zero" else []
    curves = [_points(run, mode, axis) for run, _ in counted]
    ends = [x[-1] for (x, _), (_, how) in zip(curves, counted, strict=True) if how == "keep"]
    end = min(ends) if ends else _projected_end(results, algorithm, task, mode, axis)
    if math.isnan(end) or not (counted or missing):
        return np.empty(0), np.empty((0, 0))
    grid = _grid([x for x, _ in curves], end, len(results.protocol.evaluation_grid()))
    rows = [
        np.interp(grid, x, scores, right=0.0 if how == "zero" else scores[-1])
        for (x, scores), (_, how) in zip(curves, counted, strict=True)
    ]
    return grid, np.stack([*rows, *(np.zeros(len(grid)) for _ in missing)])


def seconds_at(run: Run, mode: str, env_steps: np.ndarray) -> np.ndarray:
    """Returns a run's wall-clock seconds at each of env_steps [P], at its pace beyond its end."""
    steps, _ = run_curve(run, mode)
    seconds, _ = run_curve(run, mode, "wall_seconds")
    pace = (seconds[-1] - seconds[0]) / (steps[-1] - steps[0]) if steps[-1] > steps[0] else 0.0
    beyond = np.maximum(env_steps - steps[-1], 0.0)
    return np.interp(env_steps, steps, seconds) + pace * beyond


def _points(run: Run, mode: str, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Returns a run's curve, or a score of 0 at 0 if it was never evaluated."""
    return run_curve(run, mode, axis) if mode in run.modes else (np.zeros(1), np.zeros(1))


def _projected_end(results: Results, algorithm: str, task: str, mode: str, axis: Axis) -> float:
    """Returns where the budget ends on an axis, NaN where no run tells."""
    if axis == "env_steps":
        return float(results.budget)
    if axis == "network_evaluations":
        found = [r.configuration for r in results.runs if r.algorithm == algorithm]
        costs = [each.evaluations_per_action for each in found if each]
        return float(results.budget * max(costs)) if costs else math.nan
    evaluated = [run for run in results.runs_of(algorithm, task) if mode in run.modes]
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
