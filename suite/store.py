"""The run directory: where one `suite run` keeps everything.

    RUN_DIR/protocol.json                        written once
    RUN_DIR/TASK/ALGORITHM/job-000-004.ckpt      one checkpoint per job
    RUN_DIR/TASK/ALGORITHM/seed-000/run.json     configuration and provenance
                                    status.json  how far the cell is
                                    curve.csv    one row per evaluation and mode
                                    episodes.npz the return of every evaluation episode
                                    metrics.csv  training metrics, a row per chunk

No file belongs to two processes: cells are locked while they train, and only
`protocol.json` is shared, which is never rewritten.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import io
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from suite.errors import UserError, unknown
from suite.files import (
    atomic_write,
    atomic_writer,
    exclusive_write,
    json_bytes,
    keep_copy,
    make_directory,
)
from suite.protocol import Protocol
from suite.records import Cell, Configuration, CurveRow, Job, RunRecord, Status, from_plain

if TYPE_CHECKING:
    import numpy as np

Record = TypeVar("Record")


class RunDirectory:
    """Reads and writes one run directory.

    Attributes:
        path: the directory.
        protocol: what everything in it was run by.
    """

    def __init__(self, path: Path, protocol: Protocol) -> None:
        self.path = path
        self.protocol = protocol

    @classmethod
    def create(cls, path: Path, protocol: Protocol) -> Self:
        """Makes a run directory, or opens the one that is there.

        Raises:
            UserError: it was made by a protocol that is not comparable.
            OSError: it cannot be written.
        """
        make_directory(path)
        record = {"fingerprint": protocol.fingerprint(), "protocol": protocol.to_dict()}
        if not (path / "protocol.json").exists():
            exclusive_write(path / "protocol.json", json_bytes(record))
        run = cls.open(path)
        run.check_protocol(protocol)
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens an existing run directory.

        Raises:
            UserError: there is none, or its protocol.json cannot be read.
        """
        file = path / "protocol.json"
        if not file.is_file():
            raise UserError(f"{path} is no run directory: it has no protocol.json")
        record = _read_json(file)
        if not isinstance(record.get("protocol"), dict):
            raise UserError(f"{file}: has no protocol; restore the file or use another directory")
        return cls(path, Protocol.from_dict(record["protocol"], str(file)))

    def check_protocol(self, protocol: Protocol) -> None:
        """Raises UserError unless `protocol` is comparable with this directory's."""
        fields = self.protocol.differences(protocol)
        if fields:
            mine, theirs = self.protocol.to_dict(), protocol.to_dict()
            listed = [f"{name} ({mine[name]} there, {theirs[name]} now)" for name in fields]
            raise UserError(
                f"{self.path} was made by another protocol: it differs in {', '.join(listed)}; "
                "choose another directory with --out"
            )

    def cell_path(self, cell: Cell) -> Path:
        """Returns the directory of one cell."""
        return self.path / cell.task / cell.algorithm / f"seed-{cell.seed:03d}"

    def checkpoint_path(self, job: Job) -> Path:
        """Returns the checkpoint file of a job."""
        return self.path / job.task / job.algorithm / f"{job.name}.ckpt"

    def cells(self) -> list[Cell]:
        """Returns every cell that was started, sorted by task, algorithm and seed."""
        files = self.path.glob("*/*/seed-*/run.json")
        found = [
            Cell(file.parts[-3], file.parts[-4], int(file.parts[-2].removeprefix("seed-")))
            for file in files
            if file.parts[-2].removeprefix("seed-").isdigit()
        ]
        return sorted(found, key=lambda cell: (cell.task, cell.algorithm, cell.seed))

    def require_cell(self, cell: Cell) -> Cell:
        """Returns `cell`.

        Raises:
            UserError: it was never started here; names the nearest that was.
        """
        known = {str(each): each for each in self.cells()}
        if str(cell) not in known:
            raise unknown(f"cell of {self.path}", str(cell), known)
        return cell

    def stored_job(self, cell: Cell) -> Job | None:
        """Returns the job that a started cell belongs to."""
        record = self.read_run(cell)
        if record is None:
            return None
        return Job(cell.algorithm, cell.task, record.configuration.seeds_together)

    def check_configuration(
        self, cell: Cell, hyperparameters: Mapping[str, Any], engine: str
    ) -> None:
        """Raises UserError if the cell was started with another configuration.

        Nothing is written either way.
        """
        record = self.read_run(cell)
        if record is None:
            return
        stored = record.configuration
        differing = _differences(stored.hyperparameters, hyperparameters)
        if stored.engine != engine:
            differing.append(f"engine ({stored.engine} there, {engine} now)")
        if differing:
            raise UserError(
                f"{self.path}/{cell} was run with another configuration, which differs in "
                f"{', '.join(differing)}; choose other seeds, or another directory with --out"
            )

    @contextlib.contextmanager
    def locked(self, job: Job) -> Iterator[None]:
        """Holds all cells of a job; the system lets go of them should the process die.

        Raises:
            UserError: another process holds one of them, or has put one into another job.
        """
        with contextlib.ExitStack() as stack:
            for cell in job.cells:
                make_directory(self.cell_path(cell))
                lock = stack.enter_context(open(self.cell_path(cell) / ".lock", "ab"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise UserError(
                        f"{self.path}/{cell} is being trained by another process; "
                        "wait for it, or choose other cells"
                    ) from None
            for cell in job.cells:
                if self.stored_job(cell) not in (None, job):
                    raise UserError(
                        f"{self.path}/{cell} has meanwhile been started in another group of "
                        "seeds; run the same command again"
                    )
            yield

    def is_locked(self, cell: Cell) -> bool:
        """Returns whether some process is training the cell now."""
        try:
            with open(self.cell_path(cell) / ".lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def write_run(self, configuration: Configuration, provenance: Mapping[str, Any]) -> None:
        """Writes run.json; on a further start of the same cell adds its provenance."""
        cell = Cell(configuration.algorithm, configuration.task, configuration.seed)
        before = self.read_run(cell)
        record = RunRecord(configuration, ((*before.provenance,) if before else ()) + (provenance,))
        self._write_json(cell, "run.json", record)

    def read_run(self, cell: Cell) -> RunRecord | None:
        """Returns run.json, or None for a cell that was never started.

        Raises:
            UserError: the file is damaged.
        """
        return self._read_json(cell, "run.json", RunRecord)

    def write_status(self, cell: Cell, status: Status) -> None:
        """Replaces status.json."""
        self._write_json(cell, "status.json", status)

    def read_status(self, cell: Cell) -> Status | None:
        """Returns status.json, or None where there is none yet.

        Raises:
            UserError: the file is damaged.
        """
        return self._read_json(cell, "status.json", Status)

    def write_curve(self, cell: Cell, rows: Sequence[CurveRow]) -> None:
        """Replaces curve.csv by all rows so far."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(field.name for field in dataclasses.fields(CurveRow))
        writer.writerows(dataclasses.astuple(row) for row in rows)
        make_directory(self.cell_path(cell))
        atomic_write(self.cell_path(cell) / "curve.csv", text.getvalue().encode())

    def read_curve(self, cell: Cell) -> list[CurveRow]:
        """Returns the rows of curve.csv, none where there is no file yet.

        Raises:
            UserError: the file is damaged.
        """
        path = self.cell_path(cell) / "curve.csv"
        if not path.is_file():
            return []
        types = typing.get_type_hints(CurveRow)
        try:
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, strict=True)
                rows = list(reader)
            if reader.fieldnames != list(types):
                raise ValueError("its columns are not those of a curve")
            return [CurveRow(**{name: types[name](row[name]) for name in types}) for row in rows]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise _damaged(path, error) from None

    def write_metrics(self, cell: Cell, rows: Sequence[Mapping[str, float]]) -> None:
        """Replaces metrics.csv by the mean training metrics of all chunks so far."""
        text = io.StringIO(newline="")
        names = list(rows[0]) if rows else ["env_steps"]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        make_directory(self.cell_path(cell))
        atomic_write(self.cell_path(cell) / "metrics.csv", text.getvalue().encode())

    def keep_checkpoint(self, cell: Cell, checkpoint: Path) -> None:
        """Copies a job's checkpoint to the cell as `last-good.ckpt`, before it diverged."""
        keep_copy(checkpoint, self.cell_path(cell) / "last-good.ckpt")

    def write_episodes(self, cell: Cell, env_steps: np.ndarray, returns: np.ndarray) -> None:
        """Replaces episodes.npz.

        Args:
            cell: whose episodes.
            env_steps: [P] as in `CurveRow`, one per evaluation.
            returns: [P, M, E] of every episode; M modes in the order of `algorithms.api.MODES`.
        """
        import numpy as np

        make_directory(self.cell_path(cell))
        with atomic_writer(self.cell_path(cell) / "episodes.npz") as file:
            np.savez_compressed(file, env_steps=env_steps, returns=returns)

    def read_episodes(self, cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns what `write_episodes` stored, or None where there is no file yet.

        Raises:
            UserError: the file is damaged.
        """
        import numpy as np

        path = self.cell_path(cell) / "episodes.npz"
        if not path.is_file():
            return None
        content = path.read_bytes()
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return arrays["env_steps"], arrays["returns"]
        except Exception as error:  # a damaged archive fails in zipfile, zlib or numpy
            raise _damaged(path, error) from None

    def _write_json(self, cell: Cell, name: str, record: RunRecord | Status) -> None:
        make_directory(self.cell_path(cell))
        atomic_write(self.cell_path(cell) / name, json_bytes(dataclasses.asdict(record)))

    def _read_json(self, cell: Cell, name: str, kind: type[Record]) -> Record | None:
        path = self.cell_path(cell) / name
        if not path.is_file():
            return None
        try:
            record: Record = from_plain(kind, _read_json(path))
            return record
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(data, dict):
        raise _damaged(path, ValueError("not an object"))
    return data


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"{path} is damaged ({reason}); restore it, or delete the cell's directory")


def _differences(stored: Mapping[str, Any], requested: Mapping[str, Any]) -> list[str]:
    """Lists the hyper-parameters that differ, after requested ones passed through JSON."""
    now = json.loads(json_bytes(dict(requested)))
    return [
        f"{name} ({stored.get(name, 'unset')} there, {now.get(name, 'unset')} now)"
        for name in sorted({*stored, *now})
        if name not in stored or name not in now or stored[name] != now[name]
    ]
