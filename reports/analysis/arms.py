"""The report of an ablation: every arm of every method, side by side.

The arms' protocols and hyper-parameters differ along the ablation's axes and nowhere else.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reports.analysis import claims
from reports.analysis.bootstrap import Estimate, holm
from reports.analysis.comparison import Analysis
from reports.runs.choice import EVERYTHING, Choice
from reports.runs.loading import load_results
from reports.runs.names import algorithm_order, display_name, method_of
from reports.runs.results import Finding, Results, Run
from reports.tables.cells import (
    interval_rule,
    make_table,
    p_value_entry,
    score_rule,
    text_entries,
)
from reports.tables.table import Entry, Table, number
from suite.common.claim_floor import LEVEL, Shortage, Sizes
from suite.common.errors import UserError
from suite.configuration.protocol import Protocol
from suite.configuration.recipe import Ablation, Arm, value_text
from suite.storage.records import Cell, completed
from suite.storage.run_directory import RunDirectory, is_run


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
        found = {method_of(label) for label in self.analysis.results.algorithms}
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
        return display_name(self.ablation.algorithms[0])

    def reference_of(self, method: str) -> str:
        """Returns the label that a method's arms are compared with."""
        compared = method if self.ablation.axes else self.ablation.algorithms[0]
        return self.label(compared, self.reference)

    def label(self, method: str, arm: Arm) -> str:
        """Returns what an arm's runs of a method are called in the analysis."""
        return _label(method, arm, self.ablation)

    def concerns(self, method: str, arm: Arm) -> bool:
        """Returns whether a method was asked for, or has runs in an arm all the same."""
        label = self.label(method, arm)
        return method in self.ablation.algorithms or label in self.analysis.results.algorithms

    @functools.cached_property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Every label that has a reference to be compared with, in the order of the tables."""
        found = {}
        for label, reference in self._compared():
            difference = self.analysis.difference(label, reference)
            p_value = self.analysis.difference_p(label, reference)
            if difference is not None and p_value is not None:
                sizes = self.analysis.common_sizes(label, reference)
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
        return self.analysis.shortage_of(unreachable, len(self.comparisons))

    def _compared(self) -> Iterator[tuple[str, str]]:
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
        rows = stored.read_metrics(Cell(method_of(run.algorithm), run.task, run.seed))
        value = rows[-1].get(name) if rows else None
        return value if value is not None and math.isfinite(value) else None


def merge_arms(
    ablation: Ablation, directory: Path, choice: Choice = EVERYTHING
) -> tuple[Ablation, Results]:
    """Reads the runs of every arm that was started.

    Args:
        ablation: what the directory holds.
        directory: with a run directory for each arm.
        choice: of tasks and algorithms; labels are names, as arms have no variants.

    Returns:
        The ablation as far as it was chosen, and the runs.

    Raises:
        UserError: no arm has a run, something differs that is no axis, or what was chosen is
            not there; names what.
    """
    cells = {arm: _cells(directory / arm.name) for arm in ablation.arms}
    stored = [cell for found in cells.values() for cell in found]
    choice.check(
        {*ablation.algorithms, *(cell.algorithm for cell in stored)},
        {*ablation.tasks, *(cell.task for cell in stored)},
    )
    loaded = {
        arm: load_results([directory / arm.name], choice=choice.within(found))
        for arm, found in cells.items()
        if any(choice.takes(cell.algorithm, cell.task) for cell in found)
    }
    if not loaded:
        raise UserError(f"{directory}: no arm has a run yet; train them with `suite ablate`")
    for arm, results in loaded.items():
        _check_protocol(ablation, arm, results.protocol)
    _check_settings(ablation, loaded)
    chosen = dataclasses.replace(
        ablation,
        algorithms=tuple(filter(choice.takes_algorithm, ablation.algorithms)),
        tasks=tuple(task for task in ablation.tasks if task in (choice.tasks or ablation.tasks)),
    )
    return chosen, _merge(ablation, loaded)


def ablation_tables(arms: Arms) -> list[Table]:
    """Returns the ablation's own tables: the results, and what the arms are."""
    return [results_table(arms), arms_table(arms)]


def results_table(arms: Arms) -> Table:
    """One row per method and arm: returns by task, IQM, difference from the reference arm."""
    shown = [(name, task) for name in arms.ablation.metrics for task in arms.tasks]
    header = [
        "method",
        "arm",
        *arms.tasks,
        "IQM",
        f"IQM less that of {arms.reference_name}",
        "p (Holm)",
        *(name if len(arms.tasks) == 1 else f"{name}, {task}" for name, task in shown),
    ]
    rows = [
        [
            Entry(display_name(method)),
            Entry(arm.name),
            *(_returns(arms, method, arm, task) for task in arms.tasks),
            _iqm(arms, method, arm),
            _difference(arms, method, arm),
            _p_holm(arms, method, arm),
            *(_metric(arms, method, arm, task, name) for name, task in shown),
        ]
        for method in arms.methods
        for arm in arms.ablation.arms
        if arms.concerns(method, arm)
    ]
    note = (
        "Final return, mean ± sample standard deviation over n runs, with what was expected and "
        f"is not there or did not end well; IQM of the scores and its difference from that of "
        f"{arms.reference_name}{', of the same method' if arms.ablation.axes else ''} "
        f"[{interval_rule(arms.analysis)}]{_coverage(arms.analysis)}. p: permutation test of "
        f"the mean, Holm-corrected for the {len(arms.comparisons)} differences of the table; "
        f"claims rest on it, not on the intervals.{_shortage_text(arms)} "
        f"{score_rule(arms.analysis)}"
    )
    if arms.ablation.metrics:
        listed = ", ".join(arms.ablation.metrics)
        note += (
            f" {listed}: mean ± sample standard deviation over the last updates of the runs that "
            "came to the end of the budget, with their n where those are not all."
        )
    return make_table("ablation", f"Ablation {arms.ablation.name}", header, rows, note)


def arms_table(arms: Arms) -> Table:
    """One row per arm: its place on every axis, and how its runs are."""
    axes = arms.ablation.axes
    cells = len(arms.tasks) * len(arms.seeds)
    states = ("done", "diverged", "running", "damaged")
    rows = []
    for arm in arms.ablation.arms:
        runs = [r for m in arms.methods for t in arms.tasks for r in arms.runs_of(m, arm, t)]
        counts = [sum(run.state == state for run in runs) for state in states]
        values = text_entries(value_text(value) for value in arm.values)
        expected = cells * sum(arms.concerns(method, arm) for method in arms.methods)
        numbers = [number(count, 0) for count in (*counts, expected - len(runs), expected)]
        rows.append([Entry(arm.name), *values, *numbers])
    columns = ("done", "diverged", "unfinished", "damaged", "missing", "expected")
    header = ("arm", *(axis.key for axis in axes), *columns)
    note = f"{arms.ablation.description}. Counts are of runs."
    return make_table("arms", "Arms", header, rows, note)


def scope(ablation: Ablation) -> str:
    """Returns what the arms have in common, for the page's stamp; empty for a single arm."""
    if not ablation.axes:
        return ""
    listed = " and ".join(axis.key for axis in ablation.axes)
    return f"One protocol ({ablation.protocol.name}) in all arms but for {listed}"


def headline(arms: Arms) -> str:
    """Returns which arms stand out from the reference arm, in one sentence or two."""
    if not arms.ablation.axes:
        return arms.analysis.headline()
    found = arms.comparisons
    if not found:
        return "No arm can be compared with another yet."
    clear = [
        f"{display_name(label)} {comparison.difference}"
        for label, comparison in found.items()
        if comparison.p_holm < LEVEL
    ]
    tests = f"(Holm-corrected permutation tests of the mean at {LEVEL:g})"
    lacking, reachable = arms.shortage, sum(each.reachable for each in found.values())
    if lacking and not reachable:
        text = lacking.sentence(f" any of {len(found)} arms from arm {arms.reference.name}")
        return f"{text[0].upper()}{text[1:]} {tests}."
    text = f"{len(clear) or 'None'} of {len(found)} arms differ from arm {arms.reference.name}"
    listed = f", by IQM: {'; '.join(clear)}" if clear else " at this number of runs"
    rest = f"; {lacking.sentence(f' {len(found) - reachable} of them')}" if lacking else ""
    return f"{text}{listed}{rest} {tests}."


def _returns(arms: Arms, method: str, arm: Arm, task: str) -> Entry:
    """Returns `412.30 ± 20.10 (n = 2, 1 missing)`."""
    runs = arms.runs_of(method, arm, task)
    counts = {state: sum(run.state == state for run in runs) for state in _STATES}
    counts["missing"] = len(arms.seeds) - len(runs)
    marks = [f"{count} {_STATES.get(s, s)}" for s, count in counts.items() if count and s != "done"]
    label = arms.label(method, arm)
    found = arms.analysis.scores_of(label, task) if arms.has_runs(label, task) else None
    if not found:
        return Entry(", ".join(marks) or "no evaluation")
    returns = arms.analysis.returns_of(label, task)
    spread = f" ± {np.std(returns, ddof=1):.2f}" if len(returns) > 1 else ""
    inside = ", ".join([f"n = {len(returns)}", *marks])
    mean = float(np.mean(returns))
    return Entry(f"{mean:.2f}{spread} ({inside})", mean, found.run_ids)


_STATES: Mapping[str, str] = {
    "done": "done",
    "diverged": "diverged",
    "running": "unfinished",
    "damaged": "damaged",
}


def _iqm(arms: Arms, method: str, arm: Arm) -> Entry:
    label = arms.label(method, arm)
    if label not in arms.analysis.algorithms:
        return Entry("incomplete")
    estimate = arms.analysis.aggregate(label)
    text = f"{estimate}{_partly(arms, arms.analysis.tasks)}"
    return Entry(text, estimate.value, arms.analysis.run_ids(label))


def _difference(arms: Arms, method: str, arm: Arm) -> Entry:
    labels = arms.label(method, arm), arms.reference_of(method)
    if labels[0] == labels[1]:
        return Entry("reference")
    if not set(labels) <= set(arms.analysis.results.algorithms):
        return Entry("incomplete")
    comparison = arms.comparisons.get(labels[0])
    if comparison is None:
        return Entry("incomplete")
    estimate = comparison.difference
    scored = [t for t in arms.tasks if all(_has_scores(arms, label, t) for label in labels)]
    return Entry(f"{estimate}{_partly(arms, scored)}", estimate.value)


def _p_holm(arms: Arms, method: str, arm: Arm) -> Entry:
    label = arms.label(method, arm)
    if label == arms.reference_of(method):
        return Entry("reference")
    comparison = arms.comparisons.get(label)
    if comparison is None:
        return Entry("incomplete")
    lacking = arms.shortage
    if lacking and not comparison.reachable:
        return Entry(f"too few {lacking.of}", comparison.p_holm)
    return p_value_entry(comparison.p_holm)


def _shortage_text(arms: Arms) -> str:
    """Says which differences no scores could make claims, with a space in front."""
    if not arms.shortage:
        return ""
    count = sum(not each.reachable for each in arms.comparisons.values())
    which = "" if count == len(arms.comparisons) else f" {count} of them"
    return f" There are {arms.shortage.sentence(which)}."


def _coverage(analysis: Analysis) -> str:
    """Says how often such an interval of an IQM holds the truth, with a comma in front."""
    rates = [analysis.coverage(label)[0] for label in analysis.algorithms]
    known = [rate for rate in rates if not math.isnan(rate)]
    return f", which holds the truth in {min(known):.0%} of simulations" if known else ""


def _partly(arms: Arms, tasks: Sequence[str]) -> str:
    """Says which tasks a number rests on unless it is all, with a space in front."""
    return f" ({', '.join(tasks)} only)" if len(tasks) < len(arms.tasks) else ""


def _has_scores(arms: Arms, label: str, task: str) -> bool:
    return arms.has_runs(label, task) and len(arms.analysis.scores_of(label, task)) > 0


def _metric(arms: Arms, method: str, arm: Arm, task: str, name: str) -> Entry:
    runs = [run for run in arms.runs_of(method, arm, task) if run.state == "done"]
    try:
        pairs = [(arms.last_metric(arm, run, name), run.run_id) for run in runs]
    except UserError:
        return Entry("damaged")
    recorded = [(value, run_id) for value, run_id in pairs if value is not None]
    if not recorded:
        return Entry("not recorded" if runs else "no finished run")
    values, ids = zip(*recorded, strict=True)
    mean = float(np.mean(values))
    spread = f" ± {np.std(values, ddof=1):.3g}" if len(values) > 1 else ""
    few = f" (n = {len(values)})" if len(values) < len(arms.seeds) else ""
    return Entry(f"{mean:.4g}{spread}{few}", mean, ids)


def _label(method: str, arm: Arm, ablation: Ablation) -> str:
    return method if not ablation.axes else f"{method} [{arm.name}]"


def _cells(path: Path) -> list[Cell]:
    """Returns the cells of an arm, none if it was not started."""
    if not is_run(path):
        return []
    stored = RunDirectory.open(path)
    return [*stored.cells(), *stored.incomplete_cells()]


def _check_protocol(ablation: Ablation, arm: Arm, protocol: Protocol) -> None:
    expected = ablation.protocol_of(arm)
    fields = expected.differences(protocol)
    if fields:
        mine, theirs = expected.to_dict(), protocol.to_dict()
        listed = ", ".join(f"{name} ({theirs[name]}, not {mine[name]})" for name in fields)
        raise UserError(
            f"arm {arm.name} is not what ablation.json says: its protocol has another {listed}; "
            "put the right runs there"
        )


def _check_settings(ablation: Ablation, loaded: Mapping[Arm, Results]) -> None:
    """Raises UserError if a method ran with other hyper-parameters in one arm than in another."""
    first: dict[str, tuple[Arm, dict[str, Any]]] = {}
    for arm, results in loaded.items():
        for label in results.algorithms:
            if label != method_of(label):
                raise UserError(
                    f"arm {arm.name} holds {method_of(label)} in several settings, one of them "
                    f"{label}; put the runs of one setting there"
                )
        for run in results.runs:
            if run.configuration is None:
                continue
            method = method_of(run.algorithm)
            varied = ablation.varied_hyperparameters(method)
            values = completed(run.configuration.hyperparameters)
            values = {name: value for name, value in values.items() if name not in varied}
            values["engine"] = run.configuration.engine
            earlier, before = first.setdefault(method, (arm, values))
            fields = sorted(n for n in {*before, *values} if before.get(n) != values.get(n))
            if fields:
                raise UserError(
                    f"{method} differs between the arms {earlier.name} and {arm.name} in "
                    f"{', '.join(fields)}, which is no axis of the ablation"
                )


def _merge(ablation: Ablation, loaded: Mapping[Arm, Results]) -> Results:
    runs = [
        dataclasses.replace(run, algorithm=_label(method_of(run.algorithm), arm, ablation))
        for arm, results in loaded.items()
        for run in results.runs
    ]
    runs.sort(key=lambda run: (algorithm_order(run.algorithm), run.task, run.seed))
    findings = [each for arm, results in loaded.items() for each in _findings(arm, results)]
    names = tuple(arm.name for arm in loaded)
    protocol = next(iter(loaded.values())).protocol if len(loaded) == 1 else ablation.protocol
    return Results(protocol, names, tuple(runs), tuple(findings))


def _findings(arm: Arm, results: Results) -> Iterator[Finding]:
    for finding in results.findings:
        is_run = any(run.run_id == finding.where for run in results.runs)
        where = finding.where if is_run else f"{arm.name}: {finding.where}"
        yield dataclasses.replace(finding, where=where)
