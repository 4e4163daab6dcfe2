"""Two runs' files side by side, but for times: those of a cell and of the same cell again."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.common.files import json_bytes
from suite.common.reading import parse_trusted_json, read_bounded
from suite.storage.archives import MANIFEST, MAX_MANIFEST_VALUES, Archive, open_archive
from suite.storage.cell_batch import METHOD
from suite.storage.cell_files import CellFiles
from suite.storage.origin import as_recorded, completed
from suite.storage.records import Status

TIMES = ("wall_seconds", "train_seconds", "eval_seconds")
"""Fields that are no part of a comparison."""

_SINCE = ("return_bounds",)
"""Fields of a configuration that older versions did not record."""


def compare_files(stored: CellFiles, again: CellFiles) -> tuple[list[str], list[str]]:
    """Compares the files of a cell with those of the same cell trained again.

    Of run.json it is the configuration that is compared: where and how long it ran differs. What
    older versions did not write is left out.

    Returns:
        The names of the equal files, and what differs in others.

    Raises:
        UserError: a stored file is damaged.
    """
    same, faults = [], []
    for name, difference in _differences(stored, again):
        if difference:
            faults.append(f"{name} {difference}")
        else:
            same.append(name)
    return same, faults


def _differences(stored: CellFiles, again: CellFiles) -> Iterator[tuple[str, str]]:
    yield "run.json", _configurations(_configuration(stored), _configuration(again))
    yield "status.json", _first(_status(stored), _status(again))
    yield "curve.csv", _rows(_curve(stored), _curve(again))
    yield "metrics.csv", _rows(stored.read_metrics(), again.read_metrics())
    yield "episodes.npz", _arrays(stored.read_episodes(), again.read_episodes())
    if (seen := stored.read_states()) is not None:
        yield "states.npz", _arrays(seen, again.read_states())
    if (stages := stored.kept_stages()) and stages != again.kept_stages():
        yield "policies", f"are of stages {stages}, trained again of {again.kept_stages()}"
    for stage in stages if stages == again.kept_stages() else ():
        name = stored.policy_path(stage).name
        yield name, compare_archives(stored.path / name, again.path / name)
    if (stored.path / METHOD).is_file():
        yield METHOD, _bytes(stored.path / METHOD, again.path / METHOD)


def compare_archives(stored: Path, again: Path, times: bool = False) -> str:
    """Says how two checkpoints or kept policies differ, "" if they do not.

    Args:
        stored: the one.
        again: the other, which is this program's own.
        times: whether their facts hold times, so that only the arrays can be compared.
    """
    content = again.read_bytes()
    try:
        # Uncompressed, so that one of another size cannot be equal; the facts' digits vary.
        theirs = read_bounded(stored, 2 * len(content))
        if theirs == content:
            return ""
        with (
            open_archive(io.BytesIO(theirs), len(theirs)) as one,
            open_archive(io.BytesIO(content), len(content)) as other,
        ):
            return _entries(one, other, times)
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        return f"is damaged ({str(error)[:80]})"


def _entries(one: Archive, other: Archive, times: bool) -> str:
    if {*one} != {*other}:
        return "holds other arrays"
    for name in sorted({*one} - {MANIFEST}):
        if not _same(one[name], other[name]):
            return f"holds other numbers in {name}"
    ours, theirs = (
        _trusted(_trusted(each[MANIFEST].tobytes())["facts"].encode()) for each in (one, other)
    )
    fields = ("leaves",) if times else ("leaves", "meta")
    return "" if all(ours[each] == theirs[each] for each in fields) else "holds other facts"


def _bytes(stored: Path, again: Path) -> str:
    content = again.read_bytes() if again.is_file() else b""
    try:
        same = read_bounded(stored, len(content)) == content
    except ValueError:
        same = False
    return "" if same else "is not what was trained"


def _configurations(stored: dict[str, Any], again: dict[str, Any]) -> str:
    starts = as_recorded(again["eval_starts"], stored["eval_starts"])
    return _first(stored, {**again, "eval_starts": starts}, optional=_SINCE)


def _configuration(files: CellFiles) -> dict[str, Any]:
    record = files.read_run()
    assert record is not None
    plain: dict[str, Any] = json.loads(json_bytes(dataclasses.asdict(record.configuration)))
    return {**plain, "hyperparameters": completed(plain["hyperparameters"])}


def _status(files: CellFiles) -> dict[str, object]:
    status: Status | None = files.read_status()
    return _without_times(dataclasses.asdict(status)) if status else {}


def _curve(files: CellFiles) -> list[dict[str, object]]:
    return [_without_times(dataclasses.asdict(row)) for row in files.read_curve()]


def _without_times(plain: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in plain.items() if name not in TIMES}


def _first(
    stored: Mapping[str, object], again: Mapping[str, object], optional: tuple[str, ...] = ()
) -> str:
    """Says which field differs first, "" if none does."""
    for name in {**stored, **again}:
        if name in optional and stored.get(name) is None:
            continue
        if repr(stored.get(name)) != repr(again.get(name)):
            old, new = str(stored.get(name))[:60], str(again.get(name))[:60]
            return f"{name}: {old} stored, {new} trained again"
    return ""


def _rows(stored: Sequence[Mapping[str, object]], again: Sequence[Mapping[str, object]]) -> str:
    """Says in which row tables differ first, "" if they do not."""
    for number, (old, new) in enumerate(zip(stored, again, strict=False), start=1):
        if difference := _first(old, new):
            return f"row {number}, {difference}"
    if len(stored) != len(again):
        return f"has {len(stored)} rows, {len(again)} trained again"
    return ""


def _arrays(stored: Sequence[object] | None, again: Sequence[object] | None) -> str:
    old, new = stored or (), again or ()
    same = len(old) == len(new) and all(_same(a, b) for a, b in zip(old, new, strict=True))
    return "" if same else "holds other numbers"


def _same(one: object, other: object) -> bool:
    a, b = np.asarray(one), np.asarray(other)
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


def _trusted(content: bytes) -> Any:
    return parse_trusted_json(content, MAX_MANIFEST_VALUES)
