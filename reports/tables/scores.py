"""Tables of scores: returns, aggregates with their intervals, pairs, times to a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports.analysis.bootstrap import CONFIDENCE, METRICS, Estimate
from reports.analysis.comparison import Analysis, Pair
from reports.analysis.scores import REDUCTIONS, Reduction, median_time
from reports.analysis.sentences import interval_rule, left_out_note, score_rule, shortage_text
from reports.references.published import Reference
from reports.runs.names import display_name
from reports.tables.entries import estimate_entry, final_return, make_table, p_value_entry
from reports.tables.table import Entry, Table, number
from suite.common.claim_floor import ENUMERATED, LEVEL

THRESHOLDS = (0.25, 0.5, 0.75)
"""Scores of the table of times to threshold."""


def final_returns(analysis: Analysis, references: Sequence[Reference] = ()) -> Table:
    """Final return per task and method, beside published numbers."""
    results = analysis.results
    rows = []
    for algorithm in results.algorithms:
        cells = [final_return(analysis, algorithm, task) for task in results.tasks]
        rows.append((Entry(display_name(algorithm)), *cells))
        for reference in references:
            if any((algorithm, task) in reference.values for task in results.tasks):
                published = [_published(reference, algorithm, task) for task in results.tasks]
                rows.append((Entry(reference.display(algorithm)), *published))
    note = (
        "Mean ± sample standard deviation over runs of the final return. "
        f"Budget: {results.budget:,} environment steps. {score_rule(analysis)}"
    )
    for reference in (each for each in references if each.values):
        note += f" {reference.name}: {reference.description}."
        unused = reference.unused(results)
        note += f" {unused}." if unused else ""
    header = ("method", *results.tasks)
    return make_table("final_returns", "Final return per task", header, rows, note)


def task_intervals(analysis: Analysis) -> Table:
    """Mean score per task with intervals."""
    results, scored = analysis.results, analysis.scores.scored_tasks
    rows = [
        (
            Entry(display_name(algorithm)),
            *(
                estimate_entry(
                    analysis.estimates.task_estimate(algorithm, task) if task in scored else None,
                    analysis.scores.of(algorithm, task).run_ids,
                )
                for task in results.tasks
            ),
        )
        for algorithm in results.algorithms
    ]
    note = f"Mean final score over runs [{interval_rule(analysis)}]. {score_rule(analysis)}"
    header = ("method", *results.tasks)
    return make_table("task_scores", "Final score per task", header, rows, note)


def aggregates(analysis: Analysis) -> Table:
    """Aggregate metrics with intervals and what these really cover."""
    rows = []
    for algorithm in analysis.algorithms:
        estimates = [
            estimate_entry(analysis.estimates.aggregate(algorithm, metric)) for metric in METRICS
        ]
        low, high = analysis.scores.runs_per_task(algorithm)
        covered = analysis.estimates.coverage(algorithm)
        coverage = "" if math.isnan(covered[0]) else f"{covered[0]:.2f} / {covered[1]:.2f}"
        count = Entry(str(low) if low == high else f"{low}-{high}", low)
        name = Entry(display_name(algorithm), None, analysis.scores.run_ids(algorithm))
        rows.append((name, count, *estimates, Entry(coverage)))
    note = (
        f"Final scores; number of tasks: {len(analysis.tasks)} [{interval_rule(analysis)}]. "
        "Coverage: how often such an interval of the IQM holds the truth in simulation, normal "
        "scatter / with a fifth of the runs failing. "
        f"{score_rule(analysis)}{left_out_note(analysis)}"
    )
    header = ("method", "runs per task", *METRICS, f"coverage of {CONFIDENCE:.0%}")
    return make_table("aggregates", "Aggregate scores", header, rows, note)


def pairwise(analysis: Analysis) -> Table:
    """All pairs: difference, probability of improvement, corrected p-values."""
    rows = [
        (
            Entry(display_name(pair.first), None, analysis.scores.run_ids(pair.first)),
            Entry(display_name(pair.second), None, analysis.scores.run_ids(pair.second)),
            estimate_entry(pair.difference),
            estimate_entry(pair.improvement),
            estimate_entry(pair.mean_difference),
            p_value_entry(pair.p_value),
            p_value_entry(pair.p_holm),
            Entry(_verdict(analysis, pair)),
        )
        for pair in analysis.differences.pairs
    ]
    note = (
        "Differences of the IQM of final scores, P(first > second) and differences of the mean "
        f"[{interval_rule(analysis)}]. p: permutation test of the studentised difference of the "
        f"mean within tasks, all permutations or {analysis.repetitions:,} of more than "
        f"{ENUMERATED:,}; Holm-corrected for {len(rows)} pair{'s' * (len(rows) != 1)}, claimed "
        f"below {LEVEL:g}.{shortage_text(analysis)} {score_rule(analysis)}"
    )
    header = (
        "first",
        "second",
        "IQM difference",
        "P(first > second)",
        "mean difference",
        "p",
        "p (Holm)",
        "differ",
    )
    return make_table("pairwise", "Pairwise comparisons", header, rows, note)


def _verdict(analysis: Analysis, pair: Pair) -> str:
    """Returns whether two algorithms differ: `yes`, `no` or `too few runs`."""
    if pair.significant:
        return "yes"
    lacking = analysis.differences.shortage
    return "no" if pair.reachable or not lacking else f"too few {lacking.of}"


def leave_one_task_out(analysis: Analysis) -> Table:
    """How much the aggregate hangs on single tasks."""
    header = ("left out", *map(display_name, analysis.algorithms), "highest")
    estimates, algorithms = analysis.estimates, analysis.algorithms
    lines: dict[str, dict[str, float]] = {}
    if estimates.without_task and algorithms:
        everything: dict[str, float] = {a: estimates.aggregate(a).value for a in algorithms}
        lines = {"none": everything, **estimates.without_task}
    rows = [
        (
            Entry(task),
            *(number(values[a], 3, _ids_without(analysis, a, task)) for a in analysis.algorithms),
            Entry(display_name(max(values, key=lambda a: values[a]))),
        )
        for task, values in lines.items()
    ]
    note = f"IQM of the final scores of the other tasks. {score_rule(analysis)}"
    return make_table("leave_one_task_out", "Leave one task out", header, rows, note)


def reductions(analysis: Analysis) -> Table:
    """The IQM of final, best and mean scores, each labelled for what it is."""
    columns: dict[Reduction, dict[str, Estimate]] = {
        reduction: {
            each.algorithm: each.estimate
            for each in analysis.estimates.aggregates(reduction)
            if each.metric == "IQM"
        }
        for reduction in REDUCTIONS
    }
    rows = [
        (
            Entry(display_name(algorithm), None, analysis.scores.run_ids(algorithm)),
            *(estimate_entry(column.get(algorithm)) for column in columns.values()),
        )
        for algorithm in analysis.algorithms
    ]
    meaning = "; ".join(f"{name}: {text}" for name, text in REDUCTIONS.items())
    note = f"IQM over runs and tasks [{interval_rule(analysis)}]. {meaning}. {score_rule(analysis)}"
    return make_table("reductions", "Final, best and mean score", ("method", *columns), rows, note)


def times_to_threshold(analysis: Analysis) -> Table:
    """Environment steps until a score was first reached."""
    results = analysis.results
    rows = []
    for threshold in THRESHOLDS:
        for algorithm in results.algorithms:
            cells = [
                _time(
                    analysis.scores.times_to_threshold(algorithm, task, threshold),
                    tuple(each.run_id for each in analysis.scores.counted(algorithm, task)),
                )
                for task in results.tasks
            ]
            rows.append((number(threshold, 2), Entry(display_name(algorithm)), *cells))
    note = (
        "Median over runs of the environment steps at the first evaluation with that score, and "
        "how many of the runs that count reached it, if only before they diverged. Of an even "
        "number the median is the mean of the two in the middle: not reached where half of the "
        f"runs did not. {score_rule(analysis)}"
    )
    header = ("score", "method", *results.tasks)
    return make_table("time_to_threshold", "Steps to a score", header, rows, note)


def _published(reference: Reference, algorithm: str, task: str) -> Entry:
    value = reference.values.get((algorithm, task))
    return Entry(f"{value.mean:,.2f} ± {value.std:,.2f}", value.mean) if value else Entry("")


def _ids_without(analysis: Analysis, algorithm: str, left_out: str) -> tuple[str, ...]:
    return tuple(
        run_id
        for task in analysis.tasks
        if task != left_out
        for run_id in analysis.scores.of(algorithm, task).run_ids
    )


def _time(times: Sequence[float], runs: tuple[str, ...]) -> Entry:
    """Returns the median time and how many runs got there: `1,200,000 (5/5)`."""
    if not times:
        return Entry("")
    median = median_time(times)
    reached = sum(map(math.isfinite, times))
    text = number(median, 0).text if math.isfinite(median) else "not reached"
    return Entry(f"{text} ({reached}/{len(times)})", median, runs)
