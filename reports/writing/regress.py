"""`suite regress`: whether a run is worse than its reference, for a terminal or as plain data."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from reports.judgement.deciding import POWER
from reports.judgement.margins import Judging
from reports.judgement.regression import Checked, Regression, check_directories
from reports.judgement.wording import seeds_words
from reports.runs.names import display_name, named
from reports.tables.entries import estimate_entry, make_table, p_value_entry
from reports.tables.table import Entry, Table, to_text
from reports.writing.report_request import ReportRequest
from suite.common.claim_floor import LEVEL
from suite.common.errors import UserError
from suite.storage.ablation_directory import is_ablation
from suite.storage.origin import completed


def find_regression(request: ReportRequest, reference: Path, margin: float) -> Regression:
    """Checks one run directory against its reference.

    Args:
        request: of the run directory alone.
        reference: directory of the older runs.
        margin: by how much a mean score may be lower.

    Raises:
        UserError: the two cannot be compared, or have too few runs for any outcome but
            undecided, whatever their scores: a check that can never fail is none.
    """
    Judging((), margin)
    for path in (reference, *request.directories):
        if is_ablation(path):
            raise UserError(f"{path} is an ablation; name the run directory of one of its arms")
    check_directories(reference, *request.directories)
    older = dataclasses.replace(request, directories=(reference,))
    found = Regression(request.analyse(), older.analyse(), margin)
    if not found.checked:
        raise UserError("no method has a score on a task that both hold; check by `suite status`")
    lacking = found.shortage
    if lacking and not any(each.decidable for each in found.checked):
        raise UserError(f"{lacking.sentence('')} in the run and in the reference")
    return found


def regression_text(found: Regression) -> str:
    """Returns the answer in a sentence, and the table."""
    return f"{regression_sentence(found)}\n\n{to_text(regression_table(found))}".rstrip()


def regression_sentence(found: Regression) -> str:
    """Returns which methods are worse by more than the margin, not worse, or undecided."""
    groups = {
        f"Worse by more than {found.margin:g}": "worse",
        f"Not worse by {found.margin:g} or more": "not worse",
        "Undecided": "undecided",
    }
    parts = {
        words: [each.algorithm for each in found.checked if each.outcome == outcome]
        for words, outcome in groups.items()
    }
    return ". ".join(f"{words}: {named(labels)}" for words, labels in parts.items() if labels) + "."


def regression_table(found: Regression) -> Table:
    """Every method that both directories hold: the verdict and what it rests on."""
    rows = [
        (
            Entry(display_name(each.algorithm)),
            Entry(str(len(each.tasks)), len(each.tasks)),
            Entry(_runs(each)),
            Entry("not worse (identical)" if each.identical else each.outcome),
            estimate_entry(each.difference),
            Entry("") if each.identical else p_value_entry(each.p_not_worse),
            Entry("") if each.identical else p_value_entry(each.p_worse_holm),
            _seeds(found, each),
        )
        for each in found.checked
    ]
    columns = (
        "method",
        "tasks",
        "runs per task",
        "verdict",
        "mean difference",
        "p not worse",
        "p worse (Holm)",
        "seeds to decide",
    )
    return make_table("regression", "Against the reference", columns, rows, _note(found))


def notes_on(found: Regression) -> list[str]:
    """Returns what a user should know beside the answer, a line each."""
    mine, theirs = found.run.results, found.reference.results
    lines = []
    for results, others, where in ((mine, theirs, "run"), (theirs, mine, "reference")):
        lone = [each for each in results.algorithms if each not in others.algorithms]
        if lone:
            lines.append(f"not checked, as only the {where} holds it: {named(lone)}")
        tasks = [task for task in results.tasks if task not in others.tasks]
        if tasks:
            lines.append(f"left out, as only the {where} holds it: {', '.join(tasks)}")
        for label in found.algorithms:
            for task in results.tasks:
                if failed := results.endings(label, task):
                    name = f"{display_name(label)} on {task}"
                    lines.append(f"{name}, {where}: {', '.join(failed)}")
    if found.unscored:
        lines.append(f"not checked, as without a score on a common task: {named(found.unscored)}")
    for label in found.algorithms:
        before, now = (completed(each.settings_of(label)) for each in (theirs, mine))
        changed = [k for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
        if changed:
            lines.append(f"{display_name(label)} has other settings: {', '.join(changed)}")
    return lines


def undecided_note(found: Regression, strict: bool) -> str:
    """Returns what to make of an outcome that is undecided, in a line."""
    open_ones = [each for each in found.checked if _is_open(each)]
    seeds = max((found.seeds(each) for each in open_ones), default=math.nan)
    needed = f"; seeds of each that would decide: {seeds_words(seeds)}" if open_ones else ""
    passes = "--strict makes this exit with 1" if not strict else "which --strict counts as failed"
    return f"neither a regression nor its absence is shown{needed}; {passes}"


def regression_plain(found: Regression) -> dict[str, Any]:
    """Returns the answer as plain data; None stands for what is not known or not finite."""
    return {
        "margin": found.margin,
        "outcome": found.outcome,
        "methods": [
            {
                "method": str(each.algorithm),
                "outcome": each.outcome,
                "identical": each.identical,
                "tasks": list(each.tasks),
                "runs": [list(pair) for pair in each.sizes],
                "difference": each.difference.value,
                "low": _finite(each.difference.low),
                "high": _finite(each.difference.high),
                "p_not_worse": None if each.identical else each.p_not_worse,
                "p_worse_holm": None if each.identical else each.p_worse_holm,
                "seeds_to_decide": _finite(found.seeds(each)) if _is_open(each) else None,
            }
            for each in found.checked
        ],
    }


def _is_open(each: Checked) -> bool:
    return each.outcome == "undecided"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _runs(each: Checked) -> str:
    """Returns `3 and 5`: the fewest runs of a task, of the run and of the reference."""
    mine, theirs = (min(side) for side in zip(*each.sizes, strict=True))
    return f"{mine} and {theirs}"


def _seeds(found: Regression, each: Checked) -> Entry:
    return Entry(seeds_words(found.seeds(each)) if _is_open(each) else "")


def _note(found: Regression) -> str:
    margin, count = f"{found.margin:g}", len(found.checked)
    return (
        "Mean final score of the run less that of the reference, over the tasks that both hold "
        f"[95% percentile interval, {found.run.repetitions:,} repetitions]. p: one-sided "
        f"permutation tests with the run's scores raised by {margin}, claimed below {LEVEL:g}. Not "
        f"worse: lower by less than {margin}; worse: lower by more, Holm-corrected for {count} "
        f"method{'s' * (count != 1)}. Runs of equal seeds are not taken as pairs; identical: bit "
        "for bit the reference's, so not tested. Seeds to decide: of both, with probability "
        f"{POWER:g}, if the true difference is the observed one and runs scatter as the stored "
        "ones do. "
        f"{found.run.policy.describe()}"
    )
