"""Published results to show beside one's own."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from suite.errors import UserError, unknown
from suite.text import readable

REFERENCES: Mapping[str, str] = {
    "gorl2025": (
        "Table 1 of the GoRL paper: 180M steps, 5 seeds, FPO and DPPO with sampled actions "
        "(as `--mode published` reads these runs)"
    ),
}
"""Published results that are shipped, in reports/reference."""


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
        name: as given on the command line.
        description: one line.
        values: by algorithm and task.
    """

    name: str
    description: str
    values: Mapping[tuple[str, str], Published]


def load_reference(name_or_path: str) -> Reference:
    """Loads published results by name, or a CSV file with the same columns by path.

    Raises:
        UserError: there is none of that name, or the file is not such a table.
    """
    path = Path(name_or_path)
    if name_or_path in REFERENCES:
        file = resources.files("reports") / "reference" / f"{name_or_path}.csv"
        text, description = file.read_text(encoding="utf-8"), REFERENCES[name_or_path]
    elif path.suffix == ".csv" and path.is_file():
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        description = readable(path.name)
    else:
        error = unknown("reference", name_or_path, REFERENCES)
        raise UserError(f"{error}; your own is given by the path of a .csv file")
    try:
        values = {
            (row["algorithm"], row["task"]): Published(
                float(row["return_mean"]), float(row["return_std"]), int(row["seeds"])
            )
            for row in csv.DictReader(io.StringIO(text))
        }
    except (KeyError, TypeError, ValueError) as error:
        columns = "algorithm,task,return_mean,return_std,seeds"
        raise UserError(
            f"reference {name_or_path}: not a table with the columns {columns} ({error})"
        ) from None
    return Reference(readable(name_or_path), description, values)
