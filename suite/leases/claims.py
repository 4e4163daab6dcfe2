"""A cell's successive owners, a file each, and the lock under which one succeeds another."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from suite.common.errors import UserError
from suite.common.files import exclusive_write, json_bytes
from suite.common.reading import parse_json, read_bounded
from suite.leases.locks import is_locked, lock, open_lock

PAUSE = 0.02
"""Seconds between two looks at what another process may be about to finish."""

_ATTEMPTS = 20
_KEPT = 4
_MAX_BYTES = 1 << 16
_NUMBER = re.compile("[0-9]{1,18}")


class Held(UserError):
    """A cell is not to be had now: a process that is not known to be dead owns it."""


class Claim(NamedTuple):
    """One of a cell's successive owners.

    Attributes:
        number: 1 for the first; 0 stands for a cell that was never owned.
        owner: a process's token, None for nobody.
    """

    number: int
    owner: str | None


def held(cell: Path) -> Held:
    """Returns the error of a cell that is not to be had."""
    return Held(f"{cell} is being trained by another process; wait for it, or choose other cells")


def newest_claim(cell: Path) -> Claim:
    """Returns the claim of a cell's owner; one that cannot be read is of nobody that is known."""
    claims = _files(cell)
    if not claims:
        return Claim(0, None)
    return Claim(_number(claims[-1]), _owner(claims[-1]))


def write_claim(cell: Path, claim: Claim) -> bool:
    """Enters a claim; returns whether its number was still free.

    Raises:
        OSError: the cell cannot be written.
    """
    content = json_bytes({"owner": claim.owner})
    return exclusive_write(cell / f".lease-{claim.number:06d}", content)


def delete_old_claims(cell: Path) -> None:
    """Deletes all claims but the last few."""
    for file in _files(cell)[:-_KEPT]:
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def claim_lock(cell: Path, wait: bool = False) -> Iterator[None]:
    """Keeps other processes from saving or taking a cell meanwhile.

    Args:
        cell: its directory.
        wait: for as long as it takes.

    Raises:
        Held: the lock was not to be had within a few attempts.
    """
    with open_lock(_lock_path(cell)) as file:
        left = _ATTEMPTS
        while not lock(file, wait):
            left -= 1
            if left <= 0:
                raise held(cell)
            time.sleep(PAUSE)
        yield


def is_claim_locked(cell: Path) -> bool:
    """Returns whether some process is saving or taking a cell, as far as can be told."""
    return bool(is_locked(_lock_path(cell)))


def _files(cell: Path) -> list[Path]:
    files = (path for path in cell.glob(".lease-*") if _NUMBER.fullmatch(path.name[7:]))
    return sorted(files, key=_number)


def _number(claim: Path) -> int:
    return int(claim.name.removeprefix(".lease-"))


def _owner(claim: Path) -> str | None:
    try:
        owner = parse_json(read_bounded(claim, _MAX_BYTES))["owner"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
    return owner if owner is None or (isinstance(owner, str) and owner.isalnum()) else "unknown"


def _lock_path(cell: Path) -> Path:
    return cell / ".lock"
