"""What captions of figures say of runs and intervals."""

from __future__ import annotations

from reports.analysis import Analysis
from reports.results import display_name
from reports.statistics import CONFIDENCE


def mode_text(analysis: Analysis) -> str:
    """Returns which evaluations are shown."""
    return f"{analysis.mode_text} evaluation"


def task_count(analysis: Analysis) -> str:
    """Returns over how many tasks is aggregated."""
    count = len(analysis.tasks)
    return f"{count} task{'s' * (count != 1)}"


def run_counts(analysis: Analysis) -> str:
    """Returns a sentence on the number of runs."""
    counts = {
        len(analysis.scores_of(algorithm, task))
        for algorithm in analysis.results.algorithms
        for task in analysis.results.tasks
    }
    if not counts - {0}:
        return "No run counts yet."
    low, high = min(counts - {0}), max(counts)
    return f"n = {low if low == high else f'{low} to {high}'} runs per algorithm and task."


def interval_text(analysis: Analysis) -> str:
    """Returns a sentence on the intervals of values."""
    return f"Intervals: {_method(analysis.repetitions)}"


def band_text(analysis: Analysis) -> str:
    """Returns a sentence on the bands of curves."""
    return f"Bands: pointwise, {_method(analysis.band_repetitions)}"


def left_out_text(analysis: Analysis) -> str:
    """Returns a sentence on algorithms that are in no aggregate, with a space in front."""
    parts = [f"{display_name(a)} ({', '.join(tasks)})" for a, tasks in analysis.left_out.items()]
    return f" Left out for want of runs: {'; '.join(parts)}." if parts else ""


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
