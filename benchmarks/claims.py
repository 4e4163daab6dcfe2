"""Size and power of the test that claims rest on, beside tests that were not chosen.

    python -m benchmarks.claims [--trials 2000] [--json results/benchmarks/claims.json]

The first table is what `suite power` simulates, for methods whose seeds scatter normally by 0.1:
how often one of them is claimed to score higher, alone and as one of ten pairs, where it does by
so much, and how often any claim is made among five equal methods. The second compares tests of one
pair at 5%, where there is nothing to find (size) and where there is (power).

Monte-Carlo error: a share of 2,000 trials has a standard error of at most 0.011, at 5% of 0.005.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from reports.analysis import bootstrap, claims
from reports.judgement.power import simulated_power
from suite.common.claim_floor import LEVEL

Side = Sequence[np.ndarray]
"""Scores [K, N] of K trials, for each task."""

SEEDS = (2, 3, 5, 10)
DELTAS: Mapping[int, tuple[float, ...]] = {1: (0.1, 0.2, 0.3), 6: (0.05, 0.1, 0.2)}
"""Differences to be shown, by number of tasks."""

SPREAD = 0.1
METHODS = 5


Draw = Callable[[tuple[int, int], np.random.Generator], np.ndarray]
"""Draws scores [K, N] around the level of their task."""


def normal(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Scores that scatter normally."""
    return generator.normal(0, SPREAD, shape)


def narrow(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Scores with a quarter of that spread."""
    return generator.normal(0, SPREAD / 4, shape)


def failing(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Scores of which a fifth fails."""
    fails = generator.random(shape) < 0.2
    return np.where(fails, -0.4, 0.1) + generator.normal(0, SPREAD / 2, shape)


def two_modes(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Scores of which half fail, and hardly scatter beside that."""
    fails = generator.random(shape) < 0.5
    return np.where(fails, -0.2, 0.2) + generator.normal(0, SPREAD / 20, shape)


SCENARIOS: Mapping[str, tuple[Draw, Draw, int]] = {
    "normal": (normal, normal, 1),
    "a fifth fails": (failing, failing, 1),
    "half fail": (two_modes, two_modes, 1),
    "unequal spread": (normal, narrow, 1),
    "unequal, n and 2n": (normal, narrow, 2),
}
"""How the scores of both sides scatter, and how many times the runs the second side has."""

EQUAL = ("normal", "a fifth fails", "half fail")
"""Scenarios in which both sides scatter alike, and the power is looked at too."""


def studentised(x: Side, y: Side, generator: np.random.Generator) -> np.ndarray:
    """Returns [K] p-values of the test of the reports."""
    return claims.p_values(x, y, 999, generator, enumerated=999)


def plain(x: Side, y: Side, generator: np.random.Generator) -> np.ndarray:
    """Returns [K] p-values of a permutation test of the difference of the mean over tasks."""
    observed, permuted = np.zeros((len(x[0]), 1)), np.zeros((len(x[0]), 999))
    for a, b in zip(x, y, strict=True):
        pooled, n, m = np.concatenate([a, b], axis=1), a.shape[1], b.shape[1]
        pooled = pooled - pooled.mean(axis=1, keepdims=True)
        observed += (1 / n + 1 / m) * pooled[:, :n].sum(axis=1, keepdims=True)
        permuted += (1 / n + 1 / m) * (pooled @ _shuffled(n, n + m, 999, generator))
    as_far = np.abs(permuted) >= np.abs(observed) - 1e-12
    return np.asarray((np.count_nonzero(as_far, axis=1) + 1) / 1000)


def trimmed(x: Side, y: Side, generator: np.random.Generator) -> np.ndarray:
    """Returns [K] p-values of a permutation test of the difference of the IQM."""
    sizes = [(a.shape[1], b.shape[1]) for a, b in zip(x, y, strict=True)]
    observed = np.concatenate([np.arange(a + b) < a for a, b in sizes])[:, None].astype(np.int16)
    dealt = np.concatenate([_shuffled(a, a + b, 199, generator) for a, b in sizes])
    every = np.concatenate([observed, dealt], axis=1)

    def p_value(trial: int) -> float:
        pooled = [np.concatenate([a[trial], b[trial]]) for a, b in zip(x, y, strict=True)]
        apart = np.abs(bootstrap.iqm(pooled, every) - bootstrap.iqm(pooled, 1 - every))
        return float(np.mean(apart >= apart[0] - 1e-12))

    return np.array([p_value(trial) for trial in range(len(x[0]))])


def welch(x: Side, y: Side, generator: np.random.Generator) -> np.ndarray:
    """Returns [K] p-values of Welch's test of the mean over tasks, drawing nothing."""
    del generator
    squares = [side.var(axis=1, ddof=1) / side.shape[1] for side in (*x, *y)]
    freedom = [side.shape[1] - 1 for side in (*x, *y)]
    difference = sum(a.mean(axis=1) - b.mean(axis=1) for a, b in zip(x, y, strict=True))
    variance = np.sum(squares, axis=0)
    degrees = variance**2 / sum(s**2 / f for s, f in zip(squares, freedom, strict=True))
    return np.asarray(2 * scipy.stats.t.sf(np.abs(difference) / np.sqrt(variance), degrees))


TESTS = {"studentised": studentised, "mean": plain, "IQM": trimmed, "Welch": welch}


def reported(tasks: int, seeds: int, trials: int) -> dict[str, Any]:
    """Returns a row of the first table."""
    stored = [scipy.stats.norm.ppf((np.arange(200) + 0.5) / 200, 0.5, SPREAD)] * tasks

    def power(delta: float, comparisons: int) -> float:
        return simulated_power(stored, stored, seeds, delta, comparisons, trials)

    return {
        "tasks": tasks,
        "seeds": seeds,
        "size": power(0.0, 1),
        "size_of_ten_pairs": family_wise_size(tasks, seeds, trials),
        "power": {str(delta): power(delta, 1) for delta in DELTAS[tasks]},
        "power_of_ten_pairs": {str(delta): power(delta, 10) for delta in DELTAS[tasks]},
    }


def family_wise_size(tasks: int, seeds: int, trials: int) -> float:
    """Returns how often Holm's correction lets any of the pairs of equal methods be claimed."""
    generator = np.random.default_rng([tasks, seeds])
    sides = [[normal((trials, seeds), generator) for _ in range(tasks)] for _ in range(METHODS)]
    pairs = list(itertools.combinations(sides, 2))
    p = np.stack([claims.p_values(x, y, 2000, generator, enumerated=2000) for x, y in pairs])
    # Holm's correction claims something where the smallest p-value is below the level by number.
    return float(np.mean(p.min(axis=0) * len(pairs) < LEVEL))


def compared(scenario: str, tasks: int, seeds: int, delta: float, trials: int) -> dict[str, Any]:
    """Returns a row of the second table: how often each test rejects at 5%."""
    draw_x, draw_y, times = SCENARIOS[scenario]
    generator = np.random.default_rng([tasks, seeds, round(1000 * delta)])
    levels = np.linspace(0.2, 0.9, tasks)
    x = [level + delta + draw_x((trials, seeds), generator) for level in levels]
    y = [level + draw_y((trials, times * seeds), generator) for level in levels]
    rates = {
        name: float(np.mean(test(x, y, generator) < LEVEL + 1e-12)) for name, test in TESTS.items()
    }
    return {"scenario": scenario, "tasks": tasks, "seeds": seeds, "delta": delta, **rates}


def versions() -> dict[str, str]:
    """Returns what the figures depend on beside the code, and when they were made."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": str(os.cpu_count()),
        **{name: importlib.metadata.version(name) for name in ("numpy", "scipy")},
        "date": datetime.date.today().isoformat(),
    }


def print_reported(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the first table."""
    for tasks, deltas in DELTAS.items():
        shown = "".join(f"{f'+{delta:g}':>16}" for delta in deltas)
        print(f"\n{tasks} task{'s' * (tasks > 1)}: of one pair / of ten pairs")
        print(f"{'n':>3}{'size':>16}{shown}")
        for row in rows:
            if row["tasks"] == tasks:
                pairs = [(row["size"], row["size_of_ten_pairs"])]
                pairs += zip(row["power"].values(), row["power_of_ten_pairs"].values(), strict=True)
                cells = "".join(f"{f'{one:.3f} / {ten:.3f}':>16}" for one, ten in pairs)
                print(f"{row['seeds']:3}{cells}")


def compare_all(trials: int) -> list[dict[str, Any]]:
    """Returns the rows of the second table, printing each."""
    print(f"\n{'scenario':20}{'tasks':>6}{'n':>4}{'delta':>7}" + "".join(f"{t:>13}" for t in TESTS))
    rows = []
    for scenario, tasks, seeds in itertools.product(SCENARIOS, DELTAS, SEEDS):
        for delta in (0.0, DELTAS[tasks][1])[: 1 + (scenario in EQUAL)]:
            row = compared(scenario, tasks, seeds, delta, trials)
            rates = "".join(f"{row[test]:13.3f}" for test in TESTS)
            print(f"{scenario:20}{tasks:6}{seeds:4}{delta:7g}{rates}", flush=True)
            rows.append(row)
    return rows


def main() -> None:
    """Prints both tables, and writes the record if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--json", type=pathlib.Path, help="file for the record")
    options = parser.parse_args()
    cases = itertools.product(DELTAS, SEEDS)
    first = [reported(tasks, seeds, options.trials) for tasks, seeds in cases]
    print_reported(first)
    second = compare_all(options.trials)
    if options.json:
        record = {"versions": versions(), "trials": options.trials}
        record |= {"reported": first, "compared": second}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


def _shuffled(
    chosen: int, size: int, repetitions: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws `chosen` out of `size` R times; returns [size, R] of 0 and 1."""
    ranks = np.argsort(generator.random((size, repetitions)), axis=0)
    return (ranks < chosen).astype(np.int16)


if __name__ == "__main__":
    main()
