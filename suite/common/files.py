"""The one path by which the suite writes files: whole, durable, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from suite.common.errors import UserError
from suite.common.reading import digest_of, parse_json, read_bounded

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What os.link fails with on file systems without hard links, as some shared folders are."""


_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)


def atomic_write(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; a reader sees the old file or the new one.

    Raises:
        OSError: with `filename` set to `path`; the old file is then untouched.
    """
    with atomic_writer(path) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_writer(
    path: Path,
    previous: Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> Iterator[BinaryIO]:
    """Opens a temporary file that becomes `path` once its content is on the disk.

    Args:
        path: the file to replace.
        previous: where to keep the file that `path` was until now, if any.
        announce: told the SHA-256 of the content before `path` is replaced.

    Raises:
        OSError: with `filename` set to `path`; the old file is then untouched.
    """
    with _temporary_file(path) as (file, temporary):
        yield file
        _flush_to_disk(file)
        # In this order a disk that is full, again and again, announces nothing: a list of the
        # newest digests would else fill with those of files that never came to be.
        if previous is not None and path.exists():
            keep_copy(path, previous)
        if announce is not None:
            announce(digest_of(temporary))
        os.replace(temporary, path)
        _sync_directory(path.parent)


def exclusive_write(path: Path, content: bytes) -> bool:
    """Writes `path` unless it exists; returns whether this call created it.

    Of several processes that try at once exactly one succeeds, and none ever sees
    half a file, unless the file system lacks hard links.

    Raises:
        OSError: with `filename` set to `path`.
    """
    with _temporary_file(path) as (file, temporary):
        file.write(content)
        _flush_to_disk(file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # A network file system may repeat a request whose answer it has missed.
            return os.stat(temporary).st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            return _create(path, content)
        _sync_directory(path.parent)
        return True


def _create(path: Path, content: bytes) -> bool:
    try:
        with open(path, "xb") as file:
            file.write(content)
            _flush_to_disk(file)
    except FileExistsError:
        return False
    _sync_directory(path.parent)
    return True


def check_inside(path: Path, run_path: Path) -> None:
    """Raises UserError if links lead from `path` out of the run directory."""
    if not path.resolve().is_relative_to(run_path.resolve()):
        raise UserError(f"{path} leads out of the run directory; put a copy in place of the link")


def read_object(path: Path, max_bytes: int, advice: str = "restore it") -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: of an existing file.
        max_bytes: what it may hold.
        advice: what to do if it is damaged.

    Raises:
        UserError: it is no such object, or too large.
    """
    try:
        data = parse_json(read_bounded(path, max_bytes))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {advice}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} is damaged (not an object); {advice}")
    return data


def keep_copy(path: Path, copy: Path) -> None:
    """Keeps the present content of `path`, which is only ever replaced whole, as `copy` too."""
    temporary = _temporary_path(copy)
    try:
        try:
            os.link(path, temporary)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            shutil.copyfile(path, temporary)
        os.replace(temporary, copy)
    finally:
        # Renaming one of two names of the same file to the other leaves both.
        temporary.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Gives a file or directory another name on the same file system, durably."""
    os.replace(path, target)
    _sync_directory(target.parent)
    _sync_directory(path.parent)


def remove_leftovers(directory: Path, name: str = "*") -> None:
    """Deletes what writes that a crash cut off left in a directory, of one file or of all.

    No write of these files may be under way.
    """
    # A temporary name is a dot, the file's own, eight digits and an ending.
    for path in directory.glob(f".{name}.????????.tmp"):
        path.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Returns whether a file's name is that of a write which has not ended, or never will."""
    return _TEMPORARY.fullmatch(name) is not None


def make_directory(path: Path) -> None:
    """Creates `path` and its parents where they are missing, durably."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync_directory(each.parent)


def json_bytes(value: object) -> bytes:
    """Returns indented JSON; numbers that are not finite, which JSON lacks, become null."""
    text = json.dumps(_finite(value), indent=1, sort_keys=True, allow_nan=False)
    return text.encode() + b"\n"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yields a new file beside `path`, gone afterwards unless it was renamed."""
    temporary = _temporary_path(path)
    try:
        try:
            with open(temporary, "xb") as file:
                yield file, temporary
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # A failing write() or fsync() knows no file name, and open() names the temporary one.
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """Makes a rename durable, which fsync of the file alone does not."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
