"""Run directories that somebody forged: numbers changed in every file that has them, and sealed.

A forger knows what a run directory is made of. What is changed of one file is changed in those
that repeat it, and the digests are made again, so that only other numbers can contradict it.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

MODES = ("deterministic", "sample")
Row = dict[str, Any]


class Forged:
    """The files of one cell, as a forger holds them.

    Attributes:
        path: the cell's directory.
        curve: rows of curve.csv, numbers as numbers.
        returns: [P, M, E] of episodes.npz.
        status: of status.json.
        run: of run.json.
        metrics: rows of metrics.csv.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curve = [_numbers(row) for row in _table(path / "curve.csv")]
        self.metrics = [_numbers(row) for row in _table(path / "metrics.csv")]
        with np.load(path / "episodes.npz") as arrays:
            self.returns = np.array(arrays["returns"])
        self.status: Any = json.loads((path / "status.json").read_text())
        self.run: Any = json.loads((path / "run.json").read_text())

    @property
    def configuration(self) -> Any:
        """Of run.json."""
        return self.run["configuration"]

    def edit(self, change: Callable[[Row], None], rows: Iterable[int] | None = None) -> None:
        """Changes rows of the curve, all of them if none are named."""
        for index in range(len(self.curve)) if rows is None else rows:
            change(self.curve[index])

    def keep_points(self, points: Iterable[int]) -> None:
        """Leaves these evaluations, in this order, in curve and episodes."""
        chosen = list(points)
        self.curve = [dict(self.curve[2 * point + mode]) for point in chosen for mode in (0, 1)]
        self.returns = self.returns[chosen]

    def set_returns(self, returns: np.ndarray) -> None:
        """Puts other episodes [P, M, E] in place, and what the curve says of them."""
        self.returns = np.asarray(returns, np.float32)
        means = self.returns.mean(axis=2, dtype=np.float64).reshape(-1)
        spreads = self.returns.std(axis=2, dtype=np.float64).reshape(-1)
        for row, mean, spread in zip(self.curve, means, spreads, strict=True):
            row["return_mean"], row["return_std"] = float(mean), float(spread)
            row["episodes"] = self.returns.shape[2]

    def save(self) -> None:
        """Writes all files, with the last returns in the status, and seals the cell."""
        last = {row["mode"]: row["return_mean"] for row in self.curve[-2:]}
        self.status["returns"] = last
        steps = [row["env_steps"] for row in self.curve[::2]]
        np.savez_compressed(
            self.path / "episodes.npz",
            env_steps=np.asarray(steps, np.int64),
            returns=np.asarray(self.returns, np.float32),
        )
        for name, rows in (("curve.csv", self.curve), ("metrics.csv", self.metrics)):
            with open(self.path / name, "w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        (self.path / "status.json").write_text(json.dumps(self.status))
        (self.path / "run.json").write_text(json.dumps(self.run))
        seal(self.path)


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A run directory of one task, as a forger holds it."""

    path: Path
    task: str

    def cell(self, algorithm: str, seed: int) -> Forged:
        """Returns the files of one cell."""
        return Forged(self.place(algorithm, seed))

    def place(self, algorithm: str, seed: int) -> Path:
        """Returns the directory of one cell."""
        return self.path / self.task / algorithm / f"seed-{seed:03d}"

    def every(self, algorithm: str) -> list[Forged]:
        """Returns all seeds of a method."""
        paths = sorted((self.path / self.task / algorithm).glob("seed-*"))
        return [Forged(path) for path in paths]

    def change(self, algorithm: str, seed: int, edit: Callable[[Forged], None]) -> None:
        """Edits one cell and seals it."""
        cell = self.cell(algorithm, seed)
        edit(cell)
        cell.save()

    def take(self, name: str, algorithm: str, seed: int, place: Path) -> None:
        """Copies one file of another cell into a cell, and seals it."""
        shutil.copy(place / name, self.place(algorithm, seed) / name)
        seal(self.place(algorithm, seed))


def seal(cell: Path) -> None:
    """Gives a cell the digests of the files that it has now."""
    names = [each.name for each in cell.iterdir() if each.name[0] != "."]
    digests = {
        name: hashlib.sha256((cell / name).read_bytes()).hexdigest()
        for name in names
        if name != "digests.json"
    }
    (cell / "digests.json").write_text(json.dumps({"files": digests, "before": {}, "new": []}))


def _table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _numbers(row: dict[str, str]) -> Row:
    return {name: _number(text) for name, text in row.items()}


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
