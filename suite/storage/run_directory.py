"""The run directory: where one `suite run` keeps everything.

    RUN_DIR/protocol.json                        written once
    RUN_DIR/TASK/ALGORITHM/job-000-004.ckpt      one checkpoint per job
                           job-000-004.ckpt.part one within a chunk, until the chunk ends
    RUN_DIR/TASK/ALGORITHM/seed-000/run.json     configuration and provenance
                                    status.json  how far the cell is
                                    curve.csv    one row per evaluation and mode
                                    episodes.npz the return of every evaluation episode
                                    states.npz   some observations of the newest evaluation
                                    metrics.csv  training metrics, a row per chunk
                                    policy-0.npz what acts at the end of stage 0, and so on
                                    digests.json of all of these (suite/storage/digests.py)

    RUN_DIR/TASK/ALGORITHM/seed-000.diverged-1/  the same of a run that was tried again

No file belongs to two processes: a cell is leased while it trains (suite/storage/leases.py), and
only `protocol.json` is shared, which is never rewritten.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from suite.common.errors import UserError, unknown
from suite.configuration.protocol import Mode, Protocol
from suite.storage import digests
from suite.storage.files import (
    atomic_write,
    check_inside,
    exclusive_write,
    json_bytes,
    keep_copy,
    make_directory,
    move,
    parse_json,
    read_bounded,
    remove_leftovers,
)
from suite.storage.leases import Lease, Regrouped, Worker, is_owned
from suite.storage.records import (
    MODEL,
    Cell,
    Configuration,
    CurveRow,
    Job,
    RunRecord,
    Status,
    from_plain,
    hyperparameter_differences,
    origin,
    origin_differences,
)

if TYPE_CHECKING:
    import numpy as np

Record = TypeVar("Record")

MAX_JSON_BYTES = 4 << 20
MAX_CURVE_BYTES = 16 << 20
MAX_ARRAY_BYTES = 64 << 20
"""Bounds on files that are read, far above what runs write: who reads a stranger's directory
must not run out of memory."""

_MODES = typing.get_args(Mode)
_MAY_BE_ANYTHING = ("mode", "return_mean", "return_std")
_LARGEST_COUNT = 2**63 - 1
_STATES = "states.npz"
_SEED_DIRECTORY = re.compile(r"seed-[0-9]{3,10}")


def is_run(path: Path) -> bool:
    """Returns whether a run was started in a directory."""
    return (path / "protocol.json").is_file()


class RunDirectory:
    """Reads and writes one run directory.

    Attributes:
        path: the directory.
        protocol: what everything in it was run by.
    """

    def __init__(self, path: Path, protocol: Protocol) -> None:
        self.path = path
        self.protocol = protocol
        self._gathered: dict[str, bytes] | None = None

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
            cls(path, protocol)._check_orphans()
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

    def policy_path(self, cell: Cell, stage: int) -> Path:
        """Returns the file of the policy that a cell had at the end of a stage."""
        return self.cell_path(cell) / f"policy-{stage}.npz"

    def kept_stages(self, cell: Cell) -> tuple[int, ...]:
        """Returns the stages whose policy was kept, in order; runs of older versions kept none."""
        files = self.cell_path(cell).glob("policy-*.npz")
        names = (path.stem.removeprefix("policy-") for path in files)
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def cells(self) -> list[Cell]:
        """Returns every cell that was started, sorted by task, algorithm and seed."""
        return self._cells_with("run.json")

    def incomplete_cells(self) -> list[Cell]:
        """Returns cells that lost their run.json but kept something else, sorted likewise."""
        return [cell for cell in self._cells_with("*.*") if not self._has_record(cell)]

    def _has_record(self, cell: Cell) -> bool:
        return (self.cell_path(cell) / "run.json").is_file()

    def _cells_with(self, name: str) -> list[Cell]:
        files = self.path.glob(f"*/*/seed-*/{name}")
        parts = {file.parts[-4:-1] for file in files if not file.name.startswith(".")}
        found = {cell for task, algorithm, seed in parts if (cell := _cell(task, algorithm, seed))}
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
        self._check_same_protocol(cell, record.configuration)
        stored = record.configuration
        differing = hyperparameter_differences(stored.hyperparameters, hyperparameters)
        if stored.engine != engine:
            differing.append(f"engine ({stored.engine} there, {engine} now)")
        if differing:
            raise UserError(
                f"{self.path}/{cell} was run with another configuration, which differs in "
                f"{', '.join(differing)}; choose other seeds, or another directory with --out"
            )

    def _check_orphans(self) -> None:
        """Refuses to rule by this protocol what another one ran whose protocol.json is lost."""
        for cell in self.cells():
            record = self.read_run(cell)
            if record is not None:
                self._check_same_protocol(cell, record.configuration)

    def _check_same_protocol(self, cell: Cell, stored: Configuration) -> None:
        """Refuses a cell of another protocol, as a replaced or edited protocol.json leaves it."""
        theirs = Protocol.from_dict(stored.protocol, f"{self.cell_path(cell)}/run.json")
        fields = theirs.differences(self.protocol)
        if fields:
            raise UserError(
                f"{self.path}/{cell} was run by another protocol, which differs in "
                f"{', '.join(fields)}; restore protocol.json and go on by it, or choose another "
                "directory with --out"
            )

    @contextlib.contextmanager
    def locked(self, job: Job, worker: Worker | None = None) -> Iterator[Lease]:
        """Leases all cells of a job, and clears away what a crash left of unfinished writes.

        Args:
            job: whose cells.
            worker: who wants them; by default a process that only wants this job.

        Raises:
            Held: another process has one of them.
            Regrouped: one belongs to another job by now.
            OSError: the cells cannot be written.
        """
        if worker is None:
            with Worker(self.path) as alone, self.locked(job, alone) as lease:
                yield lease
            return
        self._check_inside(self.checkpoint_path(job).parent)
        lease = worker.acquire([self.cell_path(cell) for cell in job.cells])
        try:
            self._check_group(job)
            for cell in job.cells:
                remove_leftovers(self.cell_path(cell))
            checkpoint = self.checkpoint_path(job)
            remove_leftovers(checkpoint.parent, f"{checkpoint.name}*")  # those beside it, too
            yield lease
        finally:
            lease.release()

    def _check_group(self, job: Job) -> None:
        for cell in job.cells:
            if self.stored_job(cell) not in (None, job):
                raise Regrouped(
                    f"{self.path}/{cell} has meanwhile been started in another group of "
                    "seeds; run the same command again"
                )

    def is_locked(self, cell: Cell) -> bool:
        """Returns whether some process is training the cell now, as far as this machine knows."""
        return is_owned(self.path, self.cell_path(cell))

    def is_finished(self, job: Job) -> bool:
        """Returns whether every cell of a job is finished."""
        statuses = [self.read_status(cell) for cell in job.cells]
        return all(status is not None and status.finished for status in statuses)

    def divergences_kept(self, cell: Cell) -> int:
        """Returns how often the cell diverged and was then started afresh."""
        path = self.cell_path(cell)
        return len(list(path.parent.glob(f"{path.name}.diverged-*/run.json")))

    def belongs(self, cell: Cell, job: Job) -> bool:
        """Returns whether a cell of `job` still is; one that diverged may have been taken out."""
        stored = self.stored_job(cell)
        if stored is not None:
            return stored == job
        begun = any(self.stored_job(each) == job for each in job.cells)
        return not (begun and self.divergences_kept(cell))

    def set_aside(self, cell: Cell, lease: Lease) -> Path:
        """Keeps the files of a diverged cell elsewhere, so that it can be started afresh.

        Args:
            cell: of a finished job.
            lease: of the cell, which it then no longer covers.

        Returns:
            The directory beside the cell's where they are now.
        """
        path, job = self.cell_path(cell), self.stored_job(cell)
        number = len(list(path.parent.glob(f"{path.name}.diverged-*"))) + 1
        aside = path.with_name(f"{path.name}.diverged-{number}")
        if job is not None and not any(self.belongs(c, job) for c in job.cells if c != cell):
            # The last cell takes the checkpoint along, or the new job might go on from it.
            for file in self.checkpoint_path(job).parent.glob(f"{job.name}.ckpt*"):
                move(file, path / file.name)
        move(path, aside)
        lease.forget(path)
        return aside

    def write_run(self, configuration: Configuration, provenance: Mapping[str, Any]) -> None:
        """Writes run.json; on a further start of the same cell adds its provenance.

        Raises:
            UserError: it was started with another model or from other start states.
        """
        cell = Cell(configuration.algorithm, configuration.task, configuration.seed)
        before = self.read_run(cell)
        if before is not None:
            fields = (origin(each, MODEL) for each in (before.configuration, configuration))
            differing = origin_differences(*fields)
            if differing:
                raise UserError(
                    f"{self.path}/{cell} was run with another {', '.join(differing)}; go on with "
                    "the versions that run.json names, or choose another directory with --out"
                )
        record = RunRecord(configuration, ((*before.provenance,) if before else ()) + (provenance,))
        self._write_json(cell, "run.json", record)

    def amend_run(self, cell: Cell, facts: Mapping[str, Any]) -> None:
        """Adds to what run.json says of the newest start."""
        record = self.read_run(cell)
        if record is not None and record.provenance:
            *earlier, newest = record.provenance
            amended = (*earlier, {**newest, **facts})
            self._write_json(cell, "run.json", RunRecord(record.configuration, amended))

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
        self._write(cell, "curve.csv", text.getvalue().encode())

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
            text = self._content(path, MAX_CURVE_BYTES).decode("utf-8-sig")
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            rows = list(reader)
            if reader.fieldnames != list(types):
                raise ValueError("its columns are not those of a curve")
            return [_curve_row(row, types) for row in rows]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise _damaged(path, error) from None

    def write_metrics(self, cell: Cell, rows: Sequence[Mapping[str, float]]) -> None:
        """Replaces metrics.csv by the mean training metrics of all chunks so far."""
        text = io.StringIO(newline="")
        names = ["env_steps", *sorted({*rows[0]} - {"env_steps"} if rows else ())]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._write(cell, "metrics.csv", text.getvalue().encode())

    def read_metrics(self, cell: Cell) -> list[dict[str, float]]:
        """Returns the rows of metrics.csv, none where there is no file yet.

        Raises:
            UserError: the file is damaged.
        """
        path = self.cell_path(cell) / "metrics.csv"
        if not path.is_file():
            return []
        try:
            text = self._content(path, MAX_CURVE_BYTES).decode("utf-8-sig")
            rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            return [{name: float(value) for name, value in row.items()} for row in rows]
        except (TypeError, ValueError, csv.Error) as error:
            raise _damaged(path, error) from None

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

        file = io.BytesIO()
        np.savez_compressed(file, env_steps=env_steps, returns=returns)
        self._write(cell, "episodes.npz", file.getvalue())

    def read_episodes(self, cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns what `write_episodes` stored, or None where there is no file yet.

        Raises:
            UserError: the file is damaged.
        """
        path = self.cell_path(cell) / "episodes.npz"
        if not path.is_file():
            return None
        env_steps, returns = self._read_arrays(path, "env_steps", "returns")
        if env_steps.ndim != 1 or len(returns) != len(env_steps):
            raise _damaged(path, ValueError("its arrays do not fit each other"))
        return env_steps, returns

    def write_states(
        self, cell: Cell, env_steps: int, steps: Sequence[int], obs: np.ndarray
    ) -> None:
        """Replaces states.npz.

        Args:
            cell: whose states.
            env_steps: of the evaluation they are from, as in `CurveRow`.
            steps: [K] of its episodes.
            obs: [K, G, O] what G noise-free episodes saw at these steps.
        """
        import numpy as np

        file = io.BytesIO()
        np.savez_compressed(
            file, env_steps=np.int64(env_steps), steps=np.asarray(steps, np.int64), obs=obs
        )
        self._write(cell, "states.npz", file.getvalue())

    def read_states(self, cell: Cell) -> tuple[int, np.ndarray, np.ndarray] | None:
        """Returns what `write_states` stored, or None in a run of an older version.

        Raises:
            UserError: the file is damaged.
        """
        import numpy as np

        path = self.cell_path(cell) / _STATES
        if not path.is_file():
            return None
        env_steps, steps, obs = self._read_arrays(path, "env_steps", "steps", "obs")
        fits = obs.ndim == 3 and env_steps.ndim == 0 and steps.shape == obs.shape[:1]
        if not fits or not np.isfinite(obs).all():
            raise _damaged(path, ValueError("its arrays do not fit each other, or are not finite"))
        return int(env_steps), steps, obs

    def _write_json(self, cell: Cell, name: str, record: RunRecord | Status) -> None:
        self._write(cell, name, json_bytes(dataclasses.asdict(record)))

    @contextlib.contextmanager
    def together(self, cell: Cell) -> Iterator[None]:
        """Writes what its body writes of a cell at its end, in that order, digests first.

        Raises:
            OSError: a file cannot be written; those after it are then as before.
        """
        self._gathered = {}
        try:
            yield
            contents = self._gathered
        finally:
            self._gathered = None
        self._write_all(cell, contents)

    def check_digests(self, cell: Cell) -> digests.Verdict:
        """Compares the files of a cell with their digests.

        Raises:
            UserError: the cell's directory is a link that leads out of the run directory.
        """
        self._check_inside(self.cell_path(cell))
        return digests.check(self.cell_path(cell))

    def _write(self, cell: Cell, name: str, content: bytes) -> None:
        if self._gathered is not None:
            self._gathered[name] = content
        else:
            self._write_all(cell, {name: content})

    def _write_all(self, cell: Cell, contents: Mapping[str, bytes]) -> None:
        directory = self.cell_path(cell)
        self._check_inside(directory)
        make_directory(directory)
        digests.announce(directory, contents)
        for name, content in contents.items():
            atomic_write(directory / name, content)

    def _content(self, path: Path, max_bytes: int) -> bytes:
        """Reads a file of a cell; raises ValueError if it cannot be one that a run wrote."""
        self._check_inside(path)
        return read_bounded(path, max_bytes)

    def _check_inside(self, path: Path) -> None:
        check_inside(path, self.path)

    def _read_arrays(self, path: Path, *names: str) -> tuple[np.ndarray, ...]:
        """Reads arrays of numbers; raises UserError where the file is damaged."""
        from suite.storage.archives import open_archive

        try:
            content = io.BytesIO(self._content(path, MAX_ARRAY_BYTES))
            with open_archive(content, MAX_ARRAY_BYTES) as archive:
                arrays = tuple(archive[name] for name in names)
            if any(array.dtype.kind not in "fiu" for array in arrays):
                raise ValueError("an array does not hold numbers")
            return arrays
        except OSError:
            raise
        except UserError:
            raise
        except Exception as error:  # a damaged archive fails in zipfile, zlib or numpy
            raise _damaged(path, error) from None

    def _read_json(self, cell: Cell, name: str, kind: type[Record]) -> Record | None:
        path = self.cell_path(cell) / name
        if not path.is_file():
            return None
        try:
            self._check_inside(path)
            record: Record = from_plain(kind, _read_json(path))
            return record
        except (TypeError, ValueError) as error:
            raise _damaged(path, error) from None


def _cell(task: str, algorithm: str, directory: str) -> Cell | None:
    """Returns the cell of a directory; None if its name is not one that `cell_path` gives.

    Raises:
        UserError: the name could not even be shown.
    """
    if not _SEED_DIRECTORY.fullmatch(directory):
        return None
    cell = Cell(algorithm, task, int(directory.removeprefix("seed-")))
    if not str(cell).isprintable():
        raise UserError(f"{str(cell)!a} is no name of a cell; rename or remove that directory")
    return cell if str(cell).endswith(f"/{directory}") else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = parse_json(read_bounded(path, MAX_JSON_BYTES))
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(data, dict):
        raise _damaged(path, ValueError("not an object"))
    return data


def _curve_row(row: Mapping[str, Any], types: Mapping[str, type]) -> CurveRow:
    if None in row:
        raise ValueError("a line has too many columns")
    values = {name: kind(row[name]) for name, kind in types.items()}
    if values["mode"] not in _MODES:
        raise ValueError(f"{values['mode'][:20]!r} is no evaluation mode")
    for name, value in values.items():
        if name not in _MAY_BE_ANYTHING and not 0 <= value <= _LARGEST_COUNT:
            raise ValueError(f"{name} = {str(value)[:20]} is out of range")
    return CurveRow(**values)


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    other = (
        "it, and its states are played again"
        if path.name == _STATES
        else "the cell's directory, which the job's checkpoint brings back; to train it afresh "
        "delete that checkpoint and the directories of all the job's seeds"
    )
    return UserError(f"{path} is damaged ({reason}); restore it, or delete {other}")
