"""Where `--on` says that jobs are to train: read and checked, nothing started yet."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from suite.common.convert import TOML, Misfit, convert
from suite.common.errors import UserError, unknown
from suite.common.reading import MAX_TOML_BYTES, read_bounded

if TYPE_CHECKING:
    from suite.planning.plan import Plan

Kind = Literal["local", "address", "slurm", "pbs", "lsf", "sge", "htcondor"]
QUEUES: Sequence[Kind] = ("slurm", "pbs", "lsf", "sge", "htcondor")
"""Systems with a queue, to which workers are submitted through dask-jobqueue."""

AUTO, HERE = "auto", "here"
"""What `--on` takes beside a place: one where that pays, and this process alone."""

LOOPBACK = "127.0.0.1"
_CORES_EACH: Mapping[str, int] = {"native": 1, "jax": 4, "warp": 4}
"""Of a worker of a machine without GPUs. With `native`, two processes of one core train 1.3 to 1.6
times as fast as one of two (docs/scaling.md); programs of `jax` gain little from more than four."""

WORTH_SECONDS = 120.0
"""Of training, below which starting workers costs more than they gain."""

_MOST_WORKERS = 8
"""That are submitted to a queue unless the user says how many."""

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"
_for_trainers: dict[str, str | None] = {}
"""Variables that trainers of this machine get beside this process's own; None takes one away."""

_WITH_COUNT = re.compile(r"([a-z]+)(?::(\d{1,5}))?")
_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d{1,5}")


@dataclasses.dataclass(frozen=True)
class Tls:
    """Files by which Dask's connections are encrypted, and strangers kept out.

    Attributes:
        ca: certificate of the authority that signed the others.
        cert: certificate of this side.
        key: its key.
    """

    ca: str
    cert: str
    key: str


@dataclasses.dataclass(frozen=True)
class Place:
    """Where jobs train.

    Attributes:
        kind: `local`, `address` of a scheduler that stands, or one of `QUEUES`.
        address: of that scheduler.
        workers: how many; None to find out.
        cores: of each worker.
        gpus: of each worker that is submitted.
        memory: of each worker that is submitted, as `16GB`.
        partition: or queue.
        account: or project.
        walltime: of each worker, as the queue writes it.
        setup: lines of shell before a worker starts, such as `module load cuda`.
        directives: further ones for the head of the job script.
        python: the interpreter on the workers; this one's path unless given.
        listen: address on which the scheduler that is started here listens.
        port: of it; any that is free unless given.
        logs: folder for what submitted workers print.
        tls: None leaves connections in the clear.
    """

    kind: Kind
    address: str = ""
    workers: int | None = None
    cores: int | None = None
    gpus: int = 0
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    walltime: str | None = None
    setup: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    python: str | None = None
    listen: str = LOOPBACK
    port: int = 0
    logs: str | None = None
    tls: Tls | None = None

    def __str__(self) -> str:
        return self.address if self.kind == "address" else self.kind


@dataclasses.dataclass(frozen=True)
class Slot:
    """What one worker of this machine may use.

    Attributes:
        name: of the worker.
        cores: numbers of its cores; empty for all.
        environment: variables that its trainer gets, None for those it must not have.
    """

    name: str
    cores: tuple[int, ...] = ()
    environment: Mapping[str, str | None] = dataclasses.field(default_factory=dict)


def parse_place(text: str) -> Place:
    """Returns what `--on` means.

    Args:
        text: `local`, `local:3`, `tcp://HOST:PORT`, `tls://HOST:PORT`, a queue's name, likewise
            with a number of workers, or the path of a TOML file with the fields of `Place`.

    Raises:
        UserError: it is none of these, or the file holds something else.
    """
    if text.endswith(".toml"):
        return _from_file(Path(text))
    if _ADDRESS.fullmatch(text):
        return Place("address", address=text)
    if "://" in text:
        raise UserError(f"--on {text}: give a scheduler's address as tcp://HOST:PORT")
    found = _WITH_COUNT.fullmatch(text)
    kinds: dict[str, Kind] = {kind: kind for kind in ("local", *QUEUES)}
    known = (AUTO, HERE, *kinds, "tcp://HOST:PORT", "FILE.toml")
    if not found or found[1] not in kinds:
        raise UserError(f"--on: {unknown('place', text, known)}")
    return _checked(Place(kinds[found[1]], workers=int(found[2]) if found[2] else None), "--on")


def leave_gpus_alone() -> None:
    """Has JAX take no memory of GPUs in this process, which only asks it what there is."""
    if _PREALLOCATE not in os.environ:
        os.environ[_PREALLOCATE] = "false"
        _for_trainers[_PREALLOCATE] = None  # which take what they would have without this


def count_of(place: Place, jobs: int, slots: Sequence[Slot]) -> int:
    """Returns how many workers a place has, or is to be asked for."""
    if place.kind == "local":
        return len(slots)
    return place.workers or max(1, min(jobs, _MOST_WORKERS))


def own_cores(engine: str, plan: Plan) -> Place | None:
    """Returns this machine if a worker on each of its cores pays, None otherwise."""
    left = sum(planned.state != "done" for planned in plan.jobs)
    if engine != "native" or left < 2 or len(usable_cores()) < 2:
        return None
    return Place("local") if (plan.seconds or 0.0) >= WORTH_SECONDS else None


def local_slots(place: Place, gpus: Sequence[str], engine: str) -> list[Slot]:
    """Divides this machine among workers: a GPU each, or a group of its cores.

    Args:
        place: says how many, if the user did.
        gpus: as `CUDA_VISIBLE_DEVICES` names them; empty if none are used.
        engine: what steps the physics.
    """
    cores = usable_cores()
    if gpus:
        count = place.workers or len(gpus)
        groups = _groups(cores, count, place.cores)
        return [
            Slot(f"local-{i}", groups[i], {**_for_trainers, _VISIBLE: gpus[i % len(gpus)]})
            for i in range(count)
        ]
    each = place.cores or min(_CORES_EACH[engine], len(cores))
    count = place.workers or max(1, len(cores) // each)
    groups = _groups(cores, count, place.cores)
    return [Slot(f"local-{i}", group, _for_trainers) for i, group in enumerate(groups)]


def visible_gpus(engine: str) -> list[str]:
    """Returns the GPUs that an engine would compute on here, as `CUDA_VISIBLE_DEVICES` has them."""
    if engine == "native":
        return []
    import jax

    count = sum(device.platform == "gpu" for device in jax.local_devices())
    chosen = os.environ.get(_VISIBLE, "")
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    return (names or [str(index) for index in range(count)])[:count]


def _groups(cores: Sequence[int], count: int, each: int | None) -> list[tuple[int, ...]]:
    """Returns the cores of each of some workers; they share some only if there are too few."""
    size = each or max(1, len(cores) // count)
    starts = [index * size % len(cores) for index in range(count)]
    return [
        tuple(sorted({cores[(start + offset) % len(cores)] for offset in range(size)}))
        for start in starts
    ]


def usable_cores() -> list[int]:
    """Returns the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _from_file(path: Path) -> Place:
    try:
        table = tomllib.loads(read_bounded(path, MAX_TOML_BYTES, links=True).decode())
    except FileNotFoundError:
        raise UserError(f"--on {path}: no such file; check the path") from None
    except ValueError as error:  # no plain file, too large, not UTF-8, or no TOML
        raise UserError(f"{path}: {error}") from None
    if "address" in table:
        table.setdefault("kind", "address")
    if "kind" not in table:
        raise UserError(f'{path}: say where, as kind = "slurm" or address = "tcp://HOST:PORT"')
    known = [field.name for field in dataclasses.fields(Place)]
    for name in table:
        if name not in known:
            raise UserError(f"{path}: {unknown('field', name, known)}")
    try:
        place = convert(Place, table, TOML)
    except Misfit as error:
        where = ".".join(error.path)
        raise UserError(f"{path}: {where} = {error.value!r}: {error}") from None
    except TypeError:
        raise UserError(f"{path}: [tls] needs ca, cert and key") from None
    return _checked(place, str(path))


def _checked(place: Place, source: str) -> Place:
    if place.workers is not None and place.workers < 1:
        raise UserError(f"{source}: workers must be at least 1")
    if place.cores is not None and place.cores < 1:
        raise UserError(f"{source}: cores must be at least 1")
    if place.gpus < 0:
        raise UserError(f"{source}: gpus must be at least 0")
    if place.kind == "address" and not _ADDRESS.fullmatch(place.address):
        raise UserError(f"{source}: give a scheduler's address as tcp://HOST:PORT")
    for file in dataclasses.astuple(place.tls) if place.tls else ():
        if not Path(file).is_file():
            raise UserError(f"{source}: tls: {file}: no such file; check the path")
    return place
