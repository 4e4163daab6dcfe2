"""What stored runs hold, as data: every cell of one or more run directories, and its findings.

Nothing that is missing, broken or different is left out silently; it becomes a `Finding`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import pandas as pd

from reports.consistency.evidence import Contradiction
from reports.consistency.likeness import Marks
from reports.runs.bounds import UNKNOWN, Bounds, bounds_of
from reports.runs.names import Label, algorithm_order
from suite.configuration.protocol import Protocol
from suite.storage.digests import Verdict
from suite.storage.records import Configuration, CurveRow, RunRecord, Status

CURVE_COLUMNS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(CurveRow))

RunState = Literal["done", "diverged", "running", "damaged"]
ENDINGS: Mapping[RunState, str] = {
    "diverged": "diverged",
    "running": "unfinished",
    "damaged": "damaged",
}
"""What readers are told of runs that did not come to their end."""

FindingKind = (
    Contradiction
    | Literal[
        "missing",
        "diverged",
        "retried",
        "partial",
        "dropped",
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
        "rerun",
        "contradiction",
        "fewer tasks",
        "unequal seeds",
        "engine",
        "model",
        "copied files",
        "same files",
        "checkpoint",
    ]
)


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
        algorithm: its label; `NAME [field=value]` where it ran with other settings than most
            runs of that name, `NAME [results of DIRECTORY]` where another directory holds other
            results of the same settings.
        task: its name.
        seed: its number.
        state: `damaged` if files cannot be read or contradict each other.
        record: configuration and provenance, unless damaged.
        status: how far it came, unless damaged or never written.
        curve: one row per evaluation and mode with `CURVE_COLUMNS`; rows whose return is
            not finite are gone, and reported.
        files: what the digests of its files say.
        marks: what tells its results from all others; None where they cannot be compared.
    """

    run_id: str
    directory: str
    algorithm: Label
    task: str
    seed: int
    state: RunState
    record: RunRecord | None
    status: Status | None
    curve: pd.DataFrame
    files: Verdict
    marks: Marks | None = None

    @property
    def configuration(self) -> Configuration | None:
        """What ran, unless damaged."""
        return self.record.configuration if self.record else None

    @functools.cached_property
    def modes(self) -> tuple[str, ...]:
        """Modes it was evaluated in, by alphabet."""
        return tuple(self._curves)

    def mode_curve(self, mode: str) -> pd.DataFrame:
        """Returns the rows of one mode in order of environment steps, indexed from 0."""
        return self._curves.get(mode, self.curve.iloc[:0])

    @functools.cached_property
    def _curves(self) -> dict[str, pd.DataFrame]:
        rows = self.curve.sort_values("env_steps", kind="stable")
        return {str(mode): part.reset_index(drop=True) for mode, part in rows.groupby("mode")}


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """All runs that are compared, in the order in which every table and figure shows them.

    Attributes:
        protocol: what all of them were run by, but for fields that do not matter.
        directories: names of the run directories.
        runs: sorted by algorithm, task and seed.
        findings: sorted; everything that is missing, broken or different.
        expected: tasks and seeds that each label should have, which are those of the
            directories that hold it; where a label is not in it, all of any run.
        holders: names of the directories that hold runs of each label, copies included.
        first: name of the directory that was named first.
    """

    protocol: Protocol
    directories: tuple[str, ...]
    runs: tuple[Run, ...]
    findings: tuple[Finding, ...]
    expected: Mapping[str, frozenset[tuple[str, int]]] = dataclasses.field(default_factory=dict)
    holders: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    first: str = ""

    @functools.cached_property
    def algorithms(self) -> tuple[Label, ...]:
        """Labels: the five methods, controls, baselines, then others by alphabet."""
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
        return budget_of(self.protocol)

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

    def bounds(self, task: str) -> Bounds:
        """Returns what returns on a task lie between, unknown where its runs do not agree."""
        return self._bounds.get(task, Bounds())

    @functools.cached_property
    def _bounds(self) -> dict[str, Bounds]:
        """Bounds of the tasks that any run can be read of."""
        found: dict[str, set[Bounds]] = {}
        for run in self.runs:
            if run.state != "damaged":
                found.setdefault(run.task, set()).add(bounds_of(run.configuration))
        return {task: each.pop() if len(each) == 1 else UNKNOWN for task, each in found.items()}

    def groups(self) -> Iterator[tuple[Label, str, list[Run]]]:
        """Yields every algorithm and task that has runs, with them."""
        for algorithm in self.algorithms:
            for task in self.tasks:
                group = self.runs_of(algorithm, task)
                if group:
                    yield algorithm, task, group

    def settings_of(self, algorithm: str) -> Mapping[str, Any]:
        """Returns the hyper-parameters of an algorithm's first run that is not damaged, if any."""
        mine = [run for run in self.runs if run.algorithm == algorithm and run.configuration]
        mine.sort(key=lambda run: run.state == "damaged")
        return mine[0].configuration.hyperparameters if mine and mine[0].configuration else {}

    def endings(self, algorithm: str, task: str) -> list[str]:
        """Returns how many runs of an algorithm on a task did not end well, see `endings`."""
        missing = len(self.missing_seeds(algorithm, task))
        return endings(self.runs_of(algorithm, task), missing)

    def missing_seeds(self, algorithm: str, task: str) -> list[int]:
        """Returns the seeds that were to be run of an algorithm on a task and are not there."""
        present = {run.seed for run in self.runs_of(algorithm, task)}
        return [seed for seed in self.expected_seeds(algorithm, task) if seed not in present]

    def expected_seeds(self, algorithm: str, task: str) -> tuple[int, ...]:
        """Returns the seeds that an algorithm should have on a task, in ascending order."""
        if algorithm not in self.expected:
            return self.seeds
        return tuple(sorted(seed for t, seed in self.expected[algorithm] if t == task))

    @property
    def expected_runs(self) -> int:
        """Number of runs that there should be."""
        pairs = itertools.product(self.algorithms, self.tasks)
        return sum(len(self.expected_seeds(algorithm, task)) for algorithm, task in pairs)

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


def endings(runs: Iterable[Run], missing: int) -> list[str]:
    """Returns how many runs did not end well: `2 diverged`, `1 missing`."""
    states = [run.state for run in runs]
    counts = {words: states.count(state) for state, words in ENDINGS.items()}
    return [f"{count} {words}" for words, count in {**counts, "missing": missing}.items() if count]


def run_name(run: Run) -> str:
    """Returns task/algorithm/seed, without what tells equal ones in two directories apart."""
    return run.run_id.partition("#")[0]


def budget_of(protocol: Protocol) -> int:
    """Returns the environment steps that a protocol allows each run."""
    return protocol.updates * protocol.steps_per_update
