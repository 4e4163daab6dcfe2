"""What a process may write, and whether a cell is anybody's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from suite.common.errors import UserError
from suite.leases.claims import (
    Claim,
    claim_lock,
    is_claim_locked,
    newest_claim,
    write_claim,
)
from suite.leases.signs_of_life import has_left, name_of, read_sign, workers_directory


class Regrouped(UserError):
    """A cell belongs to another group of seeds than was thought."""


class LeaseLost(UserError):
    """Another process has taken a cell over, because this one showed no sign of life."""


class Lease:
    """Cells that this process may write until it lets go of them or is taken for dead.

    Args:
        token: of the process.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self._claims: dict[Path, int] = {}

    def add(self, cell: Path, number: int) -> None:
        """Enters a cell that the process has become the owner of, as its `number`-th."""
        self._claims[cell] = number

    def forget(self, cell: Path) -> None:
        """Leaves out a cell whose directory, with all claims, has got another name."""
        self._claims.pop(cell, None)

    def check(self) -> None:
        """Raises LeaseLost unless every cell is still this process's."""
        for cell, number in self._claims.items():
            if newest_claim(cell) != (number, self.token):
                raise LeaseLost(
                    f"{cell} was taken over by another process, after this one had shown no "
                    "sign of life; nothing more was written"
                )

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Keeps all cells from being taken over while its body writes them.

        Where the file system has no locks, a process that is suspended inside the body for
        longer than its lease can still write once after it.

        Raises:
            LeaseLost: one has been taken over; the body is not run.
        """
        with contextlib.ExitStack() as stack:
            for cell in self._claims:
                stack.enter_context(claim_lock(cell, wait=True))
            self.check()
            yield

    def release(self) -> None:
        """Makes nobody the owner of every cell that is still this process's."""
        for cell, number in self._claims.items():
            # A full disk must not hide why the process ends; once it has, it is known to be dead.
            with contextlib.suppress(OSError):
                write_claim(cell, Claim(number + 1, None))
        self._claims.clear()


def is_owned(run_path: Path, cell: Path) -> bool:
    """Returns whether a cell has an owner that is not known to be dead.

    One that died on another machine counts until it is taken over.
    """
    if is_claim_locked(cell):
        return True
    owner = newest_claim(cell).owner
    return owner is not None and not has_left(workers_directory(run_path), owner)


def owner_name(run_path: Path, cell: Path) -> str:
    """Returns what the owner of a cell calls itself; "" if it has none, or none is known."""
    owner = newest_claim(cell).owner
    return name_of(read_sign(workers_directory(run_path), owner)) if owner else ""
