"""Timing in quiet beside other work: a lock that many may share, or one may have alone."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def beside_others(lock: Path | None) -> Iterator[None]:
    """Computes beside whoever else does; `flock -s LOCK COMMAND` does the same in a shell."""
    with _held(lock, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def alone(lock: Path | None) -> Iterator[None]:
    """Waits until nobody computes, and lets nobody begin."""
    with _held(lock, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def _held(lock: Path | None, how: int) -> Iterator[None]:
    if lock is None:
        yield
        return
    with open(lock, "a", encoding="utf-8") as file:
        fcntl.flock(file, how)
        yield
