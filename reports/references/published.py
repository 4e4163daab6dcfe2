"""Published results to show beside one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from reports.references.cards import REFERENCES, Card, data_text
from reports.references.parsing import (
    Evaluations,
    Pair,
    Published,
    parse_evaluations,
    parse_returns,
    parse_stages,
)
from reports.runs.names import display_name, listed
from reports.runs.results import Results
from suite.common.errors import UserError, unknown
from suite.common.formatting import readable
from suite.common.reading import read_bounded

_MAX_FILE = 1 << 20

SAID_IN_NOTES = "gorl2025"
"""A reference whose description says it all; alone, it needs no table of references."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Published results.

    Attributes:
        name: of those that are shipped, or of the file.
        description: one line.
        values: final returns by algorithm and task.
        evaluations: learning curves by algorithm and task, of methods run here or not.
        stages: returns at the end of every stage, by algorithm and task.
        card: what is known of those that are shipped.
    """

    name: str
    description: str
    values: Mapping[Pair, Published]
    evaluations: Mapping[Pair, Evaluations] = dataclasses.field(default_factory=dict)
    stages: Mapping[Pair, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    card: Card | None = None

    def display(self, algorithm: str) -> str:
        """Returns what readers see of one of its algorithms: `PPO (gorl2025)`."""
        names = self.card.names if self.card else {}
        return f"{names.get(algorithm) or display_name(algorithm)} ({self.name})"

    def unused(self, results: Results) -> str:
        """Says which of its algorithms and tasks no run is of, nothing if there are none.

        Learning curves stand beside all runs of their task, whatever the algorithm.
        """
        beside_own = [*self.values, *self.stages]
        algorithms = _others((algorithm for algorithm, _ in beside_own), results.algorithms)
        tasks = _others((task for _, task in self._pairs()), results.tasks)
        parts = [
            f"{kind}{'s' * (len(names) != 1)} {listed(names)}"
            for kind, names in (("algorithm", algorithms), ("task", tasks))
            if names
        ]
        if not parts:
            return ""
        return f"{self.name} is not shown where there is no run: {', '.join(parts)}"

    def check_use(self, results: Results) -> None:
        """Checks it against the runs that it is to stand beside.

        Raises:
            UserError: nothing of it is of an algorithm and a task that were run, or a return is
                outside its task's bounds.
        """
        beside_own = [*self.values, *self.stages]
        used = any(a in results.algorithms and t in results.tasks for a, t in beside_own)
        if not used and not any(task in results.tasks for _, task in self.evaluations):
            raise UserError(
                f"reference {self.name}: no row is of an algorithm and a task that were run; "
                f"algorithms: {listed(results.algorithms)}; tasks: {listed(results.tasks)}"
            )
        for (algorithm, task), published in self.values.items():
            if task in results.tasks and not results.bounds(task).hold(published.mean):
                raise UserError(
                    f"reference {self.name}: {algorithm} on {task}: return_mean = "
                    f"{published.mean:g} is outside {results.bounds(task)}, the task's bounds"
                )

    def evaluations_on(self, task: str) -> Iterator[tuple[str, Evaluations]]:
        """Yields its learning curves on a task, each with the name that readers see."""
        for (algorithm, its_task), evaluations in self.evaluations.items():
            if its_task == task:
                yield self.display(algorithm), evaluations

    def _pairs(self) -> list[Pair]:
        return [*self.values, *self.evaluations, *self.stages]


def _others(names: Iterable[str], known: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in known]


def split_references(text: str) -> list[str]:
    """Returns the names and paths in a comma-separated list; a file's name may have a comma."""
    if text in REFERENCES or Path(text).is_file():
        return [text]
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def shown_names(text: str) -> str:
    """Returns a list of references without the directories of files."""
    # A path may say more of a person than a report should; its last part says which.
    return ",".join(readable(Path(part).name) for part in split_references(text))


def load_references(text: str) -> tuple[Reference, ...]:
    """Loads what a comma-separated list names; none if it is empty.

    Raises:
        UserError: see `load_reference`; or it names none, or two of the same name.
    """
    parts = split_references(text)
    if text and not parts:
        raise UserError(f"no reference named in {text!r}; known: {', '.join(REFERENCES)}")
    references = tuple(map(load_reference, parts))
    names = [reference.name for reference in references]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two references are called {name}; rename one of the files")
    return references


def load_reference(name_or_path: str) -> Reference:
    """Loads published results by name, or a CSV file of final returns by path.

    Raises:
        UserError: there is none of that name, or the file is not such a table, has a pair
            of algorithm and task twice, or a return that cannot be.
    """
    path = Path(name_or_path)
    if name_or_path in REFERENCES:
        return _load_shipped(name_or_path)
    if path.suffix == ".csv" and path.is_file():
        text, name = _read(path), readable(path.name)
        return Reference(name, name, parse_returns(text, name_or_path))
    error = unknown("reference", name_or_path, REFERENCES)
    raise UserError(f"{error}; your own is given by the path of a .csv file")


def _load_shipped(name: str) -> Reference:
    card, values = REFERENCES[name], data_text(f"{name}.csv")
    return Reference(
        name,
        card.description,
        parse_returns(values, name) if values else {},
        parse_evaluations(data_text(f"{name}-curves.csv")),
        parse_stages(data_text(f"{name}-stages.csv")),
        card,
    )


def _read(path: Path) -> str:
    try:
        # Excel begins with a mark.
        return read_bounded(path, _MAX_FILE, links=True).decode("utf-8-sig")
    except ValueError as error:
        raise UserError(f"reference {path}: no text in UTF-8 ({error})") from None
