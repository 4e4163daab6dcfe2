"""Checks of every number against every other: what no edit of one file alone can keep right."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from reports.audit.check import Check, Word, from_findings
from reports.runs.results import FindingKind, Results

_MEND = "restore the files from where they were written, or train these cells again"


def consistency(results: Results) -> tuple[Check, ...]:
    """Returns the checks, each with what is to be done where it fails."""
    return tuple(_check(results, *each) for each in _CHECKS)


def _check(
    results: Results, name: str, verdicts: Mapping[FindingKind, Word], fine: str, mend: str
) -> Check:
    check = from_findings(results, name, verdicts, fine)
    if check.verdict == "ok" or not mend:
        return check
    return dataclasses.replace(check, text=f"{check.text}: {mend}")


_CHECKS: tuple[tuple[str, Mapping[FindingKind, Word], str, str], ...] = (
    (
        "evaluation points",
        {"off the grid": "failed"},
        "every run was evaluated where the protocol says, in order, once and in every mode",
        _MEND,
    ),
    (
        "ledgers",
        {"ledger": "failed"},
        "updates, stages and steps of every purpose make each other in every row",
        _MEND,
    ),
    (
        "evaluation steps",
        {"evaluation steps": "failed", "short episodes": "warning"},
        "every evaluation took the steps of its episodes",
        _MEND,
    ),
    (
        "metrics and policies",
        {"other files": "failed", "copied files": "failed", "same files": "warning"},
        "metrics, policies and states are of the runs that they lie beside",
        _MEND,
    ),
    (
        "decoders",
        {"decoder": "failed"},
        "every decoder was fitted within its run's budget, or its run names where it is from",
        "name the run that it is from, by `suite ablate`, or train these cells again",
    ),
    (
        "fingerprints",
        {"fingerprint": "failed"},
        "every fingerprint is that of the protocol beside it",
        _MEND,
    ),
    (
        "checkpoints",
        {"checkpoint": "failed"},
        "every checkpoint that is there is what its job wrote last, as far as digests are kept",
        "restore the checkpoint; nothing may be evaluated or trained from this one",
    ),
    (
        "engine and device",
        {"impossible engine": "failed"},
        "every run could be simulated by the engine that it names, where it ran",
        _MEND,
    ),
    (
        "episodes",
        {"alike": "warning"},
        "no two runs have the same episodes, in whatever order, or nearly the same",
        "two methods of one seed may begin alike, but for the rest one is a copy; "
        "`suite audit --recompute` tells which",
    ),
    (
        "seconds",
        {"seconds": "warning"},
        "every run took seconds that a machine could take",
        "its speed and cost are not to be quoted",
    ),
)
