"""Whether the checkpoints of a directory are what its jobs wrote, and of the runs beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from suite.storage import digests
from suite.storage.archives import read_manifest
from suite.storage.origin import origin_faults
from suite.storage.records import Cell, Configuration, Job
from suite.storage.run_directory import RunDirectory

Row = tuple[object, ...]

OUTCOME = ("env_steps", "mode", "return_mean", "return_std")
"""Columns of a curve that a checkpoint is told by."""


class StoredCell(NamedTuple):
    """What is known of a cell.

    Attributes:
        configuration: what ran.
        finished: whether nothing more is to come.
        rows: `OUTCOME` of the rows of its curve whose return is finite.
    """

    configuration: Configuration
    finished: bool
    rows: list[Row]


def checkpoint_faults(
    run: RunDirectory, cells: Mapping[Cell, StoredCell]
) -> Iterator[tuple[Cell, str]]:
    """Yields a cell of each job whose checkpoints are not what was written, and why.

    Jobs that are being trained now are left out, and those without a checkpoint: nobody needs
    one of a finished run but to evaluate its last policy again.

    Args:
        run: directory.
        cells: those whose run.json can be read.
    """
    jobs: dict[Job, dict[Cell, StoredCell]] = {}
    for cell, stored in cells.items():
        job = Job(cell.algorithm, cell.task, stored.configuration.seeds_together)
        jobs.setdefault(job, {})[cell] = stored
    for job, members in jobs.items():
        checkpoint = run.checkpoint_path(job)
        if not checkpoint.is_file() or any(run.is_locked(cell) for cell in members):
            continue
        done = len(members) == len(job.seeds) and all(each.finished for each in members.values())
        if fault := _changed(checkpoint, done) or _foreign(run, job, members):
            yield next(iter(members)), fault


def _changed(checkpoint: Path, done: bool) -> str:
    """Returns which file is not what was written last, as far as the digests tell.

    Files first: a save that is under way has announced whatever of it was read here.
    """
    beside = checkpoint.with_name(f"{checkpoint.name}.prev")
    part = checkpoint.with_name(f"{checkpoint.name}.part")
    if not digests.checkpoint_digests(checkpoint).is_file():
        return ""  # older versions kept none
    found = {
        file: digests.digest_file(file) for file in (checkpoint, beside, part) if file.is_file()
    }
    try:
        lists = digests.read_checkpoint_digests(checkpoint)
    except ValueError as error:
        return f"{digests.checkpoint_digests(checkpoint).name} is damaged ({error})"
    if lists is None:
        return ""
    written = lists[digests.CHECKPOINTS]
    allowed = {checkpoint: written[:1] if done else written, beside: written}
    for file, digest in found.items():
        if digest not in allowed.get(file, lists[digests.PARTS]):
            return f"{file.name} is not what its job wrote last"
    return ""


def _foreign(run: RunDirectory, job: Job, members: Mapping[Cell, StoredCell]) -> str:
    """Returns why a checkpoint is of another run, by what it says of itself."""
    checkpoint = run.checkpoint_path(job)
    try:
        facts = read_manifest(checkpoint).meta
        for cell, stored in members.items():
            index = job.seeds.index(cell.seed)
            if differing := origin_faults(facts, index, stored.configuration, run.protocol):
                return f"{checkpoint.name} is of another run: {differing[0]}"
            kept = [tuple(row[name] for name in OUTCOME) for row in facts["records"][index]["rows"]]
            if text := _other_curve(stored.rows, [row for row in kept if math.isfinite(row[2])]):
                return f"{checkpoint.name} {text} in {cell}"
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return f"{checkpoint.name} cannot be read ({error})"
    return ""


def _other_curve(shown: Sequence[Row], kept: Sequence[Row]) -> str:
    """Returns where a curve is not the one that a checkpoint holds."""
    for row, other in zip(shown, kept, strict=False):
        if row != other:
            return f"says a return of {other[2]} at {other[0]} steps ({other[1]}), not {row[2]} as"
    return ""
