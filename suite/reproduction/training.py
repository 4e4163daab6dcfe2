"""`suite audit --retrain`: cells are trained again from nothing, and every byte is compared.

A cell is trained with the seeds that it was trained with, all in one program as before; the others
of them that are stored are compared as well.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from envs.api import EnvError
from suite.common.errors import UserError, unknown
from suite.methods.build_method import build_method
from suite.planning.run_request import RunRequest
from suite.reproduction.groups import Group, groups_of
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

_MOST_DRAWN = 10_000


def draw_cells(runs: Sequence[RunDirectory], text: str, draw_seed: int) -> list[tuple[int, Cell]]:
    """Chooses the cells to train again.

    Args:
        runs: where they are.
        text: how many to draw among those that are finished, or names: `ppo/CheetahRun/0`, or
            as the audit shows them, `CheetahRun/ppo/seed-000`, with commas between.
        draw_seed: draws them.

    Returns:
        Cells, with the indices of their runs.

    Raises:
        UserError: there are none so called, or not so many.
    """
    there = [(index, cell) for index, run in enumerate(runs) for cell in run.cells()]
    if not text.strip().isascii() or not text.strip().isdecimal():
        return [each for name in text.split(",") for each in _named(name.strip(), there)]
    finished = [each for each in there if _is_finished(runs[each[0]], each[1])]
    count = int(text) if len(text.strip()) <= len(str(_MOST_DRAWN)) else _MOST_DRAWN
    if not 1 <= count <= len(finished):
        raise UserError(
            f"--retrain {text[:20]}: there are {len(finished)} finished cells to draw from"
        )
    return sorted(random.Random(draw_seed).sample(finished, count))


def retrain(
    runs: Sequence[RunDirectory],
    chosen: Sequence[tuple[int, Cell]],
    trust: bool,
    tell: Callable[[str], None],
) -> Iterator[Retrained]:
    """Trains cells again, each in a scratch directory that is gone afterwards.

    Args:
        runs: where they are.
        chosen: as `draw_cells` returns them.
        trust: whether files of methods and tasks that the runs keep may be executed.
        tell: is told what is trained.
    """
    for index, run in enumerate(runs):
        wanted = {cell for which, cell in chosen if which == index}
        groups, damaged = groups_of(run)
        for cell in sorted(wanted & damaged.keys()):
            yield Retrained(str(cell), "", reason=damaged[cell])
        for group in groups:
            if named := sorted(wanted & {*group.members}):
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
        return [Retrained(str(cell), "", reason=str(error)) for cell in group.members]


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
        return Retrained(str(cell), "", reason=str(error))
    if faults and why:
        text = f"{faults[0]}, which proves nothing as it was trained elsewhere: {', '.join(why)}"
        return Retrained(str(cell), digest, tuple(same), reason=text)
    return Retrained(str(cell), digest, tuple(same), tuple(faults))


def _named(name: str, there: Sequence[tuple[int, Cell]]) -> list[tuple[int, Cell]]:
    """Returns the cells of a name in either form, in every run that has one."""
    names: dict[str, list[tuple[int, Cell]]] = {}
    for index, cell in there:
        for each in (str(cell), f"{cell.algorithm}/{cell.task}/{cell.seed}"):
            names.setdefault(each, []).append((index, cell))
    if name not in names:
        raise unknown("cell to train again", name, names)
    return names[name]


def _is_finished(run: RunDirectory, cell: Cell) -> bool:
    try:
        status = run.files(cell).read_status()
    except UserError:
        return False
    return status is not None and status.finished
