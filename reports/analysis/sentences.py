"""What reports say in words: the answers, and what notes and captions tell of runs and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from reports.analysis.arms import Arms
from reports.analysis.bootstrap import CONFIDENCE
from reports.analysis.comparison import Analysis, Pair
from reports.analysis.run_scores import PUBLISHED
from reports.runs.bounds import Bounds
from reports.runs.names import display_name, named
from reports.runs.results import endings
from suite.common.claim_floor import LEVEL
from suite.storage.ablation_directory import Ablation

_TESTS = f"(Holm-corrected permutation tests of the mean at {LEVEL:g})"

# --- The answer --------------------------------------------------------------------------


def headline(analysis: Analysis) -> str:
    """Returns the answer in one sentence with its uncertainty."""
    if not analysis.algorithms:
        return "No algorithm has a score that can be aggregated yet."
    iqm = analysis.estimates.aggregate
    ranked = sorted(analysis.algorithms, key=lambda a: -iqm(a).value)
    best = ranked[0]
    over = f"over {task_count(analysis)}, {_runs_each(analysis)}"
    if len(ranked) == 1:
        return f"{display_name(best)} has an IQM score of {iqm(best)} {over}."
    top = f"{display_name(best)} has the highest IQM score, {iqm(best)}"
    parts = [f"{top} {over}", *_verdicts(analysis, best, ranked[1:])]
    return f"{', '.join(parts)} {_TESTS}."


def _runs_each(analysis: Analysis) -> str:
    sizes = [n for a in analysis.algorithms for n in analysis.scores.runs_per_task(a)]
    low, high = min(sizes), max(sizes)
    return f"{low if low == high else f'{low} to {high}'} run{'s' * (high != 1)} of each"


def _verdicts(analysis: Analysis, best: str, others: Sequence[str]) -> list[str]:
    """Returns what can be said of the difference of one algorithm from others."""
    differences = analysis.differences
    pairs = {other: differences.pair_of(best, other) for other in others}
    ahead = {other: _mean_ahead(best, pair) for other, pair in pairs.items()}
    groups = {
        "significantly above": [a for a, p in pairs.items() if p.significant and ahead[a]],
        "with a mean score significantly below that of": [
            a for a, p in pairs.items() if p.significant and not ahead[a]
        ],
        "not distinguishable from": [
            a for a, p in pairs.items() if p.reachable and not p.significant
        ],
    }
    texts = [f"{verdict} {named(labels)}" for verdict, labels in groups.items() if labels]
    unreachable = [a for a, p in pairs.items() if not (p.reachable or p.significant)]
    lacking = differences.shortage_of([pairs[a].sizes for a in unreachable])
    if lacking:
        texts.append(lacking.sentence(f" it from {named(unreachable)}"))
    return texts


def _mean_ahead(algorithm: str, pair: Pair) -> bool:
    return (pair.mean_difference.value > 0) == (pair.first == algorithm)


def arms_headline(arms: Arms) -> str:
    """Returns which arms stand out from the reference arm, in one sentence or two."""
    if not arms.ablation.axes:
        return headline(arms.analysis)
    found = arms.comparisons
    if not found:
        return "No arm can be compared with another yet."
    clear = [
        f"{display_name(label)} {comparison.difference}"
        for label, comparison in found.items()
        if comparison.p_holm < LEVEL
    ]
    lacking, reachable = arms.shortage, sum(each.reachable for each in found.values())
    if lacking and not reachable:
        text = lacking.sentence(f" any arm from arm {arms.reference.name}")
        return f"{text[0].upper()}{text[1:]} {_TESTS}."
    whole = f"{len(found)} differences from arm {arms.reference.name}"
    text = f"{len(clear) or 'None'} of {whole} {'is' if len(clear) == 1 else 'are'} shown"
    differing = f", by IQM: {'; '.join(clear)}" if clear else " at this number of runs"
    rest = f"; {lacking.sentence(f' {len(found) - reachable} of them')}" if lacking else ""
    return f"{text}{differing}{rest} {_TESTS}."


def scope(ablation: Ablation) -> str:
    """Returns what the arms have in common, for the page's stamp; empty for a single arm."""
    if not ablation.axes:
        return ""
    axes = " and ".join(axis.key for axis in ablation.axes)
    return f"One protocol ({ablation.protocol.name}) in all arms but for {axes}"


# --- Which runs, as what -----------------------------------------------------------------


def mode_words(analysis: Analysis) -> str:
    """Returns the mode in words: `published (sample: FPO and DPPO; deterministic: PPO)`."""
    if analysis.mode != PUBLISHED:
        return analysis.mode
    by_mode: dict[str, list[str]] = {}
    for algorithm in analysis.results.algorithms:
        by_mode.setdefault(analysis.scores.mode_of(algorithm), []).append(algorithm)
    parts = [f"{mode}: {named(labels)}" for mode, labels in sorted(by_mode.items())]
    return f"{analysis.mode} ({'; '.join(parts)})"


def mode_text(analysis: Analysis) -> str:
    """Returns which evaluations are shown."""
    return f"{mode_words(analysis)} evaluation"


def task_count(analysis: Analysis) -> str:
    """Returns over how many tasks is aggregated."""
    count = len(analysis.tasks)
    return f"{count} task{'s' * (count != 1)}"


def n_runs(analysis: Analysis) -> str:
    """Returns a sentence on the number of runs."""
    counts = {
        len(analysis.scores.of(algorithm, task))
        for algorithm in analysis.results.algorithms
        for task in analysis.results.tasks
    }
    if not counts - {0}:
        return "No run counts yet."
    low, high = min(counts - {0}), max(counts)
    none = ", where there are any" if 0 in counts else ""
    return f"n = {low if low == high else f'{low} to {high}'} runs per algorithm and task{none}."


def run_counts(analysis: Analysis) -> str:
    """Returns sentences on the number of runs, and on those that did not end well, if any."""
    results = analysis.results
    missing = sum(
        len(results.missing_seeds(a, t)) for a in results.algorithms for t in results.tasks
    )
    failed = ", ".join(endings(results.runs, missing))
    if not failed:
        return n_runs(analysis)
    why = f"Not at the end of the budget: {failed}. {analysis.policy.describe()}"
    return f"{n_runs(analysis)} {why}"


def score_rule(analysis: Analysis) -> str:
    """Returns how many runs count, which evaluations are scores, and what failed runs count as."""
    return (
        f"{n_runs(analysis)} Mode: {mode_words(analysis)}. {analysis.policy.describe()}"
        f"{unscored_text(analysis)}"
    )


def score_words(analysis: Analysis) -> str:
    """Returns what a score is: `return / 1000`."""
    results = analysis.results
    bounds = {results.bounds(task) for task in analysis.scores.scored_tasks}
    first = next(iter(bounds), Bounds())
    if len(bounds) < 2 and first.low == 0:
        return f"return / {first.high:g}"
    return "place of the return between its task's bounds"


def unscored_text(analysis: Analysis) -> str:
    """Returns a sentence on tasks without scores, with a space in front."""
    tasks = [task for task in analysis.results.tasks if task not in analysis.scores.scored_tasks]
    if not tasks:
        return ""
    return f" No scores on {', '.join(tasks)}, where the bounds of the return are not known."


def left_out_text(analysis: Analysis) -> str:
    """Returns sentences on what is in no aggregate, with a space in front, for captions."""
    found = _left_out(analysis, "")
    return f"{f' Left out for want of runs: {found}.' if found else ''}{unscored_text(analysis)}"


def left_out_note(analysis: Analysis) -> str:
    """Returns a sentence on algorithms in no aggregate, with a space in front, for tables."""
    found = _left_out(analysis, "no score on ")
    return f" Not aggregated: {found}." if found else ""


def _left_out(analysis: Analysis, lacking: str) -> str:
    return "; ".join(
        f"{display_name(algorithm)} ({lacking}{', '.join(tasks) or 'some task'})"
        for algorithm, tasks in analysis.scores.left_out.items()
    )


# --- Intervals and tests -----------------------------------------------------------------


def interval_rule(analysis: Analysis) -> str:
    """Returns what the intervals of a table are, in a few words."""
    return _intervals("percentile interval, stratified bootstrap", analysis.draws.repetitions)


def interval_text(analysis: Analysis) -> str:
    """Returns a sentence on the intervals of values."""
    return f"Intervals: {_nominal(analysis.draws.repetitions)}"


def band_text(analysis: Analysis) -> str:
    """Returns a sentence on the bands of curves."""
    return f"Bands: pointwise, {_nominal(analysis.draws.band_repetitions)}"


def _nominal(repetitions: int) -> str:
    made = _intervals("percentile intervals, stratified bootstrap over runs", repetitions)
    return f"nominal {made}; none where a task has a single run."


def _intervals(how: str, repetitions: int) -> str:
    return f"{CONFIDENCE:.0%} {how}, {repetitions:,} repetitions"


def shortage_text(analysis: Analysis) -> str:
    """Returns a sentence on pairs that could never differ, with a space in front."""
    found = analysis.differences
    if not found.shortage:
        return ""
    count = sum(not pair.reachable for pair in found.pairs)
    which = "the pairs" if count == len(found.pairs) else f"{count} of the pairs"
    return f" There are {found.shortage.sentence(f' {which} apart')}."
