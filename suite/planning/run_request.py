"""From what a user typed to what is to run: checked, complete, nothing written yet."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithms.api import Algorithm
from algorithms.registry import entries
from envs.engines.choice import check_task, resolve_engine
from suite.common import jax_settings
from suite.common.convert import WORDS
from suite.common.errors import UserError, unknown
from suite.configuration.hyperparameters import (
    check_settings,
    hyperparameters,
    parse_setting,
    protocol_settings,
)
from suite.configuration.protocol import TUNING, Protocol, load_protocol
from suite.configuration.protocol_changes import changed, is_protocol_change
from suite.configuration.selection import parse_seeds
from suite.contract.wiring import check_method
from suite.methods.build_method import build_method
from suite.methods.method_record import method_facts
from suite.methods.select_methods import select_methods
from suite.planning.decoders import Decoders
from suite.planning.plan import Plan, make_plan
from suite.planning.task_files import check_discounts, restore_task, select_tasks
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """Everything that `suite run` or `suite plan` was asked for.

    Attributes:
        protocol: what must be equal for all algorithms.
        out: the run directory.
        engine: what steps the physics.
        tasks: names.
        seeds: sorted.
        hyperparameters: every hyper-parameter of each selected algorithm, by its name.
        algorithms: instances by name, for some environment (suite/methods/build_method.py).
        notice: what was chosen for the user and why, if anything was.
        decoders: where frozen decoders come from; None if algorithms make their own.
        seeds_together: how many seeds a job that is not begun has at most; None for all.
    """

    protocol: Protocol
    out: Path
    engine: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    hyperparameters: Mapping[str, Mapping[str, object]]
    algorithms: Mapping[str, Algorithm[Any]]
    notice: str | None = None
    decoders: Decoders | None = None
    seeds_together: int | None = None

    def plan(self, run: RunDirectory | None) -> Plan:
        """Returns the jobs and what they take, given what `run` holds already.

        Raises:
            UserError: see `make_plan`.
        """
        return make_plan(
            self.protocol,
            self.algorithms,
            self.tasks,
            self.seeds,
            self.engine,
            run,
            self.seeds_together,
        )

    def open_run(self) -> RunDirectory | None:
        """Returns the run directory if it exists, checked; None otherwise."""
        if not (self.out / "protocol.json").exists():
            return None
        run = RunDirectory.open(self.out)
        run.check_protocol(self.protocol)
        return run

    def check_stored(self, run: RunDirectory, plan: Plan) -> None:
        """Raises UserError if a planned cell was started with another configuration."""
        for planned in plan.jobs:
            for cell in planned.job.cells:
                values = self.hyperparameters[cell.algorithm]
                run.check_configuration(cell, values, self.engine)
                restore_task(run, cell)  # refuses another version of a user's task
                self._check_decoder(run, cell)
        for name in dict.fromkeys(p.job.algorithm for p in plan.jobs if p.state != "done"):
            self._compare_source(run, name)

    def check_methods(self, plan: Plan) -> None:
        """Raises an error if a method or a task that is still to train breaks the contract.

        Raises:
            UserError: a method does.
            EnvError: a task does, or is not one that the engine can step.
        """
        for task in dict.fromkeys(p.job.task for p in plan.jobs if p.state != "done"):
            check_task(task, self.engine)
        names = [planned.job.algorithm for planned in plan.jobs if planned.state != "done"]
        for name in dict.fromkeys(names):
            check_method(name, self.algorithms[name])

    def _compare_source(self, run: RunDirectory, name: str) -> None:
        """Logs a warning if a method's earlier runs were made with another source of it."""
        now = method_facts(name)["source"]
        for cell in run.cells():
            record = run.files(cell).read_run() if cell.algorithm == name else None
            for start in record.provenance if record else ():
                method = start.get("method")
                before = method.get("source") if isinstance(method, Mapping) else None
                if before and before != now:
                    _log.warning(
                        "the source of %s was changed since %s/%s was trained; "
                        "`suite audit` fails such a comparison",
                        *(name, run.path, cell),
                    )
                    return

    def _check_decoder(self, run: RunDirectory, cell: Cell) -> None:
        record = run.files(cell).read_run()
        stored = record.configuration.decoder if record else None
        if record and self.decoders:
            self.decoders.check(cell, stored)
        elif stored:
            raise UserError(
                f"{run.path}/{cell} was started with the decoder {stored}; go on with "
                "`suite ablate`, or choose another directory with --out"
            )


def make_request(
    algos: str,
    tasks: str,
    seeds: str,
    protocol: str | Protocol | None,
    engine: str,
    out: Path | None,
    changes: Sequence[str],
    seeds_together: int | None = None,
) -> RunRequest:
    """Checks what the user typed.

    Args:
        algos: as in `select_methods`, which executes files that it names.
        tasks: as in `suite.planning.task_files.select_tasks`.
        seeds: as in `parse_seeds`.
        protocol: itself, its name or path; by default `fair` with a GPU and `lite` without.
        engine: as in `envs.engines.choice.resolve_engine`.
        out: the run directory, `runs/PROTOCOL` by default.
        changes: as in `parse_setting`, or of the protocol as in `protocol_changes.changed`.
        seeds_together: how many seeds a new job has at most; by default one with the engine
            `native`, since a core gains nothing from more, and all of them otherwise.

    Raises:
        UserError: something is unknown, ill-typed or impossible.
        EnvError: a task or an engine is unknown or does not suit this machine.
    """
    notice = None if protocol else _default_notice()
    names = select_methods(algos)  # first: a protocol may have settings for a file's method
    of_protocol = [change for change in changes if is_protocol_change(change)]
    of_algorithms = [change for change in changes if not is_protocol_change(change)]
    if not isinstance(protocol, Protocol):
        protocol = load_protocol(protocol or _default_protocol())
    chosen = changed(protocol, of_protocol)
    selected = select_tasks(tasks)  # before the names: a protocol may have a discount for a file's
    _check_names(chosen)
    values = _hyperparameters(names, chosen, of_algorithms)
    engine = resolve_engine(engine)
    return RunRequest(
        protocol=chosen,
        out=out or Path("runs") / chosen.name,
        tasks=selected,
        seeds=parse_seeds(seeds),
        hyperparameters=values,
        algorithms={name: build_method(name, values[name], chosen) for name in values},
        engine=engine,
        notice=notice,
        seeds_together=seeds_together or (1 if engine == "native" else None),
    )


def _check_names(protocol: Protocol) -> None:
    """Refuses names that nobody has; who reads a stored run need not have its methods."""
    known = entries()
    check_discounts(protocol.task_discount)
    for field in ("published_mode", "tuning"):
        for name in getattr(protocol, field):
            if name not in known:
                raise UserError(f"{field}: {unknown('algorithm', name, known)}")
    for name, effort in protocol.tuning.items():
        for key, value in effort.items():
            if key not in TUNING:
                raise UserError(f"tuning.{name}: {unknown('entry', key, TUNING)}")
            if not isinstance(value, TUNING[key]):
                right = WORDS[TUNING[key]]
                raise UserError(f"tuning.{name}.{key} = {value!r}: must be {right}")
            if isinstance(value, int) and value < 0:
                raise UserError(f"tuning.{name}.{key} = {value}: must be at least 0")


def _default_protocol() -> str:
    return "fair" if jax_settings.has_gpu() else "lite"


def _default_notice() -> str:
    if jax_settings.has_gpu():
        return "a GPU was found: protocol fair; --protocol lite is far shorter"
    return "no GPU was found: protocol lite; --protocol fair is the full comparison"


def _hyperparameters(
    names: Sequence[str], protocol: Protocol, changes: Sequence[str]
) -> dict[str, dict[str, object]]:
    known = entries()
    classes: dict[str, type] = {name: entry.cls for name, entry in known.items()}
    from_protocol = protocol_settings(protocol.algorithms)
    from_user = [parse_setting(change) for change in changes]
    check_settings(from_protocol, classes)
    check_settings(from_user, classes)
    for setting in from_user:
        if setting.algorithm in classes and setting.algorithm not in names:
            raise UserError(f"{setting.source}: {setting.algorithm} is not among the --algos")
    return {
        name: hyperparameters(name, classes[name], known[name].defaults, from_protocol, from_user)
        for name in names
    }
