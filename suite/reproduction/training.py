"""`suite audit --retrain`: cells are trained again from nothing, and every byte is compared.

A cell is trained with the seeds that it was trained with, all in one program as before; the others
of them that are stored are compared as well.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from envs.api import EnvError
from suite.common.errors import UserError, unknown
from suite.methods.build_method import build_method
from suite.planning.run_request import RunRequest
from suite.reproduction.groups import Group, groups_of, told
from suite.reproduction.machine import elsewhere
from suite.reproduction.policies import built
from suite.reproduction.results_files import compare_archives, compare_files
from suite.storage.recomputation import Retrained, content_digest
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.job import run_job
from suite.training.progress import Progress
from suite.training.stored_policies import trust_files

Chosen = tuple[int, Cell]
"""A cell, and the index of its run."""


def draw_cells(runs: Sequence[RunDirectory], count: int, draw_seed: int) -> list[Chosen]:
    """Draws cells among those that are finished.

    Raises:
        UserError: there are not so many, or none is asked for.
    """
    finished = [each for each in _cells(runs) if _is_finished(runs[each[0]], each[1])]
    if not 1 <= count <= len(finished):
        raise UserError(f"--retrain {count}: choose from 1 to {len(finished)}, the finished cells")
    return sorted(random.Random(draw_seed).sample(finished, count))


def named_cells(runs: Sequence[RunDirectory], text: str) -> list[Chosen]:
    """Returns the cells of names with commas between, each in every run that has it.

    Raises:
        UserError: there is none of a name.
    """
    names: dict[str, list[Chosen]] = {}
    for index, cell in _cells(runs):
        for each in (f"{cell.algorithm}/{cell.task}/{cell.seed}", str(cell)):
            names.setdefault(each, []).append((index, cell))
    found: list[Chosen] = []
    for name in (each.strip() for each in text.split(",")):
        if name not in names:
            raise unknown(
                "cell to train again", name, (each for each in names if "/seed-" not in each)
            )
        found += names[name]
    return found


def train_again(
    run: RunDirectory, chosen: Collection[Cell], trust: bool, tell: Callable[[str], None]
) -> Iterator[Retrained]:
    """Trains cells again, each in a scratch directory that is gone afterwards.

    Args:
        run: where they are.
        chosen: which of its cells.
        trust: whether files of methods and tasks that it keeps may be executed.
        tell: is told what is trained.
    """
    groups, damaged = groups_of(run) if chosen else ([], {})
    for cell in sorted({*chosen} & damaged.keys()):
        yield Retrained(str(cell), "", reason=damaged[cell])
    for group in groups:
        if named := sorted({*chosen} & {*group.members}):
            tell(f"training {group.job} again, for {', '.join(map(str, named))}")
            yield from _retrain_group(group, trust)


def _retrain_group(group: Group, trust: bool) -> list[Retrained]:
    try:
        group.check()
        if trust:
            trust_files(group.run, group.members)
        if not all(_is_finished(group.run, cell) for cell in group.members):
            raise UserError("it is not finished")
        with tempfile.TemporaryDirectory(prefix="suite-retrain-") as scratch:
            again = _train(group, Path(scratch))
            return [_compared(group, again, cell) for cell in group.members]
    except (UserError, EnvError) as error:
        reason = told(error, group.run.path, Path(tempfile.gettempdir()))
        return [Retrained(str(cell), "", reason=reason) for cell in group.members]


def _train(group: Group, scratch: Path) -> RunDirectory:
    """Trains a group's job from nothing, and returns where."""
    built(group)  # says in its own words what is not to be had here
    name, protocol = group.job.algorithm, group.run.protocol
    values = group.hyperparameters
    request = RunRequest(
        protocol=protocol,
        out=scratch,
        engine=group.configuration.engine,
        tasks=(group.job.task,),
        seeds=group.job.seeds,
        hyperparameters={name: values},
        algorithms={name: build_method(name, values, protocol)},
        decoders=group.decoders(),
    )
    run = RunDirectory.create(scratch, protocol)
    run_job(group.job, RunContext(request, run, Progress()))
    return run


def _compared(group: Group, again: RunDirectory, cell: Cell) -> Retrained:
    record = group.records[cell]
    why = elsewhere(record.provenance, cell.algorithm, record.configuration.engine)
    try:
        digest = content_digest(group.run.files(cell))
        same, faults = compare_files(group.run.files(cell), again.files(cell))
        checkpoint = group.run.checkpoint_path(group.job)
        if checkpoint.is_file():
            difference = compare_archives(checkpoint, again.checkpoint_path(group.job), times=True)
            faults += [f"{checkpoint.name} {difference}"] if difference else []
            same += [] if difference else [checkpoint.name]
    except UserError as error:
        return Retrained(str(cell), "", reason=told(error, group.run.path))
    if faults and why:
        text = f"{faults[0]}, which proves nothing as it was trained elsewhere: {', '.join(why)}"
        return Retrained(str(cell), digest, tuple(same), reason=text)
    return Retrained(str(cell), digest, tuple(same), tuple(faults))


def _cells(runs: Sequence[RunDirectory]) -> list[Chosen]:
    return [(index, cell) for index, run in enumerate(runs) for cell in run.cells()]


def _is_finished(run: RunDirectory, cell: Cell) -> bool:
    try:
        status = run.files(cell).read_status()
    except UserError:
        return False
    return status is not None and status.finished
