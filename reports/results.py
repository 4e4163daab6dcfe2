"""What stored runs hold: every cell of one or more run directories, and what is wrong with it.

Nothing that is missing, broken or different is left out silently; it becomes a `Finding`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from suite.errors import UserError
from suite.protocol import Protocol
from suite.storage.digests import Verdict
from suite.storage.files import json_bytes
from suite.storage.records import (
    Cell,
    Configuration,
    CurveRow,
    Ledger,
    RunRecord,
    Status,
    completed,
)
from suite.storage.store import RunDirectory

DISPLAY_NAMES: Mapping[str, str] = {
    "ppo": "PPO",
    "fpo": "FPO",
    "dppo": "DPPO",
    "gorl-fm": "GoRL(FM)",
    "gorl-diff": "GoRL(Diff)",
    "ppo-matched": "PPO matched",
    "ppo-matched-reset": "PPO matched, reset",
}
"""The five methods and their controls, in the order of every table and figure."""

METHODS: tuple[str, ...] = tuple(DISPLAY_NAMES)[:5]
"""The five methods without their controls."""

CURVE_COLUMNS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(CurveRow))

RunState = Literal["done", "diverged", "running", "damaged"]
FindingKind = Literal[
    "missing",
    "diverged",
    "partial",
    "damaged",
    "edited",
    "not finite",
    "out of bounds",
    "unequal lengths",
    "single seed",
    "budget",
    "duplicate",
    "copied",
    "protocol",
    "variant",
    "engine",
    "model",
]

MAX_RETURN = 1000.0
"""Bound of a return: every task pays a reward in [0, 1] for each of 1000 control steps."""

_MAX_CHANGES_IN_LABEL = 3
"""With more differing hyper-parameters than this a variant is called by its directory."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a reader of the results has to know.

    Attributes:
        kind: what it is.
        where: a run id, or the algorithm, task or directory concerned.
        text: one sentence.
    """

    kind: FindingKind
    where: str
    text: str


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One stored cell.

    Attributes:
        run_id: `TASK/ALGORITHM/seed-000#digest`; the digest is of configuration and curve.
        directory: name of its run directory.
        algorithm: its label; `NAME [field=value]` where it ran with other hyper-parameters
            than the first run of that name.
        task: its name.
        seed: its number.
        state: `damaged` if files cannot be read or contradict each other.
        record: configuration and provenance, unless damaged.
        status: how far it came, unless damaged or never written.
        curve: one row per evaluation and mode with `CURVE_COLUMNS`; rows whose return is
            not finite are gone, and reported.
        files: what the digests of its files say.
    """

    run_id: str
    directory: str
    algorithm: str
    task: str
    seed: int
    state: RunState
    record: RunRecord | None
    status: Status | None
    curve: pd.DataFrame
    files: Verdict

    @property
    def configuration(self) -> Configuration | None:
        """What ran, unless damaged."""
        return self.record.configuration if self.record else None

    @functools.cached_property
    def modes(self) -> tuple[str, ...]:
        """Modes it was evaluated in, by alphabet."""
        return tuple(sorted(self.curve["mode"].unique()))

    @functools.cache  # noqa: B019 - runs live as long as the program
    def mode_curve(self, mode: str) -> pd.DataFrame:
        """Returns the rows of one mode in order of environment steps, indexed from 0."""
        rows = self.curve[self.curve["mode"] == mode]
        return rows.sort_values("env_steps", kind="stable").reset_index(drop=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """All runs that are compared, in the order in which every table and figure shows them.

    Attributes:
        protocol: what all of them were run by, but for fields that do not matter.
        directories: names of the run directories.
        runs: sorted by algorithm, task and seed.
        findings: sorted; everything that is missing, broken or different.
    """

    protocol: Protocol
    directories: tuple[str, ...]
    runs: tuple[Run, ...]
    findings: tuple[Finding, ...]

    @functools.cached_property
    def algorithms(self) -> tuple[str, ...]:
        """Labels: the five methods, their controls, then others by alphabet."""
        return tuple(sorted({run.algorithm for run in self.runs}, key=algorithm_order))

    @functools.cached_property
    def tasks(self) -> tuple[str, ...]:
        """Names by alphabet."""
        return tuple(sorted({run.task for run in self.runs}))

    @functools.cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of any run, in ascending order."""
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def modes(self) -> tuple[str, ...]:
        """Evaluation modes of any run, by alphabet."""
        return tuple(sorted({mode for run in self.runs for mode in run.modes}))

    @property
    def budget(self) -> int:
        """Environment steps that every run may take, all purposes but evaluation together."""
        return _budget(self.protocol)

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines of any run, by alphabet."""
        return tuple(sorted({run.configuration.engine for run in self.runs if run.configuration}))

    @functools.cached_property
    def _by_cell(self) -> dict[tuple[str, str], list[Run]]:
        table: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            table.setdefault((run.algorithm, run.task), []).append(run)
        return table

    def runs_of(self, algorithm: str, task: str) -> list[Run]:
        """Returns the runs of one algorithm on one task by seed, whatever their state."""
        return self._by_cell.get((algorithm, task), [])

    def missing_seeds(self, algorithm: str, task: str) -> list[int]:
        """Returns the seeds that some other algorithm or task has and these two lack."""
        present = {run.seed for run in self.runs_of(algorithm, task)}
        return [seed for seed in self.seeds if seed not in present]

    def findings_for(self, where: str) -> list[Finding]:
        """Returns the findings about one run id, algorithm, task or directory."""
        return [finding for finding in self.findings if finding.where == where]

    def tidy(self) -> pd.DataFrame:
        """Returns every curve row of every run with algorithm, task, seed, state and run id."""
        keys = ("algorithm", "task", "seed", "state", "run_id", "directory")
        tables = [run.curve.assign(**{key: getattr(run, key) for key in keys}) for run in self.runs]
        columns = [*keys, *CURVE_COLUMNS]
        filled = [table for table in tables if len(table)]
        if not filled:
            return pd.DataFrame(columns=columns)
        return pd.concat(filled, ignore_index=True)[columns]


def algorithm_order(label: str) -> tuple[int, str]:
    """Returns a sort key: the five methods, their controls, then others by alphabet."""
    name = label.partition(" [")[0]
    known = list(DISPLAY_NAMES)
    return (known.index(name) if name in DISPLAY_NAMES else len(known), label)


def display_name(label: str) -> str:
    """Returns the name to show for an algorithm's label: `GoRL(FM) [clip=0.2]`."""
    name, bracket, variant = label.partition(" [")
    return DISPLAY_NAMES.get(name, name) + bracket + variant


def load_results(paths: Sequence[Path], refuse: bool = True) -> Results:
    """Reads run directories.

    Args:
        paths: of the run directories.
        refuse: whether to refuse protocols that are not comparable; else they become
            findings of the kind `protocol`.

    Raises:
        UserError: one is no run directory, all are empty, or their protocols are not
            comparable; the message names the fields that differ.
    """
    if not paths:
        raise UserError("no run directory given; name at least one")
    directories = [RunDirectory.open(path) for path in paths]
    names = _directory_names([directory.path for directory in directories])
    differing = list(_protocol_findings(directories, names))
    stored = [
        stored
        for directory, name in zip(directories, names, strict=True)
        for stored in _read_directory(directory, name)
    ]
    if not stored:
        listed = ", ".join(str(path) for path in paths)
        raise UserError(f"{listed}: no runs in it; start some with `suite run --out`")
    findings = differing + [finding for _, found in stored for finding in found]
    for finding in findings:
        if refuse and finding.kind == "protocol":
            raise UserError(f"{finding.text}; report them one by one")
    runs, more = _label_variants([run for run, _ in stored])
    runs, duplicates = _without_duplicates(runs)
    runs.sort(key=lambda run: (algorithm_order(run.algorithm), run.task, run.seed))
    results = Results(directories[0].protocol, tuple(names), tuple(runs), ())
    findings += more + duplicates + list(_compare_runs(results))
    unique = sorted(set(findings), key=lambda each: (each.kind, each.where, each.text))
    return dataclasses.replace(results, findings=tuple(unique))


def _directory_names(paths: Sequence[Path]) -> list[str]:
    """Returns each directory's own name, numbered where two are called the same."""
    names = [path.resolve().name for path in paths]
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


Stored = tuple[Run, list[Finding]]


def _read_directory(directory: RunDirectory, name: str) -> Iterator[Stored]:
    for cell in sorted({*directory.cells(), *directory.incomplete_cells()}):
        yield _read_cell(directory, name, cell)


def _read_cell(directory: RunDirectory, name: str, cell: Cell) -> Stored:
    """Reads one cell; a file that cannot be read or is contradicted makes it `damaged`."""
    record: RunRecord | None = None
    status: Status | None = None
    rows: list[CurveRow] = []
    damage: list[tuple[FindingKind, str]] = []
    try:
        record = directory.read_run(cell)
        status = directory.read_status(cell)
        rows = _read_curve(directory, cell)
        damage += _contradictions(directory, cell, record, status, rows)
    except UserError as error:
        damage.append(("damaged", _without_parent(str(error), directory.path)))
    differing = []
    try:
        differing = list(_protocol_of_cell(directory, name, cell, record))
    except UserError as error:
        damage.append(("damaged", str(error)))
    files = _check_files(directory, cell)
    # Digests say that something is wrong; what it is was said already, if it can be known.
    if not damage:
        damage += _file_faults(directory, cell, record, status, files)
    finite = [row for row in rows if math.isfinite(row.return_mean)]
    run = Run(
        run_id=f"{cell}#{_digest(record, rows)}",
        directory=name,
        algorithm=cell.algorithm,
        task=cell.task,
        seed=cell.seed,
        state="damaged" if damage else status.state if status else "running",
        record=record,
        status=status,
        curve=pd.DataFrame([tuple(vars(row).values()) for row in finite], columns=CURVE_COLUMNS),
        files=files,
    )
    findings = differing + [Finding(kind, run.run_id, text) for kind, text in damage]
    return run, findings + list(_state_findings(run, directory.protocol, len(rows) - len(finite)))


def _protocol_of_cell(
    directory: RunDirectory, name: str, cell: Cell, record: RunRecord | None
) -> Iterator[Finding]:
    if record is not None and record.configuration.protocol != directory.protocol.to_dict():
        protocol = Protocol.from_dict(record.configuration.protocol, f"{cell}/run.json")
        yield from _differing(directory.protocol, protocol, name, f"{name}/{cell}")


def _check_files(directory: RunDirectory, cell: Cell) -> Verdict:
    try:
        return directory.check_digests(cell)
    except UserError as error:
        return Verdict(recorded=True, problem=_without_parent(str(error), directory.path))


def _file_faults(
    directory: RunDirectory,
    cell: Cell,
    record: RunRecord | None,
    status: Status | None,
    files: Verdict,
) -> list[tuple[FindingKind, str]]:
    """Returns what the digests of a cell's files find."""
    if not files.recorded:
        lost = record is not None and record.configuration.eval_starts is not None
        return [("damaged", "digests.json is missing, though its run wrote one")] * lost
    if files.problem:
        return [("damaged", f"digests.json {files.problem}")]
    if status is None or (status.state != "done" and directory.is_locked(cell)):
        return []  # who reads while files are being replaced may see some of two saves
    edited = [f"{name} is not what was written" for name in files.changed]
    if status.state == "done":
        # Whatever a save replaces is in place before the status says that all is done.
        edited += [f"{name} is from before the last save" for name in files.unsaved]
    lost_files = [f"{name} is missing" for name in files.missing]
    faults: list[tuple[FindingKind, str]] = []
    if edited:
        faults.append(("edited", ", ".join(edited)))
    if lost_files:
        faults.append(("damaged", ", ".join(lost_files)))
    return faults


def _without_parent(message: str, directory: Path) -> str:
    """Shortens paths to what follows the run directory, so that reports name no machine."""
    return message.replace(f"{directory}/", "")


def _read_curve(directory: RunDirectory, cell: Cell) -> list[CurveRow]:
    """As `RunDirectory.read_curve`, but a last line without an end is an error too."""
    rows = directory.read_curve(cell)
    path = directory.cell_path(cell) / "curve.csv"
    if rows and not path.read_bytes().endswith(b"\n"):
        raise UserError(f"{path} is damaged (its last line is cut off); restore it")
    return rows


def _contradictions(
    directory: RunDirectory,
    cell: Cell,
    record: RunRecord | None,
    status: Status | None,
    rows: Sequence[CurveRow],
) -> Iterator[tuple[FindingKind, str]]:
    """Yields where a cell's files disagree with each other, its place or the bound."""
    if record is None:
        yield "damaged", "run.json is missing, so it is not known what ran"
    else:
        stored = record.configuration
        if (stored.algorithm, stored.task, stored.seed) != (cell.algorithm, cell.task, cell.seed):
            where = f"{stored.task}/{stored.algorithm} seed {stored.seed}"
            yield "edited", f"its run.json is that of {where}"
    slack = MAX_RETURN * 1e-6
    returns = [row.return_mean for row in rows if math.isfinite(row.return_mean)]
    outside = [value for value in returns if not -slack <= value <= MAX_RETURN + slack]
    if outside:
        yield "out of bounds", f"has a return of {outside[0]:g}, outside [0, {MAX_RETURN:g}]"
        return
    if rows and status is not None and status.state == "done":
        yield from _missing_end(status, rows)
    yield from _disagreements(directory, cell, status, rows)


def _missing_end(status: Status, rows: Sequence[CurveRow]) -> Iterator[tuple[FindingKind, str]]:
    """Yields why the curve of a finished run does not tell its final return."""
    end = status.ledger.env_steps
    if rows[-1].env_steps != end:
        yield "damaged", f"its curve ends at {rows[-1].env_steps} steps, the run at {end}"
    elif not all(math.isfinite(row.return_mean) for row in rows if row.env_steps == end):
        yield "damaged", "its last evaluation is not finite, though the run is marked as done"


def _disagreements(
    directory: RunDirectory, cell: Cell, status: Status | None, rows: Sequence[CurveRow]
) -> Iterator[tuple[FindingKind, str]]:
    """Yields the first place where a curve is not the mean of the stored episodes."""
    episodes = directory.read_episodes(cell)
    finished = status is not None and status.finished
    if episodes is None:
        if rows:
            yield "damaged", "episodes.npz is missing, so its curve cannot be checked"
        return
    env_steps, returns = episodes
    if returns.ndim != 3 and len(rows):
        yield "damaged", "episodes.npz holds no returns of evaluations"
        return
    modes = returns.shape[1] if returns.ndim == 3 else 0
    expected = returns.mean(axis=-1, dtype=np.float64).reshape(-1)
    steps = np.repeat(env_steps, modes)
    if finished and len(expected) != len(rows):
        yield "edited", f"its curve has {len(rows)} rows, its episodes make {len(expected)}"
    deviations = returns.std(axis=-1, dtype=np.float64).reshape(-1)
    for row, mean, deviation, step in zip(rows, expected, deviations, steps, strict=False):
        where = f"at {row.env_steps} steps ({row.mode})"
        if row.env_steps != step or not _same(row.return_mean, mean):
            text = f"its curve says {row.return_mean:g} {where}, its episodes {mean:g} at {step}"
            yield "edited", text
            return
        if math.isfinite(mean) and not _same(row.return_std, deviation):
            text = f"its curve says a spread of {row.return_std:g} {where}, its episodes "
            yield "edited", f"{text}{deviation:g}"
            return
        if row.episodes != returns.shape[-1]:
            text = f"its curve says {row.episodes} episodes {where}, there are "
            yield "edited", f"{text}{returns.shape[-1]}"
            return
    if status is not None and status.finished:
        yield from _status_contradictions(status, rows, modes)


def _same(a: float, b: float) -> bool:
    both_nan = math.isnan(a) and math.isnan(b)
    return both_nan or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)


def _status_contradictions(
    status: Status, rows: Sequence[CurveRow], modes: int
) -> Iterator[tuple[FindingKind, str]]:
    """Yields where a finished run's status and the end of its curve tell different things."""
    order = [row.mode for row in rows[:modes]]
    if len(set(order)) != modes or any(
        row.mode != order[index % modes] for index, row in enumerate(rows)
    ):
        yield "edited", "the modes of its curve are not in order"
        return
    for row in rows[-modes:] if modes else ():
        told = status.returns.get(row.mode)
        if math.isfinite(row.return_mean) and (told is None or not _same(told, row.return_mean)):
            yield "edited", f"its status says {told} ({row.mode}), its curve {row.return_mean:g}"
            return
    names = [field.name for field in dataclasses.fields(Ledger)]
    if status.state == "done" and rows:
        for name in names:
            told, counted = getattr(status.ledger, name), getattr(rows[-1], name)
            if told != counted:
                yield "edited", f"its status says {told:,} {name}, its curve {counted:,}"
                return


def _state_findings(run: Run, protocol: Protocol, not_finite: int) -> Iterator[Finding]:
    status = run.status
    if run.state == "diverged" and status and status.divergence:
        step, leaf = status.divergence.step, status.divergence.leaf
        yield Finding("diverged", run.run_id, f"diverged after {step:,} steps, in {leaf}")
    if run.state == "running":
        done = f"{status.updates} of {status.total_updates}" if status else "none of its"
        yield Finding("partial", run.run_id, f"not finished: {done} updates made")
    if not_finite:
        yield Finding("not finite", run.run_id, f"{not_finite} evaluations were not finite")
    budget = _budget(protocol)
    if run.state == "done" and status and status.ledger.env_steps != budget:
        text = f"took {status.ledger.env_steps:,} steps where the budget is {budget:,}"
        yield Finding("budget", run.run_id, text)
    if run.state == "done" and run.curve.empty:
        yield Finding("damaged", run.run_id, "is finished but has no evaluation")


def _budget(protocol: Protocol) -> int:
    return protocol.updates * protocol.steps_per_update


def _digest(record: RunRecord | None, rows: Sequence[CurveRow]) -> str:
    """Returns 8 hex digits of what ran and what came out."""
    configuration = dataclasses.asdict(record.configuration) if record else None
    content = json_bytes(configuration) + repr(rows).encode()
    return hashlib.sha256(content).hexdigest()[:8]


def _label_variants(runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
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


def _without_duplicates(runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
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


def _compare_runs(results: Results) -> Iterator[Finding]:
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
