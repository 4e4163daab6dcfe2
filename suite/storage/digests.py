"""Digests of a cell's files, by which an edit, a flipped byte or a missing file is noticed.

    CELL/digests.json   {"files": {NAME: SHA-256}, "before": {NAME: SHA-256}, "new": [NAME]}

It is written before the files that it speaks of: `files` says what they are about to
become, `before` what they were, and `new` lists those that were not there, in the order in
which they are written. A file that is still as before was not reached by a save
that was cut off, which the next start completes; a file that is neither was changed by
somebody else. A digest is no signature: who edits a file can edit its digest as well.

    JOB.ckpt.digests    {"checkpoints": [SHA-256], "parts": [SHA-256]}

speaks of a job's checkpoint, of the one before it and of its part. It lists those that were
written last, the newest first, and is written before them: whichever moment a save is cut off at,
what is there is on the list.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Mapping
from pathlib import Path

from suite.common.files import atomic_write, json_bytes
from suite.common.reading import digest_of, parse_json, read_bounded

NAME = "digests.json"

CHECKPOINTS = "checkpoints"
PARTS = "parts"
"""The lists of a job's digests."""

_REMEMBERED = 4
"""Digests on each list: two files may be there, and a save that was cut off announced a third."""

MAX_BYTES = 1 << 20
"""Of digests.json; a cell has some ten files."""

MAX_FILE_BYTES = 1 << 30
"""Of a cell's file; checkpoints, which hold replay buffers, may be as large as they are."""

_NAMES = (
    *("run.json", "status.json", "curve.csv", "metrics.csv"),
    *("episodes.npz", "states.npz", "method.py"),
)

_CHECKPOINT = ".ckpt"

_NONE = "-"

_KEPT = re.compile(r"policy-[0-9]+\.npz|.+\.ckpt")
"""Files that the training loop writes itself; they hold a digest of their own as well."""

_MAX_TEXT = 16 << 20


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the digests say of a cell's files; all names are sorted.

    Attributes:
        recorded: whether there are digests; older versions kept none.
        unsaved: as they were before a save that was cut off, or not there if they were not then.
        changed: neither what was written last nor what it replaced.
        missing: recorded, but not there.
        unknown: there, but not recorded.
        problem: why digests.json itself cannot be used, if it cannot.
        line_ends: those of `changed` that are what was written but for their line ends.
        found: the digests of all files that are there, recorded or not, by name.
    """

    recorded: bool
    unsaved: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problem: str = ""
    line_ends: tuple[str, ...] = ()
    found: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def faults(self) -> tuple[str, ...]:
        """What only an edit, damage or an incomplete copy explains, one phrase each."""
        return (
            *([f"digests.json {self.problem}"] if self.problem else []),
            *(f"{name} {self.change(name)}" for name in self.changed),
            *(f"{name} is missing" for name in self.missing),
        )

    def change(self, name: str) -> str:
        """Returns what is wrong with one of `changed`, to follow its name."""
        if name in self.line_ends:
            return "has other line ends than were written, as git's core.autocrlf makes them"
        return "is not what was written"


def announce(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Records what files of a cell are about to become.

    Args:
        directory: the cell's, which exists.
        contents: of every file that will be written next, by its name.

    Raises:
        OSError: digests.json cannot be written.
    """
    try:
        known, earlier, _ = _load(directory)
    except (FileNotFoundError, ValueError):
        known, earlier = {}, {}
    present = {path.name: path for path in directory.iterdir() if _is_covered(path)}
    known = {name: digest for name, digest in known.items() if name in present}
    unrecorded = {name for name in present if name not in known or _KEPT.fullmatch(name)}
    others = {name: digest_file(present[name]) for name in unrecorded - contents.keys()}
    known.update({name: digest for name, digest in others.items() if digest != _NONE})
    # A save may be cut off before the next one has completed what an earlier one left.
    watched = {name for name in present if name in contents or name in earlier}
    found = {name: digest_file(present[name]) for name in watched}
    before = {name: d for name, d in found.items() if name in contents or d == earlier[name]}
    after = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    new = [name for name in contents if name not in present]
    record = {"files": {**known, **after}, "before": before, "new": new}
    atomic_write(directory / NAME, json_bytes(record))


def check(directory: Path) -> Verdict:
    """Compares the files of a cell with their digests.

    Raises:
        OSError: a file cannot be read.
    """
    # Files first: a save that is under way has announced whatever of it was read here.
    found = {
        path.name: digest_file(path) if _is_written(path.name) else ""
        for path in directory.iterdir()
        if _is_covered(path)
    }
    try:
        files, before, new = _load(directory)
    except FileNotFoundError:
        return Verdict(recorded=False, found=found)
    except ValueError as error:
        return Verdict(recorded=True, problem=f"is damaged ({error})", found=found)
    for name in files.keys() & found.keys():
        found[name] = found[name] or digest_file(directory / name)
    different = [name for name in files if name in found and found[name] != files[name]]
    unsaved = {name for name in different if found[name] == before.get(name)}
    # What was written after a file that is absent cannot be there if the save did not reach it.
    late = set(itertools.takewhile(lambda name: name not in found, reversed(new)))
    absent = {name for name in files if name not in found} - late
    unsaved |= late & files.keys()
    changed = sorted(set(different) - unsaved)
    return Verdict(
        recorded=True,
        unsaved=tuple(sorted(unsaved)),
        changed=tuple(changed),
        line_ends=tuple(n for n in changed if _has_other_line_ends(directory / n, files[n])),
        missing=tuple(sorted(absent)),
        unknown=tuple(sorted(found.keys() - files.keys())),
        found=found,
    )


def _is_covered(path: Path) -> bool:
    """Says whether a file belongs to the results: leases, locks and temporary files do not.

    Neither do links, which no run makes: they could lead anywhere.
    """
    hidden = path.name.startswith(".") or path.name == NAME
    return not hidden and path.is_file() and not path.is_symlink()


def _load(directory: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Returns the digests after and before the last save, and what was new in it.

    Raises:
        ValueError: it is nonsense.
        OSError: it cannot be read.
    """
    path = directory / NAME
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError("not a file")
    record = parse_json(read_bounded(path, MAX_BYTES))
    if not isinstance(record, dict):
        raise ValueError("not an object")
    new = record.get("new", [])  # older versions did not list it
    if not isinstance(new, list) or not all(isinstance(name, str) for name in new):
        raise ValueError("what was new is no list of names")
    return _table(record.get("files")), _table(record.get("before")), new


def _table(table: object) -> dict[str, str]:
    if not isinstance(table, dict) or not all(map(_is_digest, table.values())):
        raise ValueError("its tables are not of names and digests")
    return table


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _has_other_line_ends(path: Path, digest: str) -> bool:
    if path.suffix not in (".json", ".csv"):
        return False
    try:
        content = read_bounded(path, _MAX_TEXT)
    except ValueError:
        return False
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() == digest


def announce_checkpoint(checkpoint: Path, kind: str, digest: str) -> None:
    """Records what a job's checkpoint or its part is about to become.

    Args:
        checkpoint: of the job, as `RunDirectory.checkpoint_path` gives it.
        kind: `CHECKPOINTS` or `PARTS`.
        digest: SHA-256 of the new content.

    Raises:
        OSError: the list cannot be written.
    """
    try:
        lists = read_checkpoint_digests(checkpoint) or {}
    except ValueError:
        lists = {}
    newest = dict.fromkeys([digest, *lists.get(kind, ())])
    record = {CHECKPOINTS: [], PARTS: [], **lists, kind: [*newest][:_REMEMBERED]}
    atomic_write(checkpoint_digests(checkpoint), json_bytes(record))


def checkpoint_digests(checkpoint: Path) -> Path:
    """Returns the file with the digests of a job's checkpoints."""
    return checkpoint.with_name(f"{checkpoint.name}.digests")


def read_checkpoint_digests(checkpoint: Path) -> dict[str, list[str]] | None:
    """Returns the lists of a job's digests, None where there are none: older versions kept none.

    Raises:
        ValueError: they are nonsense.
        OSError: they cannot be read.
    """
    try:
        record = parse_json(read_bounded(checkpoint_digests(checkpoint), MAX_BYTES))
    except FileNotFoundError:
        return None
    lists = record if isinstance(record, dict) else {}
    sound = all(isinstance(each, list) and all(map(_is_digest, each)) for each in lists.values())
    if not sound or set(lists) != {CHECKPOINTS, PARTS}:
        raise ValueError("not two lists of digests")
    return lists


def is_own_checkpoint(checkpoint: Path, file: Path, kind: str = CHECKPOINTS) -> bool:
    """Returns whether a file is one that its job wrote last, as far as is known.

    Args:
        checkpoint: of the job.
        file: it, the one before it or the part.
        kind: the list that it should be on.

    Raises:
        OSError: the file cannot be read.
    """
    if file.exists() and not file.is_file():
        return False
    try:
        lists = read_checkpoint_digests(checkpoint)
    except ValueError:
        return True  # the next save makes the lists again; the file has a digest of its own
    return lists is None or digest_file(file) in lists[kind]


def _is_written(name: str) -> bool:
    """Returns whether runs write files of this name; others are read only if they are recorded."""
    return name in _NAMES or _KEPT.fullmatch(name) is not None


def digest_file(path: Path) -> str:
    """Returns a file's digest, one that fits none where no run can have written the file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return digest_of(path, None if _CHECKPOINT in path.name else MAX_FILE_BYTES)
    except ValueError:
        return _NONE
