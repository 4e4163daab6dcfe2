"""What an answer of answers.py hangs on: another choice, a single task, or the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from benchmarks.publishing.answers import Question, pair_words, restricted, with_grounds
from reports.analysis import bootstrap
from reports.analysis.comparison import Analysis
from reports.judgement.verdicts import Judged, Judgement
from reports.judgement.wording import p_words
from reports.runs.names import display_name
from suite.common.claim_floor import LEVEL

LAST_FIFTH = 0.8

_FEWEST_TASKS = 3
"""Of which one can be left out with an average left to speak of."""


def otherwise(question: Question, other: Question, choice: str) -> str:
    """Returns what the answer over tasks would be by another choice, "" if it changed nothing.

    Args:
        question: as it was asked.
        other: the same, asked by the other choice.
        choice: in words that begin a sentence.
    """
    before = {(pair.new, pair.stored): pair for pair in question.judgement.pairs}
    turned, moved = [], []
    for pair in other.judgement.pairs:
        old = before[pair.new, pair.stored]
        told = with_grounds(pair, p_words(pair.p_different_holm))
        if pair.outcome != old.outcome:
            turned.append(f"{told}, {pair.outcome}")
        elif pair.difference.value != old.difference.value:
            moved.append(told)
    if turned:
        rest = f" Different in size alone: {'; '.join(moved)}." if moved else ""
        return f"{choice}, another outcome: {'; '.join(turned)}.{rest}"
    if moved:
        return f"{choice}, every outcome is the same, with other differences: {'; '.join(moved)}."
    return ""


def one_task_less(question: Question) -> str:
    """Returns which of the shown differences hang on a single task.

    Args:
        question: as it was asked.

    Returns:
        What may follow "whichever task is left out, "; "" with too few tasks, or where nothing
        is shown.
    """
    judgement = question.judgement
    tasks = judgement.analysis.tasks
    shown = [pair for pair in judgement.pairs if pair.p_different_holm < LEVEL]
    if len(tasks) < _FEWEST_TASKS or not shown:
        return ""
    lost: dict[str, list[str]] = {pair_words(pair): [] for pair in shown}
    for task in tasks:
        for pair, difference, p in _without(judgement, task):
            if pair in shown and not (p < LEVEL and difference * pair.difference.value > 0):
                lost[pair_words(pair)].append(f"without {task} ({difference:.3f}, {p_words(p)})")
    steady = "; ".join(pair for pair, told in lost.items() if not told) or "nothing"
    fragile = "; ".join(f"{pair} {', '.join(told)}" for pair, told in lost.items() if told)
    return f"these are shown: {steady}." + (f" These are not: {fragile}." if fragile else "")


def still_rising(analysis: Analysis) -> str:
    """Returns how much methods still learned over the last fifth of the budget, "" if unknown.

    Args:
        analysis: of the runs; those that are done count, by their returns.
    """
    results = analysis.results
    from_steps, rises = LAST_FIFTH * results.budget, []
    for method in analysis.algorithms:
        runs = {task: results.runs_of(method, task) for task in results.tasks}
        done = {task: [r for r in of if r.state == "done"] for task, of in runs.items()}
        of_tasks = [
            np.mean([_rise(run.mode_curve(analysis.mode), from_steps) for run in of])
            for of in done.values()
            if of
        ]
        if of_tasks:
            few = _counted(sum(map(len, done.values())), sum(map(len, runs.values())))
            rises.append(f"{display_name(method)} {np.mean(of_tasks):.0f}{few}")
    if not rises:
        return ""
    return (
        "From four fifths of the budget to its end the return of finished runs rose on, in the "
        f"mean over tasks: {', '.join(rises)}."
    )


def _counted(done: int, runs: int) -> str:
    """Returns how many runs that is of, where it is not of all."""
    return "" if done == runs else f" ({done} of {runs} runs)"


def _rise(curve: pd.DataFrame, from_steps: float) -> float:
    before = curve["return_mean"][curve["env_steps"] <= from_steps]
    return float(curve["return_mean"].iloc[-1] - before.iloc[-1])


def _without(judgement: Judgement, task: str) -> Iterator[tuple[Judged, float, float]]:
    """Yields each comparison without a task: its difference, and p corrected for all of them."""
    pairs, whole = judgement.pairs, judgement.analysis
    rest = restricted(whole, whole.algorithms, [each for each in whole.tasks if each != task])
    ps = [rest.differences.p_value(pair.new, pair.stored) for pair in pairs]
    for pair, p in zip(pairs, bootstrap.holm([1.0 if p is None else p for p in ps]), strict=True):
        x, y = rest.scores.common(pair.new, pair.stored)
        yield pair, _mean(x) - _mean(y), p


def _mean(scores: Sequence[np.ndarray]) -> float:
    """Returns the mean over tasks of the mean over runs."""
    return float(np.mean([np.mean(task) for task in scores]))
