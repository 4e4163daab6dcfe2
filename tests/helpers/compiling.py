"""Compiling for tests, in which it takes far longer than running what was compiled."""

from __future__ import annotations

import functools
from typing import Any

import jax


def _options() -> dict[str, Any]:
    """Returns options with which compiling takes a third of the time; running takes little anyway.

    Without optimization, and with XLA's older code generator where it still has that.
    """
    plain = {"xla_backend_optimization_level": 0}
    older = {**plain, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: 0, compiler_options=older).lower().compile()
    except jax.errors.JaxRuntimeError:
        return plain
    return older


quickly = functools.partial(jax.jit, compiler_options=_options())
"""`jax.jit`, compiling quickly."""
