"""Tables of published results: final returns, evaluations by step, and returns by stage."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Mapping

import numpy as np

from suite.common.convert import from_texts, number
from suite.common.errors import UserError
from suite.common.formatting import readable

Pair = tuple[str, str]
"""Algorithm and task."""

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


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluations:
    """A published learning curve of one algorithm on one task.

    Attributes:
        steps: environment steps before each evaluation [P], ascending.
        returns: mean return of each evaluation, by seed [P, S].
    """

    steps: np.ndarray
    returns: np.ndarray

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return int(self.returns.shape[1])

    @property
    def mean(self) -> np.ndarray:
        """Mean over seeds [P]."""
        return np.asarray(self.returns.mean(axis=1))

    def within(self, steps: int) -> Evaluations | None:
        """Returns the evaluations within steps, None if there is none after training began."""
        last = self.last_until(steps)
        if last is None:
            return None
        return Evaluations(self.steps[: last + 1], self.returns[: last + 1])

    def last_until(self, steps: int) -> int | None:
        """Returns the number of the last evaluation within steps, None if there is none.

        The one before training does not count: it says nothing of the method.
        """
        within = np.flatnonzero((self.steps > 0) & (self.steps <= steps))
        return int(within[-1]) if len(within) else None


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    algorithm: str
    task: str
    env_steps: int
    seed: int
    return_mean: float


@dataclasses.dataclass(frozen=True)
class _Stage:
    algorithm: str
    task: str
    stage: int
    return_mean: float


def parse_evaluations(text: str) -> dict[Pair, Evaluations]:
    """Returns the learning curves in a shipped table; every curve has all seeds everywhere."""
    found: dict[Pair, dict[int, dict[int, float]]] = {}
    for each in (from_texts(_Evaluation, row) for row in csv.DictReader(io.StringIO(text))):
        curve = found.setdefault((each.algorithm, each.task), {})
        curve.setdefault(each.env_steps, {})[each.seed] = each.return_mean
    return {pair: _evaluations(curve) for pair, curve in found.items()}


def _evaluations(curve: Mapping[int, Mapping[int, float]]) -> Evaluations:
    steps = sorted(curve)
    seeds = sorted(curve[steps[0]])
    returns = [[curve[step][seed] for seed in seeds] for step in steps]
    return Evaluations(np.array(steps), np.array(returns))


def parse_stages(text: str) -> dict[Pair, tuple[float, ...]]:
    """Returns the returns by stage in a shipped table, stage 0 first."""
    found: dict[Pair, dict[int, float]] = {}
    for each in (from_texts(_Stage, row) for row in csv.DictReader(io.StringIO(text))):
        found.setdefault((each.algorithm, each.task), {})[each.stage] = each.return_mean
    return {pair: tuple(stages[i] for i in sorted(stages)) for pair, stages in found.items()}


def parse_returns(text: str, name: str) -> dict[Pair, Published]:
    """Returns the rows of a table of final returns, which may be anyone's.

    Raises:
        UserError: a column is missing, a row is impossible or there twice, or there is none.
    """
    values: dict[Pair, Published] = {}
    lines: dict[Pair, int] = {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            key = (readable(row["algorithm"] or ""), readable(row["task"] or ""))
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
    if not re.fullmatch("[0-9]{1,9}", seeds.strip()) or int(seeds) < 1:
        raise ValueError(f"line {line}: seeds = {seeds[:20]!r} must be a whole number from 1 on")
    return Published(mean, std, int(seeds))


def _number(row: Mapping[str, str | None], column: str, line: int) -> float:
    text = row[column] or ""
    try:
        value = number(float, text.strip())
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"line {line}: {column} = {text[:20]!r} must be a number")
    return value
