"""`suite power`: how many seeds would tell the algorithms apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

from reports.analysis.run_scores import RunScores
from reports.judgement.power import MAX_SEEDS, powers, with_spread
from reports.runs.names import display_name, named
from suite.common.claim_floor import LEVEL
from suite.common.formatting import table as text_table

POWER_SEEDS = (2, 3, 5, 10)
"""Numbers of seeds whose power `suite power` prints."""

FEW_RUNS = 5
"""Stored runs below which their spread is called a rough guess."""


class PowerRow(TypedDict):
    """What it takes to tell two algorithms apart.

    Attributes:
        first, second: names.
        power: simulated probability to show the difference, by number of seeds.
        seeds: fewest that show it, None where `MAX_SEEDS` do not.
        stored: fewest stored runs of a task that the spread was taken from.
    """

    first: str
    second: str
    power: dict[str, float]
    seeds: int | None
    stored: int


def power_rows(
    scores: RunScores,
    delta: float,
    power: float,
    progress: Callable[[int, int], None] = lambda done, pairs: None,
) -> list[PowerRow]:
    """Returns for each pair of algorithms how many seeds show a difference of `delta`.

    Args:
        scores: of the runs.
        delta: difference of mean scores.
        power: probability to show it.
        progress: called with the numbers of pairs that are done and that there are.

    Raises:
        UserError: as `powers`.
    """
    pairs = powers(scores, delta)
    rows: list[PowerRow] = []
    for (first, second), found in pairs.items():
        rows.append(
            {
                "first": display_name(first),
                "second": display_name(second),
                "power": {str(seeds): found.at(seeds) for seeds in POWER_SEEDS},
                "seeds": found.seeds_needed(power),
                "stored": min(scores.runs_per_task(each)[0] for each in (first, second)),
            }
        )
        progress(len(rows), len(pairs))
    return rows


def left_out(scores: RunScores) -> str:
    """Returns which algorithms have no row in `power_rows`, and why, "" if all have."""
    judged = with_spread(scores)
    lacking = [each for each in scores.results.algorithms if each not in judged]
    if not lacking:
        return ""
    return f"left out, as without two finished runs on every task: {named(lacking)}"


def power_text(rows: Sequence[PowerRow], delta: float, power: float) -> str:
    """Returns `power_rows` as a table for a terminal."""
    head = (
        f"Probability to show that one method scores higher by {delta:g}, by seeds per task and "
        f"method,\nand the fewest seeds that show it with probability {power:g}. Simulated with "
        f"the report's test at a\nfamily-wise level of {LEVEL:.0%}; Holm's correction starts from "
        "the number of pairs."
    )
    header = ["pair", *(f"n = {seeds}" for seeds in POWER_SEEDS), "seeds needed"]
    lines = [
        [
            f"{row['first']} - {row['second']}",
            *(f"{each:.2f}" for each in row["power"].values()),
            f"none up to {MAX_SEEDS}" if row["seeds"] is None else str(row["seeds"]),
        ]
        for row in rows
    ]
    table = text_table(header, lines)
    stored = min(row["stored"] for row in rows)
    if stored >= FEW_RUNS:
        return f"{head}\n\n{table}"
    return f"{head}\nThe spread is that of {stored} stored runs, and so a rough guess.\n\n{table}"
