"""The verdict on a comparison: may its runs be compared, and why."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection
from typing import Literal

from reports.analysis.budgets import equal_budgets, ranks_unequal
from reports.analysis.scores import DEFAULT_POLICY, ScorePolicy
from reports.audit.all_checks import audit
from reports.audit.check import failed
from reports.audit.recomputed import Stamp
from reports.audit.what_ran import UNFINISHED
from reports.runs.results import FindingKind, Results

INCOMPARABLE: frozenset[FindingKind] = frozenset({"budget", "model"})
"""Findings after which scores do not belong side by side; runs that were edited or damaged
have no score."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether runs may be compared.

    Attributes:
        level: how good that is.
        word: the verdict.
        text: the reasons.
    """

    level: Literal["good", "warn", "bad"]
    word: str
    text: str


def judge(
    results: Results,
    scope: str = "",
    varied: Collection[str] = (),
    policy: ScorePolicy = DEFAULT_POLICY,
) -> Verdict:
    """Returns whether the runs may be compared, and why.

    Args:
        results: the runs.
        scope: what the protocol is, where it is not one for all.
        varied: fields of the protocol that differ on purpose.
        policy: what runs count as that did not end well.
    """
    one = f"One protocol ({results.protocol.name}, {results.protocol.fingerprint()})"
    protocol = scope or one
    kinds = Counter(finding.kind for finding in results.findings)
    listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
    unfair = [check for check in failed(audit(results, varied)) if check.name != UNFINISHED]
    if INCOMPARABLE & kinds.keys() or unfair:
        checks = ", ".join(check.name for check in unfair)
        reasons = f"{listed}. Audit failed: {checks}" if unfair else listed
        return Verdict("bad", "Not comparable.", f"{protocol}, but: {reasons}. See the findings.")
    budgets = f"Equal budgets to the step: {equal_budgets(results)}"
    if ranks_unequal(results, policy):
        text = f"{protocol}, but runs are ranked by what they scored after unequal numbers of steps"
        return Verdict("bad", "Not comparable.", f"{text}. {budgets}. Findings: {listed}.")
    if kinds:
        text = f"{protocol}. {budgets}. Findings: {listed}."
        return Verdict("warn", "Comparable, with reservations.", text)
    text = f"{protocol}, equal budgets to the step, one engine, every run finished."
    return Verdict("good", "Comparable.", text)


def stamped(verdict: Verdict, stamp: Stamp | None) -> Verdict:
    """Returns a verdict that also tells what was made again of its numbers, if anything was."""
    if stamp is None:
        return verdict
    if stamp.failed:
        return Verdict("bad", "Not reproduced.", f"{stamp.text} {verdict.text}")
    return dataclasses.replace(verdict, text=f"{verdict.text} {stamp.text}")
