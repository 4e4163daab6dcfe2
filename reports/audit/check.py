"""What the checks of an audit are made of: verdicts, and the sentences that say who differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from reports.runs.names import listed
from reports.runs.results import FindingKind, Results, Run, run_name

Word = Literal["ok", "failed", "warning", "not recorded"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One question of an audit.

    Attributes:
        name: what was checked.
        verdict: `failed` if the comparison is unfair, `warning` if it is only odd.
        text: one sentence with the runs and values concerned.
    """

    name: str
    verdict: Word
    text: str


def failed(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Returns the checks that say that a comparison was not fair."""
    return tuple(check for check in checks if check.verdict == "failed")


def from_findings(
    results: Results, name: str, verdicts: Mapping[FindingKind, Word], text: str
) -> Check:
    """Returns a check that fails or warns as findings of some kinds say, the worst first."""
    words: tuple[Word, ...] = ("failed", "warning")
    for verdict in words:
        found = [
            f"{finding.where.partition('#')[0]} {finding.text}"
            for finding in results.findings
            if verdicts.get(finding.kind) == verdict
        ]
        if found:
            return Check(name, verdict, listed(found, "; "))
    return Check(name, "ok", text)


def groups_of(
    runs: Iterable[Run], value: Callable[[Run], str | None]
) -> dict[str | None, list[str]]:
    """Returns the names of the runs by their value; None stands for not recorded."""
    groups: dict[str | None, list[str]] = {}
    for run in runs:
        groups.setdefault(value(run), []).append(run_name(run))
    return groups


def of_starts(value: Callable[[Mapping[str, Any]], str | None]) -> Callable[[Run], str | None]:
    """Turns a question to one start of a run into one to all of its starts."""

    def answer(run: Run) -> str | None:
        starts = run.record.provenance if run.record else ()
        values = [each for each in map(value, starts) if each is not None]
        return ", then ".join(dict.fromkeys(values)) or None

    return answer


def agreement(
    name: str,
    results: Results,
    value: Callable[[Run], str | None],
    severity: Word,
    per_task: bool = False,
) -> Check:
    """Returns a check that all runs, or all of one task, have one value."""
    parts = [[run for run in results.runs if run.task == task] for task in results.tasks]
    groups = [groups_of(runs, value) for runs in (parts if per_task else [results.runs])]
    unknown = [each for group in groups for each in group.pop(None, [])]
    if not any(groups):
        return Check(name, "not recorded", "no run tells it")
    split = [group for group in groups if len(group) > 1]
    if split:
        texts = [minorities({str(each): names for each, names in g.items()}) for g in split]
        return Check(name, severity, "; ".join(texts))
    if unknown:
        return Check(name, "warning", f"not recorded in {listed(unknown)}; equal in the others")
    only = next(iter(groups[0]), "")
    text = f"the same in all runs of each of {len(groups)} tasks" if per_task else str(only)
    return Check(name, "ok", text)


def minorities(groups: Mapping[str, Sequence[str]]) -> str:
    """Says which runs have what, the commonest value last and without names."""
    most = max(groups, key=lambda value: (len(set(groups[value])), value))
    texts = [
        f"{value} in {listed(list(dict.fromkeys(names)))}"
        for value, names in sorted(groups.items())
        if value != most
    ]
    return f"{'; '.join(texts)}, {most} in {len(set(groups[most]))} others"
