"""What `suite report` and its neighbours say of run directories that are not as they should be.

Every case ends in one clear line or in a marked cell: never in a traceback, never in silence.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from generate import generate_runs, generated_protocol, write_cell

from reports.audit.audit import audit_directories
from suite import cli
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory

TASKS = ("CheetahRun", "FishSwim")
CELL = Cell("ppo", "CheetahRun", 1)
HOSTILE = "<script>alert(1)<,a|b_%$&\\"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bad") / "run"
    generate_runs(path, ("ppo", "gorl-fm"), TASKS, range(2), points=4)
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def report(path: Path, parts: str = "tables") -> dict[str, list[list[str]]]:
    """Returns the tables of a report by name, header included."""
    out = path.parent / "report"
    arguments = ["report", str(path), "--out", str(out), "--reps", "50", "--format", parts]
    assert cli.run_command(arguments) == 0
    return {file.stem: list(csv.reader(file.open())) for file in out.glob("tables/*.csv")}


def findings(tables: dict[str, list[list[str]]]) -> dict[str, str]:
    return {kind: text for kind, _, text in tables.get("findings", [["", "", ""]])}


def returns_of_ppo(tables: dict[str, list[list[str]]]) -> list[str]:
    return next(row[1:] for row in tables["final_returns"] if row[0] == "PPO")


def curve(path: Path, cell: Cell = CELL) -> Path:
    return RunDirectory.open(path).cell_path(cell) / "curve.csv"


def only_one_seed(path: Path) -> None:
    for directory in path.glob("*/*/seed-001"):
        shutil.rmtree(directory)


def task_missing(path: Path) -> None:
    shutil.rmtree(path / "CheetahRun" / "ppo")


def unequal_lengths(path: Path) -> None:
    job = Job("ppo", "CheetahRun", (0, 1))
    write_cell(RunDirectory.open(path), CELL, job, 4, "running", evaluations=2)


def nan_rows(path: Path) -> None:
    run = RunDirectory.open(path)
    steps, returns = run.files(CELL).read_episodes() or (np.empty(0), np.empty(0))
    returns[1] = np.nan
    rows = run.files(CELL).read_curve()
    rows[2:4] = [dataclasses.replace(row, return_mean=math.nan) for row in rows[2:4]]
    with run.files(CELL).batch() as batch:
        batch.put_curve(rows)
    with run.files(CELL).batch() as batch:
        batch.put_episodes(steps, returns)


def line_cut_off(path: Path) -> None:
    curve(path).write_bytes(curve(path).read_bytes()[:-25])


def edited_by_hand(path: Path) -> None:
    lines = curve(path).read_text().splitlines(keepends=True)
    fields = lines[-2].split(",")
    lines[-2] = ",".join([*fields[:2], "999.0", *fields[3:]])
    curve(path).write_text("".join(lines))


@pytest.mark.parametrize(
    ("damage", "kind", "text", "cell"),
    [
        (only_one_seed, "single seed", "one seed only", ""),
        (task_missing, "missing", "no run of seeds 0, 1", "2 missing"),
        (unequal_lengths, "unequal lengths", "2, 4 evaluations", "(n = 1, 1 unfinished)"),
        (nan_rows, "not finite", "2 evaluations were not finite", ""),
        (line_cut_off, "damaged", "curve.csv is damaged", "(n = 1, 1 damaged)"),
        (edited_by_hand, "edited", "its curve says 999 at", "(n = 1, 1 damaged)"),
    ],
)
def test_what_is_wrong_is_told_and_marked(
    path: Path, damage: Callable[[Path], None], kind: str, text: str, cell: str
) -> None:
    damage(path)
    tables = report(path)
    assert text in findings(tables)[kind]
    assert returns_of_ppo(tables)[0].endswith(cell)
    assert returns_of_ppo(tables)[1]
    for command in (["export"], ["power", "--delta", "0.1"], ["compare", str(path)]):
        assert cli.run_command([command[0], str(path), *command[1:]]) in (0, cli.EXIT_USER_ERROR)


def test_a_single_seed_gets_no_interval(path: Path) -> None:
    only_one_seed(path)
    rows = report(path)["aggregates"][1:]
    assert [row[1] for row in rows] == ["1", "1"]
    assert not any("[" in text for row in rows for text in row)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"run\xff")
    generate_runs(odd, ("ppo",), TASKS[:1], range(2), points=2)
    assert report(odd, "html,tables")
    assert "run\\udcff" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert cli.run_command(["export", str(odd), "--out", str(tmp_path / "x.csv")]) == 0
    assert "run\\udcff" in (tmp_path / "x.csv").read_text(encoding="utf-8")
    assert cli.run_command(["status", str(odd)]) == 0


@pytest.mark.parametrize("command", ["report", "export", "power", "compare", "status"])
def test_a_directory_without_runs_is_refused_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Sequence[str]] = {
        "power": ["--delta", "0.1"],
        "compare": [str(tmp_path / "other")],
    }
    assert cli.run_command([command, str(tmp_path), *options.get(command, [])]) == 2
    message = capsys.readouterr().err
    assert "no run directory" in message and len(message.splitlines()) == 1


def test_a_run_directory_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunDirectory.create(tmp_path / "empty", generated_protocol())
    assert cli.run_command(["report", str(tmp_path / "empty")]) == cli.EXIT_USER_ERROR
    message = capsys.readouterr().err
    assert "no runs in it; start some with `suite run --out`" in message
    assert len(message.splitlines()) == 1


def test_several_directories_need_one_protocol(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_runs(tmp_path / "other", ("fpo",), TASKS, range(2), points=5)
    for command in ("report", "compare"):
        given = [command, str(path), str(tmp_path / "other")]
        assert cli.run_command(given) == cli.EXIT_USER_ERROR
        message = capsys.readouterr().err
        assert "run and other cannot be compared: their protocols differ in total_steps" in message
        assert len(message.splitlines()) == 1


def test_steps_that_are_never_taken_make_no_other_comparison(tmp_path: Path) -> None:
    generate_runs(tmp_path / "exact", ("ppo",), TASKS[:1], range(2), points=2)
    exact = generated_protocol(2)
    more = dataclasses.replace(exact, total_steps=exact.total_steps + 5)
    run, job = RunDirectory.create(tmp_path / "more", more), Job("fpo", TASKS[0], (0, 1))
    for cell in job.cells:
        write_cell(run, cell, job, points=2)
    checks = {each.name: each for each in audit_directories([tmp_path / "exact", run.path])}
    assert checks["protocol"].verdict == checks["budget and geometry"].verdict == "ok"
    assert checks["equal steps"].verdict == "ok"
    assert f"total_steps = {exact.total_steps}" in checks["budget and geometry"].text.replace(
        ",", ""
    )


def test_a_hostile_name_stays_a_text(tmp_path: Path) -> None:
    path = tmp_path / "run"
    generate_runs(path, (HOSTILE, "ppo"), TASKS[:1], range(2), points=3)
    tables = report(path, "html,tables,figures")
    out = path.parent / "report"
    assert any(row[0] == HOSTILE for row in tables["final_returns"])
    page = (out / "report.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    for file in out.glob("tables/*.md"):
        for line in file.read_text().splitlines():
            assert "<script>" not in line
    markdown = (out / "tables" / "final_returns.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    bars = {line.replace("\\|", "").count("|") for line in rows}
    assert bars == {3}  # the name's own bar makes no column
    latex = (out / "tables" / "final_returns.tex").read_text()
    assert r"\textless{}script\textgreater{}alert(1)" in latex
    assert r"b\_\%\$\&\textbackslash{}" in latex
    drawn = (out / "figures" / "learning-curves.svg").read_text()
    assert "<script" not in drawn
