"""Damaged run directories never end a command with a traceback, nor count as good.

`tests/helpers/fuzzing.py` does the damage. What must hold afterwards:

- every command ends with 0, 1, or 2 and one line on standard error;
- a run that still counts in a report, and has digests, has the curve that it had before;
- without digests, its returns are those that it had before;
- if the audit finds all files to be what was written, every number is as before, and so is
  every table.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from fuzzing import damage
from generate import generate_runs, write_cell

from reports.audit.all_checks import audit
from reports.runs.loading import load_results
from reports.runs.results import Results
from suite.cli import EXIT_INTERRUPTED, run_command
from suite.common import interrupt
from suite.common.errors import UserError
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory

FEW = range(60)
MANY = range(60, 1_100)
FEW_REPORTS = range(2_000, 2_008)
MANY_REPORTS = range(2_008, 2_100)
FEW_TRAININGS = range(3_005, 3_007)
MANY_TRAININGS = range(3_003, 3_040)

RETURNS = ["env_steps", "mode", "return_mean"]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Suite = Callable[..., Outcome]


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str]) -> Suite:
    def invoke(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run_command([*map(str, arguments)])
        return Outcome(code, *capsys.readouterr())

    return invoke


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, three seeds, three evaluations; one run diverged and one is unfinished."""
    path = tmp_path_factory.mktemp("stored") / "run"
    run = generate_runs(path, ("ppo", "fpo"), ("CheetahRun",), range(3), points=3)
    job = Job("fpo", "CheetahRun", (0, 1, 2))
    write_cell(run, job.cells[1], job, points=3, state="diverged", evaluations=2)
    write_cell(run, job.cells[2], job, points=3, state="running", evaluations=2)
    return path


def fuzz(stored: Path, scratch: Path, seed: int) -> tuple[Path, str]:
    """Damages a copy of a run directory; returns it and what was done."""
    place = scratch / str(seed)
    path = shutil.copytree(stored, place / "run")
    (place / "fuzzed-here").touch()
    return path, f"case {seed}: {damage(path, seed)}"


def curves(results: Results) -> dict[tuple[str, str, int], pd.DataFrame]:
    return {
        (run.algorithm.partition(" [")[0], run.task, run.seed): run.curve for run in results.runs
    }


def check_one_line(outcome: Outcome, told: str) -> None:
    assert outcome.code in (0, 1, 2), told
    if outcome.code == 2:
        assert len(outcome.err.strip().splitlines()) == 1, f"{told}: {outcome.err}"


def check_numbers(path: Path, before: Results, told: str) -> str:
    """Checks that no wrong number counts as good; returns the audit's word on the files."""
    try:
        results = load_results([path], refuse=False)
    except UserError as error:
        assert len(str(error).splitlines()) == 1, told
        return "refused"
    original = curves(before)
    for run in results.runs:
        if run.state not in ("done", "diverged"):
            continue
        cell = (run.algorithm.partition(" [")[0], run.task, run.seed)
        assert cell in original, f"{told}: {cell} counts"
        columns = list(run.curve.columns) if run.files.recorded else RETURNS
        assert run.curve[columns].equals(original[cell][columns]), f"{told}: {cell}"
    checks = {check.name: check.verdict for check in audit(results)}
    if checks["files"] == "ok" and checks["every cell"] == "ok":
        after = curves(results)
        assert after.keys() == original.keys(), told
        assert all(after[cell].equals(original[cell]) for cell in original), told
    return checks["files"]


def check_case(stored: Path, scratch: Path, seed: int, suite: Suite) -> str:
    path, told = fuzz(stored, scratch, seed)
    try:
        for command in ("status", "audit"):
            check_one_line(suite(command, path), told)
        word = check_numbers(path, load_results([stored]), told)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(told) from error
    shutil.rmtree(path.parent)
    return word


def test_few_cases(stored: Path, tmp_path: Path, suite: Suite) -> None:
    words = [check_case(stored, tmp_path, seed, suite) for seed in FEW]
    # Damage to leases and to unfinished runs is no fault; most of the rest must be found.
    assert words.count("failed") + words.count("refused") > len(words) / 2


@pytest.mark.slow
@pytest.mark.parametrize("first", range(MANY.start, MANY.stop, 104))
def test_many_cases(stored: Path, tmp_path: Path, suite: Suite, first: int) -> None:
    words = [check_case(stored, tmp_path, seed, suite) for seed in range(first, first + 104)]
    assert words.count("failed") + words.count("refused") > len(words) / 2


# --- Reports -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods with two finished runs each."""
    path = tmp_path_factory.mktemp("complete") / "run"
    return generate_runs(path, ("ppo", "fpo"), ("CheetahRun",), range(2), points=3).path


@pytest.fixture(scope="module")
def sound(complete: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of a report of undamaged runs."""
    out = tmp_path_factory.mktemp("sound")
    assert run_command(report_arguments(complete, out)) == 0
    return tables(out)


def report_arguments(path: Path, out: Path) -> list[str]:
    return ["report", str(path), "--out", str(out), "--format", "tables", "--reps", "50"]


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").glob("*.csv"))}


def check_report(
    complete: Path, sound: dict[str, bytes], scratch: Path, seed: int, suite: Suite
) -> None:
    path, told = fuzz(complete, scratch, seed)
    out = scratch / "out" / str(seed)
    outcome = suite(*report_arguments(path, out))
    check_one_line(outcome, told)
    if outcome.code == 0 and outcome.out.startswith("Comparable."):
        after = tables(out)
        different = [name for name in sound if after.get(name) != sound[name]]
        # What only describes the protocol has no digest; the audit warns of it.
        assert set(different) <= {"comparability.csv"}, f"{told}: {different}"


def test_few_reports(complete: Path, sound: dict[str, bytes], tmp_path: Path, suite: Suite) -> None:
    for seed in FEW_REPORTS:
        check_report(complete, sound, tmp_path, seed, suite)


@pytest.mark.slow
def test_many_reports(
    complete: Path, sound: dict[str, bytes], tmp_path: Path, suite: Suite
) -> None:
    for seed in MANY_REPORTS:
        check_report(complete, sound, tmp_path, seed, suite)


# --- Training goes on --------------------------------------------------------------------


def train_arguments(path: Path) -> list[str]:
    selection = ["--algos", "ppo", "--tasks", "CheetahRun", "--seeds", "1"]
    return ["run", *selection, "--protocol", "smoke", "--out", str(path)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    path = tmp_path_factory.mktemp("trained") / "run"
    assert run_command(train_arguments(path)) == 0
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, stopped after its first chunk of updates."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    answers = iter([False, False, False])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interrupt, "requested", lambda: next(answers, True))
        assert run_command(train_arguments(path)) == EXIT_INTERRUPTED
    status = RunDirectory.open(path).files(Cell("ppo", "CheetahRun", 0)).read_status()
    assert status is not None and not status.finished and status.updates > 0
    checks = {check.name: check.verdict for check in audit(load_results([path]))}
    assert (checks["files"], checks["finished"]) == ("ok", "failed")
    return path


def check_training(stopped: Path, trained: Path, scratch: Path, seed: int, suite: Suite) -> int:
    path, told = fuzz(stopped, scratch, seed)
    try:
        dry = suite(*train_arguments(path), "--dry-run")
        check_one_line(dry, told)
        outcome = suite(*train_arguments(path))
    except Exception as error:
        raise AssertionError(told) from error
    assert outcome.code in (0, 2), told
    if outcome.code == 2:
        last = outcome.err.strip().splitlines()[-1]
        assert last.startswith("suite: error: ") and "Traceback" not in outcome.err, told
    else:
        before, after = (curves(load_results([each])) for each in (trained, path))
        cell = ("ppo", "CheetahRun", 0)
        assert after[cell][RETURNS].equals(before[cell][RETURNS]), told
        assert {c.name: c.verdict for c in audit(load_results([path]))}["files"] == "ok", told
    return outcome.code


def test_training_goes_on_or_refuses(
    stopped: Path, trained: Path, tmp_path: Path, suite: Suite
) -> None:
    codes = [check_training(stopped, trained, tmp_path, seed, suite) for seed in FEW_TRAININGS]
    assert set(codes) == {0, 2}


@pytest.mark.slow
def test_training_goes_on_or_refuses_often(
    stopped: Path, trained: Path, tmp_path: Path, suite: Suite
) -> None:
    codes = [check_training(stopped, trained, tmp_path, seed, suite) for seed in MANY_TRAININGS]
    assert set(codes) == {0, 2}
