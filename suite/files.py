"""The one path by which the suite writes files: whole, durable, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What os.link fails with on file systems without hard links, as some shared folders are."""


def atomic_write(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; a reader sees the old file or the new one.

    Raises:
        OSError: with `filename` set to `path`; the old file is then untouched.
    """
    with atomic_writer(path) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_writer(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a temporary file that becomes `path` once its content is on the disk.

    Args:
        path: the file to replace.
        previous: where to keep the file that `path` was until now, if any.

    Raises:
        OSError: with `filename` set to `path`; the old file is then untouched.
    """
    with _temporary_file(path) as (file, temporary):
        yield file
        _flush_to_disk(file)
        if previous is not None and path.exists():
            keep_copy(path, previous)
        os.replace(temporary, path)
        _sync_directory(path.parent)


def exclusive_write(path: Path, content: bytes) -> bool:
    """Writes `path` unless it exists; returns whether this call created it.

    Of several processes that try at once exactly one succeeds, and none ever sees
    half a file.

    Raises:
        OSError: with `filename` set to `path`.
    """
    with _temporary_file(path) as (file, temporary):
        file.write(content)
        _flush_to_disk(file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or path.exists():
                raise
            os.replace(temporary, path)
        _sync_directory(path.parent)
        return True


def keep_copy(path: Path, copy: Path) -> None:
    """Keeps the present content of `path`, which is only ever replaced whole, as `copy` too."""
    copy.unlink(missing_ok=True)
    try:
        os.link(path, copy)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        shutil.copyfile(path, copy)


def make_directory(path: Path) -> None:
    """Creates `path` and its parents where they are missing."""
    path.mkdir(parents=True, exist_ok=True)


def json_bytes(value: Any) -> bytes:
    """Returns indented JSON; numbers that are not finite, which JSON lacks, become null."""
    text = json.dumps(_finite(value), indent=1, sort_keys=True, allow_nan=False)
    return text.encode() + b"\n"


def _finite(value: Any) -> Any:
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
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                yield file, temporary
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # A failing write() or fsync() knows no file name, and open() names the temporary one.
        raise type(error)(error.errno, error.strerror, str(path)) from error


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
