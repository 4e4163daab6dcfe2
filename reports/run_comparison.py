"""What shows only when runs are seen side by side: variants, copies, gaps and odd ones out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reports.bounds import bounds_of
from reports.results import Finding, Results, Run
from suite.storage.records import completed

_MAX_CHANGES_IN_LABEL = 3
"""With more differing hyper-parameters than this a variant is called by its directory."""


def label_variants(runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
    """Gives runs of one name but different hyper-parameters or engines different labels."""
    base: dict[str, dict[str, Any]] = {}
    labelled: list[Run] = []
    findings: list[Finding] = []
    for run in runs:
        if run.configuration is None:
            labelled.append(run)
            continue
        settings = completed(run.configuration.hyperparameters)
        fields = {**settings, "engine": run.configuration.engine}
        changes = _changes(base.setdefault(run.algorithm, fields), fields)
        if not changes:
            labelled.append(run)
            continue
        short = changes if len(changes) <= _MAX_CHANGES_IN_LABEL else [f"as in {run.directory}"]
        label = f"{run.algorithm} [{', '.join(short)}]"
        labelled.append(dataclasses.replace(run, algorithm=label))
        text = f"differs from the first {run.algorithm} in {', '.join(changes)}"
        findings.append(Finding("variant", label, text))
    return labelled, findings


def _changes(base: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}={fields.get(name, 'unset')}"
        for name in sorted({*base, *fields})
        if base.get(name, "unset") != fields.get(name, "unset")
    ]


def without_duplicates(runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
    """Keeps the first of runs of one label, task and seed, which several directories may hold."""
    kept: dict[tuple[str, str, int], Run] = {}
    findings: list[Finding] = []
    for run in runs:
        key = (run.algorithm, run.task, run.seed)
        first = kept.setdefault(key, run)
        if first is not run:
            text = f"is in {first.directory} and {run.directory}; the first is used"
            findings.append(Finding("duplicate", run.run_id, text))
    return list(kept.values()), findings


def compare_runs(results: Results) -> Iterator[Finding]:
    """Yields what only shows when runs are seen side by side."""
    for algorithm in results.algorithms:
        for task in results.tasks:
            yield from _compare_seeds(results, algorithm, task)
    if len(results.engines) > 1:
        text = f"runs were made with different engines: {', '.join(results.engines)}"
        yield Finding("engine", "all", text)
    for task in results.tasks:
        configurations = [run.configuration for run in results.runs if run.task == task]
        if len({each.model_hash for each in configurations if each}) > 1:
            yield Finding("model", task, "runs were made with different MuJoCo models")
        recorded = {bounds_of(run.configuration) for run in results.runs if _counts(run, task)}
        if len(recorded) > 1:
            listed = " and ".join(sorted(map(str, recorded)))
            text = f"runs have different bounds of the return, {listed}: there are no scores"
            yield Finding("model", task, text)


def _counts(run: Run, task: str) -> bool:
    return run.task == task and run.state != "damaged" and run.configuration is not None


def _compare_seeds(results: Results, algorithm: str, task: str) -> Iterator[Finding]:
    where = f"{task}/{algorithm}"
    runs = results.runs_of(algorithm, task)
    missing = results.missing_seeds(algorithm, task)
    if missing:
        noun = "seed" if len(missing) == 1 else "seeds"
        text = f"no run of {noun} {', '.join(map(str, missing))}"
        yield Finding("missing", where, text)
    yield from _copies(runs)
    if len(runs) == 1:
        yield Finding("single seed", where, "one seed only: no interval can be given")
    lengths = sorted({len(run.curve) // max(len(run.modes), 1) for run in runs})
    if len(lengths) > 1:
        text = f"curves of unequal lengths: {', '.join(map(str, lengths))} evaluations"
        yield Finding("unequal lengths", where, text)


def _copies(runs: Sequence[Run]) -> Iterator[Finding]:
    """Yields runs whose every evaluation is that of another seed, which chance cannot do."""
    seen: dict[tuple[float, ...], Run] = {}
    for run in runs:
        values = run.curve[["return_mean", "return_std"]].to_numpy(np.float64)
        if not values[:, 1:].any():
            continue  # returns that are all alike, such as 0, say nothing
        first = seen.setdefault(tuple(values.ravel().tolist()), run)
        if first is not run:
            text = f"has the same returns as seed {first.seed}: one is a copy"
            yield Finding("copied", run.run_id, text)
