"""All that the files of one cell say, read once, and what their contradictions are called."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from reports.consistency.likeness import STATES, Marks
from suite.configuration.protocol import Protocol
from suite.storage.archives import Manifest
from suite.storage.cell_files import CellFiles
from suite.storage.records import Cell, CurveRow, RunRecord, Status

Contradiction = Literal[
    "off the grid",
    "ledger",
    "evaluation steps",
    "short episodes",
    "other files",
    "decoder",
    "fingerprint",
    "unexplained",
    "impossible engine",
    "seconds",
    "alike",
]
"""What numbers can be at odds about; reports/audit has a check for each."""

Contradicted = tuple[Contradiction, str]
"""What is at odds, and a sentence with the numbers."""

DECODER_LEAVES = (".decoder.mean", ".decoder.std")
"""Of a kept policy: what the observations of a decoder's fit were normalized with."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What the files of one cell say.

    Attributes:
        cell: whose they are.
        protocol: what the cell says that it ran by.
        fingerprint: of that protocol.
        record: run.json.
        status: status.json, None if there is none yet.
        rows: curve.csv.
        returns: [P, M, E] of episodes.npz; None without the file.
        metrics: rows of metrics.csv; None without the file.
        policies: what the kept policies say of themselves, by stage.
        seen_steps: environment steps at the evaluation that states.npz is from; None without it.
        seen_digest: of the states themselves; None where they do not move.
        seen_at: steps of its episodes that states are kept of, none without the file.
    """

    cell: Cell
    protocol: Protocol
    fingerprint: str
    record: RunRecord
    status: Status | None
    rows: Sequence[CurveRow]
    returns: np.ndarray | None
    metrics: Sequence[Mapping[str, float]] | None
    policies: Mapping[int, Manifest]
    seen_steps: int | None
    seen_digest: str | None
    seen_at: tuple[int, ...]

    @property
    def modes(self) -> tuple[str, ...]:
        """Evaluation modes, in the order in which they first come."""
        return tuple(dict.fromkeys(row.mode for row in self.rows))

    @property
    def points(self) -> Sequence[CurveRow]:
        """One row of each evaluation, provided that the modes take turns."""
        return self.rows[:: max(1, len(self.modes))]

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """The steps that each evaluation took."""
        counts = [0, *(point.eval_steps for point in self.points)]
        return tuple(after - before for before, after in itertools.pairwise(counts))

    @property
    def finished(self) -> bool:
        """Whether every file is from the last save: who reads before may see some of two."""
        return self.status is not None and self.status.finished

    @property
    def starts(self) -> Sequence[Mapping[str, Any]]:
        """What was recorded of each start."""
        return self.record.provenance

    def marks(self) -> Marks | None:
        """Returns what tells its results from all others, None where it has no episodes."""
        if self.returns is None or self.returns.ndim != 3:
            return None
        points = self.points[: len(self.returns)]
        if len(self.modes) != self.returns.shape[1] or len(points) != len(self.returns):
            return None
        updates = tuple(point.updates for point in points)
        files = {
            f"policy-{stage}.npz": (policy.digest, int(policy.meta.get("updates") or 0))
            for stage, policy in self.policies.items()
        }
        layouts = {f"policy-{stage}.npz": each.layout for stage, each in self.policies.items()}
        if self.metrics:
            layouts["metrics.csv"] = ",".join(self.metrics[0])
        if (digest := _digest_of_metrics(self.metrics or ())) is not None:
            files["metrics.csv"] = digest, updates[-1]
        if self.seen_digest is not None:
            files[STATES] = self.seen_digest, updates[-1]
        return Marks(
            task=self.cell.task,
            seed=self.cell.seed,
            group="",
            returns=self.returns,
            updates=updates,
            modes=self.modes,
            eval_steps=self.eval_steps[: len(points)],
            finished=self.finished,
            files=files,
            layouts=layouts,
        )


@functools.lru_cache(maxsize=64)
def _read_protocol(text: str) -> tuple[Protocol, str]:
    """Returns the protocol in a run.json and its fingerprint; most cells have the same."""
    protocol = Protocol.from_dict(json.loads(text), "run.json")
    return protocol, protocol.fingerprint()


def _digest_of_metrics(rows: Sequence[Mapping[str, float]]) -> str | None:
    """Returns a digest of all numbers, None where none changes from row to row."""
    columns = {name: [row.get(name) for row in rows] for name in rows[0]} if rows else {}
    columns.pop("env_steps", None)
    if not any(len(set(column)) > 1 for column in columns.values()):
        return None
    return hashlib.sha256(repr(sorted(columns.items())).encode()).hexdigest()


def _digest_of_states(obs: np.ndarray) -> str | None:
    """Returns a digest of what was seen [K, G, O] after the start, None where it stood still."""
    if len(obs) < 2 or (obs[1:] == obs[:1]).all():
        return None
    return hashlib.sha256(obs[1:].tobytes()).hexdigest()


def gather(
    files: CellFiles,
    cell: Cell,
    record: RunRecord,
    status: Status | None,
    rows: Sequence[CurveRow],
    episodes: tuple[np.ndarray, np.ndarray] | None,
) -> Evidence:
    """Reads what else the files of a cell say.

    Args:
        files: of the cell.
        cell: its name by its place.
        record: its run.json.
        status: its status.json.
        rows: its curve.csv.
        episodes: environment steps [P] and returns [P, M, E] of its episodes.npz.

    Raises:
        UserError: a file is damaged, or run.json holds no protocol.
    """
    states = files.read_states()
    protocol, fingerprint = _read_protocol(json.dumps(record.configuration.protocol))
    policies = {stage: files.read_policy(stage, DECODER_LEAVES) for stage in files.kept_stages()}
    has_metrics = (files.path / "metrics.csv").is_file()
    return Evidence(
        cell=cell,
        protocol=protocol,
        fingerprint=fingerprint,
        record=record,
        status=status,
        rows=rows,
        returns=episodes[1] if episodes else None,
        metrics=files.read_metrics() if has_metrics else None,
        policies={stage: each for stage, each in policies.items() if each is not None},
        seen_steps=states[0] if states else None,
        seen_digest=_digest_of_states(states[2]) if states else None,
        seen_at=tuple(int(step) for step in states[1]) if states else (),
    )
