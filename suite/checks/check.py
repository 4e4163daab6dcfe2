"""A question to a method, and how it ended."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection
from typing import Literal

from suite.checks.subject import Subject
from suite.common.errors import UserError
from suite.contract.tracing import told

State = Literal["ok", "FAIL", "skipped"]


class Failed(Exception):
    """A method does not hold what a check asks; the message says what was found."""


class Skipped(Exception):
    """A check has nothing to look at in a method; the message says why."""


@dataclasses.dataclass(frozen=True)
class Check:
    """A question to a method.

    Attributes:
        name: as in the table.
        asks: what is asked, in a few words.
        why: a sentence on why it matters.
        mend: a sentence on how a method that fails is mended.
        run: looks; returns what is worth telling of a method that holds it, mostly nothing.
        needs: names of checks without which there is nothing to run.
    """

    name: str
    asks: str
    why: str
    mend: str
    run: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a check ended.

    Attributes:
        check: which.
        state: `skipped` where it does not concern the method, or cannot be run.
        text: what was found, or why it was skipped.
        seconds: that it took.
        crashed: whether the method's own code ended in an error before the check could look.
    """

    check: Check
    state: State
    text: str
    seconds: float
    crashed: bool = False

    def lesson(self) -> str:
        """Returns what a failure teaches: what was found, why it matters, how to mend it."""
        if self.crashed:
            return (
                f"{self.text}. The method's own code fails there, before this could be looked at."
            )
        return f"{self.text}. {self.check.why} {self.check.mend}"

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        plain: dict[str, object] = {
            "check": self.check.name,
            "result": self.state,
            "text": self.text,
            "seconds": round(self.seconds, 2),
        }
        if self.state == "FAIL":
            plain |= {"why": self.check.why, "mend": self.check.mend}
        return plain


def perform(check: Check, subject: Subject, failed: Collection[str]) -> Outcome:
    """Puts a question to a method, whose code may fail in any way.

    Args:
        check: the question.
        subject: the method.
        failed: names of the checks before that it failed, or that were skipped for one it failed.
    """
    began = time.perf_counter()
    crashed = False
    try:
        state, text = _answer(check, subject, failed)
    except UserError as error:  # the wiring's, on what the method raised
        state, text, crashed = "FAIL", _unnamed(error, subject), True
    except Exception as error:  # it is the user's code
        state, text, crashed = "FAIL", f"it ends in {told(error, subject.cls)}", True
    return Outcome(check, state, text, time.perf_counter() - began, crashed)


def _answer(check: Check, subject: Subject, failed: Collection[str]) -> tuple[State, str]:
    missing = [name for name in check.needs if name in failed]
    if missing:
        return "skipped", f"nothing can be said before {' and '.join(missing)} holds"
    try:
        return "ok", check.run(subject)
    except Skipped as reason:
        return "skipped", str(reason)
    except Failed as found:
        return "FAIL", str(found)
    except UserError as found:
        if found.__cause__ is not None:
            raise
        return "FAIL", _unnamed(found, subject)


def _unnamed(found: UserError, subject: Subject) -> str:
    return str(found).removeprefix(f"algorithm {subject.name}: ")
