"""The run directory."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from suite.common import files
from suite.common.errors import UserError
from suite.configuration.protocol import Protocol, load_protocol
from suite.leases.lease import Lease
from suite.storage.records import Cell, Configuration, CurveRow, Divergence, Job, Ledger, Status
from suite.storage.run_directory import RunDirectory

CELL = Cell("ppo", "CheetahRun", 1)
JOB = Job("ppo", "CheetahRun", (0, 1, 2))


@pytest.fixture
def protocol() -> Protocol:
    return load_protocol("smoke")


@pytest.fixture
def run(tmp_path: Path, protocol: Protocol) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", protocol)


def configuration(run: RunDirectory, cell: Cell = CELL, **changes: Any) -> Configuration:
    values: dict[str, Any] = {
        "algorithm": cell.algorithm,
        "task": cell.task,
        "seed": cell.seed,
        "seeds_together": JOB.seeds,
        "hyperparameters": {"clip": 0.1, "hidden": (32, 32), "form": "code"},
        "engine": "native",
        "protocol": run.protocol.to_dict(),
        "fingerprint": run.protocol.fingerprint(),
        "parameter_count": 12,
        "evaluations_per_action": 1,
        "model_hash": "ab",
    }
    return Configuration(**{**values, **changes})


def row(**changes: Any) -> CurveRow:
    values: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(CurveRow)}
    values.update(mode="sample", return_mean=1 / 3, return_std=1e-17, wall_seconds=0.1)
    return CurveRow(**{**values, **changes})


def snapshot(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_layout(run: RunDirectory) -> None:
    assert run.cell_path(CELL) == run.path / "CheetahRun" / "ppo" / "seed-001"
    assert run.checkpoint_path(JOB) == run.path / "CheetahRun" / "ppo" / "job-000-002.ckpt"
    assert Job("ppo", "CheetahRun", (0, 3)).name == "job-000,003"
    assert JOB.cells == (Cell("ppo", "CheetahRun", 0), CELL, Cell("ppo", "CheetahRun", 2))


def test_a_job_of_scattered_seeds_has_a_name_that_a_file_can_have(tmp_path: Path) -> None:
    names = {Job("ppo", "CheetahRun", tuple(range(k, 200 + k, 2))).name for k in (0, 1)}
    assert len(names) == 2
    for name in names:
        (tmp_path / f"{name}.ckpt.part").touch()
        assert name.startswith("job-100-seeds-")


def test_protocol_is_written_once(run: RunDirectory, protocol: Protocol) -> None:
    before = snapshot(run.path)
    renamed = dataclasses.replace(protocol, name="other", algorithms={})
    again = RunDirectory.create(run.path, renamed)
    assert again.protocol == protocol
    assert snapshot(run.path) == before
    assert RunDirectory.open(run.path).protocol == protocol


def test_creation_disturbs_nobody_who_is_at_it_too(
    tmp_path: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two others create and open the directory while this one's protocol.json is half done."""
    link = os.link

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(files.os, "link", link)
        for _ in range(2):
            RunDirectory.create(tmp_path / "shared", protocol)
        link(source, target)

    monkeypatch.setattr(files.os, "link", late)
    assert RunDirectory.create(tmp_path / "shared", protocol).protocol == protocol
    assert set(snapshot(tmp_path / "shared")) == {"protocol.json"}


def test_another_protocol_is_refused_by_field(run: RunDirectory, protocol: Protocol) -> None:
    before = snapshot(run.path)
    other = dataclasses.replace(protocol, num_epochs=7, discount=0.5)
    with pytest.raises(UserError) as caught:
        RunDirectory.create(run.path, other)
    assert "discount (0.995 there, 0.5 now), num_epochs (1 there, 7 now)" in str(caught.value)
    assert snapshot(run.path) == before


def test_open_refuses_other_directories(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run directory"):
        RunDirectory.open(tmp_path)
    with pytest.raises(UserError, match="no run directory"):
        RunDirectory.open(tmp_path / "none")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"protocol": {"name": "x"}}', "\xff"])
def test_a_damaged_protocol_file_is_named(run: RunDirectory, content: str) -> None:
    (run.path / "protocol.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"protocol\.json"):
        RunDirectory.open(run.path)


def test_run_record_round_trip_keeps_every_start(run: RunDirectory) -> None:
    assert run.files(CELL).read_run() is None
    run.write_run(configuration(run), {"python": "1"})
    run.write_run(configuration(run), {"python": "2"})
    record = run.files(CELL).read_run()
    assert record is not None
    assert record.provenance == ({"python": "1"}, {"python": "2"})
    assert record.configuration.seeds_together == JOB.seeds
    assert record.configuration.hyperparameters["hidden"] == [32, 32]
    assert Protocol.from_dict(record.configuration.protocol, "") == run.protocol
    assert run.stored_job(CELL) == JOB


STATUSES = [
    Status("running", 3, 4, Ledger(480, 0, 160, 8000), 1.5, {"deterministic": 2.0, "sample": None}),
    Status("done", 4, 4, Ledger()),
    Status("diverged", 2, 4, Ledger(320), divergence=Divergence(160, "['critic']")),
]


@pytest.mark.parametrize("status", STATUSES)
def test_status_round_trip(run: RunDirectory, status: Status) -> None:
    assert run.files(CELL).read_status() is None
    with run.files(CELL).batch() as batch:
        batch.put_status(status)
    assert run.files(CELL).read_status() == status
    assert status.finished == (status.state != "running")


def test_returns_that_are_not_finite_become_null(run: RunDirectory) -> None:
    with run.files(CELL).batch() as batch:
        batch.put_status(Status("done", 4, 4, Ledger(), returns={"sample": float("nan")}))
    text = (run.cell_path(CELL) / "status.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["returns"] == {"sample": None}


def test_ledger_counts_evaluation_apart() -> None:
    assert Ledger(1, 20, 300, 4000).env_steps == 321


@pytest.mark.parametrize("name", ["run.json", "status.json"])
@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "{}", '{"state": "odd"}', '{"state": "done", "updates": "x"}']
)
def test_damaged_json_is_named(run: RunDirectory, name: str, content: str) -> None:
    run.write_run(configuration(run), {})
    path = run.cell_path(CELL) / name
    path.write_text(content)
    cell = run.files(CELL)
    with pytest.raises(UserError) as caught:
        cell.read_run() if name == "run.json" else cell.read_status()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_curve_round_trip_is_exact(run: RunDirectory) -> None:
    rows = [row(), row(mode="deterministic", env_steps=2**40, return_mean=float("inf"))]
    assert run.files(CELL).read_curve() == []
    with run.files(CELL).batch() as batch:
        batch.put_curve(rows[:1])
    with run.files(CELL).batch() as batch:
        batch.put_curve(rows)
    assert run.files(CELL).read_curve() == rows
    with open(run.cell_path(CELL) / "curve.csv", newline="") as opened:
        header = next(csv.reader(opened))
    assert header[:6] == [
        *("env_steps", "mode", "return_mean", "return_std", "episodes", "wall_seconds"),
    ]
    # A spreadsheet's byte-order mark is an edit, which digests tell, but no other column.
    file = run.cell_path(CELL) / "curve.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert run.files(CELL).read_curve() == rows
    assert run.files(CELL).check_digests().changed == ("curve.csv",)


@pytest.mark.parametrize("content", ["env_steps\n1\n", "", None, "\0"])
def test_a_damaged_curve_is_named(run: RunDirectory, content: str | None) -> None:
    with run.files(CELL).batch() as batch:
        batch.put_curve([row()])
    path = run.cell_path(CELL) / "curve.csv"
    path.write_text(path.read_text()[:-9] if content is None else content)
    with pytest.raises(UserError, match=r"curve\.csv is damaged"):
        run.files(CELL).read_curve()


def test_episodes_round_trip(run: RunDirectory) -> None:
    assert run.files(CELL).read_episodes() is None
    steps, returns = np.arange(3) * 2**33, np.random.default_rng(0).random((3, 2, 5))
    with run.files(CELL).batch() as batch:
        batch.put_episodes(steps, returns)
    stored = run.files(CELL).read_episodes()
    assert stored is not None
    np.testing.assert_array_equal(stored[0], steps)
    np.testing.assert_array_equal(stored[1], returns)
    path = run.cell_path(CELL) / "episodes.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"episodes\.npz is damaged"):
        run.files(CELL).read_episodes()


def test_metrics_and_the_kept_checkpoint(run: RunDirectory) -> None:
    with run.files(CELL).batch() as batch:
        batch.put_metrics([{"env_steps": 1, "loss": 0.5}, {"env_steps": 2, "loss": 0.25}])
    text = (run.cell_path(CELL) / "metrics.csv").read_text()
    assert text == "env_steps,loss\n1,0.5\n2,0.25\n"
    checkpoint = run.checkpoint_path(JOB)
    checkpoint.write_bytes(b"good")
    run.files(CELL).keep_checkpoint(checkpoint)
    checkpoint.unlink()
    assert (run.cell_path(CELL) / "last-good.ckpt").read_bytes() == b"good"


def test_metrics_may_change_between_two_starts(run: RunDirectory) -> None:
    """As those of a method of one's own do that is changed while its run is stopped."""
    files = run.files(CELL)
    with files.batch() as batch:
        batch.put_metrics([{"env_steps": 1, "old": 0.5}, {"env_steps": 2, "new": 0.25}])
    first, second = files.read_metrics()
    assert (first["old"], second["new"]) == (0.5, 0.25)
    assert math.isnan(first["new"]) and math.isnan(second["old"])


def test_a_cell_is_set_aside_beside_those_that_are_left(run: RunDirectory) -> None:
    run.write_run(configuration(run, CELL), {})
    path = run.cell_path(CELL)
    other = path.with_name(f"{path.name}.diverged-2")  # the first was deleted
    other.mkdir()
    (other / "run.json").write_text("{}")
    lease = mock.create_autospec(Lease, instance=True)
    assert run.set_aside(CELL, lease).name == f"{path.name}.diverged-3"


def test_cells_are_found_and_sorted(run: RunDirectory) -> None:
    cells = [Cell("fpo", "CheetahRun", 0), CELL, Cell("ppo", "CheetahRun", 1000)]
    cells.append(Cell("fpo", "WalkerWalk", 0))
    for cell in reversed(cells):
        run.write_run(configuration(run, cell), {})
    (run.path / "CheetahRun" / "ppo" / "seed-x").mkdir()
    (run.path / "CheetahRun" / "ppo" / "seed-005").mkdir()
    assert run.cells() == cells
    assert run.require_cell(CELL) == CELL
    with pytest.raises(UserError, match="did you mean 'CheetahRun'"):
        run.require_cell(Cell("ppo", "CheetahRn", 1))
    with pytest.raises(UserError, match="ppo on CheetahRun the seeds 1,1000, not 2"):
        run.require_cell(Cell("ppo", "CheetahRun", 2))


SAME = {"clip": 0.1, "hidden": (32, 32), "form": "code"}


@pytest.mark.parametrize(
    ("hyperparameters", "engine", "named"),
    [
        ({**SAME, "clip": 0.2}, "native", "clip (0.1 there, 0.2 now)"),
        ({**SAME, "hidden": (32,)}, "native", "hidden ([32, 32] there, [32] now)"),
        ({**SAME, "new": 1}, "native", "new (unset there, 1 now)"),
        ({"clip": 0.1, "form": "code"}, "native", "hidden ([32, 32] there, unset now)"),
        (SAME, "jax", "engine (native there, jax now)"),
    ],
)
def test_another_configuration_is_refused(
    run: RunDirectory, hyperparameters: dict[str, Any], engine: str, named: str
) -> None:
    run.write_run(configuration(run), {})
    before = snapshot(run.path)
    with pytest.raises(UserError) as caught:
        run.check_configuration(CELL, hyperparameters, engine)
    assert named in str(caught.value)
    assert str(CELL) in str(caught.value)
    assert snapshot(run.path) == before


def test_a_cell_of_another_protocol_is_refused(run: RunDirectory, protocol: Protocol) -> None:
    """Whether protocol.json was edited or lost."""
    run.write_run(configuration(run), {})
    other = dataclasses.replace(protocol, total_steps=2 * protocol.total_steps)
    pattern = f"{CELL} was run by another protocol, which differs in total_steps"
    record = {"fingerprint": other.fingerprint(), "protocol": other.to_dict()}
    (run.path / "protocol.json").write_text(json.dumps(record))
    edited = RunDirectory.create(run.path, other)
    with pytest.raises(UserError, match=pattern):
        edited.check_configuration(CELL, SAME, "native")
    (run.path / "protocol.json").unlink()
    with pytest.raises(UserError, match=pattern):
        RunDirectory.create(run.path, other)
    assert not (run.path / "protocol.json").exists()
    RunDirectory.create(run.path, protocol).check_configuration(CELL, SAME, "native")


STARTS = {"sha256": "0" * 16, "projection": 12.5}


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        ({}, {"model_hash": "cd"}, "model_hash (ab there, cd now)"),
        ({"eval_starts": STARTS}, {"eval_starts": {**STARTS, "projection": 13.0}}, "13.0"),
        ({"eval_starts": {"sha256": "1"}}, {"eval_starts": STARTS}, "eval_starts"),
        ({"eval_starts": STARTS}, {"eval_starts": {"sha256": "1", "projection": 12.5001}}, None),
        ({}, {"eval_starts": STARTS}, None),  # an older version recorded none
    ],
)
def test_another_model_or_other_starts_are_refused(
    run: RunDirectory, before: dict[str, Any], now: dict[str, Any], named: str | None
) -> None:
    run.write_run(configuration(run, **before), {})
    files = snapshot(run.path)
    if named is None:
        run.write_run(configuration(run, **now), {})
        return
    with pytest.raises(UserError) as caught:
        run.write_run(configuration(run, **now), {})
    assert named in str(caught.value)
    assert snapshot(run.path) == files


def test_the_same_configuration_and_new_cells_pass(run: RunDirectory) -> None:
    run.write_run(configuration(run), {})
    run.check_configuration(CELL, SAME, "native")
    run.check_configuration(Cell("ppo", "CheetahRun", 9), {}, "jax")


@pytest.fixture
def other_process(run: RunDirectory) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds seeds 1 and 2."""
    program = (
        "import sys, pathlib; from suite.storage.run_directory import RunDirectory, Job\n"
        "run = RunDirectory.open(pathlib.Path(sys.argv[1]))\n"
        "with run.locked(Job('ppo', 'CheetahRun', (1, 2))): print('held', flush=True); input()\n"
    )
    command = [sys.executable, "-c", program, str(run.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_cells_are_locked_against_other_processes(
    run: RunDirectory, other_process: subprocess.Popen[str]
) -> None:
    with pytest.raises(UserError, match="seed-001 is being trained"), run.locked(JOB):
        pass
    with run.locked(Job("ppo", "CheetahRun", (0, 3))):  # other cells are free
        assert run.is_locked(CELL)
        assert not run.is_locked(Cell("ppo", "CheetahRun", 9))
    other_process.kill()
    other_process.wait()
    with run.locked(JOB):
        assert run.is_locked(CELL)
    assert not run.is_locked(CELL)


def test_a_cell_cannot_move_to_another_group_of_seeds(run: RunDirectory) -> None:
    run.write_run(configuration(run), {})
    with run.locked(JOB):
        pass
    with pytest.raises(UserError, match="another group"), run.locked(Job("ppo", CELL.task, (1, 5))):
        pass
