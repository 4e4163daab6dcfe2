"""The commands report, compare, power and export."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from generate import generate_runs

from reports import judging
from suite import cli
from suite.storage.run_directory import RunDirectory

TASKS = ("CheetahRun", "FishSwim")


class Result(NamedTuple):
    code: int
    out: str
    err: str


Suite = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("cli") / "ours"
    return generate_runs(path, ("ppo", "gorl-fm"), TASKS, range(3), points=4)


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str]) -> Suite:
    def invoke(*arguments: object) -> Result:
        code = cli.run_command([str(each) for each in arguments])
        return Result(code, *capsys.readouterr())

    return invoke


def contents(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_report_twice_gives_the_same_bytes(suite: Suite, run: RunDirectory, tmp_path: Path) -> None:
    for name in ("first", "second"):
        result = suite("report", run.path, "--out", tmp_path / name, "--reps", 300)
        assert result.code == 0
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "second")
    assert "report.html" in first
    assert {"tables/aggregates.csv", "tables/aggregates.md", "tables/aggregates.tex"} <= set(first)
    assert {f"figures/learning-curves.{each}" for each in ("svg", "pdf", "png")} <= set(first)


def test_report_answers_and_stays_beside_the_runs(suite: Suite, run: RunDirectory) -> None:
    before = contents(run.path)
    result = suite("report", run.path, "--reps", 300, "--format", "tables")
    after = contents(run.path)
    assert "Comparable." in result.out
    assert "GoRL(FM) has the highest IQM" in result.out
    assert {name: after[name] for name in before} == before
    assert {name.partition("/")[0] for name in after.keys() - before.keys()} == {"report"}


def test_report_shows_published_results_and_says_what_it_left(
    suite: Suite, run: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("mine")
    arguments = ["--out", tmp_path, "--reps", 50, "--format", "tables", "--reference", "gorl2025"]
    result = suite("report", run.path, *arguments)
    assert "724.83 ± 155.67" in (tmp_path / "tables" / "final_returns.csv").read_text()
    reference, left, count = result.err.splitlines()
    assert "not shown where there is no run: algorithms fpo, dppo, gorl-diff" in reference
    assert "tables/mine.csv is not of this report" in left
    assert count.endswith(f"files in {tmp_path}")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("MPLBACKEND", "nonsense", "'nonsense'"), ("MATPLOTLIBRC", "", "'utf-8' codec")],
)
def test_a_broken_setting_of_matplotlib_is_told(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"font.family: caf\xe9\n")
    code = "from reports.command_options import start_matplotlib as start; start()"
    environment = {**os.environ, name: value or str(tmp_path)}
    arguments = [sys.executable, "-c", code]
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].startswith(
        "suite.common.errors.UserError: matplotlib does not"
    )
    assert message in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "pdf"), "unknown format 'pdf'"),
        (("--format", ","), "no format given"),
        (("--reference", "gorl_2025"), "did you mean 'gorl2025'"),
        (("--reps", "0"), "--reps"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_report_refuses_bad_options(
    suite: Suite, run: RunDirectory, arguments: tuple[str, str], message: str
) -> None:
    result = suite("report", run.path, *arguments)
    assert result.code == cli.EXIT_USER_ERROR
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_report_refuses_what_is_no_run_directory(suite: Suite, tmp_path: Path) -> None:
    result = suite("report", tmp_path)
    assert result.code == cli.EXIT_USER_ERROR
    assert "no run directory" in result.err


def test_compare_joins_a_strangers_runs(suite: Suite, run: RunDirectory, tmp_path: Path) -> None:
    theirs = generate_runs(tmp_path / "theirs", ("newcomer",), TASKS, range(3), points=4)
    result = suite("compare", run.path, theirs.path, "--reps", 300)
    assert result.code == 0
    first_words = [line.split()[0] for line in result.out.splitlines() if line.startswith("  ")]
    assert {"newcomer", "GoRL(FM)"} <= set(first_words)
    assert not (tmp_path / "comparison").exists()


def test_compare_refuses_another_protocol(suite: Suite, run: RunDirectory, tmp_path: Path) -> None:
    theirs = generate_runs(tmp_path / "theirs", ("newcomer",), TASKS, range(3), points=5)
    result = suite("compare", run.path, theirs.path)
    assert result.code == cli.EXIT_USER_ERROR
    assert "total_steps" in result.err


def test_power_asks_for_more_seeds_for_less(suite: Suite, run: RunDirectory) -> None:
    def seeds(delta: str) -> int:
        result = suite("power", run.path, "--delta", delta)
        assert result.code == 0
        assert "The spread is that of 3 stored runs" in result.out
        return int(result.out.splitlines()[-1].split()[-1])

    assert seeds("0.02") > 3 * seeds("0.05")


def test_power_says_where_no_number_of_seeds_is_enough(suite: Suite, run: RunDirectory) -> None:
    result = suite("power", run.path, "--delta", "0.001")
    assert result.out.splitlines()[-1].endswith("none up to 100")
    (row,) = json.loads(suite("power", run.path, "--delta", "0.001", "--json").out)
    assert row["seeds"] is None
    assert set(row["power"]) == {"2", "3", "5", "10"} and max(row["power"].values()) < 0.2


def test_power_says_how_far_it_is(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_PROGRESS_SECONDS", 0.0)
    three = generate_runs(tmp_path / "run", ("ppo", "fpo", "dppo"), TASKS, range(3), points=2)
    result = suite("power", three.path, "--delta", "0.1")
    said = [line.partition(" simulated")[0] for line in result.err.splitlines()]
    assert said == ["suite: 1 of 3 pairs", "suite: 2 of 3 pairs"]
    assert "pairs" not in suite("power", three.path, "--delta", "0.1", "--algos", "ppo,fpo").err


def test_power_says_who_has_too_few_runs(suite: Suite, tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), TASKS, range(3), points=3)
    generate_runs(
        run.path, ("newcomer",), TASKS, range(2), points=3, state="running", evaluations=2
    )
    result = suite("power", run.path, "--delta", "0.1")
    assert result.code == 0 and "newcomer" not in result.out
    assert "left out, as without two finished runs on every task: newcomer" in result.err
    alone = suite("power", run.path, "--delta", "0.1", "--algos", "ppo,newcomer")
    assert alone.code == cli.EXIT_USER_ERROR and "or finish those that are not" in alone.err


def test_power_refuses_an_impossible_difference(suite: Suite, run: RunDirectory) -> None:
    result = suite("power", run.path, "--delta", "5")
    assert result.code == cli.EXIT_USER_ERROR
    assert "between 0 and 1" in result.err


def test_export_holds_every_evaluation(suite: Suite, run: RunDirectory, tmp_path: Path) -> None:
    out = tmp_path / "tidy.csv"
    assert suite("export", run.path, "--out", out).code == 0
    with open(out, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(TASKS) * 3 * 4 * 2  # algorithms, tasks, seeds, points, modes
    assert {row["algorithm"] for row in rows} == {"ppo", "gorl-fm"}
    assert out.read_text(encoding="utf-8") == suite("export", run.path).out


def test_export_to_parquet_needs_pyarrow(
    suite: Suite, run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = suite("export", run.path, "--out", tmp_path / "tidy.parquet")
    assert result.code == cli.EXIT_USER_ERROR
    assert "needs pyarrow" in result.err
    assert "cannot tell the format" in suite("export", run.path, "--out", tmp_path / "x.xls").err
