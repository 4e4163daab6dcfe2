"""The report of an ablation, on made-up runs whose right answer is known."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from generate import generated_protocol, write_cell

from reports.analysis.sentences import arms_headline
from reports.audit import rliable_intervals
from reports.tables.arms import results_table
from reports.writing.report import write_report
from reports.writing.report_request import ReportRequest
from suite.cli import EXIT_USER_ERROR, run_command
from suite.common.errors import UserError
from suite.configuration.protocol import Protocol
from suite.configuration.recipe import Axis, make_arms
from suite.storage.ablation_directory import Ablation
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory

POINTS = 5
SEEDS = (0, 1, 2)
TASKS = ("CheetahRun", "WalkerWalk")
TIMING = Axis("protocol.normalizer_timing", ("after", "before"))


def make(directory: Path, *axes: Axis, **changes: object) -> Ablation:
    """Writes an ablation whose arms have all runs, and returns its record."""
    values = {
        "name": "made-up",
        "description": "made up",
        "protocol": generated_protocol(POINTS),
        "source": None,
        "algorithms": ("ppo", "gorl-fm"),
        "tasks": TASKS,
        "seeds": SEEDS,
        "engine": "native",
        "settings": (),
        "metrics": (),
        "axes": axes,
    }
    ablation = Ablation(**{**values, **changes})  # type: ignore[arg-type]
    ablation.write(directory)
    for arm in ablation.arms:
        fill(directory / arm.name, ablation.protocol_of(arm))
    return ablation


def fill(path: Path, protocol: Protocol, **changes: object) -> None:
    run = RunDirectory.create(path, protocol)
    for task in TASKS:
        for algorithm in ("ppo", "gorl-fm"):
            job = Job(algorithm, task, SEEDS)
            for cell in job.cells:
                write_cell(run, cell, job, POINTS, **changes)  # type: ignore[arg-type]


def report(directory: Path) -> list[dict[str, str]]:
    write_report(ReportRequest((directory,), repetitions=500), directory / "report", ("tables",))
    with open(directory / "report" / "tables" / "ablation.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_terminal_gets_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, TIMING)
    arguments = ["report", str(tmp_path), "--format", "tables", "--reps", "50"]
    assert run_command(arguments) == 0
    assert run_command([*arguments, "--reference", "gorl2025"]) == EXIT_USER_ERROR
    told = capsys.readouterr()
    assert "--reference is not shown beside the arms of an ablation" in told.err
    lines = told.out.splitlines()
    head = next(line.split() for line in lines if line.split()[:2] == ["method", "arm"])
    assert head[2:5] == [*TASKS, "IQM"]
    assert [line.split()[:2] for line in lines].count(["GoRL(FM)", "before"]) == 1
    assert not [line for line in lines if "\\" in line or line.startswith("|")]


def final_returns(run: RunDirectory, algorithm: str, task: str) -> list[float]:
    cells = [Cell(algorithm, task, seed) for seed in SEEDS]
    rows = [[r for r in run.files(c).read_curve() if r.mode == "deterministic"] for c in cells]
    return [each[-1].return_mean for each in rows]


def test_every_row_holds_the_numbers_of_its_runs(tmp_path: Path) -> None:
    ablation = make(tmp_path, TIMING)
    rows = report(tmp_path)
    assert [(row["method"], row["arm"]) for row in rows] == [
        (method, arm) for method in ("PPO", "GoRL(FM)") for arm in ("after", "before")
    ]
    for row, (algorithm, arm) in zip(
        rows, [(a, arm) for a in ("ppo", "gorl-fm") for arm in ablation.arms], strict=True
    ):
        run = RunDirectory.open(tmp_path / arm.name)
        for task in TASKS:
            values = final_returns(run, algorithm, task)
            expected = f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} (n = 3)"
            assert row[task] == expected
        difference = row["IQM less that of after"]
        # The made-up runs know nothing of their arm, so that both arms hold the same returns.
        assert (
            difference == "reference" if arm.name == "after" else difference.startswith("0.000 [")
        )


def test_claims_rest_on_the_exact_permutation_test(tmp_path: Path) -> None:
    """Three runs against three can never be told apart at 5%, however far they lie."""
    ablation = make(tmp_path, TIMING, tasks=("CheetahRun",))
    for arm in ablation.arms:
        shutil.rmtree(tmp_path / arm.name / "WalkerWalk")
    before = RunDirectory.open(tmp_path / "before")
    worst = before.path / "CheetahRun" / "ppo"
    shutil.rmtree(worst)
    job = Job("ppo", "CheetahRun", SEEDS)
    for cell in job.cells:
        write_cell(before, cell, job, POINTS, state="diverged", evaluations=3)
    rows = {(row["method"], row["arm"]): row for row in report(tmp_path)}
    assert {rows[method, "before"]["p (Holm)"] for method in ("PPO", "GoRL(FM)")} == {
        "too few runs"
    }
    difference = rows["PPO", "before"]["IQM less that of after"]
    assert difference.startswith("-") and difference.endswith("]")
    arms = ReportRequest((tmp_path,), repetitions=500).load().arms
    assert arms is not None
    # Of the 20 ways to deal six runs into two threes, two are as far apart as these: p = .1, and
    # .2 after Holm's correction for two comparisons. The other method's arms are equal: p = 1.
    assert [each.p_holm for each in arms.comparisons.values()] == pytest.approx([0.2, 1.0])
    remedy = "needs 5 seeds or 2 tasks"  # 2 x 2/70 is above 5%, 2 x 2/252 is not
    lacking = f"too few runs to tell any arm from arm after: {remedy}"
    assert arms_headline(arms)[1:].startswith(lacking[1:])
    assert f"There are too few runs to tell: {remedy}." in results_table(arms).note


def test_rliable_finds_the_intervals_of_an_ablation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rliable_intervals, "REPETITIONS", 200)
    make(tmp_path, TIMING)
    subject = ReportRequest((tmp_path,), repetitions=rliable_intervals.FEWEST).load()
    analysis, arms = subject.analysis, subject.arms
    assert arms is not None
    check = rliable_intervals.check_intervals(subject.analyses, arms)
    labels, tasks = len(analysis.algorithms), len(analysis.tasks)
    count = labels * tasks * (1 + 2 * POINTS) + labels + len(arms.comparisons)
    assert (check.verdict, check.text.split()[0]) == ("ok", str(count))


def test_another_reference_arm(tmp_path: Path) -> None:
    make(tmp_path, TIMING, reference="before")
    rows = report(tmp_path)
    assert [row["IQM less that of before"] == "reference" for row in rows] == [False, True] * 2


def test_what_is_missing_or_ended_badly_is_marked(tmp_path: Path) -> None:
    ablation = make(tmp_path, TIMING, Axis("protocol.discount", (0.9, 0.99)), metrics=("std",))
    shutil.rmtree(tmp_path / "after-0.99")
    shutil.rmtree(tmp_path / "before-0.9" / "CheetahRun" / "gorl-fm")
    shutil.rmtree(tmp_path / "before-0.9" / "WalkerWalk" / "ppo" / "seed-001")
    arm = next(arm for arm in ablation.arms if arm.name == "before-0.99")
    run = RunDirectory.open(tmp_path / arm.name)
    job = Job("ppo", "CheetahRun", SEEDS)
    write_cell(run, job.cells[0], job, POINTS, state="diverged", evaluations=3)
    write_cell(run, job.cells[1], job, POINTS, state="running", evaluations=2)
    table = {(row["method"], row["arm"]): row for row in report(tmp_path)}
    assert len(table) == 8
    lost = table["PPO", "after-0.99"]
    assert lost["CheetahRun"] == lost["WalkerWalk"] == "3 missing"
    assert lost["IQM"] == lost["IQM less that of after-0.9"] == "incomplete"
    assert table["PPO", "before-0.9"]["WalkerWalk"].endswith("(n = 2, 1 missing)")
    partly = table["GoRL(FM)", "before-0.9"]
    assert partly["CheetahRun"] == "3 missing"
    assert partly["IQM less that of after-0.9"].endswith("(WalkerWalk only)")
    assert partly["IQM"] == "incomplete"  # other rows have scores on both tasks
    ended = table["PPO", "before-0.99"]["CheetahRun"]
    assert ended.endswith("(n = 2, 1 diverged, 1 unfinished)")  # a diverged run scores 0
    assert table["PPO", "after-0.9"]["std, CheetahRun"] == "not recorded"
    with open(tmp_path / "report" / "tables" / "arms.csv", newline="") as file:
        counts = {row["arm"]: row for row in csv.DictReader(file)}
    assert counts["after-0.99"]["missing"] == "12"
    assert (counts["before-0.9"]["done"], counts["before-0.9"]["missing"]) == ("8", "4")
    shown = counts["before-0.99"]
    assert (shown["done"], shown["diverged"], shown["unfinished"]) == ("10", "1", "1")


def test_metrics_are_those_of_the_last_row(tmp_path: Path) -> None:
    ablation = make(tmp_path, TIMING, metrics=("policy_loss",))
    for arm, values in zip(ablation.arms, [(1.0, 2.0, 6.0), (1.0, 1.0, 8.0)], strict=True):
        run = RunDirectory.open(tmp_path / arm.name)
        for seed, value in zip(SEEDS, values, strict=True):
            files = run.files(Cell("ppo", "CheetahRun", seed))
            *earlier, last = files.read_metrics()
            with files.batch() as batch:
                batch.put_metrics([*earlier, {**last, "policy_loss": value}])
    (run.cell_path(Cell("ppo", "CheetahRun", 2)) / "metrics.csv").write_text("env_steps\n1\n")
    table = {row["arm"]: row for row in report(tmp_path) if row["method"] == "PPO"}
    assert table["after"]["policy_loss, CheetahRun"] == "3 ± 2.65"
    assert table["before"]["policy_loss, CheetahRun"] == "1 ± 0 (n = 2)"
    assert table["before"]["CheetahRun"].endswith("(n = 2, 1 damaged)")
    assert table["before"]["policy_loss, WalkerWalk"] == "0 ± 0"


def test_the_whole_report_is_the_same_twice_and_names_the_axis(tmp_path: Path) -> None:
    make(tmp_path, TIMING, metrics=("policy_loss",))
    request = ReportRequest((tmp_path,), repetitions=200)
    files = [write_report(request, tmp_path / name).files for name in ("one", "two")]
    for one, two in zip(*files, strict=True):
        assert one.name == two.name and one.read_bytes() == two.read_bytes()
    page = (tmp_path / "one" / "report.html").read_text()
    assert "Comparable." in page and "but for protocol.normalizer_timing" in page
    assert "the solid line is arm after" in page
    summary = write_report(request, tmp_path / "two", ("tables",)).summary
    assert "None of 2 differences from arm after are shown at this number of runs" in summary


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"discount": 0.5}, r"its protocol has another discount \(0.5, not 0.995\)"),
        ({"normalizer_timing": "after"}, "another normalizer_timing"),
    ],
)
def test_arms_that_differ_in_more_than_the_axis_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    ablation = make(tmp_path, TIMING)
    wrong = dataclasses.replace(ablation.protocol_of(ablation.arms[1]), **changes)  # type: ignore[arg-type]
    shutil.rmtree(tmp_path / "before")
    fill(tmp_path / "before", wrong)
    with pytest.raises(UserError, match=f"arm before is not what ablation.json says.*{message}"):
        report(tmp_path)


def test_hyperparameters_may_differ_along_an_axis_only(tmp_path: Path) -> None:
    ablation = make(tmp_path, Axis("ppo.clip", (0.1, 0.2)))
    shutil.rmtree(tmp_path / "0.2")
    protocol = ablation.protocol_of(make_arms(ablation.axes)[1])
    fill(tmp_path / "0.2", protocol, hyperparameters={"clip": 0.2})
    with pytest.raises(UserError, match=r"gorl-fm differs between the arms 0\.1 and 0\.2 in clip"):
        report(tmp_path)
    shutil.rmtree(tmp_path / "0.2" / "CheetahRun" / "gorl-fm")
    shutil.rmtree(tmp_path / "0.2" / "WalkerWalk" / "gorl-fm")
    assert len(report(tmp_path)) == 4


def test_other_directories_and_empty_ablations_are_refused(tmp_path: Path) -> None:
    ablation = make(tmp_path / "full")
    with pytest.raises(UserError, match="is an ablation; name it by itself"):
        ReportRequest((tmp_path / "full", tmp_path / "full" / "all")).load()
    ablation.write(tmp_path / "empty")
    with pytest.raises(UserError, match="no arm has a run yet"):
        report(tmp_path / "empty")


def test_a_single_arm_is_a_comparison_of_its_methods(tmp_path: Path) -> None:
    make(tmp_path)
    rows = report(tmp_path)
    assert [(row["method"], row["arm"]) for row in rows] == [("PPO", "all"), ("GoRL(FM)", "all")]
    differences = [row["IQM less that of PPO"] for row in rows]
    # 0.20 by the model, within the scatter of three seeds a task.
    assert differences[0] == "reference" and 0.1 < float(differences[1].split()[0]) < 0.3
    assert (tmp_path / "report" / "tables" / "pairwise.csv").is_file()
    arms = ReportRequest((tmp_path,), repetitions=100).load().arms
    assert arms is not None and results_table(arms).title == "Ablation made-up"


def test_a_method_that_was_trained_later_can_be_looked_at_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not among the methods that the ablation was begun with, of which it would be told apart."""
    make(tmp_path, algorithms=("ppo",))
    arguments = ("report", str(tmp_path), "--format", "tables", "--reps", "50", "--algos")
    assert run_command([*arguments, "gorl-fm"]) == 0
    assert "GoRL(FM)" in capsys.readouterr().out


def test_a_task_without_runs_is_not_passed_over(tmp_path: Path) -> None:
    make(tmp_path, TIMING)
    for arm in ("after", "before"):
        shutil.rmtree(tmp_path / arm / "WalkerWalk")
    for row in report(tmp_path):
        assert row["WalkerWalk"] == "3 missing"
        assert row["IQM"].endswith("] (CheetahRun only)")
