"""Traces of a method's functions: what they would compute, found out without computing it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from algorithms.api import PyTree
from suite.contract.places import innermost


class Trace(NamedTuple):
    """What tracing a function with made-up arguments gave.

    Attributes:
        jaxpr: what it computes.
        shapes: of what it returns.
        draws: whether two traces of it differ in a constant, or moved the generators of Python or
            NumPy: it draws random numbers outside of JAX.
        foreign: what of the returned is NumPy's and not JAX's, `float64 in result[0]`, say.
    """

    jaxpr: ClosedJaxpr
    shapes: PyTree
    draws: bool
    foreign: str = ""


def trace(function: Callable[..., PyTree], *arguments: PyTree) -> Trace:
    """Traces a function twice, and compares."""
    before = _generators()
    foreign: list[str] = []

    def once() -> tuple[ClosedJaxpr, PyTree]:
        # A new function each time, or the second trace would come out of a cache.
        def call(*each: PyTree) -> PyTree:
            result = function(*each)
            foreign.extend(_of_numpy(result))
            return result

        return jax.make_jaxpr(call, return_shape=True)(*arguments)

    jaxpr, shapes = once()
    again, _ = once()
    differs = _generators() != before or list(_constants(jaxpr)) != list(_constants(again))
    return Trace(jaxpr, shapes, differs, next(iter(foreign), ""))


def equations(jaxpr: ClosedJaxpr | Jaxpr) -> Iterator[JaxprEqn]:
    """Yields all equations of a trace, those of inner functions too."""
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    for equation in inner.eqns:
        yield equation
        for part in _inner(equation):
            yield from equations(part)


def told(error: Exception, owner: type) -> str:
    """Returns an error in one line, with its place (suite/contract/places.py).

    Args:
        error: what its code raised.
        owner: the class.
    """
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= 200 else f"{reason[:200]}..."
    return f"{type(error).__name__}: {reason} ({innermost(error, owner)})"


def _of_numpy(tree: PyTree) -> Iterator[str]:
    """Yields where in a pytree NumPy's arrays and numbers are, and of which type."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, np.ndarray | np.generic):
            yield f"{leaf.dtype} in result{jax.tree_util.keystr(path)}"


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
