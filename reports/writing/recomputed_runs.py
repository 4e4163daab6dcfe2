"""Which of what somebody recomputed is of the runs of a report: told by their contents."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports.audit.recomputed import Stamp, stamp_of
from reports.runs.opening import lone_ablation
from suite.common.errors import UserError
from suite.configuration.recipe import SOURCE
from suite.storage.ablation_directory import read_ablation
from suite.storage.recomputation import content_digest, read_recomputation
from suite.storage.run_directory import RunDirectory, is_run


def run_directories(paths: Sequence[Path]) -> list[Path]:
    """Returns run directories, in place of an ablation those of its source and its arms.

    Raises:
        UserError: there are other directories beside an ablation's.
    """
    ablation = lone_ablation(paths)
    if ablation is None:
        return list(paths)
    names = [SOURCE, *(arm.name for arm in read_ablation(ablation).arms)]
    return [ablation / name for name in names if is_run(ablation / name)]


def read_stamp(file: Path, paths: Sequence[Path]) -> Stamp:
    """Returns what a file of `suite audit --recompute --out` says of run directories.

    Args:
        file: made by whoever makes the report.
        paths: of the run directories, or of an ablation.

    Raises:
        UserError: the file is damaged, or of other runs than these are now.
    """
    stamp = stamp_of(read_recomputation(file), set(_digests(run_directories(paths))))
    if stamp is None:
        listed = ", ".join(map(str, paths))
        raise UserError(
            f"{file} is of other runs than {listed}, or of these before they were changed; "
            "make it again with `suite audit --recompute --out`"
        )
    return stamp


def _digests(directories: Sequence[Path]) -> Iterator[str]:
    for path in directories:
        run = RunDirectory.open(path)
        for cell in run.cells():
            with contextlib.suppress(UserError):  # damaged, which the report says by itself
                yield content_digest(run.files(cell))
