"""Successive halving: which candidates go on, given the scores of those that got so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Round:
    """One rung of one method.

    Attributes:
        scores: of its candidates by number, None of those that are not there yet.
        kept: numbers of those that go on, best first; in the last rung the chosen one alone.
            Empty as long as a score is missing.
    """

    scores: Mapping[int, float | None]
    kept: tuple[int, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Candidates without a score."""
        return tuple(number for number, score in self.scores.items() if score is None)


def halve(counts: Sequence[int], score: Callable[[int, int], float | None]) -> list[Round]:
    """Returns the rounds up to the first that is not complete, or all.

    Args:
        counts: candidates of each rung.
        score: of a candidate by its number and the rung's index, None if it is not there yet.
    """
    rounds: list[Round] = []
    numbers: Sequence[int] = range(counts[0])
    for rung, following in enumerate((*counts[1:], 1)):
        scores = {number: score(number, rung) for number in sorted(numbers)}
        known = {number: value for number, value in scores.items() if value is not None}
        numbers = best(known, following) if len(known) == len(scores) else ()
        rounds.append(Round(scores, tuple(numbers)))
        if not numbers:
            break
    return rounds


def best(scores: Mapping[int, float], count: int) -> tuple[int, ...]:
    """Returns the `count` best candidates, best first; of equals the lower number, 0 the first."""
    return tuple(sorted(scores, key=lambda number: (-scores[number], number))[:count])
