"""results/data: its files are what its command makes, and every row is in a curve.csv."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from generate import generate_runs

from benchmarks.publishing import dataset
from benchmarks.publishing.data_card import COLUMNS, card
from benchmarks.publishing.dataset import evaluations, sizes, write
from benchmarks.publishing.stored import Stored, stored_directories
from reports.export.tidy_table import to_csv

ROOT = Path(__file__).resolve().parents[3]
AGAIN = "write it again: python -m benchmarks.publishing.dataset"


@pytest.fixture(scope="module")
def directories() -> list[Stored]:
    return stored_directories(ROOT)


@pytest.fixture(scope="module")
def table(directories: list[Stored]) -> pd.DataFrame:
    return evaluations(directories)


def stored_files() -> list[Path]:
    files = [dataset.DATA / dataset.PARQUET, *sorted(dataset.DATA.glob("evaluations.csv*"))]
    assert len(files) == 2, "one table in two forms"
    return files


def stored_csv() -> str:
    content = stored_files()[1].read_bytes()
    return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()


def test_the_files_are_what_the_command_makes(table: pd.DataFrame) -> None:
    assert stored_csv() == to_csv(table), AGAIN
    pytest.importorskip("pyarrow")
    stored = pd.read_parquet(stored_files()[0])
    pd.testing.assert_frame_equal(stored, table, check_exact=True, obj=AGAIN)


def test_the_card_is_what_the_command_makes(directories: list[Stored], table: pd.DataFrame) -> None:
    text = (dataset.DATA / "README.md").read_text(encoding="utf-8")
    assert text == card(directories, table, sizes(stored_files())), AGAIN
    assert set(COLUMNS) == set(table.columns)


def test_every_row_is_one_of_a_curve_and_every_row_of_a_curve_is_there() -> None:
    """Both sides are read with the csv module alone; numbers to the last digit."""
    curves: Counter[tuple[str, ...]] = Counter()
    for file in (ROOT / "results").rglob("curve.csv"):
        directory, task, algorithm, seed = file.parent.relative_to(ROOT).as_posix().rsplit("/", 3)
        if not re.fullmatch(r"seed-\d+", seed):
            continue  # a try that was set aside
        names = {"directory": directory, "task": task, "algorithm": algorithm}
        names["seed"] = str(int(seed.removeprefix("seed-")))
        with file.open(encoding="utf-8", newline="") as text:
            for row in csv.DictReader(text):
                if row["return_mean"] not in ("nan", "inf", "-inf"):
                    curves[as_key({**names, **row})] += 1
    rows = list(csv.DictReader(io.StringIO(stored_csv(), newline="")))
    columns = {"directory", "task", "algorithm", "seed", "env_steps", "return_mean"}
    assert rows and columns <= rows[0].keys()
    shown = Counter(as_key({name: row[name] for name in CURVE}) for row in rows)
    assert shown == curves


CURVE = (
    *("directory", "task", "algorithm", "seed"),
    *("env_steps", "mode", "return_mean", "return_std", "episodes", "wall_seconds", "updates"),
    *("stage", "train_steps", "warmup_steps", "decoder_data_steps", "eval_steps"),
    *("train_seconds", "eval_seconds"),
)
"""Names, and the columns of a curve, written out again."""


def as_key(row: dict[str, str]) -> tuple[str, ...]:
    assert row.keys() == set(CURVE)
    exact = {
        name: repr(float(x)) if re.fullmatch(r"[-+\d.e]+", x) else x for name, x in row.items()
    }
    return tuple(exact[name] for name in CURVE)


def test_what_ran_is_what_run_json_says(table: pd.DataFrame) -> None:
    """Of one run of every directory, read by hand."""
    for directory, rows in table.groupby("directory"):
        row = rows.iloc[-1]
        cell = ROOT / str(directory) / row.task / row.algorithm / f"seed-{row.seed:03d}"
        record = json.loads((cell / "run.json").read_text(encoding="utf-8"))
        status = json.loads((cell / "status.json").read_text(encoding="utf-8"))
        ran, start = record["configuration"], record["provenance"][-1]
        assert (row.protocol, row.engine) == (ran["protocol"]["name"], ran["engine"])
        assert row.seeds_together == len(ran["seeds_together"])
        assert json.loads(row.hyperparameters).items() >= ran["hyperparameters"].items()
        assert row.commit.endswith(start["git"]["commit"])
        assert row.cpu.endswith(start["cpu"])
        assert row.mujoco.endswith(start["packages"]["mujoco"])
        assert row.state == status["state"]


def test_arms_say_which_they_are(table: pd.DataFrame) -> None:
    arms = table[table.ablation.notna()]
    assert len(arms)
    assert (arms.directory.str.rpartition("/")[2] == arms.arm).all()
    assert (
        not (table[table.ablation.isna()].directory.map(lambda d: ROOT / d / ".."))
        .map(lambda parent: (parent / "ablation.json").exists())
        .any()
    )


def test_a_large_table_is_compressed_and_the_same_runs_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    for name, seeds in (("results/b", range(2)), ("results/a/inner", range(1))):
        generate_runs(tmp_path / name, ("ppo", "fpo"), ("CheetahRun",), seeds, points=3)
    (tmp_path / "results" / "empty").mkdir()
    protocol = (tmp_path / "results" / "b" / "protocol.json").read_bytes()
    (tmp_path / "results" / "empty" / "protocol.json").write_bytes(protocol)
    found = stored_directories(tmp_path)
    assert [each.name for each in found] == ["results/a/inner", "results/b", "results/empty"]
    rows = evaluations(found)
    assert rows.directory.value_counts().to_dict() == {"results/b": 24, "results/a/inner": 12}
    files = write(rows, tmp_path)
    assert [file.name for file in files] == ["evaluations.parquet", "evaluations.csv"]
    text = files[1].read_bytes()
    monkeypatch.setattr(dataset, "MOST_CSV_BYTES", 100)
    contents = []
    for _ in range(2):
        files = write(evaluations(stored_directories(tmp_path)), tmp_path)
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]
    assert files[1].name == "evaluations.csv.gz"
    assert gzip.decompress(contents[0][1]) == text
    assert not (tmp_path / "evaluations.csv").exists()
    assert "| `results/empty` |" in card(found, rows, sizes(files))
