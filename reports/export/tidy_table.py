"""`suite export`: every evaluation of every run as one tidy table."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path

import pandas as pd

from reports.runs.results import Results
from suite.common.errors import UserError
from suite.common.files import atomic_write, atomic_writer
from suite.common.formatting import spreadsheet_text


def write_tidy(results: Results, out: Path | None) -> int:
    """Writes one row for each run, evaluation and mode.

    Args:
        results: what to write.
        out: see `write_table`; standard output, as CSV, if None.

    Returns:
        The number of rows.

    Raises:
        UserError: see `write_table`.
        OSError: the file cannot be written.
    """
    table = results.tidy()
    if out is None:
        sys.stdout.write(to_csv(table))
    else:
        write_table(table, out)
    return len(table)


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Writes a table; the same table gives the same bytes.

    Args:
        table: its columns hold numbers or texts.
        out: a file that ends in .csv, .csv.gz or .parquet.

    Raises:
        UserError: the ending is another, or pyarrow is missing and the ending .parquet.
        OSError: the file cannot be written.
    """
    if out.suffix == ".csv":
        atomic_write(out, _encoded(table))
    elif out.suffixes[-2:] == [".csv", ".gz"]:
        atomic_write(out, gzip.compress(_encoded(table), mtime=0))
    elif out.suffix == ".parquet":
        _write_parquet(table, out)
    else:
        raise UserError(
            f"{out}: cannot tell the format; use a name ending in .csv, .csv.gz or .parquet"
        )


def to_csv(table: pd.DataFrame) -> str:
    """Returns a table as CSV that spreadsheets can open: no text in it is run as a formula."""
    # Texts hold what directories are called, which a stranger may have done.
    texts = table.select_dtypes("object")
    names = {name: texts[name].map(spreadsheet_text, na_action="ignore") for name in texts}
    text: str = table.assign(**names).to_csv(index=False, lineterminator="\n")
    return text


def _encoded(table: pd.DataFrame) -> bytes:
    return to_csv(table).encode(errors="backslashreplace")


def _write_parquet(table: pd.DataFrame, out: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{out}: Parquet needs pyarrow; `pip install pyarrow`, or export a .csv")
    with atomic_writer(out) as file:
        table.to_parquet(file, engine="pyarrow", index=False)
