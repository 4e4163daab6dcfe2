"""docs/calibration.md: our runs at full size beside curves that others published.

    python -m benchmarks.calibration.page > docs/calibration.md

Reads what `suite run` stored under results/calibration and what `same_start` recorded; trains
nothing. A published evaluation is compared where it was made after exactly as many environment
steps as one of ours, in the mode that it was published in.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from benchmarks.calibration import same_start
from benchmarks.publishing.results_tables import plain_table
from reports.references.published import Reference, load_reference
from reports.runs.loading import load_results
from reports.runs.names import display_name
from reports.runs.results import Results
from reports.tables.entries import make_table
from reports.tables.table import Entry, Table

ROOT = Path(__file__).resolve().parents[2]
RECORD = "results/benchmarks/same-start.json"
REFERENCES = {"results/calibration/brax": "brax-playground", "results/gpu/paper": "fpo-notebook"}
"""Published curves, by the runs that are to reproduce them."""

NEAR = 0.1
"""Share of the published return within which ours is said to agree (ALGORITHMS 1.6)."""

Verdict = Literal["agrees", "lower", "higher", "not told apart", "too few seeds"]


@dataclasses.dataclass(frozen=True)
class Compared:
    """One published evaluation, and ours after as many steps.

    Attributes:
        reference: name of the published results.
        method: the method.
        task: the task.
        mode: how both were evaluated.
        steps: environment steps before the evaluation.
        theirs: mean returns, one a seed.
        ours: likewise.
    """

    reference: str
    method: str
    task: str
    mode: str
    steps: int
    theirs: tuple[float, ...]
    ours: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Mean of ours less mean of theirs."""
        return float(np.mean(self.ours) - np.mean(self.theirs))

    def interval(self) -> tuple[float, float] | None:
        """Returns the 95% interval of the difference, None with a single seed of ours.

        Welch's, of the means. Where a single seed was published, its spread is taken to be ours:
        a prediction interval of one more run.
        """
        if len(self.ours) < 2:
            return None
        if len(self.theirs) > 1:
            test = stats.ttest_ind(self.ours, self.theirs, equal_var=False)
            found = test.confidence_interval(0.95)
            return float(found.low), float(found.high)
        n = len(self.ours)
        spread = float(np.std(self.ours, ddof=1)) * math.sqrt(1 + 1 / n)
        half = float(stats.t.ppf(0.975, n - 1)) * spread
        return self.difference - half, self.difference + half

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        found = self.interval()
        if found is None:
            return "too few seeds"
        low, high = found
        if low > 0:
            return "higher"
        if high < 0:
            return "lower"
        near = NEAR * abs(float(np.mean(self.theirs)))
        return "agrees" if max(-low, high) <= near else "not told apart"


def compare(results: Results, reference: Reference) -> Iterator[Compared]:
    """Yields what may be compared of some runs and a published curve, in order of steps.

    A published evaluation before training is left out: it is no one's learning.
    """
    for (method, task), published in reference.evaluations.items():
        mode = results.protocol.published_mode_of(method)
        curves = [run.mode_curve(mode) for run in results.runs_of(method, task)]
        for steps, theirs in zip(published.steps, published.returns, strict=True):
            found = [curve.loc[curve["env_steps"] == steps, "return_mean"] for curve in curves]
            ours = tuple(float(each.iloc[0]) for each in found if len(each))
            if steps > 0 and ours:
                values = tuple(map(float, theirs))
                yield Compared(reference.name, method, task, mode, int(steps), values, ours)


def stored(root: Path = ROOT) -> list[Compared]:
    """Returns every comparison that the stored runs allow.

    Raises:
        UserError: a run directory cannot be read.
    """
    found: list[Compared] = []
    for runs, name in REFERENCES.items():
        found += compare(load_results([root / runs]), load_reference(name))
    return found


def table(rows: Sequence[Compared]) -> Table:
    """Every comparison, a row each."""
    columns = ("published", "method", "task", "mode", "steps", "theirs", "ours")
    note = (
        "Mean return over seeds ± sample standard deviation (seeds). Ours less theirs with its 95% "
        "interval: Welch's, or where a single seed was published that of one more run of ours. "
        f"Agrees: all of the interval is within {NEAR:.0%} of the published return. Not told "
        "apart: it holds zero, and more than that. Lower, higher: it does not hold zero, which one "
        "row in twenty would show by chance if both programs were the same."
    )
    return make_table(
        "calibration",
        "Ours and theirs",
        (*columns, "ours less theirs", "verdict"),
        [tuple(map(Entry, _cells(each))) for each in rows],
        note,
    )


def _cells(each: Compared) -> tuple[str, ...]:
    found = each.interval()
    interval = f" [{found[0]:.1f}, {found[1]:.1f}]" if found else ""
    return (
        each.reference,
        display_name(each.method),
        each.task,
        each.mode,
        f"{each.steps:,}",
        _spread(each.theirs),
        _spread(each.ours),
        f"{each.difference:.1f}{interval}",
        each.verdict,
    )


def _spread(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread} ({len(values)})"


def same_networks_table(record: dict[str, Any]) -> Table:
    """What `same_start` found, an update a row."""
    rows = [
        (
            Entry(f"{row['update']}"),
            *(Entry(f"{row[f'{arm} mean']:.1f}") for arm in same_start.ARMS),
            Entry(f"[{row['low']:.1f}, {row['high']:.1f}]"),
            Entry(f"[{row['own networks low']:.1f}, {row['own networks high']:.1f}]"),
        )
        for row in record["comparison"]
    ]
    columns = (
        "update",
        "Brax's PPO",
        "ours from its networks",
        "ours from our own",
        "from its, less Brax's",
        "from our own, less Brax's",
    )
    geometry = record["geometry"]
    note = (
        f"{geometry['task']}, {len(record['brax'])} seeds, {geometry['envs']} environments, "
        f"{geometry['steps_an_update']:,} steps an update, {geometry['episodes']} episodes of "
        "sampled actions. 95% intervals of the mean difference: paired by seed where the networks "
        "are the same, Welch's where they are not."
    )
    return make_table("same_networks", "From the same initial networks", columns, rows, note)


def page(root: Path = ROOT) -> str:
    """Returns docs/calibration.md.

    Raises:
        UserError: see `stored`.
    """
    found = stored(root)
    record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    same = plain_table(same_networks_table(record))
    return "\n".join([_HEAD, plain_table(table(found)), _SAME, same]).rstrip() + "\n"


_BRAX = (
    "suite run --algos ppo-brax --tasks CheetahRun --seeds 5 --protocol brax"
    " --set protocol.total_steps=9830400 --out results/calibration/brax"
)
_PAPER = (
    "suite run --algos ppo,fpo --tasks CheetahRun --seeds 5 --protocol paper --engine jax"
    " --set protocol.total_steps=13762560 --set protocol.eval_interval=7 --out results/gpu/paper"
)

_HEAD = f"""# Calibration

*Written by `python -m benchmarks.calibration.page`, every number; a test holds the page to that.*

A comparison is worth as much as its baselines. So the protocols that are to reproduce what others
published are run at full size, 2,048 environments and 983,040 steps an update, for as many updates
as time allows, and held against the published curves after the same number of steps. The runs were
made by

<!-- not run: hours of training -->
```console
$ {_BRAX}
$ {_PAPER}
```

The first on two cores of a CPU. The second on one NVIDIA H200 in the five minutes that there were,
beside other programs: 7 of FPO's 14 updates and 9 of PPO's, so that its audit fails: its runs are
not finished, and two processes drew other start states (`results/gpu/README.md`). None of these
methods' settings depend on the budget, so a run that
is cut off is the beginning of the whole one.

## Ours and theirs
"""

_SAME = """## From the same initial networks

Seeds that drew slow networks are behind for many updates, and a published curve has five. So both
programs were also started from the same networks, on the same physics
(`python -m benchmarks.calibration.same_start`):
"""


def main() -> None:
    """Prints docs/calibration.md."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0]).parse_args()
    print(page(), end="")


if __name__ == "__main__":
    main()
