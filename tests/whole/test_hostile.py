"""What commands make of the directories of benchmarks/hostile_directories.py.

Every one ends with 0, 1 or 2 and lines that command no terminal, soon and without much memory; what
it writes can be shown, and holds no formula.
"""

from __future__ import annotations

import csv
import shutil
import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from generate import generate_runs

from benchmarks.hostile import READING, make_sound, measured
from benchmarks.hostile_directories import HOSTILE, escapes, hostile_report, surrogates
from suite import cli
from suite.storage import checkpoint
from suite.storage.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parents[2]
COMMANDING = {*map(chr, range(32)), *map(chr, range(127, 160)), *"\u202e\u2066\u2028"} - {
    "\n",
    "\t",
}
MOST = 64 << 20
"""Bytes that reading a directory of four cells may take at a time."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "run"
    generate_runs(path, ("ppo", "gorl-fm"), ("CheetahRun",), range(2), points=3)
    for cell in RunDirectory.open(path).cells():
        files = RunDirectory.open(path).files(cell)
        status = files.read_status()
        assert status is not None
        facts = {
            "stage": 0,
            "updates": status.updates,
            "env_steps": status.ledger.env_steps,
        }
        checkpoint.save(files.policy_path(0), {"kernel": jnp.ones((17, 32))}, facts)
    for method in path.glob("*/*"):
        tree = {"kernel": jnp.ones((2, 17, 32)), "key": jax.random.key(0)}
        checkpoint.save(method / "job-000-001.ckpt", tree, {})
    return path


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "theirs" / "run"))


@pytest.mark.parametrize("name", HOSTILE)
def test_audits_and_lists_take_little_memory(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    HOSTILE[name](run)
    tracemalloc.start()
    code = cli.run_command(["audit", str(run)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = capsys.readouterr()
    assert code in (0, 1, 2), said.err
    assert "Traceback" not in said.err and "a fault" not in said.err
    assert (code == 2) == said.err.startswith("suite: error: ")
    assert peak < MOST
    assert cli.run_command(["status", str(run)]) in (0, 2)


@pytest.mark.parametrize("build", [escapes, surrogates])
def test_what_is_written_can_be_shown_and_is_no_formula(
    build: object, run: Path, tmp_path: Path
) -> None:
    assert build in (escapes, surrogates) and callable(build)
    build(run)
    renamed = run / "CheetahRun" / "ppo"
    renamed.rename(renamed.with_name("=cmd"))
    out, table = tmp_path / "report", tmp_path / "table.csv"
    arguments = ["--out", str(out), "--reps", "20", "--format", "tables,html"]
    assert cli.run_command(["report", str(run), *arguments]) == 0
    assert cli.run_command(["export", str(run), "--out", str(table)]) == 0
    files = [table, *(path for path in out.rglob("*") if path.is_file())]
    for path in files:
        assert not COMMANDING & {*path.read_text(encoding="utf-8")}, path
    for path in (each for each in files if each.suffix == ".csv"):
        for row in csv.reader(path.open(encoding="utf-8")):
            assert not [cell for cell in row if cell.startswith(("=", "@", "+c", "-c"))], path


def test_a_run_given_through_a_link_reads_as_it_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "way").symlink_to(run.parent, target_is_directory=True)
    (tmp_path / "direct").symlink_to(run, target_is_directory=True)
    told = []
    for path in (run, tmp_path / "way" / "run", tmp_path / "direct"):
        code = cli.run_command(["audit", str(path)])
        told.append((code, capsys.readouterr().out))
    assert told[0] == told[1] == told[2]
    assert "ok            every cell" in told[0][1] and "damaged" not in told[0][1]


def test_a_report_names_no_file_of_its_reader(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "private.csv"
    own.write_text("algorithm,task,return_mean,return_std,seeds\nppo,CheetahRun,777.5,1,5\n")
    report = tmp_path / "report"
    arguments = ["report", str(run), "--out", str(report), "--reps", "20", "--format", "tables"]
    assert cli.run_command(arguments) == 0
    hostile_report(report)
    capsys.readouterr()
    assert cli.run_command(["audit", str(run), "--report", str(report)]) == 2
    assert "private.csv, a file of one's own; give it by --reference" in capsys.readouterr().err
    given = ["audit", str(run), "--report", str(report), "--reference", str(own)]
    assert cli.run_command(given) == 1
    assert "tables/large.csv is no part of it" in capsys.readouterr().out


@pytest.mark.slow
def test_every_command_ends_within_limits(tmp_path: Path) -> None:
    """As the benchmark measures them, policies and all."""
    sound = make_sound(tmp_path)
    wrong = []
    for name, build in HOSTILE.items():
        run = tmp_path / "theirs" / "run"
        shutil.copytree(sound, run)
        build(run)
        for command, arguments in READING.items():
            row = measured(arguments(run, tmp_path), ROOT)
            if row["ended"] not in ("0", "1", "2") or row["escapes"] or row["mib"] > 2048:
                wrong.append((name, command, row))
        shutil.rmtree(run)
    assert not wrong
