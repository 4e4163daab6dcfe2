"""Tests of a difference against a margin, by the permutations that claims rest on.

Whether the mean score of x less that of y lies above a bound is tested by taking the bound off
every score of x and testing, one-sided, whether x then scores higher. Equivalence within a margin
is shown where the difference lies both above -margin and below margin (two one-sided tests, TOST:
Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach"); the
larger of the two p-values is its own. benchmarks/margins.py has the size and the power.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from reports.analysis.claims import p_values
from reports.analysis.point_estimates import Scores
from suite.common.errors import UserError


@dataclasses.dataclass(frozen=True)
class Judging:
    """What to judge of a comparison.

    Attributes:
        new: labels or methods that are judged against all others; if empty, those that the
            directory named first does not hold.
        margin: differences of mean scores that are smaller do not matter.

    Raises:
        UserError: the margin is not between 0 and 1.
    """

    new: tuple[str, ...]
    margin: float

    def __post_init__(self) -> None:
        if not isinstance(self.margin, int | float) or not 0 < self.margin < 1:
            raise UserError(
                f"margin = {str(self.margin)[:20]}: must be a difference of scores between 0 and "
                "1, such as 0.05"
            )


def less(x: Sequence[np.ndarray], bound: float) -> list[np.ndarray]:
    """Returns the scores of each task, of any shape, with a bound taken off."""
    return [np.asarray(task - bound) for task in x]


def p_above(
    x: Scores, y: Scores, bound: float, repetitions: int, generator: np.random.Generator
) -> float:
    """Tests whether the mean score of x less that of y is above a bound.

    Args:
        x, y: scores [N] of each task.
        bound: of the difference; negative where x may score lower.
        repetitions, generator: as of `claims.permutation_test`.

    Returns:
        The one-sided p-value: small where the difference is above the bound.
    """
    drawn = [task[None] for task in less(x, bound)], [task[None] for task in y]
    return float(p_values(*drawn, repetitions, generator, one_sided=True)[0])


def p_within(
    x: Scores, y: Scores, margin: float, repetitions: int, generator: np.random.Generator
) -> float:
    """Tests whether two algorithms differ by less than a margin, see `p_above`."""
    above = p_above(x, y, -margin, repetitions, generator)
    below = p_above(y, x, -margin, repetitions, generator)
    return max(above, below)
