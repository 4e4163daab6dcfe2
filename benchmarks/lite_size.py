"""The size of lite's update, chosen on tasks that no comparison uses (results/lite-size).

    python -m benchmarks.lite_size            trains what is missing, then prints the table
    python -m benchmarks.lite_size --report   only reads the runs

README.md there says what is compared and by which rule a size is chosen; it was written first.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from suite.common.formatting import aligned
from suite.storage.records import Cell, CurveRow, Status
from suite.storage.run_directory import RunDirectory

RESULTS = Path(__file__).resolve().parents[1] / "results" / "lite-size"
SIZES = (256, 128, 64)
METHODS = ("ppo", "fpo", "gorl-fm")
TASKS = ("ReacherHard", "WalkerRun")
SEED = 100
BETTER = 50.0
"""Of 1000: what a smaller size must score more than the first to be chosen."""

_LAST_ROWS = 6  # three evaluations in two modes

Scores = Mapping[int, float]


def train(size: int) -> None:
    """Trains every cell of one size, or goes on where it was stopped."""
    command = [sys.executable, "-m", "suite", "run", "--algos", ",".join(METHODS)]
    command += ["--tasks", ",".join(TASKS), "--seeds", f"{SEED}-{SEED}", "--engine", "native"]
    command += ["--protocol", str(RESULTS / f"envs-{size}.toml"), "--out", str(_path(size))]
    # Exit code 1: a seed diverged, which is a result too.
    if (code := subprocess.run(command, check=False).returncode) not in (0, 1):
        sys.exit(f"stopped at {size} environments with exit code {code}")


def score(status: Status | None, curve: list[CurveRow]) -> float | None:
    """Returns the mean return at the end of a run; None if it is not done, 0 if it diverged."""
    if status is None or status.state == "running":
        return None
    if status.state != "done":
        return 0.0
    last = curve[-_LAST_ROWS:]
    return sum(row.return_mean for row in last) / len(last)


def chosen(scores: Scores) -> int:
    """Returns the size that the rule chooses, by the mean scores of all sizes."""
    shipped = SIZES[0]
    better = [size for size in scores if scores[size] >= scores[shipped] + BETTER]
    return max(better, key=lambda size: scores[size], default=shipped)


def report() -> None:
    """Prints the scores of what is done, writes scores.csv, and says what is chosen."""
    lines, means = [], {}
    for size in SIZES:
        found = {(m, t): _score(size, m, t) for m in METHODS for t in TASKS}
        known = {pair: value for pair, value in found.items() if value is not None}
        lines += [(str(size), m, t, f"{value:.1f}") for (m, t), value in known.items()]
        if len(known) == len(found):
            means[size] = sum(known.values()) / len(known)
            lines.append((str(size), "all", "all", f"{means[size]:.1f}"))
    header = ("environments", "algorithm", "task", "score")
    with open(RESULTS / "scores.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *lines])
    print("\n".join(aligned([header, *lines], [False] * len(header))))
    if len(means) == len(SIZES):
        print(f"chosen: {chosen(means)} environments")


def _path(size: int) -> Path:
    return RESULTS / f"envs-{size}"


def _score(size: int, method: str, task: str) -> float | None:
    if not (_path(size) / "protocol.json").exists():
        return None
    files = RunDirectory.open(_path(size)).files(Cell(method, task, SEED))
    return score(files.read_status(), files.read_curve())


def main() -> None:
    """Trains, or only reads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", action="store_true", help="train nothing")
    if not parser.parse_args().report:
        for size in SIZES:
            train(size)
    report()


if __name__ == "__main__":
    main()
