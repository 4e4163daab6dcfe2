"""Traces of a method's functions: what they would compute, found out without computing it."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from algorithms.api import PyTree


class Trace(NamedTuple):
    """What tracing a function with made-up arguments gave.

    Attributes:
        jaxpr: what it computes.
        shapes: of what it returns.
        draws: whether two traces of it differ in a constant, or moved the generators of Python or
            NumPy: it draws random numbers outside of JAX.
    """

    jaxpr: ClosedJaxpr
    shapes: PyTree
    draws: bool


def trace(function: Callable[..., PyTree], *arguments: PyTree) -> Trace:
    """Traces a function twice, and compares."""
    before = _generators()

    def once() -> tuple[ClosedJaxpr, PyTree]:
        # A new function each time, or the second trace would come out of a cache.
        return jax.make_jaxpr(lambda *each: function(*each), return_shape=True)(*arguments)

    jaxpr, shapes = once()
    again, _ = once()
    differs = _generators() != before or list(_constants(jaxpr)) != list(_constants(again))
    return Trace(jaxpr, shapes, differs)


def equations(jaxpr: ClosedJaxpr | Jaxpr) -> Iterator[JaxprEqn]:
    """Yields all equations of a trace, those of inner functions too."""
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    for equation in inner.eqns:
        yield equation
        for part in _inner(equation):
            yield from equations(part)


def told(error: Exception, owner: type) -> str:
    """Returns an error in one line, with the innermost place in the files of a class's bases.

    Args:
        error: what its code raised.
        owner: the class.
    """
    modules = {sys.modules.get(base.__module__) for base in owner.__mro__}
    files = {getattr(module, "__file__", None) for module in modules}
    frames = traceback.extract_tb(error.__traceback__)
    place = [*frames[-1:], *(frame for frame in frames if frame.filename in files)][-1]
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= 200 else f"{reason[:200]}..."
    return f"{type(error).__name__}: {reason} ({Path(place.filename).name}:{place.lineno})"


def _generators() -> str:
    """Returns the states of the generators that every module shares."""
    of_numpy: Any = np.random.get_state()  # noqa: NPY002
    return repr((random.getstate(), of_numpy[1:]))


def _constants(jaxpr: ClosedJaxpr | Jaxpr) -> Iterator[bytes | str]:
    """Yields all values that a trace has baked in, those of inner functions too."""
    if isinstance(jaxpr, ClosedJaxpr):
        yield from map(_bits, jaxpr.consts)
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    for equation in inner.eqns:
        yield from (_bits(each.val) for each in equation.invars if isinstance(each, Literal))
        for part in _inner(equation):
            yield from _constants(part)


def _inner(equation: JaxprEqn) -> Iterator[ClosedJaxpr | Jaxpr]:
    for parameter in equation.params.values():
        for part in parameter if isinstance(parameter, tuple | list) else (parameter,):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield part


def _bits(value: object) -> bytes | str:
    if isinstance(value, np.ndarray | np.generic | int | float | complex | bool):
        return np.asarray(value).tobytes()
    is_key = jnp.issubdtype(getattr(value, "dtype", np.int32), jax.dtypes.prng_key)
    return str(type(value)) if is_key else np.asarray(value).tobytes()
