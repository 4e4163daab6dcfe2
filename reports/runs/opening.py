"""What the commands that read stored runs are given: run directories, or one ablation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from reports.runs.ablation_runs import merge_arms
from reports.runs.choice import EVERYTHING, Choice
from reports.runs.loading import load_results
from reports.runs.results import Results
from suite.common.errors import UserError
from suite.storage.ablation_directory import Ablation, is_ablation, read_ablation


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """Stored runs.

    Attributes:
        results: the runs that were chosen.
        ablation: what they are the arms of, as far as it was chosen; None for run directories.
        directory: the ablation's, or the first run directory.
    """

    results: Results
    ablation: Ablation | None
    directory: Path


def open_stored(paths: Sequence[Path], choice: Choice = EVERYTHING) -> Opened:
    """Reads run directories, or all arms of one ablation.

    Raises:
        UserError: see `load_results`, `merge_arms` and `lone_ablation`.
    """
    path = lone_ablation(paths)
    if path is None:
        return Opened(load_results(paths, choice=choice), None, *paths[:1])
    ablation, results = merge_arms(read_ablation(path), path, choice)
    return Opened(results, ablation, path)


def lone_ablation(paths: Sequence[Path]) -> Path | None:
    """Returns the ablation that is named, None if run directories are.

    Raises:
        UserError: other directories are named beside it.
    """
    found = [path for path in paths if is_ablation(path)]
    if found and len(paths) > 1:
        raise UserError(f"{found[0]} is an ablation; name it by itself, or run directories in it")
    return found[0] if found else None
