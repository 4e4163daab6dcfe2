"""Results of workers that do not see the run directory: sent as bytes, one archive per cell.

The command leases the job's cells in the run directory for as long as the worker has them, sends
along what is stored of the job, and puts what comes back in its place. An archive is read as a
stranger's would be: it may hold plain files of a cell, and of bounded size, nothing else.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from suite.common.errors import UserError
from suite.common.files import atomic_write, make_directory
from suite.configuration.protocol import Protocol
from suite.leases.worker import Worker
from suite.storage import digests
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory

MAX_BYTES = 8 << 30
"""Of one archive, unpacked: a checkpoint holds replay buffers, all else is small."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+")
_CHECKPOINTS = "checkpoints"

Event = dict[str, object]
Files = Mapping[str, bytes]
"""Archives by the cells' names, and one of the job's checkpoints."""


class Remote:
    """A job that trains where the run directory is not seen.

    Args:
        run: where its results belong.
        job: which.
        worker: this process, which leases the job meanwhile.

    Attributes:
        files: what is stored of it so far.

    Raises:
        Held: another process has it.
    """

    def __init__(self, run: RunDirectory, job: Job, worker: Worker) -> None:
        self._run = run
        self._job = job
        self._stack = contextlib.ExitStack()
        self._lease = self._stack.enter_context(run.locked(job, worker))
        self.files = pack(run, job)

    def take_back(self, files: Files | None) -> None:
        """Stores what came back, if anything did, and lets go of the job.

        Raises:
            UserError: it is not what a worker sends.
            LeaseLost: another process has taken the job over; nothing was written.
            OSError: it cannot be written.
        """
        with self._stack:
            if files is not None:
                with self._lease.saving():
                    unpack(self._run, self._job, files)


def pack(run: RunDirectory, job: Job) -> dict[str, bytes]:
    """Returns what is stored of a job, an archive for each cell and one for the checkpoints."""
    checkpoint = run.checkpoint_path(job)
    packed = {str(cell): _archive(_plain(run.cell_path(cell).glob("*.*"))) for cell in job.cells}
    packed[_CHECKPOINTS] = _archive(_plain(checkpoint.parent.glob(f"{checkpoint.name}*")))
    return packed


def unpack(run: RunDirectory, job: Job, files: Files) -> None:
    """Puts archives of a job's files where they belong; checkpoints first, as a save does.

    Raises:
        UserError: an archive holds anything but plain files of the job.
        OSError: a file cannot be written.
    """
    checkpoint = run.checkpoint_path(job)
    contents = _read(files[_CHECKPOINTS])
    for name in contents:
        if not name.startswith(checkpoint.name):
            raise UserError(f"a worker sent {name!a} as a checkpoint of {job}; nothing was kept")
    cells = {cell: _read(files[str(cell)]) for cell in job.cells}
    make_directory(checkpoint.parent)
    _replace(checkpoint.parent, contents, checkpoint.parent.glob(f"{checkpoint.name}*"))
    for cell, found in cells.items():
        path = run.cell_path(cell)
        make_directory(path)
        sealed = found.pop(digests.NAME, None)
        digests.announce(path, found)
        _replace(path, found, ())
        if sealed is not None:
            atomic_write(path / digests.NAME, sealed)


def job_to_plain(job: Job) -> dict[str, object]:
    """Returns what JSON can hold of a job."""
    return {"algorithm": job.algorithm, "task": job.task, "seeds": list(job.seeds)}


def job_from(plain: Mapping[str, object]) -> Job:
    """Returns what `job_to_plain` was of."""
    seeds = plain["seeds"]
    assert isinstance(seeds, list | tuple)
    return Job(str(plain["algorithm"]), str(plain["task"]), tuple(seeds))


def in_scratch(order: Event, scratch: Path, train: Callable[[Event], Event]) -> Event:
    """Trains a job in a directory of this worker alone, and returns its files with the result.

    Args:
        order: see `suite.cluster.workers.train`.
        scratch: that directory.
        train: does what such an order says.
    """
    setup, files = order["setup"], order["files"]
    assert isinstance(setup, dict) and isinstance(files, dict) and isinstance(order["job"], dict)
    job = job_from(order["job"])
    run = RunDirectory.create(scratch, Protocol.from_dict(setup["protocol"], "the order"))
    unpack(run, job, files)
    result = train({**order, "setup": {**setup, "run_path": str(scratch)}})
    sent = pack(run, job)
    for cell in job.cells:
        shutil.rmtree(run.cell_path(cell), ignore_errors=True)
    checkpoint = run.checkpoint_path(job)
    for path in checkpoint.parent.glob(f"{checkpoint.name}*"):
        path.unlink(missing_ok=True)
    return {**result, "files": sent}


def _replace(directory: Path, contents: Mapping[str, bytes], old: Iterable[Path]) -> None:
    for name, content in contents.items():
        atomic_write(directory / name, content)
    for path in old:
        if path.name not in contents:
            path.unlink(missing_ok=True)


def _plain(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if _NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    )


def _archive(paths: Iterable[Path]) -> bytes:
    """Returns a zip of files, uncompressed: what is large in them is compressed already."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # a part that was just replaced
                archive.write(path, path.name)
    return stream.getvalue()


def _read(content: bytes) -> dict[str, bytes]:
    """Returns the files of an archive by name."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            names = [member.filename for member in members]
            if size > MAX_BYTES or len(set(names)) != len(names):
                raise UserError("a worker sent an archive that no job can make; nothing was kept")
            for name in names:
                if not _NAME.fullmatch(name):
                    raise UserError(f"a worker sent a file called {name!a}; nothing was kept")
            return {member.filename: _member(archive, member) for member in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(f"a worker sent a damaged archive ({error}); nothing was kept") from None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    # Asked for so many bytes, zipfile unpacks no more, whatever the data hold.
    with archive.open(member) as file:
        return file.read(member.file_size)
