"""The run directory: where one `suite run` keeps everything.

    RUN_DIR/protocol.json                        written once
    RUN_DIR/TASK/ALGORITHM/job-000-004.ckpt      one checkpoint per job
                           job-000-004.ckpt.part one within a chunk, until the chunk ends
                           job-000-004.ckpt.digests  of these (suite/storage/digests.py)
    RUN_DIR/TASK/ALGORITHM/seed-000/             the files of a cell (suite/storage/cell_files.py)
    RUN_DIR/TASK/ALGORITHM/seed-000.diverged-1/  the same of a run that was tried again

No file belongs to two processes: a cell is leased while it trains (suite/leases), and
only `protocol.json` is shared, which is never rewritten.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from suite.common.errors import UserError, unknown
from suite.common.files import (
    check_inside,
    exclusive_write,
    json_bytes,
    make_directory,
    move,
    remove_leftovers,
)
from suite.configuration.protocol import Protocol
from suite.configuration.selection import format_seeds
from suite.leases.lease import Lease, Regrouped, is_owned
from suite.leases.worker import Worker
from suite.storage.bounded_files import read_json_object
from suite.storage.cell_files import CellFiles, cell_path
from suite.storage.origin import (
    MODEL,
    hyperparameter_differences,
    origin,
    origin_differences,
)
from suite.storage.records import Cell, Configuration, Job, RunRecord

_SEED_DIRECTORY = re.compile(r"seed-[0-9]{3,10}")


def is_run(path: Path) -> bool:
    """Returns whether a run was started in a directory."""
    return (path / "protocol.json").is_file()


class RunDirectory:
    """Reads and writes one run directory.

    Attributes:
        path: the directory.
        protocol: what everything in it was run by.
        fingerprint: of the protocol, as protocol.json says it.
    """

    def __init__(self, path: Path, protocol: Protocol, fingerprint: str | None = None) -> None:
        self.path = path
        self.protocol = protocol
        self.fingerprint = protocol.fingerprint() if fingerprint is None else fingerprint

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
            new = cls(path, protocol)
            # What another protocol ran, whose protocol.json is lost, is not to be ruled by this.
            for cell in new.cells():
                if found := new.files(cell).read_run():
                    _check_same_protocol(new, cell, found.configuration)
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
        record = read_json_object(file)
        protocol = record.get("protocol")
        if not isinstance(protocol, dict):
            raise UserError(f"{file}: has no protocol; restore the file or use another directory")
        return cls(path, Protocol.from_dict(protocol, str(file)), str(record.get("fingerprint")))

    def check_protocol(self, protocol: Protocol) -> None:
        """Raises UserError unless `protocol` is comparable with this directory's."""
        check_fingerprint(self)
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
        return cell_path(self.path, cell)

    def files(self, cell: Cell) -> CellFiles:
        """Returns what reads and writes the files of one cell."""
        return CellFiles(self.path, cell)

    def checkpoint_path(self, job: Job) -> Path:
        """Returns the checkpoint file of a job."""
        return self.path / job.task / job.algorithm / f"{job.name}.ckpt"

    def cells(self) -> list[Cell]:
        """Returns every cell that was started, sorted by task, algorithm and seed."""
        return _cells_with(self.path, "run.json")

    def incomplete_cells(self) -> list[Cell]:
        """Returns cells that lost their run.json but kept something else, sorted likewise."""
        found = _cells_with(self.path, "*.*")
        return [cell for cell in found if not (self.cell_path(cell) / "run.json").is_file()]

    def require_cell(self, cell: Cell) -> Cell:
        """Returns `cell`.

        Raises:
            UserError: it was never started here; names the part of it that is not here.
        """
        cells = self.cells()
        if cell in cells:
            return cell
        if cell.task not in (tasks := dict.fromkeys(each.task for each in cells)):
            raise unknown(f"task in {self.path}", cell.task, tasks)
        there = [each for each in cells if each.task == cell.task]
        if cell.algorithm not in (names := dict.fromkeys(each.algorithm for each in there)):
            raise unknown(f"algorithm on {cell.task} in {self.path}", cell.algorithm, names)
        seeds = format_seeds([each.seed for each in there if each.algorithm == cell.algorithm])
        raise UserError(
            f"{self.path} has of {cell.algorithm} on {cell.task} the seeds {seeds}, not {cell.seed}"
        )

    def stored_job(self, cell: Cell) -> Job | None:
        """Returns the job that a started cell belongs to."""
        record = self.files(cell).read_run()
        if record is None:
            return None
        return Job(cell.algorithm, cell.task, record.configuration.seeds_together)

    def check_configuration(
        self, cell: Cell, hyperparameters: Mapping[str, object], engine: str
    ) -> None:
        """Raises UserError if the cell was started with another configuration.

        Nothing is written either way.
        """
        record = self.files(cell).read_run()
        if record is None:
            return
        _check_same_protocol(self, cell, record.configuration)
        stored = record.configuration
        differing = hyperparameter_differences(stored.hyperparameters, hyperparameters)
        if stored.engine != engine:
            differing.append(f"engine ({stored.engine} there, {engine} now)")
        if differing:
            raise UserError(
                f"{self.path}/{cell} was run with another configuration, which differs in "
                f"{', '.join(differing)}; choose other seeds, or another directory with --out"
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
        check_inside(self.checkpoint_path(job).parent, self.path)
        lease = worker.acquire([self.cell_path(cell) for cell in job.cells])
        try:
            _check_group(self, job)
            for cell in job.cells:
                remove_leftovers(self.cell_path(cell))
            checkpoint = self.checkpoint_path(job)
            remove_leftovers(checkpoint.parent, f"{checkpoint.name}*")  # those beside it, too
            yield lease
        finally:
            lease.release()

    def is_locked(self, cell: Cell) -> bool:
        """Returns whether some process is training the cell now, as far as this machine knows."""
        return is_owned(self.path, self.cell_path(cell))

    def is_finished(self, job: Job) -> bool:
        """Returns whether every cell of a job is finished."""
        statuses = [self.files(cell).read_status() for cell in job.cells]
        return all(status is not None and status.finished for status in statuses)

    def has_reached(self, job: Job, updates: int) -> bool:
        """Returns whether every cell of a job is finished, or was evaluated after `updates`."""
        return all(self.files(cell).has_reached(updates) for cell in job.cells)

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
        kept = path.parent.glob(f"{path.name}.diverged-*")
        numbers = [int(n) for each in kept if (n := each.name.rpartition("-")[2]).isdecimal()]
        aside = path.with_name(f"{path.name}.diverged-{max(numbers, default=0) + 1}")
        if job is not None and not any(self.belongs(c, job) for c in job.cells if c != cell):
            # The last cell takes the checkpoint along, or the new job might go on from it.
            for file in self.checkpoint_path(job).parent.glob(f"{job.name}.ckpt*"):
                move(file, path / file.name)
        move(path, aside)
        lease.forget(path)
        return aside

    def write_run(
        self,
        configuration: Configuration,
        provenance: Mapping[str, object],
        method: bytes | None = None,
    ) -> None:
        """Writes run.json; on a further start of the same cell adds its provenance.

        Args:
            configuration: of the cell.
            provenance: of this start.
            method: the user's file that the method is from, which is kept with the cell.

        Raises:
            UserError: it was started with another model or from other start states.
        """
        cell = configuration.cell
        files = self.files(cell)
        before = files.read_run()
        if before is not None:
            fields = (origin(each, MODEL) for each in (before.configuration, configuration))
            differing = origin_differences(*fields)
            if differing:
                raise UserError(
                    f"{self.path}/{cell} was run with another {', '.join(differing)}; go on with "
                    "the versions that run.json names, or choose another directory with --out"
                )
        starts = before.provenance if before else ()
        with files.batch() as batch:
            if method is not None:
                batch.put_method(method)
            batch.put_run(RunRecord(configuration, starts).started(provenance))


def fingerprint_fault(run: RunDirectory) -> str:
    """Returns what is wrong with the fingerprint in protocol.json, nothing if it is right."""
    expected = run.protocol.fingerprint()
    if run.protocol.renewed(run.fingerprint) == expected:
        return ""
    return f"protocol.json says {run.fingerprint[:40]}, the protocol in it makes {expected}"


def check_fingerprint(run: RunDirectory) -> None:
    """Raises UserError if protocol.json has another fingerprint than its protocol makes."""
    if fault := fingerprint_fault(run):
        raise UserError(f"{run.path}: {fault}; restore that file")


def divergences_kept(run: RunDirectory) -> dict[Cell, int]:
    """Returns how often cells diverged and were started afresh; of the others nothing.

    To ask for each cell alone would list its neighbours again for each.
    """
    kept: dict[Cell, int] = {}
    for file in run.path.glob("*/*/seed-*.diverged-*/run.json"):
        task, algorithm, directory = file.parts[-4:-1]
        if cell := _cell(task, algorithm, directory.partition(".")[0]):
            kept[cell] = kept.get(cell, 0) + 1
    return kept


def _cells_with(run_path: Path, name: str) -> list[Cell]:
    """Returns the cells that have a file of this name, sorted by task, algorithm and seed."""
    files = run_path.glob(f"*/*/seed-*/{name}")
    parts = {file.parts[-4:-1] for file in files if not file.name.startswith(".")}
    found = {cell for task, algorithm, seed in parts if (cell := _cell(task, algorithm, seed))}
    return sorted(found, key=lambda cell: (cell.task, cell.algorithm, cell.seed))


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


def _check_same_protocol(run: RunDirectory, cell: Cell, stored: Configuration) -> None:
    """Refuses a cell of another protocol, as a replaced or edited protocol.json leaves it."""
    theirs = Protocol.from_dict(stored.protocol, f"{run.cell_path(cell)}/run.json")
    fields = theirs.differences(run.protocol)
    if fields:
        raise UserError(
            f"{run.path}/{cell} was run by another protocol, which differs in "
            f"{', '.join(fields)}; restore protocol.json and go on by it, or choose another "
            "directory with --out"
        )


def _check_group(run: RunDirectory, job: Job) -> None:
    """Raises Regrouped if a cell of the job belongs to another one by now."""
    for cell in job.cells:
        if run.stored_job(cell) not in (None, job):
            raise Regrouped(
                f"{run.path}/{cell} has meanwhile been started in another group of "
                "seeds; run the same command again"
            )
