"""Compiling for checks, which takes far longer than running what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import jax

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function, long: bool = False) -> Function:
    """Returns `jax.jit` of a function, on a CPU without optimization: half of the time.

    Args:
        function: to be compiled.
        long: whether it runs for long, so that optimization pays.
    """
    if long:
        return cast(Function, jax.jit(function))
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    return cast(Function, jax.jit(function, compiler_options=options))
