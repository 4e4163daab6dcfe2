"""The directory of a report: it holds one report, whole, beside what a user keeps there.

What a report wrote stands in its `request.json` with digests. A later report deletes those
files, unless somebody has changed them since, and no others. The list is written before the
first file and again after the last, so that a report that was cut off is known as such, and
its files are still known to the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.common.files import (
    atomic_write,
    is_leftover,
    json_bytes,
    make_directory,
    remove_leftovers,
)
from suite.common.reading import parse_json, read_bounded

PAGE = "report.html"
FOLDERS = ("tables", "figures")
REQUEST = "request.json"
"""What was asked for, so that `suite audit --report` can make the report again."""

UNFINISHED = "replaces"
"""Field of `request.json` while a report is being written: the files of the one before."""

MAX_FILE = 64 << 20
MAX_REQUEST = 1 << 20

_NAME = re.compile(rf"{re.escape(PAGE)}|(?:{'|'.join(FOLDERS)})/\w[\w.-]*", re.ASCII)

Known = frozenset[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Replaced:
    """What writing a report came to.

    Attributes:
        files: of the report.
        others: names of files in its places that are not of it, and were left.
    """

    files: tuple[Path, ...]
    others: tuple[str, ...]


def replace_report(
    out: Path, contents: Mapping[str, bytes], request: Mapping[str, Any]
) -> Replaced:
    """Writes a report in place of the one that is there, if any.

    Args:
        out: its directory; made if missing.
        contents: of its files, by their paths within it.
        request: what was asked for.

    Raises:
        OSError: a file cannot be written or deleted.
    """
    digests = {name: _digest(content) for name, content in contents.items()}
    earlier = _known(out / REQUEST)
    make_directory(out)
    under_way = {**request, "files": digests, UNFINISHED: sorted(map(list, earlier))}
    atomic_write(out / REQUEST, json_bytes(under_way))
    for name, content in contents.items():
        make_directory((out / name).parent)
        atomic_write(out / name, content)
    _delete(out, frozenset((name, digest) for name, digest in earlier if name not in digests))
    atomic_write(out / REQUEST, json_bytes({**request, "files": digests}))
    files = tuple(out / name for name in (*contents, REQUEST))
    return Replaced(files, tuple(sorted(present_files(out).keys() - digests.keys())))


def present_files(directory: Path) -> dict[str, Path]:
    """Returns the files in the places of a report's, by their paths within its directory.

    What a write left that was cut off is none of them.
    """
    found = [directory / PAGE, *(p for each in FOLDERS for p in (directory / each).glob("*"))]
    return {
        path.relative_to(directory).as_posix(): path
        for path in found
        if path.is_file() and not is_leftover(path.name)
    }


def _known(path: Path) -> Known:
    """Returns names and digests of the files that reports wrote, none if that is not known."""
    try:
        asked = parse_json(read_bounded(path, MAX_REQUEST))
        pairs = [*asked.get("files", {}).items(), *asked.get(UNFINISHED, [])]
        return frozenset((name, digest) for name, digest in pairs if _NAME.fullmatch(name))
    except (OSError, ValueError, TypeError, AttributeError):
        return frozenset()


def _delete(out: Path, known: Known) -> None:
    """Deletes files that are as a report wrote them, and what cut-off writes left."""
    for name, digest in known:
        path = out / name
        with contextlib.suppress(OSError, ValueError):
            if _digest(read_bounded(path, MAX_FILE)) == digest:
                path.unlink()
    for folder in FOLDERS:
        remove_leftovers(out / folder)
        with contextlib.suppress(OSError):  # a user's own files are in it, or it is not there
            (out / folder).rmdir()
    for name in (PAGE, REQUEST):
        remove_leftovers(out, name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
