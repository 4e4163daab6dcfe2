"""The tables of docs/results.md that no report has."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence

from benchmarks.publishing.answers import OnTask
from envs.names import TASK_SETS
from reports.analysis.bootstrap import Estimate
from reports.analysis.comparison import Analysis
from reports.analysis.sentences import interval_rule, score_rule
from reports.runs.names import METHODS, Label, algorithm_order, display_name
from reports.runs.results import ENDINGS, Results, Run
from reports.tables.entries import make_table, p_value_entry
from reports.tables.table import Entry, Table, to_markdown

TASKS = TASK_SETS["dmc6"]
SEEDS = 5
"""With `METHODS`, what the comparison is to be in the end."""

WIDTH = 100
"""Of a line of text on a page."""


def cell_seconds(run: Run) -> float | None:
    """Returns a run's share of the wall-clock seconds of its job; None if they are not known."""
    if run.state not in ("done", "diverged") or run.status is None or run.configuration is None:
        return None
    return run.status.wall_seconds / len(run.configuration.seeds_together)


def returns_table(analysis: Analysis) -> Table:
    """Mean final return with its interval, of every method on every task."""
    results = analysis.results
    rows = [
        (Entry(display_name(a)), *(_return_entry(analysis, a, task) for task in results.tasks))
        for a in results.algorithms
    ]
    note = (
        f"Mean final return over seeds [{interval_rule(analysis)}]; none where there is a single "
        f"seed, and too narrow where there are few. Budget: {results.budget:,} environment steps. "
        f"{score_rule(analysis)}"
    )
    return make_table("returns", "Final returns", ("method", *results.tasks), rows, note)


def _return_entry(analysis: Analysis, algorithm: str, task: str) -> Entry:
    found = analysis.estimates.return_estimate(algorithm, task)
    ended = analysis.results.endings(algorithm, task)
    if found is None:
        return Entry(", ".join(ended))
    runs = len(analysis.scores.of(algorithm, task))
    marks = ", ".join([f"n = {runs}", *ended])
    return Entry(f"{_rounded(found)} ({marks})", found.value)


def _rounded(found: Estimate) -> str:
    interval = f" [{found.low:.0f}, {found.high:.0f}]" if found.has_interval else ""
    return f"{found.value:.0f}{interval}"


def cells_table(results: Results) -> Table:
    """What became of every planned cell, and of those of other methods."""
    methods = sorted({*METHODS, *results.algorithms}, key=algorithm_order)
    tasks = [*TASKS, *(task for task in results.tasks if task not in TASKS)]
    rows = [
        (Entry(display_name(m)), *(Entry(_cell_state(results, m, task)) for task in tasks))
        for m in methods
    ]
    note = f"Seeds of each method on each task; {SEEDS} are planned of the five methods."
    return make_table("cells", "Cells", ("method", *tasks), rows, note)


def _cell_state(results: Results, label: str, task: str) -> str:
    states = [run.state for run in results.runs_of(label, task)]
    told = [f"{count} done"] if (count := states.count("done")) else []
    told += [f"{states.count(s)} {words}" for s, words in ENDINGS.items() if s in states]
    planned = SEEDS if Label(label) in METHODS and task in TASKS else 0
    if len(states) < planned:
        told.append(f"{planned - len(states)} missing")
    return ", ".join(told)


def seconds_table(results: Results) -> Table:
    """Wall-clock seconds of a cell, of every method on every task."""
    rows = []
    for algorithm in results.algorithms:
        cells = []
        for task in results.tasks:
            found = [cell_seconds(run) for run in results.runs_of(algorithm, task)]
            known = [value for value in found if value is not None]
            text = f"{statistics.median(known):,.0f}" if known else ""
            cells.append(Entry(text, statistics.median(known) if known else None))
        rows.append((Entry(display_name(algorithm)), *cells))
    note = (
        "Median over seeds of the wall-clock seconds of the job, divided among the seeds that it "
        "trains at once; those of a seed that diverged are seconds until then. Measured with "
        "whatever else the machine did."
    )
    return make_table("seconds", "Seconds of a cell", ("method", *results.tasks), rows, note)


def on_tasks_table(found: Sequence[OnTask]) -> Table:
    """Every generative method against every Gaussian one, on each task by itself."""
    rows = [
        (
            Entry(each.task),
            Entry(display_name(each.judged.new)),
            Entry(display_name(each.judged.stored)),
            Entry(str(each.judged.difference), each.judged.difference.value),
            p_value_entry(each.judged.p_different),
            p_value_entry(each.p_holm),
            p_value_entry(each.q),
            Entry("higher" if each.is_higher else "lower" if each.is_lower else _open(each)),
        )
        for each in found
    ]
    note = (
        "Mean score of the generative method less that of the Gaussian one on each task by itself, "
        f"and the permutation test; p (Holm) and q are over the {len(rows)} rows together. Shown "
        "is what Holm's p shows. q: the least false discovery rate (Benjamini and Hochberg) at "
        "which a row is named: a weaker word, of which some are expected to be wrong."
    )
    columns = ("task", "generative", "Gaussian", "mean difference", "p", "p (Holm)", "q", "shown")
    return make_table("on_tasks", "Generative against Gaussian, task by task", columns, rows, note)


def _open(found: OnTask) -> str:
    return "nothing" if found.reachable else "too few runs"


def plain_table(table: Table) -> str:
    """Returns a table without its heading, its note wrapped."""
    text = to_markdown(table).partition("\n\n")[2]
    rows, _, note = text.rstrip().partition("\n\n")
    return f"{rows}\n\n{textwrap.fill(note, WIDTH)}\n" if note else f"{rows}\n"
