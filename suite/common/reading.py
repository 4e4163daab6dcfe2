"""Opening and parsing what a stranger may have made: the one way in which stored files are read.

Who reads a run directory, a report or a table takes nothing in it on trust. A file is opened here
only if it is a plain one, and never through a link: a pipe would wait for ever, a device has no
end, and a link leads anywhere. How much of it is read is bounded by what the program expects to
find, never by what the file claims. What JSON holds comes out finite, each name once, and with
every text fit to be shown. tests/house/test_reading.py holds the rest of the code to this module.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from suite.common.formatting import readable

MAX_TOML_BYTES = 1 << 20
"""Of a protocol or an ablation that a user, or a stranger, wrote."""

MAX_SOURCE_BYTES = 4 << 20
"""Of a user's Python file."""

MAX_VALUES = 100_000
"""Of a JSON file; a run.json has some 150 for each time that its run was started."""

_MAX_DEPTH = 32

_CHUNK = 1 << 20

_HOLES_FROM = 64 << 20
"""Bytes from which a file is looked at for holes."""

_HOLES = 64
"""A file that claims so many times what it holds was made to be read for hours."""

_MOST_PARTS = 4096
"""Of a file between holes; one in more parts is read as it is."""


@contextlib.contextmanager
def opened(path: Path, max_bytes: int | None = None, links: bool = False) -> Iterator[BinaryIO]:
    """Opens a plain file for reading.

    Args:
        path: of the file; the directories that lead to it may be links.
        max_bytes: what it may hold; anything if None.
        links: whether it may be a link itself, as a path that the user has typed may.

    Raises:
        ValueError: it is a link, no plain file, or larger.
        OSError: it cannot be opened.
    """
    handle = _open(path, links)
    try:
        found = os.fstat(handle)
        _check_plain(found.st_mode)
        if max_bytes is not None and found.st_size > max_bytes:
            raise ValueError(f"more than {max_bytes:,} bytes, far more than any run writes")
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def read_bounded(path: Path, max_bytes: int, links: bool = False) -> bytes:
    """Returns what a plain file holds; see `opened`.

    Raises:
        ValueError: it is a link, no plain file, or holds more than `max_bytes`.
        OSError: it cannot be read.
    """
    with opened(path, max_bytes, links) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # it may grow meanwhile


def digest_of(path: Path, max_bytes: int | None = None) -> str:
    """Returns the SHA-256 of a plain file, in hex digits.

    Raises:
        ValueError: it is a link, no plain file, larger than `max_bytes`, or almost all holes.
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path, max_bytes) as file:
        if _is_hollow(file.fileno()):
            raise ValueError("almost all of it are holes, which no run leaves")
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def parse_json(content: bytes) -> Any:
    r"""Parses JSON that may come from a stranger.

    Characters of texts that cannot be shown, which could command a terminal or turn a line around,
    come out as `\x1b`.

    Raises:
        ValueError: it is no JSON in UTF-8, has a name twice in one object or a number that is not
            finite, or is larger or nested more deeply than anything that a run writes.
    """
    if _values(content) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} values, far more than any run writes")
    return _shown(_parse(content), _MAX_DEPTH)


def parse_trusted_json(content: bytes, max_values: int) -> Any:
    """Parses JSON that lies under a digest of this program's: numbers may be NaN.

    Raises:
        ValueError: it is no JSON, or larger or nested more deeply than the program writes.
    """
    if _values(content) > max_values:
        raise ValueError(f"more than {max_values:,} values, far more than any run writes")
    data = _parse(content)
    level = [data]
    for _ in range(_MAX_DEPTH):
        level = [item for each in level for item in _items(each)]
        if not level:
            return data
    raise ValueError("nested too deeply")


def _open(path: Path, links: bool) -> int:
    # Asked before it is opened, since opening alone makes some devices act.
    mode = (os.stat if links else os.lstat)(path).st_mode
    _check_plain(mode)
    # Whatever takes the file's place in between is not waited for either.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not links:
            raise ValueError("a link, which no run makes") from None
        raise


def _check_plain(mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise ValueError("a link, which no run makes")
    if not stat.S_ISREG(mode):
        raise ValueError("not a regular file")


def _is_hollow(handle: int) -> bool:
    """Returns whether a large file is almost all holes; False where that cannot be told."""
    size = os.fstat(handle).st_size
    if size <= _HOLES_FROM or not hasattr(os, "SEEK_DATA"):
        return False
    held = at = 0
    try:
        for _ in range(_MOST_PARTS):
            at = os.lseek(handle, at, os.SEEK_DATA)
            end = os.lseek(handle, at, os.SEEK_HOLE)
            held, at = held + end - at, end
            if held >= size // _HOLES:
                return False
        return False
    except OSError as error:  # no data from here on, or a file system that does not tell
        return error.errno == errno.ENXIO
    finally:
        os.lseek(handle, 0, os.SEEK_SET)


def _values(content: bytes) -> int:
    """Returns about how many values JSON holds, before memory is taken for any."""
    return sum(map(content.count, (b",", b"[", b"{")))


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_each_once)
    except UnicodeDecodeError:
        raise ValueError("not a text in UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _shown(value: Any, depth: int) -> Any:
    """Returns a value with all of its texts fit to be shown."""
    if isinstance(value, str):
        return value if value.isprintable() else readable(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    if not isinstance(value, dict | list):
        return value
    if not depth:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_shown(each, depth - 1) for each in value]
    return {_shown(name, 0): _shown(each, depth - 1) for name, each in value.items()}


def _items(value: object) -> Sequence[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()
