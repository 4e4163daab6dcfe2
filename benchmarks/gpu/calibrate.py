"""Do we reproduce published curves at full size? Then the comparison itself, as time allows.

First PPO and FPO on CheetahRun with the protocol `paper` for 61 updates (60M steps), beside
the curves that FPO's authors published; then the protocol `fair`, task by task, the
cheapest methods first. Trains as `suite run` does: the same command goes on where the last
one stopped. Run directories stay in --work; OUT gets every curve in one file, and the
comparison.

    python -m benchmarks.gpu.calibrate --seeds 3 --minutes 9
    python -m benchmarks.gpu.calibrate --report          trains nothing
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gpu import SCRATCH
from benchmarks.gpu.common import checked, describe, options_parser, suitable_engines
from envs.names import TASK_SETS
from suite.common import formatting
from suite.common.files import atomic_write, json_bytes, make_directory
from suite.configuration.selection import parse_algorithms, parse_seeds
from suite.planning.run_request import make_request
from suite.planning.status import cell_reports
from suite.storage.provenance import provenance
from suite.storage.records import Cell, CurveRow
from suite.storage.run_directory import RunDirectory
from suite.training.launch import launch

TASK = "CheetahRun"
PUBLISHED_UPDATES = (1, 7, 14, 21, 27, 34, 41, 47, 54, 61)
"""Updates after which the published policies were evaluated."""


class Published(NamedTuple):
    """A published curve on CheetahRun, of one seed, and the mode that it was evaluated in."""

    mode: str
    returns: tuple[float, ...]


PUBLISHED: Mapping[str, Published] = {
    "ppo": Published("deterministic", (0.2, 97, 184, 268, 325, 402, 455, 493, 530, 561)),
    "fpo": Published("sample", (22, 284, 581, 700, 753, 808, 869, 857, 784, 878)),
}
"""From the notebooks in FPO's official repository (ALGORITHMS 1.6)."""

CHEAPEST_FIRST = ("ppo", "gorl-fm", "gorl-diff", "fpo", "dppo")
"""By network passes per gradient step and action."""

GRACE_SECONDS = 60
"""Time to finish a chunk and to save, once training is asked to stop."""


@dataclasses.dataclass(frozen=True)
class Campaign:
    """A run directory to fill: one protocol, several methods on several tasks.

    Attributes:
        protocol: a preset, or a file.
        algorithms: in the order in which they are trained.
        tasks: likewise; each is completed before the next.
    """

    protocol: str
    algorithms: tuple[str, ...]
    tasks: tuple[str, ...]

    def path(self, work: Path, engine: str) -> Path:
        """Returns the run directory; an engine is part of a run's identity."""
        return work / f"{Path(self.protocol).stem}-{engine}"


CALIBRATION = Campaign(str(Path(__file__).with_name("paper-60m.toml")), tuple(PUBLISHED), (TASK,))
FAIR = Campaign("fair", CHEAPEST_FIRST, TASK_SETS["dmc6"])
TINY = Campaign("smoke", tuple(PUBLISHED), (TASK,))


class Stopped(Exception):
    """The time is up, or the user asked to stop; everything is saved."""


def train(campaign: Campaign, options: argparse.Namespace, errors: dict[str, str]) -> None:
    """Trains what a campaign lacks, job after job.

    Args:
        campaign: what to train.
        options: the script's.
        errors: gets the error of each job that failed; the others go on.

    Raises:
        Stopped: before the end.
    """
    for task in campaign.tasks:
        for algorithm in campaign.algorithms:
            if algorithm in options.algos:
                name = f"{campaign.path(Path(), options.engine)}/{task}/{algorithm}"
                with _noting_errors(errors, name):
                    train_job(campaign, task, algorithm, options)


def train_job(campaign: Campaign, task: str, algorithm: str, options: argparse.Namespace) -> None:
    """Does what `suite run` does for one algorithm and task.

    Raises:
        Stopped: before the end.
        RuntimeError: a seed diverged.
    """
    request = make_request(
        algos=algorithm,
        tasks=task,
        seeds=options.seeds,
        protocol=campaign.protocol,
        engine=options.engine,
        out=campaign.path(options.work, options.engine),
        changes=(),
    )
    outcome = launch(request)
    if outcome.interrupted:
        raise Stopped
    if outcome.diverged:
        raise RuntimeError(f"diverged: {', '.join(map(str, outcome.diverged))}")


@contextlib.contextmanager
def _noting_errors(errors: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        traceback.print_exc()
        errors[name] = describe(error)


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Asks this process to stop after a while, as Ctrl-C does: training saves first."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def interpolated_return(rows: Sequence[CurveRow], mode: str, updates: int) -> float | None:
    """Returns the mean return after so many updates, on the line between two evaluations.

    None before the curve reaches that far.
    """
    points = [(row.updates, row.return_mean) for row in rows if row.mode == mode]
    if not points or updates > points[-1][0]:
        return None
    grid, returns = zip(*points, strict=True)
    return float(np.interp(updates, grid, returns))


def comparison(run: RunDirectory, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Returns a published curve and ours at its points, for each method that has both."""
    result = []
    for algorithm, published in PUBLISHED.items():
        curves = {seed: run.files(Cell(algorithm, TASK, seed)).read_curve() for seed in seeds}
        ours = {
            seed: [interpolated_return(rows, published.mode, each) for each in PUBLISHED_UPDATES]
            for seed, rows in curves.items()
            if rows
        }
        result.append(
            {
                "algorithm": algorithm,
                "mode": published.mode,
                "updates": PUBLISHED_UPDATES,
                "published": published.returns,
                "ours": [_mean(column) for column in zip(*ours.values(), strict=True)],
                "ours_by_seed": ours,
            }
        )
    return result


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def render_comparison(compared: Sequence[Mapping[str, Any]]) -> str:
    """Returns the published returns above ours, with the ratio below."""
    rows = []
    for each in compared:
        published, ours = each["published"], each["ours"] or [None] * len(each["published"])
        ratios = [None if b is None else b / a for a, b in zip(published, ours, strict=True)]
        title = f"{each['algorithm']} ({each['mode']})"
        rows += [
            (f"{title} published", *(formatting.number(value) for value in published)),
            (f"{title} ours", *(formatting.number(value) for value in ours)),
            (f"{title} ratio", *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios)),
        ]
    return formatting.table(("return after update", *map(str, PUBLISHED_UPDATES)), rows)


def write_curves(path: Path, runs: Mapping[str, RunDirectory]) -> None:
    """Writes every point of every curve of several run directories, given by name."""
    content = io.StringIO(newline="")
    writer = csv.writer(content, lineterminator="\n")
    fields = [field.name for field in dataclasses.fields(CurveRow)]
    writer.writerow(["run", "task", "algorithm", "seed", *fields])
    for name, run in runs.items():
        for cell in run.cells():
            for row in run.files(cell).read_curve():
                values = dataclasses.astuple(row)
                writer.writerow([name, cell.task, cell.algorithm, cell.seed, *values])
    make_directory(path.parent)
    atomic_write(path, content.getvalue().encode())


def report(
    campaigns: Sequence[Campaign], options: argparse.Namespace, errors: Mapping[str, str]
) -> None:
    """Writes OUT/calibrate.json and OUT/curves.csv, and prints how far everything is."""
    paths = [campaign.path(options.work, options.engine) for campaign in campaigns]
    runs = {path.name: RunDirectory.open(path) for path in paths if path.exists()}
    write_curves(options.out / "curves.csv", runs)
    calibration = runs.get(paths[0].name)
    compared = comparison(calibration, parse_seeds(options.seeds)) if calibration else []
    record = {
        "machine": provenance(),
        "comparison": compared,
        "cells": {name: cell_reports(run) for name, run in runs.items()},
        "errors": errors,
    }
    atomic_write(options.out / "calibrate.json", json_bytes(record))
    for name, error in errors.items():
        print(f"{name}: {error}")
    print(render_progress(runs))
    print(render_comparison(compared))


def render_progress(runs: Mapping[str, RunDirectory]) -> str:
    """Returns how far each cell is, and its last returns."""
    rows = [
        (
            f"{name}/{cell['task']}/{cell['algorithm']}/{cell['seed']}",
            cell["state"],
            f"{cell['updates']}/{cell['total_updates'] or '?'}",
            formatting.duration(cell["wall_seconds"]),
            formatting.number(cell["returns"].get("deterministic")),
            formatting.number(cell["returns"].get("sample")),
        )
        for name, run in runs.items()
        for cell in cell_reports(run)
    ]
    return formatting.table(("cell", "state", "updates", "wall", "deterministic", "sample"), rows)


def seeds_text(seeds: str) -> str:
    """Returns `seeds` as it is, if `suite run` would take it.

    Raises:
        UserError: it would not.
    """
    parse_seeds(seeds)
    return seeds


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = options_parser(__doc__)
    parser.add_argument("--algos", type=checked(parse_algorithms), default="all", help="names")
    parser.add_argument("--seeds", type=checked(seeds_text), default="3", help="3, or 0,2-4")
    parser.add_argument("--work", type=Path, default=SCRATCH / "runs", help="run directories")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    options.engine = (options.engines or suitable_engines())[0]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains until the time is up, then reports; returns 1 if a job failed."""
    options = parse_options(arguments)
    campaigns = (TINY,) if options.tiny else (CALIBRATION, FAIR)
    errors: dict[str, str] = {}
    began = time.monotonic()
    if not options.report:
        seconds = 60 * options.minutes
        try:
            with interrupted_after(max(seconds - GRACE_SECONDS, seconds / 2)):
                for campaign in campaigns:
                    train(campaign, options, errors)
        except (Stopped, KeyboardInterrupt):
            print(f"stopped after {time.monotonic() - began:.0f} s; the same command goes on")
    report(campaigns, options, errors)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
