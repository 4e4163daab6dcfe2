"""What is watched while a method trains: that its actions are finite and inside their bounds.

A method that no longer acts in finite numbers has diverged, like one whose state has. Actions
outside of [-1, 1] and metrics that start as NaN are mistakes in the method, which end the run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from suite.common.errors import UserError

EXCESS = "action excess"
"""Beside the method's own metrics until it is looked at; the space keeps it apart."""

ACTIONS = "actions"
"""What `Divergence.leaf` calls actions that are not finite."""


class Unsound(UserError):
    """A method's numbers began as none; a search over settings takes it for a bad setting."""


_log = logging.getLogger(__name__)


def action_excess(action: jax.Array) -> jax.Array:
    """Returns by how much actions [..., A] leave [-1, 1], in all []: 0, or NaN of NaN."""
    beyond = jnp.abs(action) - 1.0
    return jnp.sum(jnp.where(beyond <= 0.0, 0.0, beyond))


def acts_finitely(excess: float, where: str) -> bool:
    """Returns whether a seed's actions were finite.

    Args:
        excess: mean or sum of `action_excess`.
        where: what acted, for the message.

    Raises:
        UserError: they were, but outside of their bounds.
    """
    if np.isfinite(excess) and excess > 0:
        raise UserError(
            f"{where}: act returned actions outside of [-1, 1]; squash them, with jnp.tanh or "
            "jnp.clip"
        )
    return bool(np.isfinite(excess))


def check_metrics(row: Mapping[str, float], where: str, first: bool) -> None:
    """Looks at one seed's metrics, whose state is finite.

    Args:
        row: mean of each over a chunk of updates.
        where: whose, for the message.
        first: whether this is the run's first chunk; later ones are only warned of.

    Raises:
        Unsound: a metric of the first chunk is not finite.
    """
    broken = [name for name, value in row.items() if not np.isfinite(value)]
    if not broken:
        return
    text = f"{where}: update returned {', '.join(broken)} that is not finite in a finite state"
    if first:
        raise Unsound(f"{text}; mend the metric, or leave it out")
    _log.warning("%s", text)
