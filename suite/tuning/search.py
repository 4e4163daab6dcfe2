"""A search as it stands: what each method's candidates have come to, and what is to train next."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from suite.configuration.effort import Effort
from suite.storage.run_directory import RunDirectory, is_run
from suite.tuning.directory import (
    Method,
    candidate_path,
    is_unsound,
    read_effort,
    read_method,
    stored_methods,
)
from suite.tuning.halving import Round, halve
from suite.tuning.scores import Score, score


@dataclasses.dataclass(frozen=True)
class Search:
    """One method's search.

    Attributes:
        directory: of the search.
        effort: what is spent.
        method: what is tried.
    """

    directory: Path
    effort: Effort
    method: Method

    def score(self, number: int, rung: int) -> Score | None:
        """Returns a candidate's score at a rung's end, None if it is not there yet.

        Raises:
            UserError: see `suite.tuning.scores.score`.
        """
        effort, name = self.effort, self.method.name
        if is_unsound(self.directory, name, number):
            runs = len(effort.tasks) * len(effort.seeds)
            return Score(dict.fromkeys(effort.tasks, 0.0), diverged=runs)
        path = candidate_path(self.directory, number)
        if not is_run(path):
            return None
        run = RunDirectory.open(path)
        return score(run, name, effort.tasks, effort.seeds, effort.ends[rung])

    def rounds(self) -> list[Round]:
        """Returns the rounds so far; see `halve`."""

        def value(number: int, rung: int) -> float | None:
            found = self.score(number, rung)
            return None if found is None else found.value

        return halve(self.effort.candidates, value)

    def chosen(self) -> int | None:
        """Returns the number of the best candidate, None as long as something is missing."""
        rounds = self.rounds()
        done = len(rounds) == len(self.effort.rungs) and rounds[-1].kept
        return rounds[-1].kept[0] if done else None


def searches(directory: Path) -> list[Search]:
    """Returns the search of every method that is stored in a directory.

    Raises:
        UserError: a file is damaged.
    """
    effort = read_effort(directory)
    return [
        Search(directory, effort, read_method(directory, name))
        for name in stored_methods(directory)
    ]
