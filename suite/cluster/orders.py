"""What a worker is told, as plain data: what all jobs of a run share, and one job.

Nothing that a worker is sent is made by it into objects in any other way than a command line or
a protocol's file is: the request is built and checked again over there.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

from algorithms import registry
from envs.own_tasks import own_tasks
from suite.common.convert import STORED, convert
from suite.common.files import atomic_write, make_directory
from suite.common.reading import MAX_SOURCE_BYTES, read_bounded
from suite.common.user_file import UserFile
from suite.configuration.hyperparameters import hyperparameters, protocol_settings
from suite.configuration.protocol import Protocol
from suite.methods.build_method import build_method
from suite.methods.select_methods import add_method
from suite.planning.run_request import RunRequest
from suite.planning.task_files import register_file
from suite.storage.records import Job

Plain = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Code:
    """A file of the user's own that methods or tasks come out of.

    Attributes:
        name: of the method or the task.
        kind: `method` or `task`.
        path: where it is on the machine of the command.
        class_name: of the class in it.
        source: its text.
    """

    name: str
    kind: str
    path: str
    class_name: str
    source: str


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all jobs of a run share.

    Attributes:
        run_path: the run directory, absolute.
        protocol: as `Protocol.to_dict` gives it.
        engine: `jax`, `warp` or `native`.
        hyperparameters: of each method, every one.
        code: files of the user's own.
        lease_seconds: as `suite run` takes it.
        cache: whether compiled programs are kept.
        command: what was typed, for the records of the run.
    """

    run_path: str
    protocol: Plain
    engine: str
    hyperparameters: Mapping[str, Plain]
    code: tuple[Code, ...]
    lease_seconds: float
    cache: bool
    command: tuple[str, ...]

    def to_plain(self) -> dict[str, object]:
        """Returns what JSON can hold."""
        return dataclasses.asdict(self)


def setup_from(plain: Mapping[str, object]) -> Setup:
    """Returns what `Setup.to_plain` was of."""
    return convert(Setup, plain, STORED)


def setup_of(request: RunRequest, lease_seconds: float, cache: bool) -> Setup:
    """Returns what workers need to know of a request."""
    return Setup(
        run_path=str(request.out.absolute()),
        protocol=request.protocol.to_dict(),
        engine=request.engine,
        hyperparameters=request.hyperparameters,
        code=(*_methods(request), *_tasks(request)),
        lease_seconds=lease_seconds,
        cache=cache,
        command=tuple(sys.argv),
    )


def request_of(setup: Setup, job: Job, scratch: Path) -> RunRequest:
    """Returns the request for one job, checked as `suite run` checks what is typed.

    Args:
        setup: of its run.
        job: which.
        scratch: where the user's files are put that this machine lacks.

    Raises:
        UserError: something is impossible here.
    """
    protocol = Protocol.from_dict(dict(setup.protocol), "the order")
    for code in setup.code:
        if code.name in (job.algorithm, job.task):
            _make_known(code, scratch)
    entry = registry.lookup(job.algorithm)
    given = protocol_settings({job.algorithm: setup.hyperparameters[job.algorithm]})
    values = hyperparameters(job.algorithm, entry.cls, entry.defaults, given, ())
    return RunRequest(
        protocol=protocol,
        out=Path(setup.run_path),
        engine=setup.engine,
        tasks=(job.task,),
        seeds=job.seeds,
        hyperparameters={job.algorithm: values},
        algorithms={job.algorithm: build_method(job.algorithm, values, protocol)},
    )


def _methods(request: RunRequest) -> list[Code]:
    found = []
    for name in request.algorithms:
        entry = registry.lookup(name)
        if entry.file is not None:
            source = entry.file.content.decode()
            path = str(entry.file.path.absolute())
            found.append(Code(name, "method", path, entry.cls.__name__, source))
    return found


def _tasks(request: RunRequest) -> list[Code]:
    known = own_tasks()
    files = {name: known[name].file for name in request.tasks if name in known}
    return [
        Code(
            name,
            "task",
            str(file.absolute()),
            name,
            _source(file).decode(),
        )
        for name, file in files.items()
        if file is not None
    ]


def _make_known(code: Code, scratch: Path) -> None:
    path = _path_of(code, scratch)
    if code.kind == "method":
        if code.name not in registry.entries():
            add_method(UserFile(path, code.class_name), code.name)
    elif code.name not in own_tasks():
        register_file(f"{path}:{code.class_name}")


def _path_of(code: Code, scratch: Path) -> Path:
    """Returns where a user's file is here; it is put there if it is not, or is another."""
    path, content = Path(code.path), code.source.encode()
    if path.is_file() and _source(path) == content:
        return path
    copy = scratch / code.name / path.name  # one folder each: files may share a name
    make_directory(copy.parent)
    atomic_write(copy, content)
    return copy


def _source(path: Path) -> bytes:
    return read_bounded(path, MAX_SOURCE_BYTES, links=True)
