"""compare and regress: which methods are new, what they are called, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import generate
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from generate import generate_runs, write_cell

from reports.analysis import bootstrap
from reports.judgement.margins import Judging
from reports.judgement.verdicts import Judgement, newcomers
from reports.runs.choice import Choice
from reports.runs.loading import load_results
from reports.writing import report
from reports.writing.report_request import ReportRequest
from reports.writing.terminal import comparison_text
from suite import cli
from suite.storage.records import Cell, Job

TASKS = ("CheetahRun", "FishSwim", "WalkerWalk")
LEVELS: Mapping[str, float] = {"ppo": 0.5, "fpo": 0.4, "dppo": 0.6, "twin": 0.5, "close": 0.53}
"""Expected scores before a task's offset; seeds scatter by 0.03 around them."""

REPS = 2000


class Result(NamedTuple):
    code: int
    out: str
    err: str


Suite = Callable[..., Result]


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str]) -> Suite:
    def invoke(*arguments: object) -> Result:
        code = cli.run_command([str(each) for each in arguments])
        return Result(code, *capsys.readouterr())

    return invoke


class Stored(NamedTuple):
    """Run directories: the stored results and others."""

    stored: Path
    mine: Path
    few: Path
    again: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    path = tmp_path_factory.mktemp("judging")
    patch = pytest.MonkeyPatch()
    patch.setattr(generate, "LEVELS", LEVELS)
    seeds = range(5)
    generate_runs(path / "stored", ("ppo", "fpo", "dppo"), TASKS, seeds, points=3)
    generate_runs(path / "mine", ("twin", "close"), TASKS, seeds, points=3)
    generate_runs(path / "few", ("twin",), TASKS[:1], range(2), points=3)
    generate_runs(path / "again", ("ppo", "fpo"), TASKS, range(5, 10), points=3)
    patch.undo()
    return Stored(path / "stored", path / "mine", path / "few", path / "again")


def judged(*paths: Path, new: tuple[str, ...] = (), margin: float = 0.06) -> Judgement:
    request = ReportRequest(
        paths, repetitions=REPS, choice=Choice(common=True), judging=Judging(new, margin)
    )
    judgement = request.load().judgement
    assert judgement is not None
    return judgement


def outcomes(judgement: Judgement) -> dict[tuple[str, str], str]:
    return {(str(pair.new), str(pair.stored)): pair.outcome for pair in judgement.pairs}


# --- compare -----------------------------------------------------------------------------


def test_verdicts_are_the_known_ones(runs: Stored) -> None:
    found = outcomes(judged(runs.stored, runs.mine))
    assert found["twin", "ppo"] == "equivalent"
    assert found["twin", "fpo"] == found["close", "fpo"] == "better"
    assert found["twin", "dppo"] == found["close", "dppo"] == "worse"
    assert set(found) == {(a, b) for a in ("twin", "close") for b in ("ppo", "fpo", "dppo")}
    # 0.03 apart is neither more than nothing nor less than 0.031 for so few runs.
    assert outcomes(judged(runs.stored, runs.mine, margin=0.031))["close", "ppo"] == "undecided"


def test_numbers_are_those_of_the_pairs_and_corrected_for_new_ones_only(runs: Stored) -> None:
    judgement = judged(runs.stored, runs.mine)
    scores, differences = judgement.analysis.scores, judgement.analysis.differences
    for pair in judgement.pairs:
        x, y = scores.by_task(pair.new), scores.by_task(pair.stored)
        expected = np.mean([a.mean() - b.mean() for a, b in zip(x, y, strict=True)])
        assert pair.difference.value == pytest.approx(expected)
        assert pair.difference.low < pair.difference.value < pair.difference.high
        same = differences.pair_of(pair.new, pair.stored)
        assert pair.p_different == same.p_value
        assert same.p_holm >= pair.p_different_holm  # of ten pairs and of six
    adjusted = bootstrap.holm([pair.p_different for pair in judgement.pairs])
    assert [pair.p_different_holm for pair in judgement.pairs] == adjusted
    assert len(judgement.pairs) == 6 and len(differences.pairs) == 10


def test_who_is_new_depends_on_what_is_named_first(runs: Stored, tmp_path: Path) -> None:
    def new(*paths: Path) -> set[str]:
        return {*newcomers(load_results(paths))}

    assert new(runs.stored, runs.mine) == new(runs.stored, runs.mine, runs.few) == {"twin", "close"}
    assert new(runs.mine, runs.stored) == {"ppo", "fpo", "dppo"}
    # A copy of stored runs makes no method new, and other settings of a name do.
    shutil.copytree(runs.stored / "CheetahRun" / "ppo", tmp_path / "copy" / "CheetahRun" / "ppo")
    shutil.copy(runs.stored / "protocol.json", tmp_path / "copy")
    assert new(runs.stored, tmp_path / "copy") == set()
    clipped = {"hyperparameters": {"clip": 0.3}}
    other = generate_runs(tmp_path / "other", ("ppo",), TASKS, range(5), points=3, **clipped)
    assert new(runs.stored, other.path) == {"ppo [clip=0.3]"}


def test_who_is_new_can_be_said(suite: Suite, runs: Stored) -> None:
    found = judged(runs.stored, runs.mine, new=("close", "dppo"))
    assert {pair.new for pair in found.pairs} == {"close", "dppo"}
    assert {pair.stored for pair in found.pairs} == {"ppo", "fpo", "twin"}
    unknown = suite("compare", runs.stored, runs.mine, "--new", "clsoe")
    assert unknown.code == cli.EXIT_USER_ERROR and "did you mean 'close'" in unknown.err
    every = suite("compare", runs.stored, runs.mine, "--new", "ppo,fpo,dppo,twin,close")
    assert every.code == cli.EXIT_USER_ERROR and "leave out those to judge" in every.err
    twice = suite("compare", runs.stored, runs.mine, runs.stored)
    assert twice.code == cli.EXIT_USER_ERROR and "a directory is named twice" in twice.err
    bad = suite("compare", runs.stored, runs.mine, "--margin", "5")
    assert bad.code == cli.EXIT_USER_ERROR and "margin = 5.0: must be" in bad.err


def test_what_cannot_come_out_is_not_promised(suite: Suite, runs: Stored) -> None:
    result = suite("compare", runs.stored, runs.few, "--reps", REPS)
    sentence = next(line for line in result.out.splitlines() if line.startswith("twin, which"))
    assert sentence.count("undecidable against") == 3
    assert "Too few runs to tell: needs 5 seeds or 3 tasks." in sentence  # 3 x 2 / 70, 3 x 2 / 252
    assert {pair.outcome for pair in judged(runs.stored, runs.few).pairs} == {"undecidable"}


def test_compare_says_what_is_new(suite: Suite, runs: Stored) -> None:
    result = suite("compare", runs.stored, runs.mine, "--reps", REPS, "--margin", 0.06)
    assert result.code == 0
    for new in ("twin", "close"):
        lines = result.out.splitlines()
        (sentence,) = (line for line in lines if line.startswith(f"{new}, which is new, is better"))
        assert "by mean scores with a margin of 0.06" in sentence
    assert re.search(r"equivalent to PPO \(-?0\.\d+ \[-?0\.\d+, 0\.\d+\], p = 0\.\d+\)", result.out)


def test_a_report_of_new_methods_says_so_and_can_be_audited(
    suite: Suite, runs: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_figures", lambda *_: [])  # they take long, and say nothing
    request = ReportRequest(
        (runs.stored, runs.mine),
        repetitions=REPS,
        choice=Choice(common=True),
        judging=Judging((), 0.06),
    )
    report.write_report(request, tmp_path, ("html", "tables"))
    page = (tmp_path / "report.html").read_text()
    assert "close, which is new, is better than FPO (0." in page
    table = (tmp_path / "tables" / "judgement.md").read_text()
    assert "| twin | PPO | equivalent |" in table
    assert "Holm-corrected for the 6 pairs of this table" in table
    assert json.loads((tmp_path / "request.json").read_text())["new"] == ["close", "twin"]
    # Who is new is stored, whatever order the directories come in now.
    audited = suite("audit", runs.mine, runs.stored, "--report", tmp_path)
    assert "files were made again, byte for byte" in audited.out


def test_nothing_is_said_where_nothing_is_new(runs: Stored) -> None:
    paths, choice = (runs.stored, runs.again), Choice(common=True)
    plain = ReportRequest(paths, repetitions=50, choice=choice)
    judging = ReportRequest(paths, repetitions=50, choice=choice, judging=Judging((), 0.05))
    assert judging.load().judgement is None
    assert comparison_text(judging) == comparison_text(plain)


def test_compare_says_which_published_results_are_not_shown(suite: Suite, runs: Stored) -> None:
    several = "gorl2025,brax-playground"
    result = suite("compare", runs.stored, runs.mine, "--reps", 50, "--reference", several)
    assert "gorl2025 is not shown where there is no run: algorithms gorl-fm" in result.err
    assert "brax-playground is not shown where there is no run: tasks FingerSpin" in result.err
    assert "Published learning curves" in result.out


# --- regress -----------------------------------------------------------------------------


def regress(suite: Suite, run: Path, against: Path, *arguments: object) -> Result:
    return suite("regress", run, "--against", against, "--reps", REPS, *arguments)


def lower(path: Path, by: float, patch: pytest.MonkeyPatch, algorithm: str = "ppo") -> Path:
    """Writes new runs of a method that score so much lower, and of FPO as it was."""
    levels = {**LEVELS, algorithm: LEVELS[algorithm] - by}
    patch.setattr(generate, "LEVELS", levels)
    return generate_runs(path, (algorithm, "fpo"), TASKS, range(10, 15), points=3).path


def test_a_run_that_is_as_good_passes(suite: Suite, runs: Stored) -> None:
    result = regress(suite, runs.again, runs.stored, "--strict")
    assert result.code == 0
    assert result.out.splitlines()[0] == "Not worse by 0.05 or more: PPO and FPO."
    assert "not checked, as only the reference holds it: DPPO" in result.err


def test_a_run_that_is_worse_fails(
    suite: Suite, runs: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = lower(tmp_path / "worse", 0.12, monkeypatch)
    result = regress(suite, worse, runs.stored)
    assert result.code == cli.EXIT_UNFAIR == 1
    assert result.out.startswith("Worse by more than 0.05: PPO. Not worse by 0.05 or more: FPO.")
    assert regress(suite, worse, runs.stored, "--margin", 0.2).code == 0
    assert regress(suite, worse, runs.stored, "--algos", "fpo").code == 0
    assert regress(suite, runs.stored, worse).code == 0  # better is not worse


def test_numbers_are_those_of_the_files(suite: Suite, runs: Stored) -> None:
    def finals(path: Path) -> np.ndarray:
        files = sorted((path / TASKS[0] / "ppo").glob("seed-*/curve.csv"))
        curves = [pd.read_csv(file).query("mode == 'deterministic'") for file in files]
        return np.array([curve["return_mean"].iloc[-1] for curve in curves]) / 1000

    mine, theirs = finals(runs.again), finals(runs.stored)
    arguments = ("--algos", "ppo", "--tasks", TASKS[0], "--margin", 0.03, "--json")
    (found,) = json.loads(regress(suite, runs.again, runs.stored, *arguments).out)["methods"]
    assert found["difference"] == pytest.approx(mine.mean() - theirs.mean())

    def p_higher(x: np.ndarray, y: np.ndarray) -> float:
        def t(a: np.ndarray, b: np.ndarray) -> float:
            return float((a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) + b.var(ddof=1)))

        alternative = {"permutation_type": "independent", "alternative": "greater"}
        every = {"n_resamples": np.inf, "vectorized": False}
        return float(scipy.stats.permutation_test((x, y), t, **alternative, **every).pvalue)

    assert found["p_not_worse"] == pytest.approx(p_higher(mine + 0.03, theirs))
    assert found["p_worse_holm"] == pytest.approx(p_higher(theirs, mine + 0.03))


def test_a_run_that_may_be_either_passes_unless_strict(
    suite: Suite, runs: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = lower(tmp_path / "close", 0.05, monkeypatch)
    result = regress(suite, close, runs.stored)
    assert result.code == 0
    assert "Undecided: PPO." in result.out
    assert "neither a regression nor its absence is shown; seeds of each that would" in result.err
    assert regress(suite, close, runs.stored, "--strict").code == 1


def test_the_same_runs_are_told_and_not_tested(suite: Suite, runs: Stored, tmp_path: Path) -> None:
    shutil.copytree(runs.stored / "CheetahRun", tmp_path / "copy" / "CheetahRun")
    shutil.copy(runs.stored / "protocol.json", tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "CheetahRun" / "ppo" / "seed-003")
    result = regress(suite, tmp_path / "copy", runs.stored, "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert found["outcome"] == "not worse"
    for method in found["methods"]:
        assert method["identical"] and method["difference"] == 0 and method["tasks"] == [TASKS[0]]


def test_a_check_that_cannot_fail_is_refused(suite: Suite, runs: Stored, tmp_path: Path) -> None:
    two = generate_runs(tmp_path / "two", ("ppo",), TASKS[:1], range(7, 9), points=3).path
    one = generate_runs(tmp_path / "one", ("ppo",), TASKS[:1], range(9, 11), points=3).path
    result = regress(suite, one, two)
    assert result.code == cli.EXIT_USER_ERROR
    assert "too few runs to tell: needs 4 seeds or 2 tasks in the run" in result.err


def test_a_method_that_crashed_does_not_pass(suite: Suite, runs: Stored, tmp_path: Path) -> None:
    path = tmp_path / "crashed"
    shutil.copytree(runs.again, path)
    run = generate.RunDirectory.open(path)
    for task in TASKS:
        for seed in range(5, 10):
            cell, job = Cell("ppo", task, seed), Job("ppo", task, tuple(range(5, 10)))
            shutil.rmtree(run.cell_path(cell))
            write_cell(run, cell, job, points=3, state="running", evaluations=2)
    result = regress(suite, path, runs.stored, "--strict")
    assert result.code == 1
    assert "not checked, as without a score on a common task: PPO" in result.err
    assert "PPO on FishSwim, run: 5 unfinished" in result.err
    assert regress(suite, path, runs.stored, "--incomplete", "zero").code == 1


def test_what_cannot_be_checked_is_refused_in_one_line(
    suite: Suite, runs: Stored, tmp_path: Path
) -> None:
    other = generate_runs(tmp_path / "other", ("ppo",), TASKS, range(2), points=4).path
    unbounded = generate_runs(
        tmp_path / "unbounded", ("ppo",), TASKS, range(5), points=3, bounds=(0.0, 2000.0)
    ).path
    cases = {
        "their protocols differ in total_steps (": (other, runs.stored),
        "is its own reference": (runs.stored, runs.stored),
        "no method is in both: the run holds close, twin": (runs.mine, runs.stored),
        "the bounds of the return on CheetahRun differ": (unbounded, runs.stored),
        "no run directory": (tmp_path, runs.stored),
    }
    for message, (run, reference) in cases.items():
        result = regress(suite, run, reference)
        assert result.code == cli.EXIT_USER_ERROR
        assert message in result.err and len(result.err.splitlines()) == 1


def test_other_settings_are_told(suite: Suite, runs: Stored, tmp_path: Path) -> None:
    clipped = {"hyperparameters": {"clip": 0.3}}
    other = generate_runs(tmp_path / "other", ("ppo",), TASKS, range(5), points=3, **clipped)
    assert "PPO has other settings: clip" in regress(suite, other.path, runs.stored).err
