"""Reading run directories: every cell, whatever its state, and what is wrong with it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from reports.consistency.checkpoints import OUTCOME, StoredCell, checkpoint_faults
from reports.consistency.evidence import Evidence, gather
from reports.runs.cell_checks import (
    DISABLING,
    Fault,
    contradictions,
    doubts,
    earlier_tries,
    file_faults,
    state_findings,
)
from reports.runs.choice import EVERYTHING, Choice
from reports.runs.cross_checks import compare_runs, expected_cells, holders
from reports.runs.merging import label_differing, without_duplicates
from reports.runs.names import Label, algorithm_order
from reports.runs.results import CURVE_COLUMNS, Finding, Results, Run
from reports.runs.searches import dropped_after
from reports.runs.variants import label_variants
from suite.common.errors import UserError
from suite.common.files import json_bytes
from suite.common.formatting import readable
from suite.common.reading import read_bounded
from suite.configuration.protocol import Protocol
from suite.storage.ablation_directory import settings_of_arm
from suite.storage.bounded_files import MAX_CURVE_BYTES
from suite.storage.digests import Verdict
from suite.storage.records import Cell, CurveRow, RunRecord, Status
from suite.storage.run_directory import RunDirectory, divergences_kept, fingerprint_fault

Stored = tuple[Run, list[Finding]]
"""A cell as read, and what is wrong with it."""


def load_results(
    paths: Sequence[Path], refuse: bool = True, choice: Choice = EVERYTHING
) -> Results:
    """Reads run directories; the order in which they are named changes nothing.

    Args:
        paths: of the run directories.
        refuse: whether to refuse protocols that are not comparable; else they become
            findings of the kind `protocol`.
        choice: of tasks and algorithms.

    Raises:
        UserError: one is no run directory, all are empty, what was chosen is not there, or
            their protocols are not comparable; the message names the fields that differ.
    """
    if not paths:
        raise UserError("no run directory given; name at least one")
    opened = [RunDirectory.open(path) for path in paths]
    directories = sorted(opened, key=_order)
    names = _directory_names([directory.path for directory in directories])
    first = names[directories.index(opened[0])]
    differing = list(_protocol_findings(directories, names))
    for directory, name in zip(directories, names, strict=True):
        if fault := fingerprint_fault(directory):
            differing.append(Finding("fingerprint", name, fault))
    stored = [
        stored
        for directory, name in zip(directories, names, strict=True)
        for stored in _read_directory(directory, name)
    ]
    if not stored:
        listed = ", ".join(str(path) for path in paths)
        raise UserError(f"{listed}: no runs in it; start some with `suite run --out`")
    for finding in itertools.chain(differing, *(found for _, found in stored)):
        if refuse and finding.kind == "protocol":
            raise UserError(f"{finding.text}; {_MEND}")
    results = _merge(directories[0].protocol, tuple(names), stored, choice)
    unique = sorted({*results.findings, *differing}, key=lambda f: (f.kind, f.where, f.text))
    return dataclasses.replace(results, findings=tuple(unique), first=first)


def check_comparable(paths: Sequence[Path]) -> None:
    """Checks that run directories follow one protocol, without reading their runs.

    Raises:
        UserError: one is no run directory, or their protocols are not comparable; the message
            names the fields that differ.
    """
    directories = [RunDirectory.open(path) for path in paths]
    names = _directory_names([directory.path for directory in directories])
    for finding in _protocol_findings(directories, names):
        raise UserError(f"{finding.text}; {_MEND}")


_MEND = "run one of them again under the other's protocol, or report them one by one"


def _merge(
    protocol: Protocol, names: tuple[str, ...], stored: Sequence[Stored], choice: Choice
) -> Results:
    """Labels the runs, chooses, drops what is there twice, and looks at what is left."""
    runs, variants = label_variants([run for run, _ in stored])
    runs, differing = label_differing(runs)
    chosen, left_out = choice.select(runs)
    expected = expected_cells(chosen)
    kept, duplicates = without_duplicates(chosen)
    kept.sort(key=lambda run: (algorithm_order(run.algorithm), run.task, run.seed))
    results = Results(protocol, names, tuple(kept), (), expected, holders(chosen))
    labels = {*results.algorithms}
    findings = [each for each in (*variants, *differing) if each.where in labels]
    findings += left_out + duplicates + list(compare_runs(results))
    used = {(run.directory, run.run_id) for run in kept}
    considered = {(run.directory, run.run_id) for run in chosen}
    for run, found in stored:
        place = run.directory, run.run_id
        # What ails a copy that is not used concerns nobody, but that a seed was tried again does.
        findings += [
            each
            for each in found
            if place in used or (place in considered and each.kind in ("retried", "protocol"))
        ]
    return dataclasses.replace(results, findings=tuple(findings))


def _order(directory: RunDirectory) -> tuple[int, bytes, str, str]:
    """Sorts directories with most cells first, then by what they hold, however they are named."""
    cells = sorted({*directory.cells(), *directory.incomplete_cells()})
    digest = hashlib.sha256()
    for cell in cells:
        for name in ("run.json", "curve.csv", "status.json", "episodes.npz", "metrics.csv"):
            with contextlib.suppress(OSError, ValueError):
                digest.update(read_bounded(directory.cell_path(cell) / name, MAX_CURVE_BYTES))
    protocol = json_bytes(directory.protocol.to_dict())
    return -len(cells), protocol, directory.path.resolve().name, digest.hexdigest()


def _directory_names(paths: Sequence[Path]) -> list[str]:
    """Returns each directory's own name, numbered where two are called the same."""
    names = [readable(path.resolve().name) for path in paths]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def _protocol_findings(
    directories: Sequence[RunDirectory], names: Sequence[str]
) -> Iterator[Finding]:
    for directory, name in zip(directories, names, strict=True):
        yield from _differing(directories[0].protocol, directory.protocol, names[0], name)


def _differing(mine: Protocol, theirs: Protocol, name: str, other: str) -> Iterator[Finding]:
    fields = mine.differences(theirs)
    if fields:
        a, b = mine.to_dict(), theirs.to_dict()
        listed = ", ".join(f"{field} ({a[field]} and {b[field]})" for field in fields)
        text = f"{name} and {other} cannot be compared: their protocols differ in {listed}"
        yield Finding("protocol", other, text)


def _read_directory(directory: RunDirectory, name: str) -> Iterator[Stored]:
    settings, kept = settings_of_arm(directory.path), divergences_kept(directory)
    drops = dropped_after(directory)
    cells = sorted({*directory.cells(), *directory.incomplete_cells()})
    stored = {
        cell: _read_cell(directory, name, cell, settings, kept.get(cell, 0), drops)
        for cell in cells
    }
    told = {
        cell: StoredCell(
            run.configuration,
            run.status is not None and run.status.finished,
            [tuple(row) for row in run.curve[[*OUTCOME]].values.tolist()],
        )
        for cell, (run, _) in stored.items()
        if run.configuration is not None and run.state != "damaged"
    }
    for cell, fault in checkpoint_faults(directory, told):
        run, findings = stored[cell]
        findings.append(Finding("checkpoint", run.run_id, fault))
    yield from stored.values()


def _read_cell(
    directory: RunDirectory,
    name: str,
    cell: Cell,
    settings: Sequence[str] | None,
    earlier: int,
    drops: Sequence[int],
) -> Stored:
    """Reads one cell; a file that cannot be read or is contradicted makes it `damaged`."""
    record: RunRecord | None = None
    status: Status | None = None
    rows: list[CurveRow] = []
    damage: list[Fault] = []
    doubted: list[Fault] = []
    evidence: Evidence | None = None
    stored = directory.files(cell)
    read_episodes = functools.cache(stored.read_episodes)
    try:
        record, status = stored.read_run(), stored.read_status()
        rows = _read_curve(directory, cell)
        damage += contradictions(cell, record, status, rows, read_episodes)
        if record is not None and not damage:
            evidence = gather(stored, cell, record, status, rows, read_episodes())
            doubted = list(doubts(evidence, settings))
    except UserError as error:
        damage.append(("damaged", _without_parent(str(error), directory.path)))
    differing = []
    try:
        differing = list(_protocol_of_cell(directory, name, cell, record))
    except UserError as error:
        damage.append(("damaged", str(error)))
    files = _check_files(directory, cell)
    # Digests say that something is wrong; what it is was said already, if it can be known.
    damage += [each for each in doubted if each[0] in DISABLING]
    if not damage:
        damage += file_faults(directory, cell, record, status, files)
    finite = [row for row in rows if math.isfinite(row.return_mean)]
    run = Run(
        run_id=f"{cell}#{_digest(record, rows)}",
        directory=name,
        algorithm=Label(cell.algorithm),
        task=cell.task,
        seed=cell.seed,
        state="damaged" if damage else status.state if status else "running",
        record=record,
        status=status,
        curve=pd.DataFrame([tuple(vars(row).values()) for row in finite], columns=CURVE_COLUMNS),
        files=files,
        marks=evidence.marks() if evidence else None,
    )
    doubted = [each for each in doubted if each not in damage]
    findings = differing + [Finding(kind, run.run_id, text) for kind, text in damage + doubted]
    findings += earlier_tries(run, earlier)
    left_out = len(rows) - len(finite)
    return run, findings + list(state_findings(run, directory.protocol, left_out, drops))


def _protocol_of_cell(
    directory: RunDirectory, name: str, cell: Cell, record: RunRecord | None
) -> Iterator[Finding]:
    if record is not None and record.configuration.protocol != directory.protocol.to_dict():
        protocol = Protocol.from_dict(record.configuration.protocol, f"{cell}/run.json")
        yield from _differing(directory.protocol, protocol, name, f"{name}/{cell}")


def _check_files(directory: RunDirectory, cell: Cell) -> Verdict:
    try:
        return directory.files(cell).check_digests()
    except UserError as error:
        return Verdict(recorded=True, problem=_without_parent(str(error), directory.path))


def _without_parent(message: str, directory: Path) -> str:
    """Shortens paths to what follows the run directory, so that reports name no machine."""
    return message.replace(f"{directory}/", "")


def _read_curve(directory: RunDirectory, cell: Cell) -> list[CurveRow]:
    """As `CellFiles.read_curve`, but a last line without an end is an error too."""
    rows = directory.files(cell).read_curve()
    path = directory.cell_path(cell) / "curve.csv"
    if rows and not read_bounded(path, MAX_CURVE_BYTES).endswith(b"\n"):
        raise UserError(f"{path} is damaged (its last line is cut off); restore it")
    return rows


def _digest(record: RunRecord | None, rows: Sequence[CurveRow]) -> str:
    """Returns 8 hex digits of what ran and what came out."""
    configuration = dataclasses.asdict(record.configuration) if record else None
    content = json_bytes(configuration) + repr(rows).encode()
    return hashlib.sha256(content).hexdigest()[:8]
