"""Files that may be a stranger's: read within bounds, and said to be damaged in one way."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from suite.common.errors import UserError
from suite.common.files import read_object
from suite.storage.cell_batch import STATES

MAX_JSON_BYTES = 4 << 20
MAX_CURVE_BYTES = 16 << 20
MAX_ARRAY_BYTES = 64 << 20
"""Bounds on files that are read, far above what runs write: who reads a stranger's directory
must not run out of memory."""

MAX_TABLE_VALUES = 2_000_000
"""Of a table; one of the longest curve has an eighth of that."""

MAX_COLUMNS = 1_000
"""Of a table; methods have some thirty metrics."""


def read_json_object(path: Path) -> dict[str, object]:
    """Reads a JSON file that holds an object.

    Raises:
        UserError: it does not, or is too large or too deep to be a run's.
    """
    return read_object(path, MAX_JSON_BYTES, _advice(path))


def damaged(path: Path, error: Exception) -> UserError:
    """Returns the error for a file of a run that holds nonsense, with what is to be done."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"{path} is damaged ({reason}); {_advice(path)}")


def _advice(path: Path) -> str:
    other = (
        "it, and its states are played again"
        if path.name == STATES
        else "the cell's directory, which the job's checkpoint brings back; to train it afresh "
        "delete that checkpoint and the directories of all the job's seeds"
    )
    return f"restore it, or delete {other}"


def csv_reader(content: bytes) -> csv.DictReader[str]:
    """Returns what reads a table with a header.

    Raises:
        ValueError: it is no text, or larger than any that a run writes.
    """
    if content.count(b",") > MAX_TABLE_VALUES:
        raise ValueError(f"more than {MAX_TABLE_VALUES:,} values, far more than any run writes")
    if content.partition(b"\n")[0].count(b",") >= MAX_COLUMNS:
        raise ValueError(f"more than {MAX_COLUMNS:,} columns, far more than any run writes")
    text = content.decode("utf-8-sig")
    return csv.DictReader(io.StringIO(text, newline=""), strict=True)
