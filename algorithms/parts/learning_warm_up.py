"""A warm-up in which a method learns, with PPO say, before it learns in its own way.

Without it, rollouts of a warm-up are recorded: `Stage.warm_up` of algorithms/api.py.
"""

from __future__ import annotations

import abc
from typing import Any, Generic, cast

import jax

from algorithms.api import Algorithm, Rollout, State

_LEARN = 2**31 - 1
"""Folded into the key that a rollout was drawn with: no step of it has this number."""


class LearningWarmUp(abc.ABC, Generic[State]):
    """What such a method extends beside `Algorithm`; the harness asks for this class.

    Its first stage is a warm-up, in which `Algorithm.explore` acts.
    """

    @property
    @abc.abstractmethod
    def warm_up_rollout_length(self) -> int:
        """Steps that each environment takes before `warm_up_update` is called.

        It divides the protocol's, as `Algorithm.rollout_length` does, which holds afterwards.
        """

    @abc.abstractmethod
    def warm_up_update(self, state: State, rollout: Rollout, key: jax.Array) -> State:
        """Takes in a rollout of the warm-up, in place of `Algorithm.record`, and learns from it."""


def rollout_length(algorithm: Algorithm[Any]) -> int:
    """Returns the steps of each environment in a rollout of a method's warm-up."""
    if isinstance(algorithm, LearningWarmUp):
        return algorithm.warm_up_rollout_length
    return algorithm.rollout_length


def taken_in(algorithm: Algorithm[State], state: State, rollout: Rollout, key: jax.Array) -> State:
    """Returns the state after a rollout of the warm-up, recorded or learned from.

    Args:
        algorithm: with a warm-up.
        state: before it.
        rollout: of `explore`.
        key: that the rollout was drawn with.
    """
    if isinstance(algorithm, LearningWarmUp):
        learned = algorithm.warm_up_update(state, rollout, jax.random.fold_in(key, _LEARN))
        return cast(State, learned)
    return algorithm.record(state, rollout)
