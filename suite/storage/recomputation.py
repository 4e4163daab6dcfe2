"""What making stored numbers again came to, for the audit and in a file for a report's stamp.

The file is the word of whoever made it, so it is read only where a user names it, never from a run
directory: that may be a stranger's.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from suite.common.convert import convert
from suite.common.errors import UserError
from suite.common.files import atomic_write, json_bytes, read_object
from suite.storage.cell_files import CellFiles

_MAX_BYTES = 64 << 20
"""Of the file: less than 1 kB for each cell."""


NOT_KEPT = "no policy of them is kept"
"""Of evaluations that a run stores, as of most: why they cannot be made again."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation that was made again.

    Attributes:
        updates: behind its policy.
        returns: of its episodes in all modes, as many as were stored.
        equal: how many of them have the same bits.
        fault: what is wrong, "" if all of it is as it should be.
    """

    updates: int
    returns: int
    equal: int
    fault: str = ""


@dataclasses.dataclass(frozen=True)
class Missing:
    """What could not be made again.

    Attributes:
        reason: why.
        evaluations: how many stored ones.
    """

    reason: str
    evaluations: int


@dataclasses.dataclass(frozen=True)
class Replayed:
    """What became of one cell whose policies were evaluated again.

    Attributes:
        cell: its name.
        digest: see `content_digest`; "" if its files are damaged.
        evaluations: those that were made again.
        missing: those that were not.
        faults: what else does not agree.
        elsewhere: what of machine, versions and code is not what the cell ran on, so that last
            bits may differ; nothing if all bits must agree.
        last: updates behind the newest stored evaluation, from which scores are made; None if
            there is none.
    """

    cell: str
    digest: str
    evaluations: tuple[Evaluation, ...] = ()
    missing: tuple[Missing, ...] = ()
    faults: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    last: int | None = None


@dataclasses.dataclass(frozen=True)
class Retrained:
    """What became of one cell that was trained again.

    Attributes:
        cell: its name.
        digest: see `content_digest`.
        files: those that are equal in all but times.
        faults: what differs.
        reason: why it could not be trained, or why what differs proves nothing; else "".
    """

    cell: str
    digest: str
    files: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Recomputation:
    """What was made again of some run directories.

    Attributes:
        machine: where.
        replayed: a record for each cell, if policies were evaluated again.
        retrained: a record for each cell that was trained again.
        draw_seed: that drew these, None if they were named.
    """

    machine: str
    replayed: tuple[Replayed, ...] = ()
    retrained: tuple[Retrained, ...] = ()
    draw_seed: int | None = None


def content_digest(files: CellFiles) -> str:
    """Returns the SHA-256 of what a cell ran and what came out.

    Raises:
        UserError: a file is missing or damaged.
    """
    record, episodes = files.read_run(), files.read_episodes()
    if record is None or episodes is None:
        raise UserError(f"{files.path} has no results")
    digest = hashlib.sha256(json_bytes(dataclasses.asdict(record.configuration)))
    digest.update(repr(files.read_curve()).encode())
    for array in episodes:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_recomputation(path: Path, recomputation: Recomputation) -> None:
    """Writes the file.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(path, json_bytes(dataclasses.asdict(recomputation)))


def read_recomputation(path: Path) -> Recomputation:
    """Reads the file.

    Raises:
        UserError: there is none, or it is damaged.
    """
    advice = "make it again with `suite audit --recompute --out`"
    if not path.is_file():
        raise UserError(f"{path} is no file of what was recomputed; {advice}")
    try:
        return convert(Recomputation, read_object(path, _MAX_BYTES, advice))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {advice}") from None
