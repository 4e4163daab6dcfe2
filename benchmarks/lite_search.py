"""The search behind lite's learning rates and clips: the same candidates for every method.

    python benchmarks/lite_search.py            trains what is missing, then prints the table
    python benchmarks/lite_search.py --report   only reads results/lite-search

Each method is trained with 2 learning rates x 2 clips (its own and twice that, in every
stage) on CheetahRun, with two seeds that no comparison uses and half of lite's budget. A
candidate's score is the mean return of its last three evaluations, over both modes and
both seeds; the highest is chosen.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from algorithms.names import ALL
from algorithms.registry import lookup
from suite.store import Cell, RunDirectory

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "lite-search"
TASK = "CheetahRun"
SEEDS = (100, 101)
LEARNING_RATES = (3e-4, 1e-3)
CLIP_FACTORS = (1, 2)
LAST_ROWS = 6  # three evaluations in two modes


def main() -> None:
    """Runs the search, or only reads it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--algos", default=",".join(ALL), help="names")
    arguments = parser.parse_args()
    algorithms = arguments.algos.split(",")
    if not arguments.report:
        for algorithm, (rate, factor) in itertools.product(algorithms, candidates()):
            train(algorithm, rate, factor)
    report()


def candidates() -> Iterator[tuple[float, int]]:
    """Learning rates and clip factors, the same for every method."""
    return itertools.product(LEARNING_RATES, CLIP_FACTORS)


def run_path(rate: float, factor: int) -> Path:
    """The run directory of one candidate."""
    return RESULTS / f"rate-{rate:g}-clip-x{factor}"


def clips(algorithm: str, factor: int) -> dict[str, float]:
    """The clips of a method, times `factor`."""
    entry = lookup(algorithm)
    fields = [name for name in ("clip", "later_clip") if hasattr(entry.cls, name)]
    return {name: factor * entry.defaults.get(name, getattr(entry.cls, name)) for name in fields}


def train(algorithm: str, rate: float, factor: int) -> None:
    """Trains one candidate of one method, or goes on where it was stopped."""
    settings = {"learning_rate": rate, **clips(algorithm, factor)}
    command = [sys.executable, "-m", "suite.cli", "run", "--algos", algorithm, "--tasks", TASK]
    command += ["--seeds", ",".join(map(str, SEEDS)), "--protocol", str(RESULTS / "search.toml")]
    command += ["--engine", "native", "--out", str(run_path(rate, factor))]
    for name, value in settings.items():
        command += ["--set", f"{algorithm}.{name}={value:g}"]
    # Exit code 1: a seed diverged, which is a result too.
    if subprocess.run(command, cwd=ROOT).returncode not in (0, 1):
        sys.exit(f"stopped at {algorithm}, learning rate {rate:g}, clip x{factor}")


def score(algorithm: str, rate: float, factor: int) -> float | None:
    """Mean return at the end of a candidate, None if it is not done."""
    if not run_path(rate, factor).exists():
        return None
    run = RunDirectory.open(run_path(rate, factor))
    tails = []
    for seed in SEEDS:
        status = run.read_status(Cell(algorithm, TASK, seed))
        if status is None or status.state == "running":
            return None
        rows = run.read_curve(Cell(algorithm, TASK, seed))[-LAST_ROWS:]
        tails += [row.return_mean for row in rows] if status.state == "done" else [0.0] * LAST_ROWS
    return sum(tails) / len(tails)


def report() -> None:
    """Prints the scores and writes them to scores.csv; the best of a method is marked."""
    lines = []
    for algorithm in ALL:
        scores = {each: score(algorithm, *each) for each in candidates()}
        done = {each: value for each, value in scores.items() if value is not None}
        best = max(done, key=lambda each: done[each]) if len(done) == len(scores) else None
        for (rate, factor), value in done.items():
            chosen = "chosen" if (rate, factor) == best else ""
            clip = clips(algorithm, factor)
            listed = " then ".join(f"{each:g}" for each in clip.values())
            lines.append((algorithm, f"{rate:g}", listed, f"{value:.1f}", chosen))
    header = ("algorithm", "learning_rate", "clip", "score", "chosen")
    with open(RESULTS / "scores.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
    for line in (header, *lines):
        print("  ".join(cell.ljust(14) for cell in line).rstrip())


if __name__ == "__main__":
    main()
