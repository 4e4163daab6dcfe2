"""The whole comparison of stored runs, computed once for tables, figures and page."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Sequence

import numpy as np

from reports.analysis import bootstrap, claims
from reports.analysis.bootstrap import Band, Estimate
from reports.analysis.scores import (
    DEFAULT_POLICY,
    Axis,
    CountedRun,
    Reduction,
    ScorePolicy,
    TaskScores,
    common_curves,
    counted_runs,
    run_curve,
    task_scores,
    time_to_threshold,
)
from reports.runs.names import display_name
from reports.runs.results import Results
from suite.common.claim_floor import (
    LEVEL,
    Shortage,
    Sizes,
    shortage,
)
from suite.common.errors import UserError

PUBLISHED = "published"
"""The mode that is each algorithm's own."""

BAND_REPETITIONS = 10_000
"""Most resamples behind a point of a drawn curve; printed numbers use all of them."""

CURVE_POINTS = 31
"""Points of an aggregate curve whose tasks were evaluated at different places."""


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """One metric of one algorithm over all tasks.

    Attributes:
        algorithm: label.
        metric: key of `statistics.METRICS`.
        estimate: value and 95% interval.
        runs: fewest and most runs of a task.
        tasks: number of tasks.
    """

    algorithm: str
    metric: str
    estimate: Estimate
    runs: tuple[int, int]
    tasks: int


@dataclasses.dataclass(frozen=True)
class Pair:
    """A comparison of two algorithms.

    Attributes:
        first, second: labels.
        difference: IQM of the first less that of the second.
        improvement: probability that a run of the first beats one of the second.
        mean_difference: mean score of the first less that of the second, which is what is tested.
        sizes: runs of both on each task.
        p_value: of the stratified permutation test, `claims.permutation_test`.
        p_holm: adjusted for the number of pairs.
        reachable: whether so many runs could differ significantly, whatever their scores.
    """

    first: str
    second: str
    difference: Estimate
    improvement: Estimate
    mean_difference: Estimate
    sizes: Sizes
    p_value: float
    p_holm: float = math.nan
    reachable: bool = False

    @property
    def significant(self) -> bool:
        """Whether the difference is claimed at the family-wise level of 5%."""
        return self.p_holm < LEVEL


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that is computed from results; each part once, when first asked for.

    Attributes:
        results: what is compared.
        mode: evaluation mode whose returns are the scores; `published` is each algorithm's
            own, as the protocol's `published_mode` says.
        policy: what failed runs count as.
        repetitions: of bootstrap and permutation test.
        seed: of both; each algorithm draws from a stream of its own, so that adding one
            changes no interval of the others.

    Raises:
        UserError: no run was evaluated in `mode`, or `repetitions` is not positive.
    """

    results: Results
    mode: str = "deterministic"
    policy: ScorePolicy = DEFAULT_POLICY
    repetitions: int = bootstrap.REPETITIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.repetitions < 1:
            raise UserError(f"repetitions = {self.repetitions}: must be at least 1")
        modes = {self.mode_of(algorithm) for algorithm in self.results.algorithms}
        if self.results.modes and not modes & {*self.results.modes}:
            known = ", ".join(self.results.modes)
            raise UserError(f"no run was evaluated in mode {self.mode!r}; there are: {known}")

    def mode_of(self, algorithm: str) -> str:
        """Returns the evaluation mode of the scores of an algorithm, given its label."""
        if self.mode != PUBLISHED:
            return self.mode
        return self.results.protocol.published_mode_of(algorithm.partition(" [")[0])

    @property
    def mode_text(self) -> str:
        """The mode for captions: `published (sample: FPO and DPPO; deterministic: PPO)`."""
        if self.mode != PUBLISHED:
            return self.mode
        by_mode: dict[str, list[str]] = {}
        for algorithm in self.results.algorithms:
            by_mode.setdefault(self.mode_of(algorithm), []).append(algorithm)
        parts = [f"{mode}: {_listed(names)}" for mode, names in sorted(by_mode.items())]
        return f"{self.mode} ({'; '.join(parts)})"

    def scores_of(self, algorithm: str, task: str, reduction: Reduction = "final") -> TaskScores:
        """Returns the scores of one algorithm on one task."""
        return self._table(reduction)[algorithm, task]

    def counted(self, algorithm: str, task: str) -> list[CountedRun]:
        """Returns the runs behind every number of one algorithm on one task."""
        mode = self.mode_of(algorithm)
        return counted_runs(self.results, algorithm, task, mode, self.policy)

    def returns_of(self, algorithm: str, task: str) -> np.ndarray:
        """Returns the final returns [N] that the scores of one algorithm on one task stand for."""
        return self.results.bounds(task).to_return(self.scores_of(algorithm, task).scores)

    @functools.cached_property
    def scored_tasks(self) -> tuple[str, ...]:
        """Tasks whose bounds are known: on the others there are returns, but no scores."""
        return tuple(task for task in self.results.tasks if self.results.bounds(task).known)

    @functools.cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the aggregates: all with scores, if two or more algorithms have them on all,
        else those that every algorithm with any score has.
        """
        covered = {a: self._covered(a) for a in self.results.algorithms}
        complete = [a for a, tasks in covered.items() if tasks == set(self.scored_tasks)]
        some = [tasks for tasks in covered.values() if tasks]
        if len(complete) >= min(2, len(some)):
            return self.scored_tasks
        common = set.intersection(*some)
        return tuple(task for task in self.scored_tasks if task in common)

    @functools.cached_property
    def algorithms(self) -> tuple[str, ...]:
        """Algorithms of the aggregates: those with scores on all of `tasks`."""
        wanted = set(self.tasks)
        return tuple(a for a in self.results.algorithms if wanted and wanted <= self._covered(a))

    @functools.cached_property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Algorithms in no aggregate, each with the tasks that it has no score on."""
        return {
            algorithm: tuple(
                task for task in self.scored_tasks if task not in self._covered(algorithm)
            )
            for algorithm in self.results.algorithms
            if algorithm not in self.algorithms and self.scored_tasks
        }

    @property
    def band_repetitions(self) -> int:
        """Resamples behind each point of a drawn curve."""
        return min(self.repetitions, BAND_REPETITIONS)

    def task_estimate(
        self, algorithm: str, task: str, reduction: Reduction = "final"
    ) -> Estimate | None:
        """Returns the mean score over runs with its interval, None without runs."""
        scores = self.scores_of(algorithm, task, reduction).scores
        if not len(scores):
            return None
        counts = self._task_counts(algorithm, task, len(scores))
        return bootstrap.estimate(bootstrap.mean, [scores], counts)

    def return_estimate(self, algorithm: str, task: str) -> Estimate | None:
        """Returns the mean final return over runs with its interval, None without runs."""
        found = self.task_estimate(algorithm, task)
        if found is None:
            return None
        ends = self.results.bounds(task).to_return(np.array([found.value, found.low, found.high]))
        return Estimate(*map(float, ends))

    @functools.cache  # noqa: B019 - an analysis lives as long as the program
    def aggregates(self, reduction: Reduction = "final") -> tuple[Aggregate, ...]:
        """Returns every metric of every algorithm."""
        rows = []
        for algorithm in self.algorithms:
            scores = self._scores(algorithm, reduction)
            counts = self._counts(algorithm, _sizes(scores))
            runs = self.runs_per_task(algorithm)
            for name, metric in bootstrap.METRICS.items():
                estimate = bootstrap.estimate(metric, scores, counts)
                rows.append(Aggregate(algorithm, name, estimate, runs, len(scores)))
        return tuple(rows)

    def aggregate(self, algorithm: str, metric: str = "IQM") -> Estimate:
        """Returns one metric of the final scores of one algorithm."""
        for each in self.aggregates():
            if (each.algorithm, each.metric) == (algorithm, metric):
                return each.estimate
        raise KeyError((algorithm, metric))

    @functools.cached_property
    def profiles(self) -> dict[str, Band]:
        """Performance profiles of the final scores over `statistics.THRESHOLDS`."""
        return {
            algorithm: bootstrap.performance_profile(
                self._scores(algorithm), self._counts(algorithm)[:, :BAND_REPETITIONS]
            )
            for algorithm in self.algorithms
        }

    @functools.cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs of algorithms, each in the order of the tables."""
        drawn = [self._pair(*pair) for pair in itertools.combinations(self.algorithms, 2)]
        adjusted = bootstrap.holm([pair.p_value for pair in drawn])
        within = claims.reachable([pair.sizes for pair in drawn], self.repetitions)
        return tuple(
            dataclasses.replace(pair, p_holm=p, reachable=reachable)
            for pair, p, reachable in zip(drawn, adjusted, within, strict=True)
        )

    @functools.cached_property
    def shortage(self) -> Shortage | None:
        """What the pairs lack that could never differ significantly, None if all could."""
        return self.shortage_of([pair.sizes for pair in self.pairs if not pair.reachable])

    def shortage_of(
        self, unreachable: Sequence[Sizes], comparisons: int | None = None
    ) -> Shortage | None:
        """Returns what comparisons lack of which none can become a claim, None without any.

        Args:
            unreachable: runs of both sides on each task, of each.
            comparisons: number of all that are corrected together, by default all pairs.
        """
        number = len(self.pairs) if comparisons is None else comparisons
        return shortage(unreachable, number, self.repetitions)

    @functools.cached_property
    def without_task(self) -> dict[str, dict[str, float]]:
        """IQM of the final scores without one task: task, then algorithm."""
        if len(self.tasks) < 2:
            return {}
        return {
            left_out: {
                algorithm: bootstrap.point(
                    bootstrap.iqm,
                    [self.scores_of(algorithm, t).scores for t in self.tasks if t != left_out],
                )
                for algorithm in self.algorithms
            }
            for left_out in self.tasks
        }

    @functools.cache  # noqa: B019 - an analysis lives as long as the program
    def learning_curve(self, algorithm: str, task: str, axis: Axis = "env_steps") -> Band | None:
        """Returns the mean return over runs with pointwise intervals, None without runs."""
        x, scores = self._curves(algorithm, task, axis)
        if not len(x):
            return None
        curves = self.results.bounds(task).to_return(scores)
        counts = self._task_counts(algorithm, task, len(curves))
        return bootstrap.mean_curve(x, curves, counts[:, :BAND_REPETITIONS])

    @functools.cache  # noqa: B019 - an analysis lives as long as the program
    def sample_efficiency(self, axis: Axis = "env_steps") -> dict[str, Band]:
        """Returns the IQM over tasks and runs along an axis, by algorithm."""
        bands = {}
        for algorithm in self.algorithms:
            parts = [self._curves(algorithm, task, axis) for task in self.tasks]
            if all(len(x) for x, _ in parts):
                grid, curves = _on_one_grid(parts)
                counts = self._counts(algorithm, _sizes(curves))
                few = counts[:, :BAND_REPETITIONS]
                bands[algorithm] = bootstrap.iqm_curve(grid, curves, few)
        return bands

    def times_to_threshold(
        self, algorithm: str, task: str, threshold: float, axis: Axis = "env_steps"
    ) -> list[float]:
        """Returns for each run that counts where it first scored so much, or infinity.

        Nothing where the task's bounds are not known.
        """
        bounds = self.results.bounds(task)
        times = []
        for counted in self.counted(algorithm, task) if bounds.known else ():
            found = counted.evaluated
            x, returns = run_curve(found, counted.mode, axis) if found else (np.zeros(0),) * 2
            times.append(time_to_threshold(x, bounds.to_score(returns), threshold))
        return times

    def runs_per_task(self, algorithm: str) -> tuple[int, int]:
        """Returns the fewest and most runs of a task behind an algorithm's aggregates."""
        sizes = _sizes(self._scores(algorithm))
        return min(sizes), max(sizes)

    def run_ids(self, algorithm: str) -> tuple[str, ...]:
        """Returns the runs behind an algorithm's aggregates."""
        return tuple(
            run_id for task in self.tasks for run_id in self.scores_of(algorithm, task).run_ids
        )

    def coverage(self, algorithm: str) -> tuple[float, float]:
        """Returns what the nominal 95% interval of an IQM covers in simulation.

        Returns:
            Coverage with runs that scatter normally, and with a fifth of them failing;
            both NaN where a task has a single run.
        """
        runs, _ = self.runs_per_task(algorithm)
        if runs < 2:
            return (np.nan, np.nan)
        return bootstrap.coverage(runs, len(self.tasks))

    def powers(self, delta: float) -> dict[tuple[str, str], claims.Power]:
        """Returns the power to show that an algorithm's scores are higher by `delta`, of each pair.

        All pairs of the report are corrected for, those whose spread is unknown included.

        Raises:
            UserError: `delta` is not between 0 and 1, or no two algorithms have two runs a task.
        """
        if not 0 < delta < 1:
            raise UserError(f"delta = {delta}: must be a score between 0 and 1, such as 0.05")
        enough = [a for a in self.algorithms if self.runs_per_task(a)[0] >= 2]
        pairs = list(itertools.combinations(enough, 2))
        if not pairs:
            raise UserError(
                "no two algorithms have two runs on every task, so their spread is unknown; "
                "run more seeds with `suite run --seeds`"
            )
        comparisons = math.comb(len(self.algorithms), 2)
        return {
            (a, b): claims.Power(self._scores(a), self._scores(b), delta, comparisons)
            for a, b in pairs
        }

    def headline(self) -> str:
        """Returns the answer in one sentence with its uncertainty."""
        if not self.algorithms:
            return "No algorithm has a score that can be aggregated yet."
        ranked = sorted(self.algorithms, key=lambda a: -self.aggregate(a).value)
        best = ranked[0]
        over = f"over {len(self.tasks)} task{'s' * (len(self.tasks) != 1)}, {self._runs_each()}"
        if len(ranked) == 1:
            return f"{display_name(best)} has an IQM score of {self.aggregate(best)} {over}."
        top = f"{display_name(best)} has the highest IQM score, {self.aggregate(best)}"
        parts = [f"{top} {over}", *self._verdicts(best, ranked[1:])]
        return f"{', '.join(parts)} (Holm-corrected permutation tests of the mean at {LEVEL:g})."

    def _verdicts(self, best: str, others: Sequence[str]) -> list[str]:
        """Returns what can be said of the difference of one algorithm from others."""
        pairs = {other: self._pair_of(best, other) for other in others}
        ahead = {other: self._mean_ahead(best, pair) for other, pair in pairs.items()}
        groups = {
            "significantly above": [a for a, p in pairs.items() if p.significant and ahead[a]],
            "with a mean score significantly below that of": [
                a for a, p in pairs.items() if p.significant and not ahead[a]
            ],
            "not distinguishable from": [
                a for a, p in pairs.items() if p.reachable and not p.significant
            ],
        }
        texts = [f"{verdict} {_listed(names)}" for verdict, names in groups.items() if names]
        unreachable = [a for a, p in pairs.items() if not (p.reachable or p.significant)]
        lacking = self.shortage_of([pairs[a].sizes for a in unreachable])
        if lacking:
            texts.append(lacking.sentence(f" it from {_listed(unreachable)}"))
        return texts

    def _mean_ahead(self, algorithm: str, pair: Pair) -> bool:
        return (pair.mean_difference.value > 0) == (pair.first == algorithm)

    def difference(self, first: str, second: str) -> Estimate | None:
        """Returns IQM(first) - IQM(second) of final scores on the tasks that both have."""
        x, y = self._common_scores(first, second)
        if not x:
            return None
        counts = self._counts(first, _sizes(x)), self._counts(second, _sizes(y))
        return bootstrap.difference(bootstrap.iqm, x, y, *counts)

    def difference_p(self, first: str, second: str) -> float | None:
        """Returns the p-value of the permutation test that claims rest on, on those tasks."""
        x, y = self._common_scores(first, second)
        if not x:
            return None
        generator = self._generator(f"{first} and {second}")
        return claims.permutation_test(x, y, self.repetitions, generator)

    def common_sizes(self, first: str, second: str) -> Sizes:
        """Returns the numbers of runs of two algorithms on the tasks that both have."""
        return claims.sizes_of(*self._common_scores(first, second))

    def _common_scores(self, first: str, second: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the final scores of two algorithms on the tasks that both have."""
        covered = self._covered(first) & self._covered(second)
        common = [task for task in self.scored_tasks if task in covered]
        x, y = ([self.scores_of(a, task).scores for task in common] for a in (first, second))
        return x, y

    def _runs_each(self) -> str:
        sizes = [size for a in self.algorithms for size in self.runs_per_task(a)]
        low, high = min(sizes), max(sizes)
        return f"{low if low == high else f'{low} to {high}'} run{'s' * (high != 1)} of each"

    def _pair_of(self, one: str, other: str) -> Pair:
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {one, other})

    def _pair(self, first: str, second: str) -> Pair:
        x, y = self._scores(first), self._scores(second)
        counts = self._counts(first), self._counts(second)
        generator = self._generator(f"{first} and {second}")
        return Pair(
            first,
            second,
            bootstrap.difference(bootstrap.iqm, x, y, *counts),
            bootstrap.improvement(x, y, *counts),
            bootstrap.difference(bootstrap.mean, x, y, *counts),
            claims.sizes_of(x, y),
            claims.permutation_test(x, y, self.repetitions, generator),
        )

    @functools.cache  # noqa: B019 - an analysis lives as long as the program
    def _table(self, reduction: Reduction) -> dict[tuple[str, str], TaskScores]:
        return {
            (algorithm, task): task_scores(
                self.results, algorithm, task, self.mode_of(algorithm), reduction, self.policy
            )
            for algorithm in self.results.algorithms
            for task in self.results.tasks
        }

    def _covered(self, algorithm: str) -> set[str]:
        return {task for task in self.scored_tasks if len(self.scores_of(algorithm, task))}

    def _scores(self, algorithm: str, reduction: Reduction = "final") -> list[np.ndarray]:
        return [self.scores_of(algorithm, task, reduction).scores for task in self.tasks]

    @functools.cache  # noqa: B019 - an analysis lives as long as the program
    def _curves(self, algorithm: str, task: str, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        mode = self.mode_of(algorithm)
        return common_curves(self.results, algorithm, task, mode, axis, self.policy)

    @functools.cache  # noqa: B019 - an analysis lives as long as the program
    def _counts(self, algorithm: str, sizes: tuple[int, ...] = ()) -> np.ndarray:
        drawn = sizes or _sizes(self._scores(algorithm))
        return bootstrap.bootstrap_counts(drawn, self.repetitions, self._generator(algorithm))

    @functools.cache  # noqa: B019 - an analysis lives as long as the program
    def _task_counts(self, algorithm: str, task: str, runs: int) -> np.ndarray:
        generator = self._generator(f"{algorithm} on {task}")
        return bootstrap.bootstrap_counts([runs], self.repetitions, generator)

    def _generator(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])


def _sizes(scores: Sequence[np.ndarray]) -> tuple[int, ...]:
    return tuple(len(task) for task in scores)


def _on_one_grid(
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Puts the curves of several tasks on the same points, up to the earliest end."""
    first = parts[0][0]
    if all(np.array_equal(x, first) for x, _ in parts):
        return first, [curves for _, curves in parts]
    start, end = max(x[0] for x, _ in parts), min(x[-1] for x, _ in parts)
    grid = np.linspace(start, max(start, end), CURVE_POINTS)
    return grid, [np.stack([np.interp(grid, x, curve) for curve in curves]) for x, curves in parts]


def _listed(algorithms: Sequence[str]) -> str:
    names = [display_name(algorithm) for algorithm in algorithms]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
