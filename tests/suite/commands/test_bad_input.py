"""Bad input, bad files, faults and signals: one line each, and an exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import pytest
from commanding import SMOKE, FakeTraining, Suite

from suite import cli


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "--algos", "gorlfm"), "unknown algorithm 'gorlfm'; did you mean 'gorl-fm'"),
        (("run", "--algos", "my_method"), "of your own is given by its file, ./my_method.py"),
        (("run", "--on", "locla"), "did you mean 'local'? Known: auto, here, local"),
        (("run", "--tasks", "CheetaRun"), "did you mean 'CheetahRun'"),
        (("run", "--protocol", "smok"), "did you mean 'smoke'"),
        (("run", "--protocol", "none.toml"), "none.toml: no such file"),
        (("run", "--engine", "nativ"), "did you mean 'native'"),
        (("run", "--engine", "warp"), "needs an NVIDIA GPU"),
        (("run", "--seeds", "4-2"), "runs backwards"),
        (("run", "--set", "ppo.clp=1"), "did you mean 'clip'"),
        (("run", "--set", "ppo.clip=high"), "'high' is not a finite number"),
        (("run", "--set", "gorl.clip=1"), "did you mean 'gorl-fm'"),
        (("run", "--algos", "ppo", "--set", "fpo.clip=1"), "fpo is not among the --algos"),
        (("run", "--set", "gorl-fm.stage_shares=1,1"), "stage_shares must be positive"),
        (("plan", "--algo", "ppo"), "No such option '--algo'"),
        (("rnu",), "No such command 'rnu'"),
        (("list", "algorithms"), "'algorithms' is not one of 'algos', 'tasks', 'protocols'"),
        (("status", "nowhere"), "nowhere is no run directory"),
        (("eval", "nowhere", "--task", "a", "--algo", "b", "--seed", "0"), "no run directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    suite: Suite, tmp_path: Path, arguments: Sequence[str], expected: str
) -> None:
    result = suite(*arguments)
    assert result.code == 2
    assert result.out == ""
    error = [line for line in result.err.splitlines() if not line.startswith("suite: no GPU")]
    assert len(error) == 1
    assert error[0].startswith("suite: error: ")
    assert expected in error[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space", "a/curve.csv"), "a/curve.csv: the disk is full"),
        (PermissionError(errno.EACCES, "Denied", "a"), "a: permission denied"),
        (OSError(errno.EIO, "Input/output error", "a"), "a: Input/output error"),
    ],
)
def test_failing_files_are_told_in_one_line(
    suite: Suite, training: FakeTraining, error: OSError, expected: str
) -> None:
    training.fail = error
    result = suite("run", *SMOKE)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith(f"suite: error: {expected}")


def test_a_run_directory_that_is_a_file(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in ("file", "file/below"):
        result = suite("run", *SMOKE, "--out", out)
        assert result.code == 2
        assert result.err.startswith(f"suite: error: {out}")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_no_permission_to_write(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir(mode=0o500)
    result = suite("run", *SMOKE, "--out", "sealed/run")
    assert result.code == 2
    assert "permission denied" in result.err


def test_a_fault_of_the_program_is_no_divergence_and_keeps_its_traceback(
    suite: Suite, training: FakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.fail = ZeroDivisionError("of a method")
    shown = suite("run", *SMOKE)
    assert shown.code == 70
    assert "Traceback (most recent call last)" in shown.err

    monkeypatch.delenv(cli.SHOW_FAULTS)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = suite("run", *SMOKE)
    assert kept.code == 70
    assert "Traceback" not in kept.err
    line = kept.err.splitlines()[-1]
    assert "ZeroDivisionError: of a method (commanding.py, line" in line
    (file,) = tmp_path.glob("suite-traceback-*.txt")
    assert str(file) in line
    assert "raise self.fail" in file.read_text()

    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert "Traceback (most recent call last)" in suite("run", *SMOKE).err


def test_exit_codes_are_documented_and_mean_one_thing_each() -> None:
    codes = {name: value for name, value in vars(cli).items() if name.startswith("EXIT_")}
    del codes["EXIT_CODES"]
    told = [int(line.split()[0]) for line in cli.EXIT_CODES.splitlines() if line[:1].isdigit()]
    assert {0, *codes.values()} <= set(told)
    # What a shell, an interpreter or a fault gives is no verdict on the runs.
    assert cli.EXIT_FAULT not in (cli.EXIT_DIVERGED, cli.EXIT_UNFAIR)
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert all(f"\n| {code} |" in readme for code in told)


@pytest.mark.parametrize("ask", ["jax.config.update('jax_default_matmul_precision', 'x')", ""])
def test_what_jax_refuses_of_the_environment_is_told_in_one_line(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "toaster")
    with pytest.raises((ValueError, RuntimeError)) as caught:
        jax.config.update("jax_default_matmul_precision", "x") if ask else jax.devices("toaster")
    training.fail = caught.value
    result = suite("run", *SMOKE)
    assert result.code == 2
    expected = "change or unset the variable" if ask else "JAX_PLATFORMS=toaster: no such device"
    assert expected in result.err.splitlines()[-1]


def test_ctrl_c_outside_of_training(suite: Suite, training: FakeTraining) -> None:
    training.fail = KeyboardInterrupt()
    assert suite("run", *SMOKE).code == 130


def test_output_into_a_closed_pipe_is_no_error_and_no_divergence() -> None:
    command = f"set -o pipefail; {sys.executable} -m suite list tasks | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.returncode in (0, cli.EXIT_CLOSED_PIPE)  # as fast as `true` has ended
