"""results/ as data for others: one table of every evaluation, and the card that describes it.

    python -m benchmarks.publishing.dataset

writes results/data/evaluations.parquet, the same as CSV (compressed once it is large), and
results/data/README.md, from all run directories under results/, those within ablations and
searches too. It needs pyarrow (`pip install -e '.[parquet]'`). tests/benchmarks/publishing fails
when the files and the runs have parted.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from benchmarks.publishing.data_card import card
from benchmarks.publishing.stored import Stored, stored_directories
from reports.export.described_table import described
from reports.export.tidy_table import to_csv, write_table
from suite.common.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "results" / "data"
PARQUET = "evaluations.parquet"
CSV = "evaluations.csv"
MOST_CSV_BYTES = 5_000_000
"""A larger one is compressed."""

_ORDER = ["directory", "task", "algorithm", "seed", "env_steps", "mode"]


def evaluations(directories: list[Stored]) -> pd.DataFrame:
    """Returns one row for each evaluation and mode of every run, in an order of its own.

    Args:
        directories: with runs; none of them twice.
    """
    tables = [_of_directory(each) for each in directories if each.results is not None]
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(_ORDER, kind="stable", ignore_index=True)


def _of_directory(stored: Stored) -> pd.DataFrame:
    assert stored.results is not None
    table = described(stored.results)
    table["directory"] = stored.name
    table.insert(1, "ablation", stored.ablation or None)
    table.insert(2, "arm", stored.arm or None)
    return table


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes the table as Parquet and CSV, and removes the CSV of the other form.

    Returns:
        The two files.
    """
    plain, packed = folder / CSV, folder / f"{CSV}.gz"
    large = len(to_csv(table).encode()) > MOST_CSV_BYTES
    chosen, other = (packed, plain) if large else (plain, packed)
    files = [folder / PARQUET, chosen]
    for file in files:
        write_table(table, file)
    other.unlink(missing_ok=True)
    return files


def main() -> None:
    """Writes results/data."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0]).parse_args()
    directories = stored_directories(ROOT)
    table = evaluations(directories)
    DATA.mkdir(exist_ok=True)
    files = write(table, DATA)
    text = card(directories, table, sizes(files))
    atomic_write(DATA / "README.md", text.encode())
    print(f"{len(table):,} rows of {len(directories)} run directories in {DATA.relative_to(ROOT)}")


def sizes(files: list[Path]) -> Mapping[str, int]:
    """Returns the bytes of files by their names."""
    return {file.name: file.stat().st_size for file in files}


if __name__ == "__main__":
    main()
