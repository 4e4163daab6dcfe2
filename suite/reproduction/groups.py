"""The cells of a run directory by the jobs that they were trained in.

A job is made again whole: its seeds are computed in one program, and another number of them may
round otherwise.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from suite.common.convert import immutable
from suite.common.errors import UserError
from suite.common.files import json_bytes
from suite.planning.decoders import Decoders
from suite.storage.origin import completed
from suite.storage.records import Cell, Configuration, Job, RunRecord
from suite.storage.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Group:
    """Cells of one job, which ran the same.

    Attributes:
        run: where they are.
        job: theirs.
        members: those that are stored as its; a seed may have diverged and been taken out.
        records: run.json of each member.
    """

    run: RunDirectory
    job: Job
    members: tuple[Cell, ...]
    records: Mapping[Cell, RunRecord]

    @property
    def configuration(self) -> Configuration:
        """Of the first member; the others' differ in the seed alone."""
        return self.records[self.members[0]].configuration

    @property
    def hyperparameters(self) -> dict[str, object]:
        """All of the method's, also those that could not be set yet when it ran."""
        stored = completed(self.configuration.hyperparameters)
        return {name: immutable(value) for name, value in stored.items()}

    def check(self) -> None:
        """Raises UserError if no run can have written this."""
        seeds = self.job.seeds
        if len({*seeds}) != len(seeds):
            raise UserError(f"run.json names {len(seeds)} seeds trained together")
        if strangers := [str(cell) for cell in self.members if cell.seed not in seeds]:
            raise UserError(f"{strangers[0]} is not among the seeds that it was trained with")
        if any(cell != self.records[cell].configuration.cell for cell in self.members):
            raise UserError("run.json is of another cell")

    def decoders(self) -> Decoders | None:
        """Returns where the frozen decoders are that the cells began with; None without any.

        Raises:
            UserError: they are not beside the run directory.
        """
        source = self.configuration.decoder
        if source is None:
            return None
        path = self.run.path.resolve().parent / Path(source.run).name
        if not (path / "protocol.json").is_file():
            raise UserError(f"its decoder came from the run {source.run}, which is not beside it")
        decoders = Decoders(RunDirectory.open(path), source.stage)
        for cell in self.members:
            decoders.check(cell, self.records[cell].configuration.decoder)
        return decoders


def told(error: Exception, *places: Path) -> str:
    """Returns an error's words without directories of this machine, as reports may show them."""
    text = str(error)
    for place in places:
        text = text.replace(f"{place}/", "")
    return text


def groups_of(run: RunDirectory) -> tuple[list[Group], dict[Cell, str]]:
    """Returns the groups of a run directory, and what is wrong with cells that are in none."""
    found: dict[str, dict[Cell, RunRecord]] = {}
    damaged: dict[Cell, str] = dict.fromkeys(run.incomplete_cells(), "it lost its run.json")
    for cell in run.cells():
        try:
            record = run.files(cell).read_run()
        except UserError as error:
            damaged[cell] = told(error, run.path)
            continue
        if record is not None:
            found.setdefault(_key(record.configuration), {})[cell] = record
    return [_group(run, records) for records in found.values()], damaged


def _key(configuration: Configuration) -> str:
    """Returns what tells jobs apart: all of a configuration but the seed and its decoder."""
    shared = dataclasses.replace(configuration, seed=0, decoder=None)
    source = configuration.decoder
    where = (source.run, source.stage) if source else None
    return hashlib.sha256(json_bytes([dataclasses.asdict(shared), where])).hexdigest()


def _group(run: RunDirectory, records: Mapping[Cell, RunRecord]) -> Group:
    first = next(iter(records))
    seeds = records[first].configuration.seeds_together
    return Group(run, Job(first.algorithm, first.task, seeds), tuple(records), records)
