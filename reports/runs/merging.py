"""Runs of one cell in several directories: copies, unfinished copies, and other results.

What is the same counts once. What differs is never dropped: it gets a label by its directory.
Nothing depends on the order of the directories.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reports.consistency.likeness import STATES
from reports.runs.names import Label, listed
from reports.runs.results import CURVE_COLUMNS, Finding, Run
from suite.storage.provenance import threads_of

_OUTCOME = [name for name in CURVE_COLUMNS if not name.endswith("_seconds")]
"""What of a curve is a result; seconds are not."""

_RANKS = {"done": 2, "diverged": 2, "running": 1, "damaged": 0}

Cell = tuple[str, int]
"""Task and seed."""


def label_differing(runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
    """Gives runs of one label that have other results in other directories other labels.

    Directories that hold copies of each other stay together. The label stays with what has
    most finished runs, with none where two have equally many.

    Returns:
        The runs in their order with their labels, and what differs: of the kind
        `contradiction` where nothing that is recorded explains it, else `rerun`.
    """
    labels: dict[tuple[Label, str], Label] = {}
    findings: list[Finding] = []
    for label in dict.fromkeys(run.algorithm for run in runs):
        held: dict[str, dict[Cell, Run]] = {}
        for run in runs:
            if run.algorithm == label:
                held.setdefault(run.directory, {})[run.task, run.seed] = run
        differing = dict(_differing(held))
        if differing:
            names = _names(label, held, differing)
            labels |= {(label, directory): name for directory, name in names.items()}
            findings += [_finding(names[pair[1]], pair, cells) for pair, cells in differing.items()]
    relabelled = [
        dataclasses.replace(
            run, algorithm=labels.get((run.algorithm, run.directory), run.algorithm)
        )
        for run in runs
    ]
    return relabelled, findings


def without_duplicates(runs: Iterable[Run]) -> tuple[list[Run], list[Finding]]:
    """Keeps one of the runs of each label, task and seed.

    A finished one comes before an unfinished one, and that before a damaged one; of two
    unfinished ones the longer.
    """
    cells: dict[tuple[str, str, int], list[Run]] = {}
    for run in runs:
        cells.setdefault((run.algorithm, run.task, run.seed), []).append(run)
    kept: list[Run] = []
    findings: list[Finding] = []
    for found in cells.values():
        used, *others = sorted(found, key=_rank)
        kept.append(used)
        for other in others:
            states = "" if other.state == used.state else f" ({used.state}; {other.state} there)"
            first, second = sorted((used.directory, other.directory))
            text = f"is in {first} and {second}; that in {used.directory} is used{states}"
            findings.append(Finding("duplicate", used.run_id, text))
            findings += _damaged_and_other(used, other)
    return kept, findings


def _damaged_and_other(used: Run, other: Run) -> Iterator[Finding]:
    """Yields that a damaged copy, which is not used, holds other results as far as it is read."""
    rows = [run.curve[_OUTCOME].values.tolist() for run in (used, other)]
    if other.state == "damaged" and used.state != "damaged" and not _begin_alike(*rows):
        text = f"has other results in {other.directory} than in {used.directory}, and files that "
        text += "are damaged there: take that directory out, or restore it"
        yield Finding("contradiction", used.run_id, text)


def _rank(run: Run) -> tuple[int, int, str, str]:
    return -_RANKS[run.state], -len(run.curve), run.run_id, run.directory


# --- What differs ------------------------------------------------------------------------

Pair = tuple[str, str]
Differing = Mapping[Pair, Sequence[tuple[Run, Run]]]
"""Runs of one cell with other results, by the two directories that hold them."""


def _differing(
    held: Mapping[str, Mapping[Cell, Run]],
) -> Iterator[tuple[Pair, list[tuple[Run, Run]]]]:
    for one, other in itertools.combinations(sorted(held), 2):
        shared = sorted(held[one].keys() & held[other].keys())
        pairs = [(held[one][cell], held[other][cell]) for cell in shared]
        found = [pair for pair in pairs if not agree(*pair)]
        if found:
            yield (one, other), found


def agree(one: Run, other: Run) -> bool:
    """Returns whether two runs of one cell can be the same run, bit for bit.

    An unfinished run must be the beginning of the other. A damaged one tells nothing.
    """
    if "damaged" in (one.state, other.state):
        return True
    if _decoder(one) != _decoder(other):
        return False
    mine, theirs = (run.curve[_OUTCOME].values.tolist() for run in (one, other))
    if not _begin_alike(mine, theirs) or not _same_files(one, other):
        return False
    if "running" not in (one.state, other.state):
        return one.state == other.state and len(mine) == len(theirs)
    finished = [len(rows) for run, rows in ((one, mine), (other, theirs)) if run.state != "running"]
    return not finished or finished == [max(len(mine), len(theirs))]


def _begin_alike(mine: Sequence[object], theirs: Sequence[object]) -> bool:
    shared = min(len(mine), len(theirs))
    return mine[:shared] == theirs[:shared]


def _same_files(one: Run, other: Run) -> bool:
    """Returns whether the episodes of two runs are equal, and their other files may be.

    Of metrics, policies and states another version of the program may write more, or in another
    form, so that they are compared only where nothing that is recorded lets them differ.
    """
    mine, theirs = one.marks, other.marks
    if mine is None or theirs is None:
        return True
    shared = min(len(mine.returns), len(theirs.returns))
    if not np.array_equal(mine.returns[:shared], theirs.returns[:shared], equal_nan=True):
        return False
    both = [(mine.files[name], theirs.files[name]) for name in mine.files if name in theirs.files]
    differ = any(a[0] != b[0] for a, b in both if a[1] == b[1])
    return not differ or bool(explanations(one, other))


def _decoder(run: Run) -> str | None:
    decoder = run.configuration.decoder if run.configuration else None
    return decoder.digest if decoder else None


def _names(
    label: Label, held: Mapping[str, Mapping[Cell, Run]], differing: Differing
) -> dict[str, Label]:
    """Returns a label for each directory, the same for those that hold copies."""
    parts = _parts(held, differing)
    sizes = [_size([held[directory] for directory in part]) for part in parts]
    alone = sizes.count(max(sizes)) == 1
    return {
        directory: label if alone and size == max(sizes) else label.of_directory(part[0])
        for part, size in zip(parts, sizes, strict=True)
        for directory in part
    }


def _size(cells: Sequence[Mapping[Cell, Run]]) -> int:
    finished = {cell for runs in cells for cell, run in runs.items() if _RANKS[run.state] == 2}
    return len(finished)


def _parts(held: Mapping[str, Mapping[Cell, Run]], differing: Differing) -> list[list[str]]:
    """Joins directories that share cells, unless that would join two that differ."""
    parts = [[directory] for directory in sorted(held)]
    for one, other in itertools.combinations(sorted(held), 2):
        if held[one].keys() & held[other].keys() and (one, other) not in differing:
            first, second = (next(p for p in parts if each in p) for each in (one, other))
            if first is not second:
                first += second
                parts.remove(second)
    if any(one in part and other in part for one, other in differing for part in parts):
        return [[directory] for directory in sorted(held)]
    return [sorted(part) for part in parts]


def _finding(label: str, pair: Pair, runs: Sequence[tuple[Run, Run]]) -> Finding:
    cells = listed([f"{one.task} seed {one.seed}" for one, _ in runs])
    reasons = [[] if _same_training(*each) else explanations(*each) for each in runs]
    text = f"{pair[0]} and {pair[1]} hold different results of the same settings: {cells}"
    if all(reasons):
        named = listed(list(dict.fromkeys(itertools.chain.from_iterable(reasons))))
        return Finding("rerun", label, f"{text}; they also differ in {named}. Shown apart")
    text = f"{text}, made by the same code on the same machine: one of them was changed"
    return Finding("contradiction", label, f"{text}. Shown apart")


def _same_training(one: Run, other: Run) -> bool:
    """Returns whether two runs learned the same to the bit, so that no machine explains more."""
    mine, theirs = (run.marks.files if run.marks else {} for run in (one, other))
    learned = [name for name in mine if name in theirs and name != STATES]
    return "metrics.csv" in learned and all(mine[name] == theirs[name] for name in learned)


# --- Why it may differ -------------------------------------------------------------------


def explanations(one: Run, other: Run) -> list[str]:
    """Returns what is recorded of two runs of one cell that lets their results differ."""
    found = []
    mine, theirs = one.configuration, other.configuration
    if mine and theirs:
        if mine.seeds_together != theirs.seeds_together:
            found.append("seeds trained together")
        if _decoder(one) != _decoder(other):
            found.append("decoder")
        if mine.model_hash != theirs.model_hash:
            found.append("task model")
        if "warp" in (mine.engine, theirs.engine):
            found.append("what engine warp does not repeat")
    starts = [_starts(run) for run in (one, other)]
    if not all(starts):
        return [*found, "what was not recorded"]
    if any(_device(start).get("platform") != "cpu" for each in starts for start in each):
        found.append("what a GPU does not repeat")
    if any(_is_changed(start) for each in starts for start in each):
        found.append("changes of the code")
    for name, value in _FACTS.items():
        values = [[value(start) for start in each] for each in starts]
        if not all(each in values[1] for each in values[0]) or not all(
            each in values[0] for each in values[1]
        ):
            found.append(name)
    return found


def effective_flags(start: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the recorded environment variables of a start that its device heeds.

    The precision of products is asked for by the suite itself, and no matter of a CPU's.
    """
    unheeded = ("JAX_DEFAULT_MATMUL_PRECISION",) if _device(start).get("platform") == "cpu" else ()
    flags = _part(start, "environment")
    return {name: value for name, value in flags.items() if name not in unheeded}


def _starts(run: Run) -> Sequence[Mapping[str, Any]]:
    return run.record.provenance if run.record else ()


def _part(start: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = start.get(name)
    return part if isinstance(part, Mapping) else {}


def _device(start: Mapping[str, Any]) -> Mapping[str, Any]:
    return _part(start, "device")


def _is_changed(start: Mapping[str, Any]) -> bool:
    return bool(_part(start, "git")) and not _part(start, "git").get("clean")


_FACTS = {
    "commit": lambda start: _part(start, "git").get("commit"),
    "packages": lambda start: _part(start, "packages"),
    "Python": lambda start: start.get("python"),
    "processor": lambda start: (start.get("cpu"), threads_of(start) or start.get("cpus_available")),
    "device": lambda start: (_device(start).get("kind"), _device(start).get("x64")),
    "environment": effective_flags,
}
"""Facts of a start that results depend on. On a CPU the precision of products is none."""
