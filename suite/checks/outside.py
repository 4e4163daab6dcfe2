"""That a method is pure: it leaves nothing behind in Python, and sees nothing from outside."""

from __future__ import annotations

import dataclasses
import functools

from algorithms.api import Algorithm
from suite.checks.check import Check, Failed
from suite.checks.subject import Subject
from suite.checks.watch import Watcher, variables, watched
from suite.contract.tracing import equations
from suite.contract.wiring import Wiring
from suite.methods.sources import source_digests

_CALLBACKS = ("callback", "debug_print", "outside_call", "infeed", "outfeed")
"""In the names of what leaves a compiled program for Python while it runs."""


@dataclasses.dataclass(frozen=True)
class _Watched:
    """What tracing a whole method was seen to do.

    Attributes:
        watcher: what it called.
        changed: names of variables that it changed.
    """

    watcher: Watcher
    changed: tuple[str, ...]


def side_effects(subject: Subject) -> str:
    """Looks for callbacks in the traces, and for what tracing printed and changed."""
    for place, trace in subject.wiring.traces.items():
        for equation in equations(trace.jaxpr):
            if any(text in equation.primitive.name for text in _CALLBACKS):
                raise Failed(f"{place} calls Python while it runs, by {equation.primitive.name}")
        if trace.jaxpr.effects:
            raise Failed(f"{place} has the effect {next(iter(trace.jaxpr.effects))}")
    seen = _watch(subject)
    if seen.changed:
        raise Failed(f"tracing it changes {seen.changed[0]}")
    if text := seen.watcher.printed:
        raise Failed(f"tracing it prints {text.splitlines()[0][:60]!r}")
    return ""


def blind(subject: Subject) -> str:
    """Looks at what a method calls while it is traced."""
    sights = _watch(subject).watcher.sights
    if sights:
        raise Failed(f"it looks at {sights[0].what} ({sights[0].place})")
    return "while it is traced; what a module reads when it is imported cannot be seen"


def _watch(subject: Subject) -> _Watched:
    return _watch_instance(subject.name, subject.algorithm)


@functools.lru_cache(maxsize=1)  # for both checks
def _watch_instance(name: str, algorithm: Algorithm[object]) -> _Watched:
    cls = type(algorithm)
    modules = source_digests(cls, Algorithm)
    wiring = Wiring(name, algorithm)
    before = variables(cls, wiring.algorithm, modules)
    watcher = watched(wiring.trace_all)
    after = variables(cls, wiring.algorithm, modules)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return _Watched(watcher, tuple(changed))


CHECKS = (
    Check(
        "side effects",
        "no print, callback or changed variable of Python's",
        "A compiled program runs Python once, when it is traced: what is counted or kept there "
        "does not happen again, is lost at a resume, and is shared by all seeds.",
        "Keep what changes in the state, return what is worth telling as a metric, and take "
        "jax.debug.print and callbacks out.",
        side_effects,
        ("shapes",),
    ),
    Check(
        "blind",
        "no clock, file, network or task is looked at",
        "A method that knows more than observations and rewards is compared with others that do "
        "not; what it read is baked into the program and is not in its record.",
        "Make it a hyper-parameter, or take it from self.env and self.pipeline.",
        blind,
        ("shapes",),
    ),
)
