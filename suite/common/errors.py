"""The errors of this program, and the one type for mistakes that a user can mend.

    Exception
      x UserError       raised everywhere, with what is wrong, where, and how to mend it; told by
        |               the command line in one line, which then ends with exit code 2
        + Held          a cell is another process's: raised where cells are leased; the loop over
        |               jobs goes on with the next one, and may wait for this one
        + Regrouped     a cell went to another group of seeds: raised when a job is locked; the
        |               loop plans anew, and gives up if that does not help
        + LeaseLost     a cell was taken over: raised before a save, which is not made; the loop
        |               goes on with the next job
        + Unsound       metrics that are NaN from the start: a mistake in the method, but to
                        `suite tune` a candidate that is no good
      x ValueError
        + EnvError      a task or an engine that there is not; told like a UserError, as the
        |               environments know nothing of this package
        + Misfit        plain data that are not of their type: raised by suite/common/convert.py;
                        who knows the file turns it into a UserError
      x OSError         files that cannot be read or written; told by `describe_os_error`

Held, Regrouped and LeaseLost (suite/leases) are what processes that share a run
directory tell each other by; only a command that works on a single job shows them to the user.
Any other error is a fault of the program's own, or of a method that the user wrote.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

_OS_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; choose another place with --out or change its permissions",
    errno.EPERM: "not permitted; choose another place with --out or change its permissions",
    errno.EROFS: "the file system is read-only; choose another place with --out",
    errno.ENOTDIR: "a part of this path is a file, not a directory; choose another path",
    errno.EISDIR: "this is a directory, not a file; choose another path",
    errno.EEXIST: "this is a file, not a directory; choose another path",
    errno.ENOENT: "no such file or directory; check the path",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}


class UserError(Exception):
    """A mistake in the user's input, in one line: what, where, how to mend it."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """Returns the error for a name that does not exist, with the nearest that does."""
    from envs.api import nearest  # not before suite/cli.py knows whose package `envs` is

    known = list(choices)
    meant, listed = nearest(name, known), ", ".join(known)
    if meant is not None:
        return UserError(f"unknown {kind} {name!r}; did you mean {meant!r}? Known: {listed}")
    return UserError(f"unknown {kind} {name!r}; known: {listed}")


def describe_os_error(error: OSError) -> str:
    """Returns one line that says which file failed, why, and what to do."""
    advice = _OS_ADVICE.get(error.errno or 0, error.strerror or str(error))
    return f"{error.filename}: {advice}" if error.filename else advice


def damage(error: Exception) -> str:
    """Returns what is wrong with stored data, from the error by which reading them ended."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return str(error) if isinstance(error, ValueError) else "something in it is of another kind"
