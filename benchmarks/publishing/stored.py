"""The run directories under results/, found by walking."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from reports.runs.loading import load_results
from reports.runs.results import Results
from suite.storage.ablation_directory import is_ablation, read_ablation
from suite.storage.run_directory import RunDirectory, divergences_kept


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A run directory.

    Attributes:
        name: its path from the root of the checkout, with slashes.
        run: the directory.
        results: its runs; None while there is none.
        ablation: name of the ablation that it is an arm of, empty if of none.
        arm: its name there, empty if of none.
        purpose: one line.
        set_aside: tries of diverged seeds that were started afresh; they are no runs.
    """

    name: str
    run: RunDirectory
    results: Results | None
    ablation: str
    arm: str
    purpose: str
    set_aside: int


def stored_directories(root: Path) -> list[Stored]:
    """Reads every run directory below `root`/results, sorted by path.

    Raises:
        UserError: a directory's protocol.json or an ablation.json cannot be read.
    """
    paths = sorted(file.parent for file in (root / "results").rglob("protocol.json"))
    return [_read(path, root) for path in paths]


def _read(path: Path, root: Path) -> Stored:
    run = RunDirectory.open(path)
    filled = bool(run.cells() or run.incomplete_cells())
    ablation = read_ablation(path.parent) if is_ablation(path.parent) else None
    return Stored(
        name=path.relative_to(root).as_posix(),
        run=run,
        # What is amiss becomes findings: one directory is no reason to keep back the others.
        results=load_results([path], refuse=False) if filled else None,
        ablation=ablation.name if ablation else "",
        arm=path.name if ablation else "",
        purpose=ablation.description if ablation else run.protocol.description,
        set_aside=sum(divergences_kept(run).values()),
    )
