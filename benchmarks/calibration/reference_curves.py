"""Recovers the evaluations behind the interpolated curves of Brax on Playground's tasks.

The source, `results/` of github.com/cvoelcker/reppo, holds 20 points a file and seed: the lines
between evaluations, read off every 50M/19 steps (`TASK_ppo_brax.csv`) and every 500M/19 steps
(`_full.csv`), flat after the end. PPO was evaluated every 10 updates, 9,830,400 steps apart, nine
times after its start, as Playground's settings come to (60M steps, 10 evaluations, an update
of 983,040 steps, 10 fresh starts an evaluation). So the end is at 88,473,600 steps, and

- up to 58,982,400 steps there are two points or more on every line, which give both its ends;
- of the line from 78,643,200 to the end, the end is known and one more point, which give its start;
- of the evaluation at 68,812,800 steps nothing is known.

An evaluation is a mean in single precision, and what a wrong place of the evaluations gives is not:
`recover` refuses it. Of SAC only the last evaluation is left, made by the first point after 0.

    python -m benchmarks.calibration.reference_curves SOURCE OUT

OUT is reports/references/data/brax-playground-curves.csv.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

BETWEEN = 10 * 983_040
"""Steps between two evaluations."""

LAST = 9
"""Number of the last evaluation; the first, before training, is 0."""

_MOST_ROUNDING = 1e-6
"""How far a recovered evaluation may lie from a number in single precision, in its last places."""

_METHODS = {"ppo": "ppo-brax", "sac": "sac-brax"}


class Points(NamedTuple):
    """What one file holds: steps [P] and, by seed, returns [S, P]."""

    steps: np.ndarray
    returns: np.ndarray


class Evaluation(NamedTuple):
    """A row of the result."""

    algorithm: str
    task: str
    env_steps: int
    seed: int
    return_mean: float


def read_points(path: Path) -> Points:
    """Reads one file of the source."""
    with path.open(encoding="utf-8", newline="") as file:
        table = np.array([[float(each) for each in row] for row in list(csv.reader(file))[1:]])
    return Points(table[:, 0], table[:, 1:].T)


def recover(
    fine: Points, coarse: Points, seed: int, between: int = BETWEEN, last: int = LAST
) -> dict[int, float]:
    """Returns a seed's evaluations by steps, those that its points determine.

    Args:
        fine: points to somewhat beyond the middle of training.
        coarse: points to beyond its end.
        seed: which of theirs.
        between: steps between evaluations.
        last: number of the last evaluation.

    Raises:
        ValueError: what comes out is not in single precision, so evaluations lie elsewhere.
    """
    points = sorted(
        {
            (float(step), float(value))
            for steps, returns in (fine, coarse)
            for step, value in zip(steps, returns[seed], strict=True)
            if step < between * last
        }
        | {(float(between * last), float(coarse.returns[seed, -1]))}
    )
    found: dict[int, float] = {}
    for number in range(last):
        start, end = between * number, between * (number + 1)
        inside = [point for point in points if start <= point[0] <= end]
        if number * between in found:  # the line before ended here
            inside.insert(0, (float(start), found[start]))
        if len(inside) > 1 and inside[-1][0] - inside[0][0] > 1:
            for at in (start, end):
                found.setdefault(at, _single(_line(inside[0], inside[-1], at), at))
            _check_line(inside, found[start], found[end], (start, end))
    return found


def _line(first: tuple[float, float], second: tuple[float, float], at: float) -> float:
    """Returns the value at a place of the straight line through two points."""
    share = (at - first[0]) / (second[0] - first[0])
    return first[1] + share * (second[1] - first[1])


def _single(value: float, at: int) -> float:
    """Returns the number in single precision that a value is but for rounding.

    Raises:
        ValueError: it is none.
    """
    nearest = np.float32(value)
    # 11 digits of the points at hand are certain after a line is prolonged.
    if abs(float(nearest) - value) > max(_MOST_ROUNDING * float(np.spacing(nearest)), 1e-11):
        raise ValueError(f"{value!r} at {at:,} steps is no number in single precision")
    return float(nearest)


def _check_line(
    points: Sequence[tuple[float, float]], start: float, end: float, at: tuple[int, int]
) -> None:
    """Checks that all points lie on the line between two evaluations."""
    for step, value in points:
        if abs(_line((at[0], start), (at[1], end), step) - value) > 1e-9:
            raise ValueError(f"the point at {step:,.0f} steps is not on the line of its neighbours")


def evaluations(directory: Path) -> Iterator[Evaluation]:
    """Yields every evaluation that the source's files determine, PPO's before SAC's."""
    for path in sorted(directory.glob("*_ppo_brax.csv")):
        fine, task = read_points(path), path.name.partition("_")[0]
        coarse = read_points(path.with_name(f"{task}_ppo_brax_full.csv"))
        curves = [recover(fine, coarse, seed) for seed in range(len(fine.returns))]
        yield from _rows("ppo", task, curves)
    for path in sorted(directory.glob("*_sac_brax_full.csv")):
        points = read_points(path)
        # Flat from the first point on: the last evaluation is not after it.
        at = int(points.steps[1])
        ends = [{at: _single(float(values[-1]), at)} for values in points.returns]
        yield from _rows("sac", path.name.partition("_")[0], ends)


def _rows(method: str, task: str, curves: Sequence[Mapping[int, float]]) -> Iterator[Evaluation]:
    for steps in sorted(curves[0]):
        for seed, curve in enumerate(curves):
            yield Evaluation(_METHODS[method], task, steps, seed, curve[steps])


def main(source: str, out: str) -> None:
    """Writes the table of evaluations."""
    with Path(out).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Evaluation._fields)
        writer.writerows(evaluations(Path(source)))


if __name__ == "__main__":
    main(*sys.argv[1:])
