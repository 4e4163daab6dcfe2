"""Scores from returns and back: what a task's returns lie between."""

from __future__ import annotations

import dataclasses

import numpy as np

from suite.storage.records import DEFAULT_RETURN_BOUNDS, Configuration

_SLACK = 1e-6
"""Of the span, by which a mean of float32 returns may lie outside."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The least and the greatest return that an episode of a task can have.

    Attributes:
        low, high: of the return; 0 and 1 where they are not known, so that what stands for a
            score is the return itself.
        known: whether there are scores, which alone can be aggregated over tasks.
    """

    low: float = DEFAULT_RETURN_BOUNDS[0]
    high: float = DEFAULT_RETURN_BOUNDS[1]
    known: bool = True

    def to_score(self, returns: np.ndarray) -> np.ndarray:
        """Returns scores in [0, 1] of returns [...]; the returns if the bounds are not known."""
        scores = (np.asarray(returns, float) - self.low) / (self.high - self.low)
        return np.clip(scores, 0.0, 1.0) if self.known else scores

    def to_return(self, scores: np.ndarray) -> np.ndarray:
        """Returns the returns of scores [...]."""
        return self.low + (self.high - self.low) * np.asarray(scores, float)

    def hold(self, value: float) -> bool:
        """Whether a return is possible."""
        slack = _SLACK * (self.high - self.low)
        return not self.known or self.low - slack <= value <= self.high + slack

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]" if self.known else "not known"


UNKNOWN = Bounds(0.0, 1.0, known=False)


def bounds_of(configuration: Configuration | None) -> Bounds:
    """Returns the bounds that a run recorded.

    Raises:
        ValueError: they are not two numbers in ascending order.
    """
    stored = configuration.return_bounds if configuration else DEFAULT_RETURN_BOUNDS
    if stored is None:
        return UNKNOWN
    if len(stored) != 2 or not stored[0] < stored[1]:
        raise ValueError(f"return_bounds = {list(stored)} are not two ascending numbers")
    return Bounds(*stored)
