"""Where a job is in its budget, and what is due there."""

from __future__ import annotations

import dataclasses

from algorithms.api import Stage
from suite.configuration.protocol import Protocol


@dataclasses.dataclass
class Position:
    """How far a job is.

    Attributes:
        updates: of the budget that are behind it, those of a warm-up included.
        stage: index of the current stage.
        evaluated: updates at the last evaluation, -1 before the first.
        collected: extra rollouts taken of those that end the stage.
    """

    updates: int = 0
    stage: int = 0
    evaluated: int = -1
    collected: int = 0

    def is_beyond(self, other: Position) -> bool:
        """Returns whether this is further on in the chunk or the change of stage that follows."""
        same = (self.stage, self.evaluated) == (other.stage, other.evaluated)
        return same and (self.updates, self.collected) > (other.updates, other.collected)


class Schedule:
    """What an algorithm's stages and the protocol's evaluations make of the budget.

    Args:
        stages: of the algorithm.
        protocol: says when to evaluate.
    """

    def __init__(self, stages: tuple[Stage, ...], protocol: Protocol) -> None:
        self.stages = stages
        self._grid = protocol.evaluation_grid(self.total_updates)
        self._steps_per_update = protocol.steps_per_update

    @property
    def total_updates(self) -> int:
        """Updates of the whole run."""
        return sum(stage.updates for stage in self.stages)

    @property
    def steps_per_seed(self) -> int:
        """Environment steps that count against the budget, per seed."""
        rollouts = sum(stage.updates + stage.extra_rollouts for stage in self.stages)
        return rollouts * self._steps_per_update

    def stage_end(self, position: Position) -> int:
        """Returns the updates after which the current stage ends."""
        return sum(stage.updates for stage in self.stages[: position.stage + 1])

    def chunk_end(self, position: Position) -> int:
        """Returns the updates after which the next evaluation is due, or the stage ends."""
        evaluation = min(point for point in self._grid if point > position.updates)
        return min(evaluation, self.stage_end(position))

    def evaluation_due(self, position: Position) -> bool:
        """Returns whether the policy of now belongs on the curve, and is not there yet."""
        return position.evaluated != position.updates and position.updates in self._grid

    def is_spent(self, position: Position) -> bool:
        """Returns whether nothing is left of the budget, and the last policy is evaluated."""
        return position.updates == self.total_updates == position.evaluated
