"""What shows only when runs are seen side by side: copies, gaps and odd ones out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from reports.consistency.evaluations import odd_lengths
from reports.consistency.likeness import alike, copied_files, strange_layouts
from reports.runs.bounds import bounds_of
from reports.runs.names import display_name
from reports.runs.results import Finding, FindingKind, Results, Run


def expected_cells(runs: Sequence[Run]) -> dict[str, frozenset[tuple[str, int]]]:
    """Returns the tasks and seeds that each label should have: all of its directories'.

    A directory is what one command ran. What another directory ran besides is no gap.

    Args:
        runs: all that are compared, copies included.
    """
    tasks: dict[str, set[str]] = {}
    seeds: dict[str, set[int]] = {}
    for run in runs:
        tasks.setdefault(run.directory, set()).add(run.task)
        seeds.setdefault(run.directory, set()).add(run.seed)
    return {
        label: frozenset(
            cell for name in directories for cell in itertools.product(tasks[name], seeds[name])
        )
        for label, directories in holders(runs).items()
    }


def holders(runs: Sequence[Run]) -> dict[str, frozenset[str]]:
    """Returns the names of the directories that hold runs of each label, copies included."""
    labels: dict[str, set[str]] = {}
    for run in runs:
        labels.setdefault(run.algorithm, set()).add(run.directory)
    return {label: frozenset(directories) for label, directories in labels.items()}


def compare_runs(results: Results) -> Iterator[Finding]:
    """Yields what only shows when runs are seen side by side."""
    for algorithm in results.algorithms:
        for task in results.tasks:
            yield from _compare_seeds(results, algorithm, task)
    yield from _repetitions(results)
    yield from _scopes(results)
    if len(results.engines) > 1:
        text = f"runs were made with different engines: {', '.join(results.engines)}"
        yield Finding("engine", "all", text)
    for task in results.tasks:
        if different_models([run for run in results.runs if run.task == task]):
            yield Finding("model", task, "runs were made with different MuJoCo models")
        recorded = {bounds_of(run.configuration) for run in results.runs if _counts(run, task)}
        if len(recorded) > 1:
            listed = " and ".join(sorted(map(str, recorded)))
            text = f"runs have different bounds of the return, {listed}: there are no scores"
            yield Finding("model", task, text)


def _repetitions(results: Results) -> Iterator[Finding]:
    """Yields episodes and files that two runs share, which only a copy explains."""
    ids = {f"{run.algorithm}#{run.run_id}": run for run in results.runs}
    cells = {
        name: dataclasses.replace(run.marks, group=run.algorithm.setting)
        for name, run in ids.items()
        if run.marks is not None and run.state != "damaged"
    }
    for (one, other), text in alike(cells):
        yield Finding("alike", ids[other].run_id, f"has {text} as {_labelled(ids[one])}")
    for (one, other), file, natural in copied_files(cells):
        text = f"has the {file} of {_labelled(ids[one])}, with other returns"
        word: FindingKind = "same files" if natural else "copied files"
        yield Finding(word, ids[other].run_id, text)
    for name, (kind, text) in odd_lengths(cells):
        yield Finding(kind, ids[name].run_id, text)
    for name, file in strange_layouts(cells):
        text = f"has a {file} that is made of other parts than those of most seeds"
        yield Finding("copied files", ids[name].run_id, text)


def _labelled(run: Run) -> str:
    return f"{run.task}/{run.algorithm}/seed-{run.seed:03d}"


def _counts(run: Run, task: str) -> bool:
    return run.task == task and run.state != "damaged" and run.configuration is not None


def _scopes(results: Results) -> Iterator[Finding]:
    """Yields which algorithms were run on fewer tasks than others, or with other seeds."""
    seeds: dict[tuple[int, ...], list[str]] = {}
    for algorithm in results.algorithms:
        found = {task: results.expected_seeds(algorithm, task) for task in results.tasks}
        without = [task for task, expected in found.items() if not expected]
        if without:
            text = f"was not run on {', '.join(without)}, as others were"
            yield Finding("fewer tasks", algorithm, text)
        every = {seed for expected in found.values() for seed in expected}
        seeds.setdefault(tuple(sorted(every)), []).append(algorithm)
    if len(seeds) > 1:
        listed = "; ".join(
            f"{len(each)} ({each[0]} to {each[-1]}) of {', '.join(map(display_name, names))}"
            for each, names in sorted(seeds.items())
        )
        yield Finding("unequal seeds", "all", f"seeds differ: {listed}")


def different_models(runs: Sequence[Run]) -> bool:
    """Returns whether runs of one task simulated models that cannot be the same.

    The digest is of the compiled model, whose form is each MuJoCo version's own: between two
    versions it tells nothing.
    """
    known = {(_mujoco(run), run.configuration.model_hash) for run in runs if run.configuration}
    return any(
        one[1] != other[1] and (one[0] == other[0] or None in (one[0], other[0]))
        for one, other in itertools.combinations(known, 2)
    )


def _mujoco(run: Run) -> str | None:
    """Returns the MuJoCo version of a run's first start, None if it was not recorded."""
    for start in run.record.provenance if run.record else ():
        packages = start.get("packages")
        version = packages.get("mujoco") if isinstance(packages, Mapping) else None
        return str(version) if version else None
    return None


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
