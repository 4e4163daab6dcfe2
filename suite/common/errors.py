"""The one error type for mistakes that a user can mend."""

from __future__ import annotations

import difflib
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
    known = list(choices)
    by_lower_case = {choice.lower(): choice for choice in known}
    nearest = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    listed = ", ".join(known)
    if nearest:
        question = f"did you mean {by_lower_case[nearest[0]]!r}? Known: {listed}"
        return UserError(f"unknown {kind} {name!r}; {question}")
    return UserError(f"unknown {kind} {name!r}; known: {listed}")


def describe_os_error(error: OSError) -> str:
    """Returns one line that says which file failed, why, and what to do."""
    advice = _OS_ADVICE.get(error.errno or 0, error.strerror or str(error))
    return f"{error.filename}: {advice}" if error.filename else advice
