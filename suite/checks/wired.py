"""What can be asked without computing anything: settings, stages, shapes, types, effects."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax

from algorithms.api import Stage
from algorithms.registering.registration import class_fault
from suite.checks.check import Check, Failed
from suite.checks.subject import PIPELINE, Subject
from suite.common.errors import UserError
from suite.contract.tracing import Trace, equations

_BUDGETS = (PIPELINE.updates, 183, 260)
"""Updates: of the checks, of the protocol `fair`, of `lite`."""

_OTHER_FLOATS = ("float16", "bfloat16", "float64", "complex64", "complex128")


def settings(subject: Subject) -> str:
    """Asks for a frozen dataclass whose fields can be typed, stored and told apart."""
    if fault := class_fault(subject.cls, subject.values):
        raise Failed(fault)
    parameters = getattr(subject.cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise Failed(f"{subject.cls.__name__} is no frozen dataclass")
    subject.wiring.check_settings()
    return ""


def stages(subject: Subject) -> str:
    """Holds the stages to the budget, their extra rollouts included, and to themselves."""
    subject.wiring.check_stages()
    here, there = subject.algorithm.stages(), subject.wiring.algorithm.stages()
    if here != there or here != subject.algorithm.stages():
        raise Failed(f"stages gives {_told(here)} once and {_told(there)} another time")
    for budget in _BUDGETS:
        _hold(subject, budget)
    return f"{len(here)} stages" if len(here) > 1 else ""


def _hold(subject: Subject, budget: int) -> None:
    pipeline = dataclasses.replace(PIPELINE, updates=budget)
    try:
        parts = subject.build(subject.algorithm.env, pipeline).stages()
    except UserError as refusal:
        if budget == PIPELINE.updates:
            raise
        raise Failed(f"a budget of {budget} updates is refused: {refusal}") from None
    taken = sum(each.updates + each.extra_rollouts for each in parts)
    if taken != budget:
        raise Failed(f"of a budget of {budget} updates, {_told(parts)} take {taken}")


def _told(parts: tuple[Stage, ...]) -> str:
    texts = [
        f"{each.updates}" + (f" and {each.extra_rollouts} extra" if each.extra_rollouts else "")
        for each in parts
    ]
    return f"stages of {', '.join(texts)} updates"


def interleaving(subject: Subject) -> str:
    """Holds the rollouts that a method asks for to the protocol's."""
    subject.wiring.check_numbers()
    algorithm = subject.algorithm
    steps, rollouts = algorithm.gradient_steps, algorithm.rollouts_per_update
    if steps is None:
        return "gradient steps are not told, so no report can show them"
    ratio = steps * rollouts / PIPELINE.steps_per_update
    return (
        f"{algorithm.rollout_length} steps a rollout, {steps} gradient steps after each; here"
        f" {ratio:.3g} gradient steps an environment step"
    )


def shapes(subject: Subject) -> str:
    """Traces every function that training calls, and looks at what it returns."""
    subject.wiring.check_shapes()
    return ""


def float32(subject: Subject) -> str:
    """Looks for other floats in everything that was traced."""
    for place, trace in subject.wiring.traces.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(trace.shapes):
            if dtype := _other(leaf):
                raise Failed(f"{place} returns {dtype}, at {jax.tree_util.keystr(path)}")
        for variable in _computed(trace):
            if dtype := _other(variable):
                raise Failed(f"{place} computes in {dtype}, {_where(trace)}")
    return ""


def _computed(trace: Trace) -> Iterator[object]:
    for equation in equations(trace.jaxpr):
        yield from (variable.aval for variable in equation.outvars)


def _other(value: object) -> str:
    """Returns the type of floats other than float32, "" of anything else."""
    dtype = str(getattr(value, "dtype", ""))
    return dtype if dtype in _OTHER_FLOATS else ""


def _where(trace: Trace) -> str:
    """Returns which step of a trace first makes another float."""
    for equation in equations(trace.jaxpr):
        if any(_other(variable.aval) for variable in equation.outvars):
            return f"first in {equation.primitive.name}"
    return "somewhere"


CHECKS = (
    Check(
        "settings",
        "a frozen dataclass, its fields typed, with defaults, hashable",
        "Fields are the hyper-parameters that --set changes, that a run stores and by which it is "
        "told from another; a method that can be changed afterwards is not what was stored.",
        "Decorate the class with @dataclasses.dataclass(frozen=True), give every field a type and "
        "a default, and use tuples for lists.",
        settings,
    ),
    Check(
        "stages",
        "stages take the whole budget and no more, extra rollouts included",
        "Methods are compared at equal steps; the ledger counts extra rollouts too, and a report "
        "sets a run aside that took more or less than the others.",
        "Derive the stages from self.pipeline.updates alone, extra rollouts inside of it, and let "
        "the last stage take what rounding leaves over.",
        stages,
        ("settings",),
    ),
    Check(
        "interleaving",
        "rollout_length divides the protocol's; costs are whole numbers",
        "The budget is counted in the protocol's updates, each of which is cut into whole "
        "rollouts of the method's own length.",
        "Choose a divisor of self.pipeline.rollout_length, and count gradient_steps for one call "
        "of update.",
        interleaving,
        ("settings",),
    ),
    Check(
        "shapes",
        "actions, extras, metrics and the state have the shapes of the contract",
        "A wrong shape broadcasts in silence, and trains on something else than what was meant; a "
        "state that changes its shape cannot go through the next update.",
        "Compare with algorithms/api.py: actions [N, A], extras [N, ...], metrics scalars, and "
        "every function that returns a state returns one like init's.",
        shapes,
        ("settings", "stages", "interleaving"),
    ),
    Check(
        "float32",
        "every number is computed in float32",
        "All methods are compared at one precision: a sum in half precision loses small steps, and "
        "one in double precision becomes single on another machine.",
        "Give arrays dtype jnp.float32, and leave out casts to other floats.",
        float32,
        ("shapes",),
    ),
)
