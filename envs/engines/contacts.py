"""Room for contacts under MJX-Warp, which all worlds of a call share, and what if it is short.

MJX-Warp keeps the contacts of every world in one buffer of `naconmax` places, and leaves out those
that find none: the physics would be another, and nothing would tell. Playground's buffers are
sized for its own 2048 environments; with several seeds in one program there are more.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from envs.api import EnvError

_PLAYGROUND_WORLDS = 2048
"""Environments that Playground trains its dm_control tasks with, and sizes its buffers for."""

_HARMLESS = 1 << 9 | 1 << 10
"""Bits of MJX-Warp's `OverflowType` that leave nothing out, ITERATIONS and LS_ITERATIONS: a solver
used up its iterations, which are few on purpose (Playground gives CheetahRun four)."""


def make_room(config: Any, worlds: int) -> None:
    """Gives an environment's configuration as much room a world as Playground gives its own.

    Args:
        config: its `naconmax` is raised where `worlds` are more than Playground's.
        worlds: that one call steps at most.
    """
    per_world = config.naconmax / _PLAYGROUND_WORLDS
    if (needed := math.ceil(per_world * worlds)) > config.naconmax:
        with config.unlocked():
            config.naconmax = needed


def silence(env: Any) -> None:
    """Keeps MJX-Warp from printing a line for every world and step that overflows.

    Args:
        env: an environment on MJX-Warp; one that does not keep its model as Playground's do
            stays as it is.
    """
    if not hasattr(env, "_mjx_model"):
        return
    option = env.mjx_model.opt
    quiet = option._impl.replace(warn_overflow=0)
    env._mjx_model = env.mjx_model.replace(opt=option.replace(_impl=quiet))


def refuse_overflow(name: str, row: jax.Array, data: Any) -> jax.Array:
    """Returns a state [K] as it is, or stops the program where contacts were left out.

    Args:
        name: of the task.
        row: the state after a step.
        data: `mjx.Data` after it, whose `overflow` says in bits what of a world found no room.

    Raises:
        EnvError: some did, when the program runs; XLA passes it on as an error of its own, whose
            text holds this one's.
    """

    def look(overflow: Any) -> np.ndarray:
        found = np.asarray(overflow) & ~_HARMLESS
        if found.any():
            _refuse(name, int(np.count_nonzero(found)), found.size)
        return np.ones(found.shape, bool)

    overflow = jnp.asarray(data._impl.overflow)
    shape = jax.ShapeDtypeStruct(overflow.shape, bool)
    whole = jax.pure_callback(look, shape, overflow, vmap_method="broadcast_all")
    return jnp.where(whole.all(), row, jnp.nan)


def _refuse(name: str, overflown: int, worlds: int) -> NoReturn:
    raise EnvError(
        f"{name}: MJX-Warp found no room for all contacts or constraints of {overflown} of "
        f"{worlds} worlds, so that their physics would be wrong; train fewer seeds in one job, or "
        "use --engine jax"
    )
