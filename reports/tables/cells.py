"""What several tables are made of: entries, rows and the sentences of their notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reports.analysis.bootstrap import Estimate
from reports.analysis.captions import ENDINGS, n_runs, unscored_text
from reports.analysis.comparison import Analysis
from reports.runs.names import display_name
from reports.runs.results import Results, Run
from reports.tables.table import Entry, Table


def make_table(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Entry]],
    note: str = "",
) -> Table:
    """Returns a table whose columns, rows and note may be any iterables and untrimmed text."""
    return Table(name, title, tuple(columns), tuple(tuple(row) for row in rows), note.strip())


def text_entries(texts: Iterable[str]) -> tuple[Entry, ...]:
    """Returns a row of nothing but texts."""
    return tuple(Entry(text) for text in texts)


def plain(value: Any) -> str:
    """Returns a value of JSON as a reader would write it: lists without brackets, 6 digits."""
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {plain(each)}" for key, each in sorted(value.items()))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def estimate_entry(estimate: Estimate | None, runs: tuple[str, ...] = ()) -> Entry:
    """Returns `0.512 [0.480, 0.550]` with the runs behind it, nothing for None."""
    return Entry(str(estimate), estimate.value, runs) if estimate else Entry("", None, runs)


def p_value_entry(p_value: float) -> Entry:
    """Returns a p-value with four digits, as nothing smaller than a ten-thousandth is meant."""
    return Entry("<0.0001" if p_value < 1e-4 else f"{p_value:.4f}", p_value)


def spread(values: Sequence[float], runs: tuple[str, ...]) -> Entry:
    """Returns mean ± sample standard deviation, the mean alone for one value."""
    if not values:
        return Entry("", None, runs)
    mean = float(np.mean(values))
    if len(values) == 1:
        return Entry(f"{mean:.2f}", mean, runs)
    return Entry(f"{mean:.2f} ± {np.std(values, ddof=1):.2f}", mean, runs)


def final_return(analysis: Analysis, algorithm: str, task: str) -> Entry:
    """Returns the final returns that count and what became of the others.

    `412.30 ± 20.10 (n = 2, 1 missing)`; without a mark where every run ended well.
    """
    found = analysis.scores_of(algorithm, task)
    failed = endings(analysis.results, algorithm, task)
    if not len(found):
        return Entry(", ".join(failed), None, found.run_ids)
    entry = spread(list(analysis.returns_of(algorithm, task)), found.run_ids)
    marks = ", ".join([f"n = {len(found)}", *failed])
    return dataclasses.replace(entry, text=f"{entry.text} ({marks})") if failed else entry


def endings(results: Results, algorithm: str, task: str) -> list[str]:
    """Returns how many runs did not end well: `2 diverged`, `1 missing`."""
    states = [run.state for run in results.runs_of(algorithm, task)]
    counts = {name: states.count(state) for state, name in ENDINGS.items()}
    counts["missing"] = len(results.missing_seeds(algorithm, task))
    return [f"{count} {name}" for name, count in counts.items() if count]


def count_entry(count: int, endings: Sequence[str], runs: tuple[str, ...] = ()) -> Entry:
    """Returns how many runs a row's numbers are from, and what became of the others.

    `5`, or `3 (1 diverged, 1 unfinished)`.
    """
    return Entry(f"{count} ({', '.join(endings)})" if endings else str(count), count, runs)


def run_groups(results: Results) -> Iterator[tuple[str, str, list[Run]]]:
    """Yields every algorithm and task that has runs, with them."""
    for algorithm in results.algorithms:
        for task in results.tasks:
            group = results.runs_of(algorithm, task)
            if group:
                yield algorithm, task, group


def settings_of(results: Results, algorithm: str) -> Mapping[str, Any]:
    """Returns the hyper-parameters of an algorithm's first run that is not damaged, if any."""
    mine = [run for run in results.runs if run.algorithm == algorithm and run.configuration]
    mine.sort(key=lambda run: run.state == "damaged")
    return mine[0].configuration.hyperparameters if mine and mine[0].configuration else {}


def score_rule(analysis: Analysis) -> str:
    """Returns how many runs count, which evaluations are scores, and what failed runs count as."""
    return (
        f"{n_runs(analysis)} Mode: {analysis.mode_text}. {analysis.policy.describe()}"
        f"{unscored_text(analysis)}"
    )


def interval_rule(analysis: Analysis) -> str:
    """Returns what the intervals of a table are."""
    return f"95% percentile interval, stratified bootstrap, {analysis.repetitions:,} repetitions"


def left_out_note(analysis: Analysis) -> str:
    """Returns a sentence on the algorithms that no aggregate holds, with a space in front."""
    if not analysis.left_out:
        return ""
    listed = "; ".join(
        f"{display_name(algorithm)} (no score on {', '.join(tasks) or 'some task'})"
        for algorithm, tasks in analysis.left_out.items()
    )
    return f" Not aggregated: {listed}."
