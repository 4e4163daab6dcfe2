"""Tables of an ablation: the results of every arm, and what the arms are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from reports.analysis.arms import Arms
from reports.analysis.comparison import Analysis
from reports.analysis.sentences import interval_rule, score_rule
from reports.runs.names import display_name
from reports.runs.results import endings
from reports.tables.entries import counted_return, make_table, p_value_entry, spread, text_entries
from reports.tables.table import Entry, Table, number
from suite.common.errors import UserError
from suite.common.formatting import typed
from suite.configuration.recipe import Arm


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
        values = text_entries(typed(value) for value in arm.values)
        expected = cells * sum(arms.concerns(method, arm) for method in arms.methods)
        numbers = [number(count, 0) for count in (*counts, expected - len(runs), expected)]
        rows.append([Entry(arm.name), *values, *numbers])
    columns = ("done", "diverged", "unfinished", "damaged", "missing", "expected")
    header = ("arm", *(axis.key for axis in axes), *columns)
    note = f"{arms.ablation.description}. Counts are of runs."
    return make_table("arms", "Arms", header, rows, note)


def _returns(arms: Arms, method: str, arm: Arm, task: str) -> Entry:
    """Returns `412.30 ± 20.10 (n = 2, 1 missing)`."""
    runs, label = arms.runs_of(method, arm, task), arms.label(method, arm)
    ended = endings(runs, len(arms.seeds) - len(runs))
    if runs and len(arms.analysis.scores.of(label, task)):
        return counted_return(arms.analysis, label, task, ended)
    return Entry(", ".join(ended) or "no evaluation")


def _iqm(arms: Arms, method: str, arm: Arm) -> Entry:
    label = arms.label(method, arm)
    if label not in arms.analysis.algorithms:
        return Entry("incomplete")
    estimate = arms.analysis.estimates.aggregate(label)
    text = f"{estimate}{_partly(arms, arms.analysis.tasks)}"
    return Entry(text, estimate.value, arms.analysis.scores.run_ids(label))


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
    rates = [analysis.estimates.coverage(label)[0] for label in analysis.algorithms]
    known = [rate for rate in rates if not math.isnan(rate)]
    return f", which holds the truth in {min(known):.0%} of simulations" if known else ""


def _partly(arms: Arms, tasks: Sequence[str]) -> str:
    """Says which tasks a number rests on unless it is all, with a space in front."""
    return f" ({', '.join(tasks)} only)" if len(tasks) < len(arms.tasks) else ""


def _has_scores(arms: Arms, label: str, task: str) -> bool:
    return arms.has_runs(label, task) and len(arms.analysis.scores.of(label, task)) > 0


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
    entry = spread(values, ids, ".4g", ".3g")
    few = f" (n = {len(values)})" if len(values) < len(arms.seeds) else ""
    return dataclasses.replace(entry, text=f"{entry.text}{few}")
