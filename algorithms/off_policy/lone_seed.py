"""Many small gradient steps of one seed, computed without the axis that seeds are trained along.

All seeds of a job are one program, by `jax.vmap`. With a single seed, XLA on a CPU keeps the axis
of length 1 and then computes the small products and sums of these steps at a third of the speed
that they have without it; updates of few large minibatches gain from the axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

Result = TypeVar("Result")


def without_lone_seed(function: Callable[..., Result]) -> Callable[..., Result]:
    """Returns a function that is computed without an axis of length 1 over which it is mapped.

    Its values are the same but for rounding. It is not to be differentiated.

    Args:
        function: of pytrees of arrays.
    """
    wrapped = custom_vmap(function)

    @wrapped.def_vmap
    def _(axis_size: int, mapped: Sequence[Any], *arguments: Any) -> tuple[Any, Any]:
        if axis_size == 1:
            bare = jax.tree.map(_first_if, tuple(mapped), arguments)
            found = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, 0), function(*bare))
        else:
            axes = jax.tree.map(lambda each: 0 if each else None, tuple(mapped))
            found = jax.vmap(function, in_axes=axes)(*arguments)
        return found, jax.tree.map(lambda _: True, found)

    return cast(Callable[..., Result], wrapped)


def _first_if(mapped: bool, leaf: jax.Array) -> jax.Array:
    return jnp.squeeze(leaf, 0) if mapped else leaf
