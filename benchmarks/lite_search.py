"""The search behind lite's learning rates: the same candidates for every method.

    python benchmarks/lite_search.py            trains what is missing, then prints the table
    python benchmarks/lite_search.py --report   only reads results/lite-search

Each method is trained with three learning rates on CheetahRun, with two seeds that no
comparison uses and half of lite's budget; its clip and all else are its own. A candidate's
score is the mean return of its last three evaluations, over both modes and both seeds; a
seed that diverged counts as 0. The higher is chosen.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from algorithms.names import ALL
from suite.common.formatting import aligned
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "lite-search"
TASK = "CheetahRun"
SEEDS = (100, 101)
LEARNING_RATES = (1e-4, 3e-4, 1e-3)
LAST_ROWS = 6  # three evaluations in two modes


def main() -> None:
    """Runs the search, or only reads it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--algos", default=",".join(ALL), help="names")
    arguments = parser.parse_args()
    algorithms = arguments.algos.split(",")
    if not arguments.report:
        for algorithm, rate in itertools.product(algorithms, LEARNING_RATES):
            train(algorithm, rate)
    report(algorithms)


def run_path(rate: float) -> Path:
    """The run directory of one candidate."""
    return RESULTS / f"rate-{rate:g}"


def train(algorithm: str, rate: float) -> None:
    """Trains one candidate of one method, or goes on where it was stopped."""
    command = [sys.executable, "-m", "suite.cli", "run", "--algos", algorithm, "--tasks", TASK]
    command += ["--seeds", ",".join(map(str, SEEDS)), "--protocol", str(RESULTS / "search.toml")]
    command += ["--engine", "native", "--out", str(run_path(rate))]
    command += ["--set", f"{algorithm}.learning_rate={rate:g}"]
    # Exit code 1: a seed diverged, which is a result too.
    if subprocess.run(command, cwd=ROOT).returncode not in (0, 1):
        sys.exit(f"stopped at {algorithm}, learning rate {rate:g}")


def score(algorithm: str, rate: float) -> float | None:
    """Mean return at the end of a candidate, None if it is not done."""
    if not run_path(rate).exists():
        return None
    run = RunDirectory.open(run_path(rate))
    tails = []
    for seed in SEEDS:
        status = run.files(Cell(algorithm, TASK, seed)).read_status()
        if status is None or status.state == "running":
            return None
        rows = run.files(Cell(algorithm, TASK, seed)).read_curve()[-LAST_ROWS:]
        tails += [row.return_mean for row in rows] if status.state == "done" else [0.0] * LAST_ROWS
    return sum(tails) / len(tails)


def report(algorithms: Sequence[str]) -> None:
    """Prints the scores and writes them to scores.csv; the best of a method is marked.

    Args:
        algorithms: that are shown beside the five.
    """
    lines = []
    for algorithm in dict.fromkeys((*ALL, *algorithms)):
        scores = {rate: score(algorithm, rate) for rate in LEARNING_RATES}
        done = {rate: value for rate, value in scores.items() if value is not None}
        best = max(done, key=lambda rate: done[rate]) if len(done) == len(scores) else None
        for rate, value in done.items():
            mark = "chosen" if rate == best else ""
            lines.append((algorithm, f"{rate:g}", f"{value:.1f}", mark))
    header = ("algorithm", "learning_rate", "score", "chosen")
    with open(RESULTS / "scores.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
    print("\n".join(aligned([header, *lines], [False] * len(header))))


if __name__ == "__main__":
    main()
