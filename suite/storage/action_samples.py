"""Actions drawn from stored policies, as `suite actions` hands them to the reports.

Shapes: K states, N samples, O observation size, A action size.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from suite.storage.records import Cell

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class SampledState:
    """A state that policies are compared in.

    Attributes:
        cell: the run whose evaluation came through it.
        episode: of that evaluation, counted from 0.
        step: of that episode.
        obs: [O] what was observed.
        replayed: whether the episode was played again for the purpose, by the newest stored
            policy, because the run had kept no states.
    """

    cell: Cell
    episode: int
    step: int
    obs: np.ndarray
    replayed: bool


@dataclasses.dataclass(frozen=True)
class PolicyActions:
    """What one stored policy does.

    Attributes:
        cell: whose policy.
        stage: at the end of which it was kept; None for the newest of a checkpoint.
        env_steps: steps it was trained for.
        before: [K, N, A] actions before they are squashed.
        after: [K, N, A] the same, in [-1, 1].
    """

    cell: Cell
    stage: int | None
    env_steps: int
    before: np.ndarray
    after: np.ndarray


@dataclasses.dataclass(frozen=True)
class ActionSamples:
    """Actions of several policies of one task in the same states.

    Attributes:
        task: its name.
        states: [K].
        policies: sorted by algorithm, seed and steps.
        notes: what was left out, and why; a sentence each.
        seed: drew states and actions.
    """

    task: str
    states: tuple[SampledState, ...]
    policies: tuple[PolicyActions, ...]
    notes: tuple[str, ...]
    seed: int
