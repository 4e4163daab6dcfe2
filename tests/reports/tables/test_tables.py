"""Analysis and tables of runs whose right answer is known."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generate import METHODS, SEED_SPREAD, TASKS, generate_runs, level, write_cell
from rliable import metrics

from reports.analysis.bootstrap import Estimate
from reports.analysis.comparison import Analysis
from reports.analysis.scores import ScorePolicy
from reports.analysis.sentences import headline
from reports.figures.all_figures import make_figures
from reports.judgement.power import powers
from reports.references.published import Reference, load_reference
from reports.runs.loading import load_results
from reports.runs.names import display_name
from reports.tables.all_tables import build_tables, write_tables
from reports.tables.scores import final_returns, pairwise
from reports.tables.table import (
    Entry,
    Table,
    escape_latex,
    number,
    to_csv,
    to_latex,
    to_markdown,
    to_text,
)
from suite.common.errors import UserError
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory

REPETITIONS = 2000
PAPER = load_reference("gorl2025")


@pytest.fixture(scope="module")
def full_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five methods on six tasks with five seeds, four evaluations each."""
    path = tmp_path_factory.mktemp("full") / "run"
    generate_runs(path, points=4)
    return path


@pytest.fixture(scope="module")
def full(full_path: Path) -> Analysis:
    return Analysis(load_results([full_path]), repetitions=REPETITIONS)


@pytest.fixture
def small_path(tmp_path: Path) -> Path:
    """Two methods on two tasks with two seeds."""
    generate_runs(tmp_path / "run", ("ppo", "gorl-fm"), TASKS[:2], seeds=(0, 1), points=4)
    return tmp_path / "run"


def analysis_of(*paths: Path, policy: ScorePolicy | None = None) -> Analysis:
    results = load_results(paths)
    return Analysis(results, policy=policy or ScorePolicy(), repetitions=200)


def tables_of(analysis: Analysis, *references: Reference) -> dict[str, Table]:
    return {table.name: table for table in build_tables(analysis, references)}


def texts(table: Table) -> list[list[str]]:
    return [[entry.text for entry in row] for row in table.rows]


def column(table: Table, name: str) -> list[str]:
    return [row[table.columns.index(name)].text for row in table.rows]


def stored_scores(path: Path, algorithm: str) -> np.ndarray:
    """Reads [seeds, tasks] final scores straight from the files."""
    scores = np.empty((5, len(TASKS)))
    for seed, (index, task) in itertools.product(range(5), enumerate(TASKS)):
        file = path / task / algorithm / f"seed-{seed:03d}" / "curve.csv"
        rows = list(csv.DictReader(file.open()))
        last = [row for row in rows if row["mode"] == "deterministic"][-1]
        scores[seed, index] = float(last["return_mean"]) / 1000
    return scores


def test_aggregates_of_the_known_model(full: Analysis, full_path: Path) -> None:
    for algorithm in METHODS:
        scores = stored_scores(full_path, algorithm)
        iqm, mean = full.estimates.aggregate(algorithm), full.estimates.aggregate(algorithm, "mean")
        assert iqm.value == pytest.approx(metrics.aggregate_iqm(scores), abs=1e-9)
        assert mean.value == pytest.approx(scores.mean(), abs=1e-9)
        truth = np.mean([level(algorithm, task) for task in TASKS])
        # Four standard errors of a mean of 30 runs.
        assert mean.value == pytest.approx(truth, abs=4 * SEED_SPREAD / math.sqrt(30))
        assert mean.low < mean.value < mean.high
        assert mean.high - mean.low == pytest.approx(4 * SEED_SPREAD / math.sqrt(30), rel=0.5)


def test_claims_of_the_known_model(full: Analysis) -> None:
    claimed = {(pair.first, pair.second) for pair in full.differences.pairs if pair.significant}
    # The true levels are 0.50, 0.40, 0.42, 0.70 and 0.72 at a standard error of 0.0055.
    far = {
        pair
        for pair in itertools.combinations(METHODS, 2)
        if abs(level(pair[0], TASKS[0]) - level(pair[1], TASKS[0])) > 0.05
    }
    assert len(full.differences.pairs) == 10
    assert far <= claimed
    for pair in full.differences.pairs:
        expected = level(pair.first, TASKS[0]) - level(pair.second, TASKS[0])
        assert pair.difference.value == pytest.approx(expected, abs=0.04)
    assert headline(full).startswith("GoRL(Diff) has the highest IQM score, 0.7")
    assert "significantly above PPO" in headline(full)


def test_leave_one_task_out(full: Analysis, full_path: Path) -> None:
    scores = stored_scores(full_path, "fpo")
    for index, task in enumerate(TASKS):
        rest = np.delete(scores, index, axis=1)
        expected = metrics.aggregate_iqm(rest)
        assert full.estimates.without_task[task]["fpo"] == pytest.approx(expected, abs=1e-9)


def test_sample_efficiency_ends_at_the_final_iqm(full: Analysis) -> None:
    band = full.estimates.sample_efficiency("env_steps")["dppo"]
    assert band.x[0] == 0 and band.x[-1] == full.results.budget
    assert band.value[0] == 0
    assert band.value[-1] == pytest.approx(full.estimates.aggregate("dppo").value)
    evaluations = full.estimates.sample_efficiency("network_evaluations")["dppo"]
    assert evaluations.x[-1] == 10 * full.results.budget


def test_adding_an_algorithm_changes_no_interval_of_the_others(
    small_path: Path, tmp_path: Path
) -> None:
    alone = analysis_of(small_path)
    generate_runs(tmp_path / "b", ("fpo",), TASKS[:2], seeds=(0, 1), points=4)
    both = analysis_of(small_path, tmp_path / "b")
    assert both.algorithms == ("ppo", "fpo", "gorl-fm")
    assert both.estimates.aggregate("gorl-fm") == alone.estimates.aggregate("gorl-fm")


def test_tasks_that_some_lack(small_path: Path, tmp_path: Path) -> None:
    generate_runs(tmp_path / "b", ("fpo",), TASKS[:1], seeds=(0, 1), points=4)
    analysis = analysis_of(small_path, tmp_path / "b")
    assert analysis.tasks == TASKS[:2]
    assert analysis.algorithms == ("ppo", "gorl-fm")
    assert analysis.scores.left_out == {"fpo": (TASKS[1],)}
    assert f"Not aggregated: FPO (no score on {TASKS[1]})" in tables_of(analysis)["aggregates"].note
    shutil.rmtree(small_path / TASKS[1] / "ppo")
    analysis = analysis_of(small_path, tmp_path / "b")
    assert analysis.tasks == TASKS[:1]
    assert analysis.algorithms == ("ppo", "fpo", "gorl-fm")


def test_nothing_finished_yet(small_path: Path) -> None:
    run = RunDirectory.open(small_path)
    for cell in run.cells():
        write_cell(run, cell, Job(cell.algorithm, cell.task, (0, 1)), 4, "running", 2)
    analysis = analysis_of(small_path)
    assert analysis.algorithms == ()
    assert headline(analysis) == "No algorithm has a score that can be aggregated yet."
    tables = tables_of(analysis)
    assert "aggregates" not in tables
    assert len(tables["findings"].rows) == 8
    unfinished = ["2 unfinished"] * 2
    assert texts(tables["final_returns"]) == [["PPO", *unfinished], ["GoRL(FM)", *unfinished]]


def test_one_seed_has_no_interval_and_no_power(tmp_path: Path) -> None:
    generate_runs(tmp_path / "one", ("ppo", "fpo"), TASKS[:2], seeds=(3,), points=4)
    analysis = analysis_of(tmp_path / "one")
    assert not analysis.estimates.aggregate("ppo").has_interval
    assert not analysis.differences.pairs[0].significant
    assert column(tables_of(analysis)["aggregates"], "coverage of 95%") == ["", ""]
    with pytest.raises(UserError, match="two finished runs on every task"):
        powers(analysis.scores, 0.05)


@pytest.fixture(scope="module")
def five_seeds(full_path: Path) -> Analysis:
    """The five methods on one of the tasks, where ten pairs cannot be told apart."""
    results = load_results([full_path])
    runs = tuple(run for run in results.runs if run.task == TASKS[0])
    return Analysis(dataclasses.replace(results, runs=runs), repetitions=REPETITIONS)


def test_too_few_runs_are_not_called_indistinguishable(five_seeds: Analysis) -> None:
    lacking = "needs 6 seeds or 2 tasks"  # 10 x 2 / 252 is above 5%, 10 x 2 / 924 is not
    assert "distinguishable" not in headline(five_seeds)
    others = "GoRL(Diff), PPO, DPPO and FPO"
    assert f", too few runs to tell it from {others}: {lacking} (" in headline(five_seeds)
    table = pairwise(five_seeds)
    assert set(column(table, "differ")) == {"too few runs"}
    sentence = f"There are too few runs to tell the pairs apart: {lacking}."
    assert sentence in table.note
    captions = {figure.name: figure.caption for figure in make_figures(five_seeds)}
    assert sentence in captions["comparisons"]


def test_enough_runs_are_not_called_too_few(full: Analysis) -> None:
    assert full.differences.shortage is None
    assert {"yes"} <= set(column(pairwise(full), "differ")) <= {"yes", "no"}
    few = dataclasses.replace(full, repetitions=100)
    assert few.differences.shortage is not None and few.differences.shortage.remedy == "--reps 200"
    assert set(column(pairwise(few), "differ")) == {"too few permutations"}


def test_the_mean_may_contradict_the_iqm(full: Analysis) -> None:
    """The test is of the mean: a lower one of the best by IQM is said, not turned round."""
    best = max(full.algorithms, key=lambda a: full.estimates.aggregate(a).value)
    turned = [
        dataclasses.replace(pair, mean_difference=Estimate(-pair.mean_difference.value))
        for pair in full.differences.pairs
    ]
    analysis = dataclasses.replace(full)
    vars(analysis.differences)["pairs"] = tuple(turned)
    assert "significantly above" not in headline(analysis)
    assert "with a mean score significantly below that of" in headline(analysis)
    assert headline(analysis).startswith(display_name(best))


def test_power_analysis(full: Analysis) -> None:
    found = powers(full.scores, 0.02)
    assert len(found) == 10
    # 0.02 between means of six tasks with spread 0.03, at 5% / 10 and 80%: about 10 seeds.
    expected = 2 * SEED_SPREAD**2 / 6 * ((2.807 + 0.842) / 0.02) ** 2
    needed = [found[pair].seeds_needed() for pair in [("ppo", "fpo"), ("ppo", "dppo")]]
    assert needed == pytest.approx([expected] * 2, rel=0.6)
    with pytest.raises(UserError, match=r"delta = 1\.5"):
        powers(full.scores, 1.5)


def test_wrong_questions(small_path: Path) -> None:
    results = load_results([small_path])
    with pytest.raises(UserError, match="'greedy'; there are: deterministic, sample"):
        Analysis(results, mode="greedy")
    with pytest.raises(UserError, match="repetitions = 0"):
        Analysis(results, repetitions=0)


def test_table_1_beside_the_papers(full: Analysis, full_path: Path) -> None:
    table = final_returns(full, (PAPER,))
    assert table.columns == ("method", *TASKS)
    assert len(table.rows) == 10
    scores = 1000 * stored_scores(full_path, "ppo")[:, 0]
    assert texts(table)[0][:2] == ["PPO", f"{scores.mean():.2f} ± {scores.std(ddof=1):.2f}"]
    assert texts(table)[1][:2] == ["PPO (gorl2025)", "724.83 ± 155.67"]
    assert texts(table)[9] == [
        "GoRL(Diff) (gorl2025)",
        *("902.24 ± 2.20", "844.74 ± 59.43", "884.59 ± 26.95"),
        *("608.61 ± 22.07", "874.63 ± 38.79", "908.96 ± 30.45"),
    ]
    assert len(table.rows[0][1].runs) == 5


def test_the_paper_is_shipped_whole() -> None:
    assert set(PAPER.values) == set(itertools.product(METHODS, TASKS))
    best = {task: max(METHODS, key=lambda a: PAPER.values[a, task].mean) for task in TASKS}
    assert [best[task] for task in TASKS] == [
        *("gorl-diff", "gorl-fm", "gorl-diff", "gorl-fm", "gorl-diff", "gorl-fm")
    ]


HEADER = "algorithm,task,return_mean,return_std,seeds"


def test_references_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(f"{HEADER}\nppo,FishSwim,1,2,3\n", encoding="utf-8-sig")
    assert load_reference(str(file)).values["ppo", "FishSwim"].seeds == 3
    with pytest.raises(UserError, match="did you mean 'gorl2025'"):
        load_reference("gorl_2025")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("algorithm,task\nppo,FishSwim\n", "no column 'return_mean'; needed are algorithm"),
        (f"{HEADER}\n", "no rows"),
        (f"{HEADER}\nppo,FishSwim,nan,10,3\n", "line 2: return_mean = 'nan' must be a number"),
        (f"{HEADER}\nppo,FishSwim,1,-2,3\n", "return_std = -2 must not be negative"),
        (f"{HEADER}\nppo,FishSwim,1,inf,3\n", "return_std = 'inf'"),
        (f"{HEADER}\nppo,FishSwim,1,,3\n", "return_std = ''"),
        (f"{HEADER}\nppo,FishSwim,1\n", "return_std = ''"),
        (f"{HEADER}\nppo,FishSwim,1,2,0\n", "seeds = '0'"),
        (f"{HEADER}\nppo,FishSwim,1,2,2.5\n", "seeds = '2.5'"),
        (f"{HEADER}\n,FishSwim,1,2,3\n", "must have a name"),
        (
            f"{HEADER}\nppo,FishSwim,1,2,3\nfpo,FishSwim,1,2,3\nppo,FishSwim,9,2,3\n",
            "line 4: line 2 already has ppo on FishSwim; keep one of the two",
        ),
        (b"\xff\xfe\x00", "no text in UTF-8"),
    ],
)
def test_references_that_cannot_be(tmp_path: Path, text: str | bytes, message: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=re.escape(message)):
        load_reference(str(file))


def test_a_reference_says_what_is_not_shown(small_path: Path, tmp_path: Path) -> None:
    results = analysis_of(small_path).results
    others = f"algorithms fpo, dppo, gorl-diff, tasks {', '.join(TASKS[2:])}"
    assert PAPER.unused(results) == f"gorl2025 is not shown where there is no run: {others}"
    file = tmp_path / "mine.csv"
    file.write_text(f"{HEADER}\nppo,{TASKS[0]},1,2,3\nppoo,{TASKS[0]},1,2,3\nppo,Fish,1,2,3\n")
    reference = load_reference(str(file))
    said = "mine.csv is not shown where there is no run: algorithm ppoo, task Fish"
    assert reference.unused(results) == said
    table = final_returns(analysis_of(small_path), (reference,))
    assert said in table.note and "1.00 ± 2.00" in {e.text for row in table.rows for e in row}
    file.write_text(f"{HEADER}\nppoo,{TASKS[0]},1,2,3\nppo,Fish,1,2,3\n")
    with pytest.raises(UserError, match="no row is of an algorithm and a task that were run"):
        load_reference(str(file)).check_use(results)
    for value in ("-1", "1e9"):
        file.write_text(f"{HEADER}\nppo,{TASKS[0]},{value},2,3\n")
        with pytest.raises(UserError, match=r"outside \[0, 1000\], the task's bounds"):
            load_reference(str(file)).check_use(results)


def test_ledger_and_cost(small_path: Path) -> None:
    run = RunDirectory.open(small_path)
    cell = Cell("ppo", TASKS[0], 1)
    write_cell(run, cell, Job("ppo", TASKS[0], (0, 1)), 4, "done", 3)
    tables = tables_of(analysis_of(small_path))
    assert column(tables["ledger"], "sum")[:2] == ["307,200-460,800", "460,800"]
    assert column(tables["ledger"], "equal") == ["no", "yes", "yes", "yes"]
    cost = tables["cost"]
    assert column(cost, "wall-clock s")[2:] == ["86", "86"]
    assert column(cost, "other s")[2:] == ["20", "20"]
    assert column(cost, "steps/s")[2:] == [f"{2 * 460_800 / 63:,.0f}"] * 2
    assert column(cost, "compile s")[1:] == ["12.5"] * 3
    assert column(cost, "memory MiB") == ["3"] * 4
    assert column(cost, "device memory MiB") == ["not recorded"] * 4
    assert cost.columns[-1] == "tuning"  # no run recorded its gradient steps
    answers = dict(texts(tables["comparability"]))
    assert answers["budgets equal to the step"].startswith(f"no: {cell}")


def test_costs_of_runs_that_were_resumed_or_are_old(small_path: Path) -> None:
    run = RunDirectory.open(small_path)
    tuning = {"ppo": {"configurations": 3, "steps": 9}}
    starts: dict[str, list[dict[str, Any]]] = {
        "ppo": [{"compile_seconds": 2, "peak_memory_bytes": 5 * 2**20}, {"compile_seconds": 3.5}],
        "gorl-fm": [{"device": "none", "packages": 3}],
    }
    for name, seed in itertools.product(starts, (0, 1)):
        cell = Cell(name, TASKS[0], seed)
        record = run.files(cell).read_run()
        assert record
        (run.cell_path(cell) / "run.json").unlink()
        protocol = {**record.configuration.protocol, "tuning": tuning}
        for start in starts[name]:
            run.write_run(dataclasses.replace(record.configuration, protocol=protocol), start)
    cost = tables_of(analysis_of(small_path))["cost"]
    first = slice(None, None, 2)  # rows of the first task
    assert column(cost, "compile s")[first] == ["5.5", "not recorded"]
    assert column(cost, "memory MiB")[first] == ["5", "not recorded"]
    assert column(cost, "tuning")[first] == ["3 configurations × 9 steps", "not recorded"]


def test_gradient_steps_show_where_a_run_recorded_them(small_path: Path) -> None:
    run = RunDirectory.open(small_path)
    for seed in (0, 1):
        cell = Cell("ppo", TASKS[0], seed)
        record = run.files(cell).read_run()
        assert record
        run.write_run(record.configuration, {"gradient_steps": 512})
    cost = tables_of(analysis_of(small_path))["cost"]
    # 460,800 steps are 30 updates of 15,360.
    assert column(cost, "gradient steps") == ["15,360", *["not recorded"] * 3]
    assert column(cost, "update-to-data") == ["0.03333", *["not recorded"] * 3]
    assert "update-to-data: how many of them for each environment step" in cost.note


def test_failures_show_and_their_policy_is_printed(small_path: Path) -> None:
    run = RunDirectory.open(small_path)
    write_cell(run, Cell("ppo", TASKS[0], 1), Job("ppo", TASKS[0], (0, 1)), 4, "diverged", 2)
    shutil.rmtree(small_path / TASKS[1] / "gorl-fm" / "seed-000")
    tables = tables_of(analysis_of(small_path, policy=ScorePolicy(diverged="exclude")))
    assert {"diverged", "missing"} <= set(column(tables["findings"], "kind"))
    assert tables["findings"].note.startswith("Diverged runs are left out;")
    answers = dict(texts(tables["comparability"]))
    assert answers["runs that count"] == "6 of 8"
    returns = texts(tables["final_returns"])
    assert returns[0][1].endswith("(n = 1, 1 diverged)")
    assert returns[1][2].endswith("(n = 1, 1 missing)")


def test_ablations_appear_with_their_runs(small_path: Path, tmp_path: Path) -> None:
    assert not [name for name in tables_of(analysis_of(small_path)) if "ablation" in name]
    paths = [small_path]
    for name, change in {"kl": {"latent_penalty": 0.0}, "one": {"stage_shares": [1.0]}}.items():
        paths.append(tmp_path / name)
        generate_runs(paths[-1], ("gorl-fm",), TASKS[:2], (0, 1), 4, hyperparameters=change)
    paths.append(tmp_path / "control")
    generate_runs(paths[-1], ("ppo-matched",), TASKS[:2], (0, 1), 4)
    tables = tables_of(analysis_of(*paths))
    kl = tables["ablation_kl"]
    assert column(kl, "method") == ["GoRL(FM)", "GoRL(FM) [latent_penalty=0.0]"]
    # The model knows no hyper-parameters, so the same seeds give the same returns.
    assert column(kl, "IQM difference")[1].startswith("0.000 [")
    stages = column(tables["ablation_decoder_stages"], "method")
    assert stages == ["GoRL(FM)", "GoRL(FM) [stage_shares=[1.0]]"]
    assert column(tables["controls"], "method") == ["GoRL(FM)", "PPO matched"]


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>,a|b_%$&\\".replace("/", "")
    generate_runs(tmp_path / "run", (name,), TASKS[:1], seeds=(0, 1), points=4)
    table = tables_of(analysis_of(tmp_path / "run"))["final_returns"]
    assert next(csv.reader(to_csv(table).splitlines()[1:]))[0] == name
    markdown = to_markdown(table)
    assert "<script>" not in markdown
    assert r"a\|b" in markdown
    assert r",a|b\_\%\$\&\textbackslash{}" in to_latex(table)


def test_markup() -> None:
    rows = ((Entry("x, y"), number(1234.56)), (Entry("z"), number(None)), (Entry("m"), number(-2)))
    table = Table("t_1", "A title", ("name", "value"), rows, "Note: 5%.")
    assert to_csv(table) == 'name,value\n"x, y",1234.6\nz,\nm,-2.0\n'
    assert to_markdown(table).splitlines() == [
        "### A title",
        "",
        "| name | value |",
        "| --- | --: |",
        "| x, y | 1,234.6 |",
        "| z |  |",
        "| m | -2.0 |",
        "",
        "Note: 5%.",
    ]
    assert to_text(table).splitlines() == [
        "A title",
        "  name    value",
        "  x, y  1,234.6",
        "  z",
        "  m        -2.0",
        "Note: 5%.",
    ]
    hostile = Table("t", "t", ("name",), ((Entry("\x1b[31mred\nline"),),))
    assert to_text(hostile).splitlines()[2] == "  \ufffd[31mred\ufffdline"
    latex = to_latex(table)
    assert r"\caption{A title. Note: 5\%.}" in latex
    assert r"\begin{tabular}{lr}" in latex and r"x, y & 1,234.6 \\" in latex
    assert [latex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert number(math.inf).text == "∞" and number(math.nan).text == ""
    assert escape_latex("~^{}#") == r"\textasciitilde{}\textasciicircum{}\{\}\#"


def test_files_are_the_same_every_time(small_path: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        tables = build_tables(analysis_of(small_path), (PAPER,))
        files = write_tables(tables, tmp_path / name)
        assert len(files) == 3 * len(tables)
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    assert not any(str(tmp_path).encode() in content for content in contents[0].values())


FORMULAS = ("=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "=", "\t=1", "-x")
NUMBERS = (
    "-2.0",
    "+0.05 [-0.01, 0.11]",
    "-0.3 ± 0.1",
    "-1e-05",
    "-",
    "+5%",
    "-inf",
    "1 − 2",
    "x=1",
)


def test_no_cell_of_a_spreadsheet_is_a_formula() -> None:
    table = Table("t", "t", ("=head", "b"), tuple((Entry(each), Entry("")) for each in FORMULAS))
    first = [row[0] for row in csv.reader(to_csv(table).splitlines())]
    assert first[:4] == ["'=head", "'=1+1", "'@SUM(A1)", "'+cmd|' /C calc'!A0"]
    assert not [cell for cell in first if len(cell) > 1 and cell[0] in "=@+-\t"]
    same = Table("t", "t", ("a",), tuple((Entry(each),) for each in NUMBERS))
    assert [row[0] for row in csv.reader(to_csv(same).splitlines())][1:] == [*NUMBERS]


@pytest.mark.parametrize("begin", ["[1em]", "*"])
def test_no_row_of_latex_is_an_option_of_the_line_before(begin: str) -> None:
    table = Table("t", "t", (f"{begin}a", "b"), ((Entry(f"{begin}x"), Entry(begin)),))
    lines = to_latex(table).splitlines()
    assert not [line for line in lines if line.startswith(("[", "*"))]
    assert f"{{}}{begin}x & {begin} \\\\" in lines


@pytest.mark.parametrize("form", [to_csv, to_markdown, to_latex, to_text])
def test_no_table_holds_what_commands_a_terminal(form: Callable[[Table], str]) -> None:
    bad = "a\x1b[2J\x9b\u202eb"
    written = form(Table("t", bad, (bad,), ((Entry(bad),),), bad))
    assert not {"\x1b", "\x9b", "\u202e"} & {*written}
