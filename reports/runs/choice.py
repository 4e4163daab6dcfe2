"""Which of the stored runs are compared: `--tasks`, `--algos`, and what all directories hold."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Self

from reports.runs.names import METHODS, Label
from reports.runs.results import Finding, Run
from suite.common.errors import UserError, unknown
from suite.storage.records import Cell


@dataclasses.dataclass(frozen=True)
class Choice:
    """A choice of runs by their labels.

    Attributes:
        tasks: names; all if empty.
        algorithms: methods in all their settings, or whole labels `NAME [CHANGES]`; all if
            empty.
        common: whether only tasks count that every directory holds.
    """

    tasks: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    common: bool = False

    @classmethod
    def parse(cls, tasks: str | None, algorithms: str | None, common: bool = False) -> Self:
        """Reads comma-separated names as of the command line; `all` algorithms are the five.

        Raises:
            UserError: an item is empty.
        """
        names = names_in(algorithms, "--algos")
        every = [each for name in names for each in (METHODS if name == "all" else (name,))]
        return cls(tuple(names_in(tasks, "--tasks")), tuple(dict.fromkeys(every)), common)

    def takes(self, algorithm: str, task: str) -> bool:
        """Returns whether runs of a label on a task are chosen."""
        return self.takes_algorithm(algorithm) and (not self.tasks or task in self.tasks)

    def takes_algorithm(self, algorithm: str) -> bool:
        """Returns whether runs of a label are chosen on some task."""
        names = {algorithm, Label(algorithm).method}
        return not self.algorithms or bool(names & {*self.algorithms})

    def within(self, cells: Collection[Cell]) -> Choice:
        """Returns the choice without the names that none of the cells has."""
        tasks, algorithms = {cell.task for cell in cells}, {cell.algorithm for cell in cells}
        return dataclasses.replace(
            self,
            tasks=tuple(task for task in self.tasks if task in tasks),
            algorithms=tuple(name for name in self.algorithms if name in algorithms),
        )

    def check(self, algorithms: Collection[str], tasks: Collection[str]) -> None:
        """Raises UserError if a name is not among labels and tasks; `all` may name more."""
        labels = sorted({*algorithms, *(Label(each).method for each in algorithms)})
        every = set(METHODS) <= {*self.algorithms}
        for name in self.algorithms:
            if name not in labels and not (every and name in METHODS):
                raise unknown("algorithm", name, labels)
        for name in self.tasks:
            if name not in tasks:
                raise unknown("task", name, sorted(tasks))

    def select(self, runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
        """Returns the chosen runs, and a finding if tasks are left out that some lack.

        Raises:
            UserError: a name is unknown, or nothing is left.
        """
        self.check({run.algorithm for run in runs}, {run.task for run in runs})
        chosen = [run for run in runs if self.takes(run.algorithm, run.task)]
        if not chosen:
            listed = " and ".join(filter(None, (", ".join(self.algorithms), ", ".join(self.tasks))))
            raise UserError(f"no run of {listed}; choose others by --algos and --tasks")
        return _on_common_tasks(chosen) if self.common else (chosen, [])


EVERYTHING = Choice()


def tasks_by_directory(runs: Iterable[Run]) -> dict[str, set[str]]:
    """Returns the tasks that each directory holds runs of."""
    tasks: dict[str, set[str]] = {}
    for run in runs:
        tasks.setdefault(run.directory, set()).add(run.task)
    return tasks


def _on_common_tasks(runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
    held = tasks_by_directory(runs)
    common = set.intersection(*held.values())
    others = sorted(set.union(*held.values()) - common)
    if not common:
        listed = "; ".join(f"{name} holds {', '.join(sorted(held[name]))}" for name in sorted(held))
        raise UserError(f"no task is in all directories: {listed}; compare those that share one")
    if not others:
        return list(runs), []
    lacking = sorted(name for name, tasks in held.items() if not set(others) <= tasks)
    text = (
        f"compared on {', '.join(sorted(common))} only; left out: {', '.join(others)}, which "
        f"{', '.join(lacking)} did not run"
    )
    return [run for run in runs if run.task in common], [Finding("fewer tasks", "all", text)]


def names_in(text: str | None, option: str) -> list[str]:
    """Splits a text of the command line at the commas outside of brackets, as labels hold some.

    Raises:
        UserError: an item is empty.
    """
    if text is None:
        return []
    items = [item.strip() for item in re.split(r",(?![^\[]*\])", text)]
    if not all(items):
        raise UserError(f"{option} {text!r}: an item is empty; separate names with one comma")
    return items
