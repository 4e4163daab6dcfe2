"""`suite audit --recompute` and `--retrain`: what can be made again of run directories, and is."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from suite.common.errors import UserError
from suite.common.formatting import readable
from suite.reproduction.machine import machine
from suite.reproduction.playing import replay
from suite.reproduction.training import Chosen, draw_cells, named_cells, train_again
from suite.storage.recomputation import Recomputation, Replayed, Retrained
from suite.storage.run_directory import RunDirectory

Record = TypeVar("Record", Replayed, Retrained)

_SEEDS = 2**32


def make_again(
    runs: Sequence[RunDirectory],
    recompute: bool,
    retrain: str | None,
    draw_seed: int | None,
    trust: bool,
    tell: Callable[[str], None],
) -> Recomputation:
    """Makes stored numbers again; nothing is written into the run directories.

    Args:
        runs: of the numbers.
        recompute: whether to evaluate every policy again that is to be had.
        retrain: how many cells to draw and train again, or names of cells with commas between:
            `ppo/CheetahRun/0`, or as the audit shows them; None is nothing.
        draw_seed: draws those cells; by default one that nobody could know before.
        trust: whether files of methods and tasks that the runs keep may be executed.
        tell: is told what is under way.

    Raises:
        UserError: there is no such cell to train again, or a seed is given and nothing to draw.
    """
    count = _count(retrain)
    if draw_seed is not None and count is None:
        raise UserError("--draw-seed is for --retrain with a count of cells; leave it out")
    chosen: list[Chosen] = []
    if count is not None:
        draw_seed = secrets.randbelow(_SEEDS) if draw_seed is None else draw_seed
        chosen = draw_cells(runs, count, draw_seed)
        names = ", ".join(str(cell) for _, cell in chosen)
        tell(f"to be trained again, drawn by seed {draw_seed}: {names}")
    elif retrain is not None:
        chosen = named_cells(runs, retrain)
    replayed: list[Replayed] = []
    retrained: list[Retrained] = []
    for index, run in enumerate(runs):
        place = f"{readable(run.path.resolve().name)}/" if len(runs) > 1 else ""
        if recompute:
            replayed += [_placed(place, each) for each in replay(run, trust, tell)]
        wanted = [cell for which, cell in chosen if which == index]
        retrained += [_placed(place, each) for each in train_again(run, wanted, trust, tell)]
    return Recomputation(machine(), tuple(replayed), tuple(retrained), draw_seed)


def _placed(place: str, record: Record) -> Record:
    return dataclasses.replace(record, cell=f"{place}{record.cell}")


def _count(text: str | None) -> int | None:
    """Returns a count as it is typed, None for anything else."""
    plain = (text or "").strip()
    return int(plain) if plain.isascii() and plain.isdecimal() and len(plain) < 10 else None
