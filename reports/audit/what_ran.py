"""Checks of what ran: every cell, to its end, and once."""

from __future__ import annotations

from collections.abc import Mapping

from reports.audit.check import Check, Word, from_findings
from reports.runs.names import listed
from reports.runs.results import FindingKind, Results

UNFINISHED = "finished"
"""Name of the check that fails while runs are still to be trained."""


def every_cell(results: Results) -> Check:
    """Every algorithm has every seed on every task, none twice, none copied."""
    expected = {
        (algorithm, task): _expected_seeds(results, algorithm, task)
        for algorithm in results.algorithms
        for task in results.tasks
    }
    missing = [
        f"{task}/{algorithm}/seed-{seed:03d}"
        for (algorithm, task), seeds in expected.items()
        for seed in sorted(seeds - {run.seed for run in results.runs_of(algorithm, task)})
    ]
    if missing:
        return Check("every cell", "failed", f"missing: {listed(missing)}")
    text = f"{len(results.runs)} cells, none missing"
    if len({frozenset(seeds) for seeds in expected.values()}) == 1:
        seeds = next(iter(expected.values()))
        count = f"{len(results.algorithms)} algorithms x {len(results.tasks)} tasks"
        text = f"{count} x {len(seeds)} seeds, {text}"
    verdicts: Mapping[FindingKind, Word] = {
        "copied": "failed",
        "duplicate": "warning",
        "fewer tasks": "warning",
        "unequal seeds": "warning",
    }
    return from_findings(results, "every cell", verdicts, text)


def _expected_seeds(results: Results, algorithm: str, task: str) -> set[int]:
    """Returns the seeds that an algorithm should have on a task, also those that nobody has.

    Which seeds were trained together, every run of them tells: on the tasks of its directory.
    """
    seeds = set(results.expected_seeds(algorithm, task))
    if not seeds:
        return set()
    homes = {run.directory for run in results.runs if run.algorithm == algorithm}
    homes &= {run.directory for run in results.runs if run.task == task}
    together = [
        run.configuration.seeds_together
        for run in results.runs
        if run.configuration and run.directory in homes
    ]
    return seeds.union(*together)


def repeated_cells(results: Results) -> Check:
    """What ran twice gave the same twice, unless another machine or version explains it."""
    verdicts: Mapping[FindingKind, Word] = {"contradiction": "failed", "rerun": "warning"}
    text = "no two directories hold different results of one setting and seed"
    return from_findings(results, "repeated cells", verdicts, text)


def finished(results: Results) -> Check:
    """Every run came to its end; a divergence is a result, not a fault of the comparison.

    Nor is it one that a search for settings drops the worse candidates where it says it does.
    """
    verdicts: Mapping[FindingKind, Word] = {
        "partial": "failed",
        "dropped": "warning",
        "diverged": "warning",
    }
    return from_findings(results, UNFINISHED, verdicts, "every run came to its end")


def first_tries(results: Results) -> Check:
    """No seed was tried again after it had diverged, which only some methods may need."""
    text = "every run is the first try of its seed"
    return from_findings(results, "first tries", {"retried": "warning"}, text)
