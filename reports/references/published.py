"""Published results to show beside one's own."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from reports.runs.names import listed
from reports.runs.results import Results
from suite.common.errors import UserError, unknown
from suite.common.formatting import readable
from suite.storage.files import read_bounded

REFERENCES: Mapping[str, str] = {
    "gorl2025": (
        "Table 1 of the GoRL paper: 180M steps, 5 seeds, FPO and DPPO with sampled actions "
        "(as `--mode published` reads these runs)"
    ),
}
"""Published results that are shipped, in reports/runs/reference."""

_MAX_FILE = 1 << 20
_COLUMNS = "needed are algorithm, task, return_mean, return_std, seeds"


@dataclasses.dataclass(frozen=True)
class Published:
    """A published result of one algorithm on one task.

    Attributes:
        mean: of the final return.
        std: over seeds.
        seeds: their number.
    """

    mean: float
    std: float
    seeds: int


@dataclasses.dataclass(frozen=True)
class Reference:
    """Published results.

    Attributes:
        name: of those that are shipped, or of the file.
        description: one line.
        values: by algorithm and task.
    """

    name: str
    description: str
    values: Mapping[tuple[str, str], Published]

    def unused(self, results: Results) -> str:
        """Says which of its algorithms and tasks no run is of, nothing if there are none."""
        algorithms = _others((algorithm for algorithm, _ in self.values), results.algorithms)
        tasks = _others((task for _, task in self.values), results.tasks)
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
        if not any(a in results.algorithms and t in results.tasks for a, t in self.values):
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


def _others(names: Iterable[str], known: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in known]


def load_reference(name_or_path: str) -> Reference:
    """Loads published results by name, or a CSV file with the same columns by path.

    Raises:
        UserError: there is none of that name, or the file is not such a table, has a pair
            of algorithm and task twice, or a return that cannot be.
    """
    path = Path(name_or_path)
    if name_or_path in REFERENCES:
        file = resources.files("reports.runs") / "reference" / f"{name_or_path}.csv"
        text, description = file.read_text(encoding="utf-8"), REFERENCES[name_or_path]
    elif path.suffix == ".csv" and path.is_file():
        text, description = _read(path), readable(path.name)
    else:
        error = unknown("reference", name_or_path, REFERENCES)
        raise UserError(f"{error}; your own is given by the path of a .csv file")
    return Reference(readable(path.name), description, _parse(text, name_or_path))


def _read(path: Path) -> str:
    try:
        return read_bounded(path, _MAX_FILE).decode("utf-8-sig")  # Excel begins with a mark
    except ValueError as error:
        raise UserError(f"reference {path}: no text in UTF-8 ({error})") from None


def _parse(text: str, name: str) -> dict[tuple[str, str], Published]:
    """Returns the rows of a table of published results.

    Raises:
        UserError: a column is missing, a row is impossible or there twice, or there is none.
    """
    values: dict[tuple[str, str], Published] = {}
    lines: dict[tuple[str, str], int] = {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            key = (row["algorithm"], row["task"])
            if key in values:
                first = f"line {lines[key]} already has {key[0]} on {key[1]}"
                raise ValueError(f"line {reader.line_num}: {first}; keep one of the two")
            values[key], lines[key] = _published(row, reader.line_num), reader.line_num
    except KeyError as error:
        raise UserError(f"reference {name}: no column {error}; {_COLUMNS}") from None
    except (csv.Error, ValueError) as error:
        raise UserError(f"reference {name}: {error}") from None
    if not values:
        raise UserError(f"reference {name}: no rows; {_COLUMNS}")
    return values


def _published(row: Mapping[str, str | None], line: int) -> Published:
    if not row["algorithm"] or not row["task"]:
        raise ValueError(f"line {line}: algorithm and task must have a name")
    mean, std = (_number(row, column, line) for column in ("return_mean", "return_std"))
    if std < 0:
        raise ValueError(f"line {line}: return_std = {std:g} must not be negative")
    seeds = row["seeds"] or ""
    if not seeds.strip().isdecimal() or int(seeds) < 1:
        raise ValueError(f"line {line}: seeds = {seeds[:20]!r} must be a whole number from 1 on")
    return Published(mean, std, int(seeds))


def _number(row: Mapping[str, str | None], column: str, line: int) -> float:
    text = row[column] or ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"line {line}: {column} = {text[:20]!r} must be a number")
    return value
