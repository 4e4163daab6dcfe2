"""How much wider intervals grow where an evaluation plays fewer episodes.

A run's score is the mean of E episodes, so that its variance over seeds is the variance between
policies plus that between episodes / E. From the last evaluations of stored runs with at least
three seeds this takes both, pooled over methods, and says by which factor the standard error of
a mean over seeds (hence its interval) grows with fewer episodes than were played.

    python -m benchmarks.evaluation_noise results/controls results/normalizer/cumulative-after
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.common.files import atomic_write, json_bytes
from suite.storage.provenance import provenance
from suite.storage.run_directory import RunDirectory

RECORD = Path(__file__).resolve().parents[1] / "results/benchmarks/evaluation-noise.json"
EPISODES = (16, 8, 4)
"""Of each mode and evaluation, whose effect is told."""

_SEEDS = 3


def last_episodes(run: RunDirectory) -> dict[tuple[str, str], list[np.ndarray]]:
    """Returns the returns [M, E] of each seed's last evaluation, by task and method."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for cell in run.cells():
        episodes = run.files(cell).read_episodes()
        if episodes is not None and len(episodes[1]):
            last = episodes[1][-1]
            found.setdefault((cell.task, cell.algorithm), []).append(last)
    return found


def variances(seeds: Sequence[np.ndarray]) -> tuple[float, float]:
    """Returns the variance of the seeds' means and that of episodes, for returns [E] of each."""
    between = float(np.var([each.mean() for each in seeds], ddof=1))
    return between, float(np.mean([each.var(ddof=1) for each in seeds]))


def growth(of_means: float, of_episodes: float, played: int, fewer: int) -> float:
    """Returns by which factor the standard error grows with `fewer` episodes than `played`."""
    return float(np.sqrt(1 + of_episodes * (1 / fewer - 1 / played) / of_means))


def rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns one row for each task and mode of all the directories together."""
    pooled: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    for path in paths:
        for (task, _), seeds in last_episodes(RunDirectory.open(path)).items():
            finite = [each for each in seeds if np.isfinite(each).all()]
            if len(finite) >= _SEEDS:
                for mode in range(finite[0].shape[0]):
                    key = (task, mode, finite[0].shape[1])
                    pooled.setdefault(key, []).append(variances([each[mode] for each in finite]))
    return [_row(key, found) for key, found in sorted(pooled.items())]


def _row(key: tuple[str, int, int], found: Sequence[tuple[float, float]]) -> dict[str, Any]:
    task, mode, played = key
    of_means, of_episodes = np.mean(found, axis=0)
    return {
        "task": task,
        "mode": ("deterministic", "sample")[mode],
        "cells": len(found),
        "episodes": played,
        "variance_of_means": float(of_means),
        "variance_of_episodes": float(of_episodes),
        "growth": {str(n): growth(of_means, of_episodes, played, n) for n in EPISODES},
    }


def line(row: Mapping[str, Any]) -> str:
    """Formats one line of the table."""
    grown = "".join(f"{factor:9.3f}" for factor in row["growth"].values())
    variance = f"{row['variance_of_means']:12.1f}{row['variance_of_episodes']:12.1f}"
    return f"{row['task']:16}{row['mode']:15}{row['cells']:6}{row['episodes']:9}{variance}{grown}"


def main() -> None:
    """Prints the table and writes the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--json", type=Path, default=RECORD)
    options = parser.parse_args()
    found = rows(options.runs)
    grown = "".join(f"{f'at {episodes}':>9}" for episodes in EPISODES)
    print(
        f"{'task':16}{'mode':15}{'cells':>6}{'episodes':>9}{'of means':>12}{'of epis.':>12}{grown}"
    )
    for row in found:
        print(line(row))
    atomic_write(options.json, json_bytes({"rows": found, "provenance": provenance()}))


if __name__ == "__main__":
    main()
