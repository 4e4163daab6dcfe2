"""Locks that the system drops when the process that holds them ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import BinaryIO

from suite.common.errors import UserError
from suite.common.reading import opened

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What flock fails with on file systems without locks; leases then rest on the counter."""


def open_lock(path: Path) -> BinaryIO:
    """Opens a file to be locked, made where it is missing.

    Raises:
        UserError: something else has its name.
        OSError: it cannot be opened.
    """
    # Opening a pipe would wait for its reader, and opening a link write where it leads.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is no regular file; delete it")
    return open(path, "ab")


def lock(file: BinaryIO, wait: bool = False) -> bool:
    """Locks a file through the system; returns whether that worked, or there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def is_locked(path: Path) -> bool | None:
    """Returns whether some process holds the lock of a file; None where that cannot be told."""
    try:
        with opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return None
    return False
