"""Exports for experiment trackers; each test runs where its optional package is installed."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from generate import generate_runs

from reports.runs.loading import load_results
from suite import cli
from suite.storage.records import Cell, CurveRow
from suite.storage.run_directory import RunDirectory

SEEDS = range(2)
POINTS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("trackers") / "run"
    return generate_runs(path, ("ppo", "a b<c>"), ("CheetahRun",), SEEDS, POINTS)


def export(run: RunDirectory, *arguments: object) -> int:
    return cli.run_command(["export", str(run.path), *map(str, arguments)])


def expected(run: RunDirectory, mode: str = "deterministic") -> list[CurveRow]:
    """Returns the rows of one mode of one run, straight from the store."""
    return [row for row in run.files(Cell("ppo", "CheetahRun", 1)).read_curve() if row.mode == mode]


def test_tensorboard(run: RunDirectory, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    contents = []
    for _ in range(2):
        assert export(run, "--to", "tensorboard", "--out", tmp_path) == 0
        files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
        contents.append([file.read_bytes() for file in files])
    assert len(files) == 2 * len(SEEDS)
    assert contents[0] == contents[1]
    events = EventAccumulator(str(next(tmp_path.glob("ppo-CheetahRun-seed-001-*"))))
    events.Reload()
    shown = events.Scalars("deterministic/return_mean")
    assert [each.step for each in shown] == [row.env_steps for row in expected(run)]
    assert [each.wall_time for each in shown] == [row.wall_seconds for row in expected(run)]
    returns = [row.return_mean for row in expected(run)]
    assert [each.value for each in shown] == pytest.approx(returns, rel=1e-6)
    text = events.Tensors("configuration")[0].tensor_proto.string_val[0].decode()
    assert run.protocol.fingerprint() in text
    assert load_results([run.path]).runs_of("ppo", "CheetahRun")[1].run_id in text


def test_wandb(run: RunDirectory, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    for _ in range(2):
        assert export(run, "--to", "wandb", "--out", tmp_path) == 0
    directories = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(directories) == 2 * len(SEEDS)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-ppo-CheetahRun-seed-001-*.wandb")
    content = file.read_bytes()
    run_id = load_results([run.path]).runs_of("ppo", "CheetahRun")[1].run_id
    for text in (run_id, run.protocol.fingerprint(), "deterministic/return_mean"):
        assert text.encode() in content
    for row in expected(run):
        assert json.dumps(row.return_mean).encode() in content


def test_trackio(run: RunDirectory, tmp_path: Path) -> None:
    if importlib.util.find_spec("trackio") is None:  # an import would settle where it writes
        pytest.skip("trackio is not installed")
    for _ in range(2):
        assert export(run, "--to", "trackio", "--out", tmp_path) == 0
    with sqlite3.connect(tmp_path / "gorl-suite.db") as database:
        query = "SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY step"
        rows = database.execute(query, ("ppo/CheetahRun/seed-001",)).fetchall()
        names = database.execute("SELECT DISTINCT run_name FROM metrics").fetchall()
        configs = database.execute("SELECT config FROM configs").fetchall()
    assert len(names) == len(configs) == 2 * len(SEEDS)
    assert [step for step, _ in rows] == [row.env_steps for row in expected(run)]
    shown = [json.loads(metrics)["deterministic/return_mean"] for _, metrics in rows]
    assert shown == [row.return_mean for row in expected(run)]
    assert all(run.protocol.fingerprint() in str(config) for config in configs)


def test_parquet(run: RunDirectory, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    contents = []
    for name in ("a.parquet", "b.parquet"):
        assert export(run, "--out", tmp_path / name) == 0
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert len(table) == 2 * len(SEEDS) * POINTS * 2  # algorithms, modes
    chosen = table[(table.algorithm == "ppo") & (table.seed == 1) & (table["mode"] == "sample")]
    stored = expected(run, "sample")
    assert chosen.return_mean.tolist() == [row.return_mean for row in stored]
    assert chosen.env_steps.tolist() == [row.env_steps for row in stored]


def test_a_missing_package_and_a_missing_place(
    run: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for tracker in ("tensorboard", "wandb", "trackio"):
        assert export(run, "--to", tracker, "--out", tmp_path / "x") == cli.EXIT_USER_ERROR
        message = capsys.readouterr().err
        assert f"`pip install -e '.[{tracker}]'`" in message and len(message.splitlines()) == 1
    assert not (tmp_path / "x").exists()
    assert export(run, "--to", "wandb") == cli.EXIT_USER_ERROR
    assert "give it by --out" in capsys.readouterr().err
    monkeypatch.undo()
    file = tmp_path / "file"
    file.write_text("")
    if importlib.util.find_spec("tensorboard"):
        assert export(run, "--to", "tensorboard", "--out", file) == cli.EXIT_USER_ERROR
        assert "is a file; give a directory" in capsys.readouterr().err
