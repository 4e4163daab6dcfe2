"""What several tables are made of: entries for numbers of each kind, and rows of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from reports.analysis.bootstrap import Estimate
from reports.analysis.claims import SMALLEST_TOLD
from reports.analysis.comparison import Analysis
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


def estimate_entry(estimate: Estimate | None, runs: tuple[str, ...] = ()) -> Entry:
    """Returns `0.512 [0.480, 0.550]` with the runs behind it, nothing for None."""
    return Entry(str(estimate), estimate.value, runs) if estimate else Entry("", None, runs)


def p_value_entry(p_value: float) -> Entry:
    """Returns a p-value with four digits, or that it is below `SMALLEST_TOLD`."""
    below = p_value < SMALLEST_TOLD
    return Entry(f"<{SMALLEST_TOLD:g}" if below else f"{p_value:.4f}", p_value)


def spread(
    values: Sequence[float], runs: tuple[str, ...], digits: str = ".2f", of_spread: str = ".2f"
) -> Entry:
    """Returns mean ± sample standard deviation, the mean alone for one value."""
    if not values:
        return Entry("", None, runs)
    mean = float(np.mean(values))
    if len(values) == 1:
        return Entry(f"{mean:{digits}}", mean, runs)
    return Entry(f"{mean:{digits}} ± {np.std(values, ddof=1):{of_spread}}", mean, runs)


def final_return(analysis: Analysis, algorithm: str, task: str) -> Entry:
    """Returns the final returns that count and what became of the others.

    `412.30 ± 20.10 (n = 2, 1 missing)`; without a mark where every run ended well.
    """
    found = analysis.scores.of(algorithm, task)
    failed = analysis.results.endings(algorithm, task)
    if failed and len(found):
        return counted_return(analysis, algorithm, task, failed)
    returns = list(analysis.scores.returns(algorithm, task))
    return spread(returns, found.run_ids) if returns else Entry(", ".join(failed))


def counted_return(analysis: Analysis, algorithm: str, task: str, ended: Sequence[str]) -> Entry:
    """Returns the final returns that count with their number, and what became of the others."""
    ids = analysis.scores.of(algorithm, task).run_ids
    entry = spread(list(analysis.scores.returns(algorithm, task)), ids)
    marks = ", ".join([f"n = {len(ids)}", *ended])
    return dataclasses.replace(entry, text=f"{entry.text} ({marks})")


def count_entry(count: int, ended: Sequence[str], runs: tuple[str, ...] = ()) -> Entry:
    """Returns how many runs a row's numbers are from, and what became of the others.

    `5`, or `3 (1 diverged, 1 unfinished)`.
    """
    return Entry(f"{count} ({', '.join(ended)})" if ended else str(count), count, runs)
