"""Tables of what others published: what it is, learning curves' evaluations, returns by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reports.references.parsing import Evaluations
from reports.references.published import SAID_IN_NOTES, Reference
from reports.runs.results import Results
from reports.tables.entries import make_table, spread, text_entries
from reports.tables.table import Entry, Table, number


def reference_tables(results: Results, references: Sequence[Reference]) -> list[Table]:
    """Returns the tables that references need beside their final returns."""
    return [
        evaluations_table(results, references),
        stages_table(results, references),
        cards_table(references),
    ]


def cards_table(references: Sequence[Reference]) -> Table:
    """What the shipped references are, without rows if the notes of tables say it all."""
    cards = {each.name: each.card for each in references if each.card}
    if list(cards) == [SAID_IN_NOTES]:
        cards = {}
    rows = [
        text_entries(
            (name, card.source, card.evaluated, card.seeds, card.mode, card.steps, card.remark)
        )
        for name, card in cards.items()
    ]
    columns = ("reference", "source", "what", "seeds", "evaluated with", "steps", "remark")
    note = "Published elsewhere; no statistic of this report uses a number of them."
    return make_table("references", "References", columns, rows, note)


def evaluations_table(results: Results, references: Sequence[Reference]) -> Table:
    """Evaluations of published learning curves: the last within these runs' budget, and the last.

    None is between two evaluations that were made.
    """
    rows = [
        (Entry(name), Entry(when), *cells)
        for reference in references
        for name, curves in _by_name(reference, results).items()
        for when, cells in (
            ("within the budget here", [_within(each, results.budget) for each in curves]),
            ("last", [_last(each) for each in curves]),
        )
    ]
    shown = [each for each in references if each.evaluations]
    note = (
        "Mean ± sample standard deviation over seeds @ environment steps; the budget here is "
        f"{results.budget:,} steps. "
        + " ".join(f"{each.name}: {each.description}." for each in shown)
    )
    columns = ("method", "evaluation", *results.tasks)
    title = "Published learning curves"
    return make_table("reference_evaluations", title, columns, rows, note)


def stages_table(results: Results, references: Sequence[Reference]) -> Table:
    """Published returns at the end of every stage, of the tasks that were run."""
    found = [
        (reference.display(algorithm), task, stages)
        for reference in references
        for (algorithm, task), stages in reference.stages.items()
        if task in results.tasks
    ]
    longest = max((len(stages) for _, _, stages in found), default=0)
    rows = [
        (Entry(name), Entry(task), *_padded((number(each, 1) for each in stages), longest))
        for name, task, stages in found
    ]
    columns = ("method", "task", *(f"stage {index}" for index in range(longest)))
    note = "Published return at the end of every stage, of the tasks that were run here."
    return make_table("reference_stages", "Published returns by stage", columns, rows, note)


def _by_name(reference: Reference, results: Results) -> dict[str, list[Evaluations | None]]:
    """Returns a reference's curves by the name that readers see, one for each task."""
    curves = [dict(reference.evaluations_on(task)) for task in results.tasks]
    names = dict.fromkeys(name for each in curves for name in each)
    return {name: [each.get(name) for each in curves] for name in names}


def _within(curve: Evaluations | None, budget: int) -> Entry:
    if curve is None:
        return Entry("")
    index = curve.last_until(budget)
    return Entry("none") if index is None else _evaluation(curve, index)


def _last(curve: Evaluations | None) -> Entry:
    return Entry("") if curve is None else _evaluation(curve, len(curve.steps) - 1)


def _evaluation(curve: Evaluations, index: int) -> Entry:
    """Returns `269.72 ± 17.01 @ 9,830,400`."""
    entry = spread(list(curve.returns[index]), ())
    return Entry(f"{entry.text} @ {curve.steps[index]:,}", entry.value)


def _padded(entries: Iterable[Entry], length: int) -> Iterator[Entry]:
    found = list(entries)
    yield from [*found, *(Entry("") for _ in range(length - len(found)))]
