"""The humanoids train and are evaluated by the native engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.cli import run_command
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

ONE_UPDATE = ("--protocol", "smoke", "--set", "protocol.total_steps=160", "--seeds", "1")


@pytest.mark.slow
def test_one_update_on_each(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("run", "--algos", "ppo", "--tasks", "humanoid2", *ONE_UPDATE, "--out", str(out))
    assert run_command(list(command)) == 0
    stored = RunDirectory.open(out)
    for task in ("HumanoidStand", "HumanoidRun"):
        rows = stored.files(Cell("ppo", task, 0)).read_curve()
        assert {row.env_steps for row in rows} == {0, 160}
        assert all(0 < row.return_mean < 1000 for row in rows)
