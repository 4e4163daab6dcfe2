"""Every question, in the order in which they are put."""

from __future__ import annotations

from collections.abc import Callable

from suite.checks import acting, costs, learning, outside, repeating, replaying, wired
from suite.checks.check import Check, Outcome, perform
from suite.checks.subject import Subject

ALL: tuple[Check, ...] = (
    *wired.CHECKS,
    *repeating.CHECKS,
    *outside.CHECKS,
    *acting.CHECKS,
    *replaying.CHECKS,
    *learning.CHECKS,
    *costs.CHECKS,
)


def examine(
    subject: Subject,
    tell: Callable[[Outcome], None] = lambda _: None,
    checks: tuple[Check, ...] = ALL,
) -> list[Outcome]:
    """Puts all questions to a method.

    Args:
        subject: the method.
        tell: called with each outcome as it comes.
        checks: which, in the order of `ALL`.
    """
    outcomes: list[Outcome] = []
    failed: set[str] = set()
    for check in checks:
        outcome = perform(check, subject, failed)
        if outcome.state == "FAIL" or any(name in failed for name in check.needs):
            failed.add(check.name)
        outcomes.append(outcome)
        tell(outcome)
    return outcomes
