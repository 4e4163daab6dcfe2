"""What captions of figures say of runs and intervals."""

from __future__ import annotations

from collections.abc import Mapping

from reports.analysis.bootstrap import CONFIDENCE
from reports.analysis.comparison import Analysis
from reports.runs.bounds import Bounds
from reports.runs.names import display_name
from reports.runs.results import RunState

ENDINGS: Mapping[RunState, str] = {
    "diverged": "diverged",
    "running": "unfinished",
    "damaged": "damaged",
}
"""What readers are told of runs that did not come to their end."""


def mode_text(analysis: Analysis) -> str:
    """Returns which evaluations are shown."""
    return f"{analysis.mode_text} evaluation"


def task_count(analysis: Analysis) -> str:
    """Returns over how many tasks is aggregated."""
    count = len(analysis.tasks)
    return f"{count} task{'s' * (count != 1)}"


def run_counts(analysis: Analysis) -> str:
    """Returns sentences on the number of runs, and on those that did not end well, if any."""
    failed = _ended_badly(analysis)
    if not failed:
        return n_runs(analysis)
    why = f"Not at the end of the budget: {failed}. {analysis.policy.describe()}"
    return f"{n_runs(analysis)} {why}"


def score_words(analysis: Analysis) -> str:
    """Returns what a score is: `return / 1000`."""
    results = analysis.results
    bounds = {results.bounds(task) for task in analysis.scored_tasks}
    first = next(iter(bounds), Bounds())
    if len(bounds) < 2 and first.low == 0:
        return f"return / {first.high:g}"
    return "place of the return between its task's bounds"


def unscored_text(analysis: Analysis) -> str:
    """Returns a sentence on tasks without scores, with a space in front."""
    tasks = [task for task in analysis.results.tasks if task not in analysis.scored_tasks]
    if not tasks:
        return ""
    return f" No scores on {', '.join(tasks)}, where the bounds of the return are not known."


def n_runs(analysis: Analysis) -> str:
    """Returns a sentence on the number of runs."""
    counts = {
        len(analysis.scores_of(algorithm, task))
        for algorithm in analysis.results.algorithms
        for task in analysis.results.tasks
    }
    if not counts - {0}:
        return "No run counts yet."
    low, high = min(counts - {0}), max(counts)
    none = ", where there are any" if 0 in counts else ""
    return f"n = {low if low == high else f'{low} to {high}'} runs per algorithm and task{none}."


def interval_text(analysis: Analysis) -> str:
    """Returns a sentence on the intervals of values."""
    return f"Intervals: {_method(analysis.repetitions)}"


def band_text(analysis: Analysis) -> str:
    """Returns a sentence on the bands of curves."""
    return f"Bands: pointwise, {_method(analysis.band_repetitions)}"


def left_out_text(analysis: Analysis) -> str:
    """Returns a sentence on algorithms that are in no aggregate, with a space in front."""
    parts = [f"{display_name(a)} ({', '.join(tasks)})" for a, tasks in analysis.left_out.items()]
    left_out = f" Left out for want of runs: {'; '.join(parts)}." if parts else ""
    return left_out + unscored_text(analysis)


def _ended_badly(analysis: Analysis) -> str:
    """Returns `2 diverged, 1 unfinished, 3 missing`, empty if every run came to its end."""
    results = analysis.results
    states = [run.state for run in results.runs]
    counts = {words: states.count(state) for state, words in ENDINGS.items()}
    counts["missing"] = sum(
        len(results.missing_seeds(algorithm, task))
        for algorithm in results.algorithms
        for task in results.tasks
    )
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def shortage_text(analysis: Analysis) -> str:
    """Returns a sentence on pairs that could never differ, with a space in front."""
    if not analysis.shortage:
        return ""
    count = sum(not pair.reachable for pair in analysis.pairs)
    which = "the pairs" if count == len(analysis.pairs) else f"{count} of the pairs"
    return f" There are {analysis.shortage.sentence(f' {which} apart')}."


def _method(repetitions: int) -> str:
    return (
        f"nominal {CONFIDENCE:.0%} percentile intervals, stratified bootstrap over runs, "
        f"{repetitions:,} repetitions; none where a task has a single run."
    )
