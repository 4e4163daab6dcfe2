"""Intervals of a report against rliable's: right ones pass, and a wrong one is named."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from generate import generate_runs
from rliable import metrics

from reports.analysis import bootstrap
from reports.analysis.bootstrap import Estimate
from reports.audit import rliable_intervals, shown_intervals
from reports.audit.check import Check
from reports.audit.rliable_intervals import FEWEST, NAME, check_intervals
from reports.writing.report_request import ReportRequest, Subject
from suite.cli import EXIT_UNFAIR, run_command

TASKS = ("CheetahRun", "FishSwim")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rliable") / "run"
    return generate_runs(path, ("ppo", "gorl-fm"), TASKS, range(4), 3).path


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rliable_intervals, "REPETITIONS", 400)


def load(run_dir: Path, repetitions: int = 2 * FEWEST) -> Subject:
    return ReportRequest((run_dir,), repetitions=repetitions).load()


def checked(subject: Subject) -> Check:
    return check_intervals(subject.analyses, subject.arms)


def test_right_intervals_are_found_again(run_dir: Path) -> None:
    subject = load(run_dir)
    np.random.seed(7)  # noqa: NPY002 - the caller's numbers must go on as if nothing had been
    expected = np.random.RandomState(7).random()
    check = checked(subject)
    assert np.random.random() == expected  # noqa: NPY002
    assert (check.name, check.verdict) == (NAME, "ok")
    means = 2 * 2 * (1 + 3 + 3)  # algorithms, tasks; final, and points of both modes' curves
    over_tasks = 2 * (3 + 3 + 101 + 3 * 3) + 3  # IQMs, metrics, profile, curves; the pair
    assert check.text.startswith(f"{means + over_tasks} intervals with 400 resamples each: ")
    assert "not recomputed" not in check.text


def test_every_mean_of_a_table_is_among_them(run_dir: Path) -> None:
    subject = load(run_dir)
    shown = list(shown_intervals.shown_intervals(subject.analyses))
    ends = {
        name: (low, high)
        for each in shown
        for name, low, high in zip(each.names, each.low, each.high, strict=True)
    }
    aggregate = subject.analysis.estimates.aggregate("gorl-fm", "median")
    assert ends["median of GoRL(FM) (final)"] == (aggregate.low, aggregate.high)
    task = subject.analysis.estimates.task_estimate("ppo", "FishSwim")
    assert task and ends["mean of PPO on FishSwim"] == (task.low, task.high)


def test_one_wrong_interval_is_named(run_dir: Path) -> None:
    subject = load(run_dir)
    (pair,) = subject.analysis.differences.pairs
    value, low, high = pair.difference.value, pair.difference.low, pair.difference.high
    narrow = Estimate(value, value - 0.6 * (value - low), high)
    vars(subject.analysis.differences)["pairs"] = (dataclasses.replace(pair, difference=narrow),)
    check = checked(subject)
    assert check.verdict == "failed"
    name = "lower end of the IQM difference of PPO and GoRL(FM)"
    assert check.text.startswith(f"{name} is {narrow.low:.4f}, by rliable ")
    assert check.text.count(" is ") == 1


def test_a_wrong_value_is_named(run_dir: Path) -> None:
    subject = load(run_dir)
    (pair,) = subject.analysis.differences.pairs
    off = dataclasses.replace(pair.improvement, value=pair.improvement.value + 1e-4)
    vars(subject.analysis.differences)["pairs"] = (dataclasses.replace(pair, improvement=off),)
    assert checked(subject).text.startswith("value of the P(first > second) of PPO and GoRL(FM) is")


def test_a_report_with_narrow_intervals_fails(
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wrong in the same way whenever it is made, only another library can find."""
    narrow = functools.partial(bootstrap.interval, confidence=0.8)
    monkeypatch.setattr(bootstrap, "interval", narrow)
    arguments = ["--out", str(tmp_path), "--reps", str(2 * FEWEST), "--format", "tables"]
    assert run_command(["report", str(run_dir), *arguments]) == 0
    capsys.readouterr()
    code = run_command(["audit", str(run_dir), "--report", str(tmp_path), "--json"])
    verdicts = {c["name"]: c["verdict"] for c in json.loads(capsys.readouterr().out)["checks"]}
    assert code == EXIT_UNFAIR
    assert (verdicts["report"], verdicts[NAME]) == ("ok", "failed")


def test_unequal_numbers_of_runs_are_not_recomputed(run_dir: Path, tmp_path: Path) -> None:
    path = shutil.copytree(run_dir, tmp_path / "run")
    shutil.rmtree(path / "FishSwim" / "ppo" / "seed-003")
    check = checked(load(path))
    assert check.verdict == "ok"
    reason = "over tasks with unequal numbers of runs (PPO; PPO and GoRL(FM))"
    assert check.text.endswith(f"; not recomputed: {3 + 3 + 101 + 3 * 3 + 3} {reason}")


def test_few_repetitions_are_not_judged(run_dir: Path) -> None:
    check = checked(load(run_dir, FEWEST - 1))
    assert check.verdict == "warning"
    assert check.text.startswith("not recomputed: 999 repetitions of the report are too few")


def test_single_runs_have_no_interval(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), TASKS, range(1), 3)
    assert checked(load(run.path)) == Check(NAME, "ok", "the report has no interval")


def test_statistics_are_those_of_rliable() -> None:
    generator = np.random.default_rng(0)
    x, y = (np.round(generator.beta(2, 2, (runs, 6, 4)), 1) for runs in (5, 4))
    found = shown_intervals._every_metric(1.3 * x)
    final = 1.3 * x[..., 0]
    assert found[:3] == pytest.approx([metrics.aggregate_iqm(1.3 * x[..., i]) for i in range(3)])
    assert found[-1] == pytest.approx(metrics.aggregate_iqm(1.3 * x[..., 3]))
    others = (metrics.aggregate_mean, metrics.aggregate_median, metrics.aggregate_optimality_gap)
    assert found[3:6] == pytest.approx([metric(final) for metric in others])
    assert found[6:-1] == pytest.approx([np.mean(final > t) for t in bootstrap.THRESHOLDS])
    pair = shown_intervals._pair_statistics(x[..., :1], y[..., :1])
    iqms = metrics.aggregate_iqm(x[..., 0]) - metrics.aggregate_iqm(y[..., 0])
    wins = metrics.probability_of_improvement(x[..., 0], y[..., 0])
    assert pair == pytest.approx([iqms, wins, x[..., 0].mean() - y[..., 0].mean()])
