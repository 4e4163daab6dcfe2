"""Commands in an empty working directory, and training that takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest
from commanding import FakeTraining, Result, Suite

from suite import cli
from suite.training import launch


@pytest.fixture
def suite(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Suite:
    """Runs a command in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        code = cli.run_command(arguments)
        return Result(code, *capsys.readouterr())

    return invoke


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr(launch, "run_job", fake)
    return fake
