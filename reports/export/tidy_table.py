"""`suite export`: every evaluation of every run as one tidy table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pandas as pd

from reports.runs.results import Results
from suite.common.errors import UserError
from suite.common.formatting import spreadsheet_text
from suite.storage.files import atomic_write, atomic_writer

_TEXTS = ("algorithm", "task", "run_id", "directory")
"""Columns that hold what directories are called, which a stranger may have done."""


def write_tidy(results: Results, out: Path | None) -> int:
    """Writes one row for each run, evaluation and mode.

    Args:
        results: what to write.
        out: a file that ends in .csv or .parquet; standard output, as CSV, if None.

    Returns:
        The number of rows.

    Raises:
        UserError: the ending is another, or pyarrow is missing and the ending .parquet.
        OSError: the file cannot be written.
    """
    table = results.tidy()
    if out is None:
        sys.stdout.write(_csv(table))
    elif out.suffix == ".csv":
        atomic_write(out, _csv(table).encode(errors="backslashreplace"))
    elif out.suffix == ".parquet":
        _write_parquet(table, out)
    else:
        raise UserError(f"{out}: cannot tell the format; use a name ending in .csv or .parquet")
    return len(table)


def _csv(table: pd.DataFrame) -> str:
    names = {name: table[name].map(spreadsheet_text) for name in _TEXTS}
    text: str = table.assign(**names).to_csv(index=False, lineterminator="\n")
    return text


def _write_parquet(table: pd.DataFrame, out: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{out}: Parquet needs pyarrow; `pip install pyarrow`, or export a .csv")
    with atomic_writer(out) as file:
        table.to_parquet(file, engine="pyarrow", index=False)
