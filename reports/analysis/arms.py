"""The numbers of an ablation: every arm of every method, beside the arm of reference."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from reports.analysis import claims
from reports.analysis.bootstrap import Estimate, holm
from reports.analysis.comparison import Analysis
from reports.runs.ablation_runs import arm_label
from reports.runs.names import Label, algorithm_order, display_name
from reports.runs.results import Run
from suite.common.claim_floor import Shortage, Sizes
from suite.configuration.recipe import Arm
from suite.storage.ablation_directory import Ablation
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One arm of a method against the reference.

    Attributes:
        difference: of the IQM of final scores.
        sizes: runs of both on the tasks that both have.
        p_holm: of the permutation test, corrected for all comparisons of the ablation.
        reachable: whether so many runs could differ significantly, whatever their scores.
    """

    difference: Estimate
    sizes: Sizes
    p_holm: float
    reachable: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Arms:
    """The runs of all arms.

    Attributes:
        ablation: what they are the arms of.
        directory: where it is stored.
        analysis: of all runs together; each algorithm's label has its arm's name in brackets,
            unless there is but one arm.
    """

    ablation: Ablation
    directory: Path
    analysis: Analysis

    @property
    def methods(self) -> tuple[str, ...]:
        """Algorithms that were asked for or run, in the order of every table."""
        found = {label.method for label in self.analysis.results.algorithms}
        return tuple(sorted(found | set(self.ablation.algorithms), key=algorithm_order))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that were asked for or run, by alphabet."""
        return tuple(sorted({*self.ablation.tasks, *self.analysis.results.tasks}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that were asked for or run."""
        return tuple(sorted({*self.ablation.seeds, *self.analysis.results.seeds}))

    @property
    def reference(self) -> Arm:
        """The arm that the others are compared with."""
        arms = self.ablation.arms
        return next((arm for arm in arms if arm.name == self.ablation.reference), arms[0])

    @property
    def reference_name(self) -> str:
        """What the differences are from: an arm, or of a single arm its first method."""
        if self.ablation.axes:
            return self.reference.name
        return display_name(self._first_method)

    def reference_of(self, method: str) -> Label:
        """Returns the label that a method's arms are compared with."""
        compared = method if self.ablation.axes else self._first_method
        return self.label(compared, self.reference)

    @property
    def _first_method(self) -> str:
        """The first that was asked for, or of those that a choice left, the first with runs."""
        asked = self.ablation.algorithms
        return asked[0] if asked else self.analysis.results.algorithms[0].method

    def label(self, method: str, arm: Arm) -> Label:
        """Returns what an arm's runs of a method are called in the analysis."""
        return arm_label(method, arm, self.ablation)

    def concerns(self, method: str, arm: Arm) -> bool:
        """Returns whether a method was asked for, or has runs in an arm all the same."""
        label = self.label(method, arm)
        return method in self.ablation.algorithms or label in self.analysis.results.algorithms

    @functools.cached_property
    def comparisons(self) -> Mapping[Label, Comparison]:
        """Every label that has a reference to be compared with, in the order of the tables."""
        differences = self.analysis.differences
        found = {}
        for label, reference in self._compared():
            difference = differences.iqm(label, reference)
            p_value = differences.p_value(label, reference)
            if difference is not None and p_value is not None:
                sizes = differences.sizes(label, reference)
                found[label] = difference, sizes, p_value
        adjusted = holm([p_value for _, _, p_value in found.values()])
        every = [sizes for _, sizes, _ in found.values()]
        within = claims.reachable(every, self.analysis.repetitions)
        return {
            label: Comparison(difference, sizes, p_holm, reachable)
            for (label, (difference, sizes, _)), p_holm, reachable in zip(
                found.items(), adjusted, within, strict=True
            )
        }

    @property
    def shortage(self) -> Shortage | None:
        """What the comparisons lack that could never differ significantly, None if all could."""
        unreachable = [each.sizes for each in self.comparisons.values() if not each.reachable]
        return self.analysis.differences.shortage_of(unreachable, len(self.comparisons))

    def _compared(self) -> Iterator[tuple[Label, Label]]:
        known = set(self.analysis.results.algorithms)
        for method in self.methods:
            reference = self.reference_of(method)
            for arm in self.ablation.arms:
                label = self.label(method, arm)
                if label != reference and {label, reference} <= known:
                    yield label, reference

    def has_runs(self, label: str, task: str) -> bool:
        """Returns whether there is any run of a label on a task."""
        return bool(self.analysis.results.runs_of(label, task))

    def runs_of(self, method: str, arm: Arm, task: str) -> list[Run]:
        """Returns the runs of one method in one arm on one task, whatever their state."""
        return self.analysis.results.runs_of(self.label(method, arm), task)

    def last_metric(self, arm: Arm, run: Run, name: str) -> float | None:
        """Returns a metric over a run's last chunk, None where it was not recorded.

        Raises:
            UserError: metrics.csv is damaged.
        """
        stored = RunDirectory(self.directory / arm.name, self.ablation.protocol_of(arm))
        rows = stored.files(Cell(run.algorithm.method, run.task, run.seed)).read_metrics()
        value = rows[-1].get(name) if rows else None
        return value if value is not None and math.isfinite(value) else None
