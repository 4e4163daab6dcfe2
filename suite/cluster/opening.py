"""From a place to workers that run: a Dask cluster of this machine, of a queue, or one that stands.

What listens at all listens on loopback unless the place says otherwise, and no dashboard is opened.
Workers of this machine are threads of this process, each with a trainer of its own; between them
nothing listens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dask
from distributed import Client, Scheduler, Security
from distributed import Worker as DaskWorker
from distributed.deploy.spec import SpecCluster

from suite.cluster.places import LOOPBACK, Place, Slot, Tls
from suite.common.errors import UserError

_CONNECT_SECONDS = 10
_LOOK_SECONDS = 5.0
_CLASSES: Mapping[str, tuple[str, str]] = {
    "slurm": ("SLURMCluster", "sbatch"),
    "pbs": ("PBSCluster", "qsub"),
    "lsf": ("LSFCluster", "bsub"),
    "sge": ("SGECluster", "qsub"),
    "htcondor": ("HTCondorCluster", "condor_submit"),
}
"""Of dask-jobqueue, and the program by which each submits."""

_NO_HTTP = f"{LOOPBACK}:0"
"""Dask serves HTTP even without a dashboard: at no fixed port, to this machine, and nothing."""

_SETTINGS: Mapping[str, object] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}

_DEFAULT_CORES, _DEFAULT_MEMORY = 4, "16GB"
"""Of a submitted worker, where neither the place nor Dask's own settings say."""


@dataclasses.dataclass
class Pool:
    """Workers that run, or are on their way.

    Attributes:
        client: speaks with them.
        cluster: started here; None if it stood before.
        wanted: how many workers it is to have.
        slots: what workers of this machine may use, by name.
    """

    client: Client
    cluster: Any  # of Dask's classes, which have no types
    wanted: int
    slots: Mapping[str, Slot]
    _look_at: float = 0.0

    def workers(self) -> dict[str, str]:
        """Returns the names of the workers that are there, by address."""
        # Not Client.scheduler_info: a refresh of its own may empty that at any moment.
        assert self.client.scheduler is not None
        found = self.client.sync(self.client.scheduler.identity, n_workers=-1)["workers"]
        return {address: str(facts["name"]) for address, facts in found.items()}

    def keep_up(self) -> None:
        """Submits workers in place of those whose time was up, if it is time to look."""
        now = time.monotonic()
        if self.cluster is not None and not self.slots and now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self.cluster.scale(self.wanted)


@contextlib.contextmanager
def opened(place: Place, wanted: int, slots: Sequence[Slot]) -> Iterator[Pool]:
    """Starts or finds the workers of a place; what was started ends with the body.

    Args:
        place: which.
        wanted: how many workers.
        slots: of this machine; for `local` alone.

    Raises:
        UserError: nobody answers, or the machine lacks what it takes.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    scratch = tempfile.mkdtemp(prefix="suite-dask-")
    try:
        with (
            dask.config.set({**_SETTINGS, "temporary-directory": scratch}),
            contextlib.ExitStack() as stack,
        ):
            cluster = _cluster(place, wanted, slots)
            if cluster is not None:
                stack.enter_context(cluster)
            client = stack.enter_context(_client(place, cluster))
            yield Pool(client, cluster, wanted, {slot.name: slot for slot in slots})
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _cluster(place: Place, wanted: int, slots: Sequence[Slot]) -> Any:
    if place.kind == "address":
        return None
    return _local(slots) if place.kind == "local" else _queue(place, wanted)


def _client(place: Place, cluster: Any) -> Client:
    security = _security(place.tls)
    target = cluster if cluster is not None else place.address
    try:
        return Client(
            target, timeout=_CONNECT_SECONDS, security=security, set_as_default=False
        )  # fmt: skip
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"--on {place}: no Dask scheduler answers there ({str(error).splitlines()[0]}); start "
            "one with `dask scheduler`, or check the address and the TLS files"
        ) from None


def _local(slots: Sequence[Slot]) -> Any:
    quiet = {"dashboard": False, "dashboard_address": _NO_HTTP, "protocol": "inproc://"}
    options = {**quiet, "nthreads": 1, "memory_limit": 0}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": quiet},
        workers={slot.name: {"cls": DaskWorker, "options": options} for slot in slots},
        silence_logs=logging.CRITICAL,
    )


def _queue(place: Place, wanted: int) -> Any:
    name, program = _CLASSES[place.kind]
    if shutil.which(program) is None:
        raise UserError(f"--on {place}: `{program}` is not on the PATH of this machine")
    try:
        cls = getattr(importlib.import_module("dask_jobqueue"), name)
    except ImportError:
        raise UserError(
            f"--on {place} needs dask-jobqueue: pip install 'gorl-suite[cluster]'"
        ) from None
    cluster = cls(**queue_options(place))
    cluster.scale(wanted)
    return cluster


def queue_options(place: Place) -> dict[str, Any]:
    """Returns what dask-jobqueue's class for a place's queue is made with."""
    settings = f"jobqueue.{place.kind}"
    options: dict[str, Any] = {
        "cores": place.cores or dask.config.get(f"{settings}.cores", None) or _DEFAULT_CORES,
        "memory": place.memory or dask.config.get(f"{settings}.memory", None) or _DEFAULT_MEMORY,
        "processes": 1,
        "nanny": False,  # a trainer that crashes takes no worker with it
        "worker_extra_args": ["--no-dashboard"],
        "scheduler_options": {
            "host": place.listen,
            "port": place.port,
            "dashboard": False,
            "dashboard_address": _NO_HTTP,
        },
        "job_script_prologue": list(place.setup),
        "job_extra_directives": [*_gpu_directives(place), *place.directives],
        "silence_logs": logging.CRITICAL,
        "job_name": "gorl-suite",
    }
    given = {
        "queue": place.partition,
        "account": place.account,
        "walltime": place.walltime,
        "python": place.python,
        "log_directory": place.logs,
        "security": _security(place.tls),
    }
    if place.kind == "htcondor":  # knows neither queues nor accounts
        given = {**given, "queue": None, "account": None, "walltime": None}
    if place.tls is not None:
        given["protocol"] = "tls://"
    if place.kind in ("lsf", "sge"):
        given["project"] = given.pop("account")
    return {**options, **{key: value for key, value in given.items() if value is not None}}


def _gpu_directives(place: Place) -> list[str]:
    """Returns what asks for a worker's GPUs, where there is one way for all sites."""
    if not place.gpus:
        return []
    if place.kind == "slurm":
        return [f"--gres=gpu:{place.gpus}"]
    raise UserError(
        f"gpus: how {place.kind} is asked for them differs from site to site; put the line into "
        "`directives`"
    )


def _security(tls: Tls | None) -> Security | None:
    if tls is None:
        return None
    sides = {
        f"tls_{side}_{part}": path
        for side in ("client", "scheduler", "worker")
        for part, path in (("cert", tls.cert), ("key", tls.key))
    }
    return Security(tls_ca_file=tls.ca, require_encryption=True, **sides)
