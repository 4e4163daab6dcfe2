"""Which runs a number is from, as what they count, and what their returns lie between."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generate import generate_runs, write_cell

from reports.analysis.budgets import equal_budgets
from reports.analysis.comparison import Analysis
from reports.analysis.scores import DEFAULT_POLICY, ScorePolicy, median_time
from reports.analysis.sentences import headline
from reports.audit.all_checks import audit
from reports.audit.verdict import judge
from reports.figures.all_figures import make_figures
from reports.judgement.power import powers
from reports.page.curve_data import curve_data
from reports.runs.loading import load_results
from reports.tables.all_tables import build_tables
from reports.tables.scores import final_returns, times_to_threshold
from reports.tables.table import Table
from reports.tables.variants import stages
from reports.writing.report_request import Subject
from reports.writing.terminal import summary
from suite.common.convert import convert
from suite.common.errors import UserError
from suite.storage.records import Cell, Configuration, Job
from suite.storage.run_directory import RunDirectory

TASK, OTHER = "CheetahRun", "FishSwim"
POINTS = 11
JOB = Job("ppo", TASK, (0, 1, 2, 3))
LAST = ScorePolicy(incomplete="last")


def analysis_of(path: Path, policy: ScorePolicy = DEFAULT_POLICY) -> Analysis:
    return Analysis(load_results([path]), policy=policy, repetitions=50)


def tables_of(analysis: Analysis) -> dict[str, Table]:
    return {table.name: table for table in build_tables(analysis)}


def first_row(table: Table) -> dict[str, str]:
    texts = (entry.text for entry in table.rows[0])
    return dict(zip(table.columns, texts, strict=True))


def stored_returns(run: RunDirectory, seed: int, algorithm: str = "ppo") -> list[float]:
    rows = run.files(Cell(algorithm, TASK, seed)).read_curve()
    return [row.return_mean for row in rows if row.mode == "deterministic"]


def put_in_stages(run: RunDirectory, cell: Cell, last: int = 5) -> None:
    """Says that evaluations up to the `last`, from 0, were in stage 0, the others in stage 1."""
    step = run.protocol.steps_per_update * run.protocol.eval_interval
    rows = run.files(cell).read_curve()
    with run.files(cell).batch() as batch:
        batch.put_curve(
            [dataclasses.replace(row, stage=int(row.env_steps > last * step)) for row in rows]
        )


def edit_last_return(run: RunDirectory, cell: Cell, value: str) -> None:
    file = run.cell_path(cell) / "curve.csv"
    lines = file.read_text().splitlines()
    fields = lines[-2].split(",")
    lines[-2] = ",".join([*fields[:2], value, *fields[3:]])
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run, an edited one, an unfinished one, and one that diverged in stage 0."""
    path = tmp_path_factory.mktemp("counting") / "run"
    run = generate_runs(path, ("ppo",), (TASK,), JOB.seeds, POINTS)
    write_cell(run, JOB.cells[2], JOB, POINTS, "running", 8)
    write_cell(run, JOB.cells[3], JOB, POINTS, "diverged", 5)
    for cell in JOB.cells:
        put_in_stages(run, cell)
    edit_last_return(run, JOB.cells[1], "999.0")
    return run


@pytest.fixture
def mixed(untouched: RunDirectory, tmp_path: Path) -> RunDirectory:
    """The same runs, to be changed."""
    return RunDirectory.open(shutil.copytree(untouched.path, tmp_path / "run"))


def stage_ends(run: RunDirectory, policy: ScorePolicy) -> tuple[list[list[float]], list[int]]:
    """Returns the returns after each of the two stages of the runs that count, and their seeds."""
    whole, unfinished, diverged = (stored_returns(run, seed) for seed in (0, 2, 3))
    ends = {0: (whole[5], whole[-1])}
    if policy.incomplete == "zero":
        ends |= {1: (0.0, 0.0), 2: (unfinished[5], 0.0)}  # nothing of an edited run is believed
    if policy.incomplete == "last":
        ends[2] = (unfinished[5], unfinished[-1])
    if policy.diverged != "exclude":
        last = 0.0 if policy.diverged == "zero" else diverged[-1]
        ends[3] = (last, last)
    return [[end[stage] for end in ends.values()] for stage in (0, 1)], list(ends)


def test_the_start_of_a_stage_is_not_its_end(mixed: RunDirectory) -> None:
    """A short warm-up is stage 0, and its one evaluation is of the policy that begins."""
    for cell in JOB.cells:
        put_in_stages(mixed, cell, last=0)
    analysis = analysis_of(mixed.path, ScorePolicy("zero", "exclude"))
    row = first_row(stages(analysis))
    assert row["stage 0"] == ""
    final = first_row(final_returns(analysis))[TASK]
    assert final == f"{row['stage 1']} (n = {row['n'].replace(' (', ', ')}"


@pytest.mark.parametrize("diverged", ["zero", "last", "exclude"])
@pytest.mark.parametrize("incomplete", ["zero", "last", "exclude"])
def test_the_last_stage_s_return_is_the_final_one(
    untouched: RunDirectory, diverged: Any, incomplete: Any
) -> None:
    """Every run counts in every stage as it does in the final return, and n says how many."""
    policy = ScorePolicy(diverged, incomplete)
    analysis = analysis_of(untouched.path, policy)
    row = first_row(stages(analysis))
    ends, seeds = stage_ends(untouched, policy)
    for stage, values in enumerate(ends):
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        assert row[f"stage {stage}"] == f"{np.mean(values):.2f}{spread}"
    assert row["n"] == f"{len(seeds)} (1 diverged, 1 unfinished, 1 damaged)"
    final = first_row(final_returns(analysis))[TASK]
    assert final == f"{row['stage 1']} (n = {row['n'].replace(' (', ', ')}"


def test_only_whole_runs_tell_what_the_budget_costs(mixed: RunDirectory) -> None:
    file = mixed.cell_path(JOB.cells[1]) / "curve.csv"
    file.write_text(file.read_text().replace(",130.0,", ",99999.0,"))
    tables = tables_of(analysis_of(mixed.path))
    cost = first_row(tables["cost"])
    assert cost["n"] == "1 (1 diverged, 1 unfinished, 1 damaged)"
    assert cost["wall-clock s"] == "140"  # 20 s and, ten times, 10 updates of 1.1 s and 1 s
    ledger = first_row(tables["ledger"])
    assert (ledger["n"], ledger["equal"]) == ("3 (1 diverged, 1 unfinished, 1 damaged)", "no")
    write_cell(mixed, JOB.cells[0], JOB, POINTS, "diverged", 5)
    cost = first_row(tables_of(analysis_of(mixed.path))["cost"])
    assert (cost["n"], cost["wall-clock s"]) == ("0 (2 diverged, 1 unfinished, 1 damaged)", "")
    assert (cost["parameters"], cost["networks per action"]) == ("39,597", "1")


def test_the_cost_of_a_figure_is_the_median_of_whole_runs(mixed: RunDirectory) -> None:
    def slow(cell: Cell, seconds: float) -> None:
        write_cell(mixed, cell, JOB, POINTS)
        rows = mixed.files(cell).read_curve()
        slower = [dataclasses.replace(r, wall_seconds=seconds * r.env_steps) for r in rows]
        with mixed.files(cell).batch() as batch:
            batch.put_curve(slower)

    slow(JOB.cells[1], 1.0)
    slow(JOB.cells[2], 4.0)
    trade_off = {each.name: each for each in make_figures(analysis_of(mixed.path))}["trade-off"]
    drawn = [float(np.ravel(line.get_xdata())[-1]) for line in trade_off.draw().axes[0].lines]
    assert set(drawn) == {1.0 * load_results([mixed.path]).budget}


def test_runs_stopped_at_a_tenth_and_at_nine_tenths(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), (TASK,), (0, 1), POINTS)
    job = Job("ppo", TASK, (0, 1))
    write_cell(run, job.cells[0], job, POINTS, "running", 2)
    write_cell(run, job.cells[1], job, POINTS, "running", 10)
    stopped = "2 runs unfinished, at 10% to 90% of the budget"
    results = load_results([run.path])
    answers = {
        row[0].text: row[1].text for row in tables_of(analysis_of(run.path))["comparability"].rows
    }
    assert answers["budgets equal to the step"] == f"no, {stopped}"
    (check,) = [check for check in audit(results) if check.name == "equal steps"]
    assert (check.verdict, check.text.partition("; ")[2]) == ("warning", f"not judged: {stopped}")
    assert f"Equal budgets to the step: no, {stopped}." in summary(Subject(analysis_of(run.path)))
    assert judge(results).level == "warn"  # what is left out is ranked with nothing
    verdict = judge(results, policy=LAST)
    assert (verdict.level, verdict.word) == ("bad", "Not comparable.")
    assert summary(Subject(analysis_of(run.path, LAST))).startswith("Not comparable.")
    said = "Not at the end of the budget: 2 unfinished. Diverged runs score 0 from there on; "
    said += "unfinished runs keep their last evaluation; damaged and missing runs are left out."
    captions = {each.name: each.caption for each in make_figures(analysis_of(run.path, LAST))}
    for name in ("learning-curves", "final-returns", "aggregates", "trade-off", "comparisons"):
        assert said in captions[name]


def test_steps_of_runs_of_one_name_are_all_judged(tmp_path: Path) -> None:
    half = generate_runs(tmp_path / "half", ("ppo",), (TASK,), (0, 1), POINTS, evaluations=6)
    whole = ("ppo",), (TASK,), (0, 1), POINTS
    one = generate_runs(tmp_path / "one", *whole, hyperparameters={"clip": 0.2})
    two = generate_runs(tmp_path / "two", *whole, hyperparameters={"clip": 0.3})

    def steps(*runs: RunDirectory) -> tuple[str, str]:
        checks = {each.name: each for each in audit(load_results([run.path for run in runs]))}
        return checks["equal steps"].verdict, checks["equal steps"].text

    verdict, text = steps(one, two)
    assert verdict == "ok"
    assert "in each of 4 finished runs" in text
    verdict, text = steps(half, one, two)
    assert verdict == "failed"
    assert text.count("(-50%)") == 2


def test_budgets_of_runs_that_are_all_under_way_or_diverged(tmp_path: Path) -> None:
    arguments = (tmp_path / "run", ("ppo",), (TASK,), (0, 1), POINTS)
    run = generate_runs(*arguments, state="running", evaluations=6)
    results = load_results([run.path])
    said = "not judged, as no run is finished, 2 runs unfinished, at 50% of the budget"
    assert equal_budgets(results) == said
    assert judge(results, policy=LAST).level == "warn"  # all have taken the same steps
    generate_runs(*arguments)
    assert equal_budgets(load_results([run.path])) == "yes"
    job = Job("ppo", TASK, (0, 1))
    write_cell(run, job.cells[0], job, POINTS, "diverged", 4)
    diverged = "yes, except that 1 run diverged, at 30% of the budget"
    assert equal_budgets(load_results([run.path])) == diverged
    assert f"Equal budgets to the step: {diverged}." in judge(load_results([run.path])).text


@pytest.mark.parametrize(
    ("times", "median"),
    [
        ([10.0], 10.0),
        ([10.0, 20.0], 15.0),
        ([10.0, 20.0, math.inf], 20.0),
        ([20.0, 10.0, math.inf, 40.0], 30.0),
        ([10.0, math.inf], math.inf),
        ([10.0, 20.0, math.inf, math.inf], math.inf),
        ([math.inf, math.inf], math.inf),
    ],
)
def test_median_times(times: list[float], median: float) -> None:
    assert median_time(times) == median


def test_steps_to_a_score_are_those_of_the_runs_that_count(mixed: RunDirectory) -> None:
    """A run that diverged got to a score if it was there before."""
    y = {seed: stored_returns(mixed, seed) for seed in (0, 3)}
    step = mixed.files(JOB.cells[0]).read_curve()[2].env_steps
    first = [next(i for i, value in enumerate(y[seed]) if value >= 250) for seed in (0, 3)]
    table = times_to_threshold(analysis_of(mixed.path))
    assert first_row(table)[TASK] == f"{np.median(first) * step:,.0f} (2/2)"
    assert max(y[0] + y[3]) < 750
    assert table.rows[2][2].text == "not reached (0/2)"
    everyone = times_to_threshold(analysis_of(mixed.path, ScorePolicy(incomplete="zero")))
    assert first_row(everyone)[TASK].endswith("(3/4)")
    write_cell(mixed, JOB.cells[3], JOB, POINTS, "diverged", 1)
    table = times_to_threshold(analysis_of(mixed.path))
    assert first_row(table)[TASK] == "not reached (1/2)"


def test_best_and_area_of_a_diverged_run_are_those_of_the_curve_that_is_drawn(
    mixed: RunDirectory,
) -> None:
    for seed in (0, 1, 2):
        write_cell(mixed, JOB.cells[seed], JOB, POINTS, "diverged", 5)
    analysis = analysis_of(mixed.path)
    curves = [[*stored_returns(mixed, seed), *[0.0] * 6] for seed in JOB.seeds]
    scores = np.array(curves) / 1000
    area = [sum((a + b) / 2 for a, b in itertools.pairwise(y)) / 10 for y in scores]
    assert analysis.scores.of("ppo", TASK).scores.tolist() == [0.0] * 4
    assert analysis.scores.of("ppo", TASK, "best").scores == pytest.approx(scores.max(axis=1))
    assert analysis.scores.of("ppo", TASK, "auc").scores == pytest.approx(area)
    band = analysis.estimates.learning_curve("ppo", TASK)
    assert band is not None
    assert band.value == pytest.approx(1000 * scores.mean(axis=0))
    note = tables_of(analysis)["reductions"].note
    assert "Diverged runs score 0 from there on" in note


def test_a_run_that_diverged_after_its_last_evaluation_ends_at_0(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), (TASK,), (0,), 3, state="diverged")
    analysis = analysis_of(run.path)
    assert analysis.scores.of("ppo", TASK).scores.tolist() == [0.0]
    band = analysis.estimates.learning_curve("ppo", TASK)
    assert band is not None and band.value[-1] == 0.0


# --- Bounds ------------------------------------------------------------------------------


def drawn_returns(analysis: Analysis) -> set[float]:
    """Returns every return that the figures of curves and of final returns show."""
    figures = {figure.name: figure for figure in make_figures(analysis)}
    canvases = [figures[name].draw() for name in ("learning-curves-seeds", "learning-curves")]
    lines = [line for canvas in canvases for axes in canvas.axes for line in axes.lines]
    return {float(y) for line in lines for y in np.ravel(line.get_ydata())}


def test_one_impossible_return_costs_no_other_run_its_place(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), (TASK,), (0, 1, 2), 4)
    edit_last_return(run, Cell("ppo", TASK, 1), "1200.0")
    analysis = analysis_of(run.path)
    assert [f.text for f in analysis.results.findings if f.kind == "out of bounds"] == [
        "has a return of 1200, outside [0, 1000]"
    ]
    others = [stored_returns(run, seed)[-1] for seed in (0, 2)]
    row = first_row(tables_of(analysis)["final_returns"])
    assert row[TASK].startswith(f"{np.mean(others):.2f} ± ")
    assert row[TASK].endswith("(n = 2, 1 damaged)")
    assert max(drawn_returns(analysis)) < 1000
    (mine,) = [each for each in curve_data([analysis])["curves"] if each["algorithm"] == 0]
    assert (mine["count"], len(mine["runs"])) == (2, 2)
    assert analysis.differences.pairs


def test_scores_lie_between_the_bounds_of_their_own_task(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), (OTHER,), (0, 1), 4)
    generate_runs(run.path, ("ppo", "fpo"), (TASK,), (0, 1), 4, bounds=(-400.0, 100.0))
    analysis = analysis_of(run.path)
    assert analysis.results.findings == ()
    finals = np.array([stored_returns(run, seed)[-1] for seed in (0, 1)])
    assert finals.min() < 0
    assert analysis.scores.of("ppo", TASK).scores == pytest.approx((finals + 400) / 500)
    tables = tables_of(analysis)
    assert first_row(tables["final_returns"])[TASK].startswith(f"{finals.mean():.2f} ± ")
    others = analysis.scores.of("ppo", OTHER).scores
    mean = np.mean([(finals + 400) / 500, others])
    assert analysis.estimates.aggregate("ppo", "mean").value == pytest.approx(mean)
    assert curve_data([analysis])["bounds"] == [[-400, 100], [0, 1000]]
    stored = [stored_returns(run, seed, a) for a in ("ppo", "fpo") for seed in (0, 1)]
    assert min(drawn_returns(analysis)) == min(itertools.chain(*stored))
    answers = {row[0].text: row[1].text for row in tables["comparability"].rows}
    assert answers["score"] == "place of the return between its task's bounds"


def test_without_bounds_there_are_returns_but_no_scores(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), (OTHER,), (0, 1, 2), 4)
    generate_runs(run.path, ("ppo", "fpo"), (TASK,), (0, 1, 2), 4, bounds=None)
    job = Job("ppo", TASK, (0, 1, 2))
    write_cell(run, job.cells[2], job, 4, "diverged", 2, bounds=None)
    analysis = analysis_of(run.path)
    assert (analysis.tasks, analysis.scores.left_out) == ((OTHER,), {})
    tables = tables_of(analysis)
    finals = [stored_returns(run, seed)[-1] for seed in (0, 1)]
    assert max(finals) < 0
    # A return of 0 would be the best there can be: a diverged run is left out.
    expected = f"{np.mean(finals):.2f} ± {np.std(finals, ddof=1):.2f} (n = 2, 1 diverged)"
    assert first_row(tables["final_returns"])[TASK] == expected
    for name in ("task_scores", "time_to_threshold"):
        assert first_row(tables[name])[TASK] == ""
        assert first_row(tables[name])[OTHER]
    said = f"No scores on {TASK}, where the bounds of the return are not known."
    assert said in tables["aggregates"].note
    assert curve_data([analysis])["bounds"] == [None, [0, 1000]]
    assert min(drawn_returns(analysis)) < -500


def test_a_single_task_without_bounds(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), (TASK,), (0, 1), 4, bounds=None)
    analysis = analysis_of(run.path)
    assert headline(analysis) == "No algorithm has a score that can be aggregated yet."
    assert analysis.differences.iqm("ppo", "fpo") is None
    with pytest.raises(UserError, match=f"there are no scores: .* on {TASK} are unknown"):
        powers(analysis.scores, 0.1)
    assert first_row(tables_of(analysis)["final_returns"])[TASK].startswith("-")


def test_bounds_that_differ_within_a_task_or_make_no_sense(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), (TASK,), (0, 1), 4)
    cell, job = Cell("ppo", TASK, 1), Job("ppo", TASK, (0, 1))
    write_cell(run, cell, job, 4, bounds=(0.0, 2000.0))
    results = load_results([run.path])
    text = "runs have different bounds of the return, [0, 1000] and [0, 2000]: there are no scores"
    assert ("model", TASK, text) in [(f.kind, f.where, f.text) for f in results.findings]
    assert judge(results).level == "bad"
    assert not results.bounds(TASK).known
    write_cell(run, cell, job, 4, bounds=(1.0, 0.0))
    results = load_results([run.path])
    damaged = "its run.json says return_bounds = [1.0, 0.0] are not two ascending numbers"
    assert damaged in [finding.text for finding in results.findings]
    assert results.bounds(TASK).high == 1000


def test_older_runs_have_the_bounds_that_all_had(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), (TASK,), (0,), 2)
    record = json.loads((run.cell_path(Cell("ppo", TASK, 0)) / "run.json").read_text())
    stored = record["configuration"]
    assert convert(Configuration, {**stored, "return_bounds": None}).return_bounds is None
    assert convert(Configuration, {**stored, "return_bounds": [-1, 2]}).return_bounds == (-1, 2)
    del stored["return_bounds"]
    assert convert(Configuration, stored).return_bounds == (0.0, 1000.0)
