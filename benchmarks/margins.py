"""Size and power of the tests against a margin, as `suite compare` and `suite regress` use them.

    python -m benchmarks.margins [--trials 2000] [--json results/benchmarks/margins.json]

Two methods' scores scatter as in benchmarks/claims.py, which has the like for the test of a
difference. Size: how often each is shown at 5% where the true difference is the margin itself, so
that it is wrong. Equivalence is looked at from either end, for where spreads or numbers of runs
differ the ends do; the larger share is given. In "one task apart" all of the difference is on the
first task, and the mean over tasks is the margin. Power: how often it is shown where there is no
difference. `compare` shows equivalence by both one-sided tests, `regress` that a run is not worse
by one of them.

Monte-Carlo error: a share of 2,000 trials has a standard error of at most 0.011, at 5% of 0.005.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims import SCENARIOS, SEEDS, Draw, Side, normal, versions
from reports.analysis.claims import p_values
from reports.judgement.margins import less
from suite.common.claim_floor import LEVEL

MARGINS: Mapping[int, float] = {1: 0.2, 6: 0.05}
"""Margins, by number of tasks; the scores of a task scatter by 0.1."""

PERMUTATIONS = 999

CASES: Mapping[str, tuple[Draw, Draw, int]] = {
    **SCENARIOS,
    "one task apart": (normal, normal, 1),
}
"""Scenarios of benchmarks/claims.py, and one of tasks that differ differently."""


def scores(
    scenario: str, tasks: int, seeds: int, difference: float, trials: int
) -> tuple[Side, Side]:
    """Draws scores [trials, N] of both methods on each task, which differ by so much on average."""
    draw_x, draw_y, times = CASES[scenario]
    generator = np.random.default_rng([tasks, seeds, round(1000 * abs(difference)), difference > 0])
    levels = np.linspace(0.2, 0.9, tasks)
    apart = [difference] * tasks
    if scenario == "one task apart":
        apart = [tasks * difference, *[0.0] * (tasks - 1)]
    x = [a + b + draw_x((trials, seeds), generator) for a, b in zip(levels, apart, strict=True)]
    y = [level + draw_y((trials, times * seeds), generator) for level in levels]
    return x, y


def shown(x: Side, y: Side, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each trial whether x is shown not to be worse by the margin, and equivalent."""
    generator = np.random.default_rng(0)
    tests = [(less(x, -margin), y), (less(y, -margin), x)]
    above, below = (
        p_values(*sides, PERMUTATIONS, generator, PERMUTATIONS, one_sided=True) < LEVEL
        for sides in tests
    )
    return above, above & below


def row(scenario: str, tasks: int, seeds: int, trials: int) -> dict[str, Any]:
    """Returns size and power in one scenario."""
    margin = MARGINS[tasks]
    low, equal, high = (
        [float(np.mean(each)) for each in shown(*scores(scenario, tasks, seeds, d, trials), margin)]
        for d in (-margin, 0.0, margin)
    )
    return {
        "scenario": scenario,
        "tasks": tasks,
        "seeds": seeds,
        "margin": margin,
        "size_not_worse": low[0],
        "size_equivalent": max(low[1], high[1]),
        "power_not_worse": equal[0],
        "power_equivalent": equal[1],
    }


def all_rows(trials: int) -> list[dict[str, Any]]:
    """Returns all rows, printing each."""
    print(
        f"{'scenario':20}{'tasks':>6}{'n':>4}{'margin':>8}{'size: not worse, equivalent':>30}",
        end="",
    )
    print(f"{'power: not worse, equivalent':>31}")
    rows = []
    for scenario, tasks, seeds in itertools.product(CASES, MARGINS, SEEDS):
        if scenario == "one task apart" and tasks == 1:
            continue
        rows.append(found := row(scenario, tasks, seeds, trials))
        print(f"{scenario:20}{tasks:6}{seeds:4}{found['margin']:8g}", end="")
        print(f"{found['size_not_worse']:19.3f}{found['size_equivalent']:11.3f}", end="")
        print(f"{found['power_not_worse']:20.3f}{found['power_equivalent']:11.3f}", flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, and writes the record if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--json", type=pathlib.Path, help="file for the record")
    options = parser.parse_args(arguments)
    rows = all_rows(options.trials)
    if options.json:
        record = {"versions": versions(), "trials": options.trials, "margins": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
