"""Published results: numbers as in their sources, several at once, curves that are only shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from generate import generate_runs, generated_protocol
from matplotlib.figure import Figure as Canvas

from reports.figures.all_figures import make_figures
from reports.figures.drawing import INK
from reports.references.cards import REFERENCES
from reports.references.published import Reference, load_reference, load_references
from reports.tables.all_tables import build_tables
from reports.tables.table import Table
from reports.writing.report_request import ReportRequest
from suite.cli import run_command
from suite.commands.exit_codes import EXIT_USER_ERROR

BRAX = load_reference("brax-playground")
SEVERAL = "gorl2025,gorl2026,brax-playground,fpo-notebook"
TASKS = ("CheetahRun", "HopperStand")
POINTS = 80
"""Evaluations to a budget of 12M steps, within which Brax has evaluated its PPO once."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("references") / "run"
    generate_runs(path, ("ppo", "gorl-diff"), TASKS, range(2), points=POINTS)
    return path


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("references") / "short"
    generate_runs(path, ("ppo",), TASKS[:1], range(2), points=3)
    return path


def budget() -> int:
    return generated_protocol(POINTS).total_steps


def tables_of(run: Path, names: str) -> dict[str, Table]:
    results = ReportRequest((run,), repetitions=50).analyse()
    return {table.name: table for table in build_tables(results, load_references(names))}


def texts(table: Table) -> list[list[str]]:
    return [[entry.text for entry in row] for row in table.rows]


# --- Numbers -----------------------------------------------------------------------------


def test_numbers_of_the_paper_of_2026() -> None:
    """Typed from the humanoid table and the returns by stage."""
    paper = load_reference("gorl2026")
    found = {pair: (each.mean, each.std, each.seeds) for pair, each in paper.values.items()}
    assert len(found) == 10
    assert found["ppo", "HumanoidStand"] == (74.97, 4.58, 3)
    assert found["dppo", "HumanoidRun"] == (6.38, 1.74, 3)
    assert found["gorl-fm", "HumanoidRun"] == (337.61, 9.06, 3)
    assert found["gorl-diff", "HumanoidStand"] == (976.10, 2.20, 3)
    assert found["fpo", "HumanoidStand"][0] == found["fpo", "HumanoidRun"][0] == 0
    assert paper.stages == {
        ("gorl-diff", "HumanoidStand"): (89.7, 873.5, 951.2, 976.1),
        ("gorl-diff", "HumanoidRun"): (17.0, 250.7, 312.8, 326.3),
        ("gorl-diff", "HopperStand"): (168, 604, 693, 869),
        ("gorl-gauss", "HopperStand"): (134, 208, 269, 282),
    }
    for (algorithm, task), stages in paper.stages.items():
        if (algorithm, task) in paper.values:
            assert stages[-1] == pytest.approx(paper.values[algorithm, task].mean, abs=0.05)


def test_curves_of_fpos_notebooks() -> None:
    curves = load_reference("fpo-notebook").evaluations
    updates = np.array([1, 7, 14, 21, 27, 34, 41, 47, 54, 61])
    ppo, fpo = curves["ppo", "CheetahRun"], curves["fpo", "CheetahRun"]
    assert list(ppo.steps) == list(fpo.steps) == list(983_040 * updates)
    assert list(ppo.mean) == [0.2, 97, 184, 268, 325, 402, 455, 493, 530, 561]
    assert list(fpo.mean) == [22, 284, 581, 700, 753, 808, 869, 857, 784, 878]
    assert ppo.seeds == 1


SOURCE: Mapping[tuple[str, float], tuple[float, float]] = {
    # Typed from the source's files: trial_0 and trial_1 at its own steps, between evaluations.
    ("CheetahRun", 50e6 / 19): (74.53947315097116, 69.0120378772385),
    ("CheetahRun", 5 * 50e6 / 19): (360.83464300841615, 352.2786757433623),
    ("CheetahRun", 15 * 50e6 / 19): (788.0586772310106, 749.5683533894388),
    ("CheetahRun", 50e6): (841.4049293796221, 674.8687482873598),
    ("CheetahRun", 3 * 500e6 / 19): (910.2298242292904, 841.8242323712299),
    ("HopperStand", 2 * 500e6 / 19): (35.78054262593127, 85.4990272579486),
    ("HopperStand", 3 * 500e6 / 19): (61.40955064053599, 112.983162975625),
}


@pytest.mark.parametrize(("task", "steps"), SOURCE)
def test_the_source_lies_on_the_lines_between_the_evaluations(task: str, steps: float) -> None:
    curve = BRAX.evaluations["ppo-brax", task]
    for seed, value in enumerate(SOURCE[task, steps]):
        assert np.interp(steps, curve.steps, curve.returns[:, seed]) == pytest.approx(value, 1e-12)


def test_brax_was_evaluated_ten_updates_apart() -> None:
    numbers = [0, 1, 2, 3, 4, 5, 6, 8, 9]  # the seventh cannot be recovered
    for algorithm, task in BRAX.evaluations:
        curve = BRAX.evaluations[algorithm, task]
        assert curve.seeds == 5
        assert np.array_equal(curve.returns, curve.returns.astype(np.float32))
        if algorithm == "ppo-brax":
            assert list(curve.steps) == [9_830_400 * number for number in numbers]
    cheetah, hopper = (BRAX.evaluations["ppo-brax", task] for task in TASKS)
    # By hand, from the means of the source at 0 and at 3/19 of 50M steps, 2.989063 and 219.014201;
    # what the source says of 10.5M steps, 289, is on the line to the next evaluation.
    assert cheetah.mean[1] == pytest.approx(2.989063 + 216.025138 * 9_830_400 * 19 / 150e6, 1e-6)
    # The returns at the end as notes on the source round them, of PPO and of SAC.
    assert (round(cheetah.mean[-1]), round(hopper.mean[-1])) == (825, 205)
    ends = [round(BRAX.evaluations["sac-brax", task].mean[-1]) for task in TASKS]
    assert ends == [905, 156]


def test_every_reference_says_where_it_is_from() -> None:
    assert list(REFERENCES) == ["gorl2025", "gorl2026", "brax-playground", "fpo-notebook"]
    for name, card in REFERENCES.items():
        fields = (card.source, card.evaluated, card.seeds, card.mode, card.steps)
        assert all(fields), name
        reference = load_reference(name)
        assert reference.values or reference.evaluations


# --- Tables ------------------------------------------------------------------------------


def test_several_stand_beside_the_runs(run: Path) -> None:
    tables = tables_of(run, SEVERAL)
    names = [row[0] for row in texts(tables["final_returns"])]
    own = ["PPO", "PPO (gorl2025)", "GoRL(Diff)", "GoRL(Diff) (gorl2025)"]
    assert names == own
    assert [row[0] for row in texts(tables["references"])] == list(REFERENCES)
    assert ["GoRL(Gauss) (gorl2026)", "HopperStand", "134.0", "208.0", "269.0", "282.0"] in texts(
        tables["reference_stages"]
    )
    rows = {tuple(row[:2]): row[2:] for row in texts(tables["reference_evaluations"])}
    brax, within = "PPO (Brax's settings) (brax-playground)", "within the budget here"
    curve = BRAX.evaluations["ppo-brax", "CheetahRun"]
    spread = np.std(curve.returns[1], ddof=1)
    assert rows[brax, within][0] == f"{curve.returns[1].mean():.2f} ± {spread:.2f} @ 9,830,400"
    assert rows[brax, "last"][0].endswith("@ 88,473,600")
    assert rows["SAC (Brax's settings) (brax-playground)", within] == ["none", "none"]
    assert rows["FPO (fpo-notebook)", within] == ["284.00 @ 6,881,280", ""]


def test_no_statistic_uses_them(run: Path) -> None:
    plain, beside = tables_of(run, ""), tables_of(run, SEVERAL)
    assert {"references", "reference_evaluations", "reference_stages"} == beside.keys() - plain
    differ = {name for name, table in plain.items() if beside[name] != table}
    assert differ == {"final_returns"}


def test_table_1_alone_needs_no_more_tables(run: Path) -> None:
    assert tables_of(run, "gorl2025").keys() == tables_of(run, "").keys()


# --- Figures -----------------------------------------------------------------------------


def thin_lines(canvas: Canvas) -> list[list[tuple[float, ...]]]:
    """Returns the steps of the lines in the colour of the text, panel by panel."""
    lines = [[each for each in axes.get_lines() if each.get_color() == INK] for axes in canvas.axes]
    return [[tuple(np.asarray(line.get_xdata())) for line in panel] for panel in lines]


def figures_of(run: Path, names: str) -> dict[str, tuple[Canvas, str]]:
    analysis = ReportRequest((run,), repetitions=50).analyse()
    figures = make_figures(analysis, load_references(names))
    wanted = [each for each in figures if "curves" in each.name]
    return {each.name: (each.draw(), each.caption) for each in wanted}


def test_curves_end_with_the_budget_or_go_on_in_their_own_figure(run: Path) -> None:
    figures = figures_of(run, "brax-playground,fpo-notebook")
    first, notebook = (0, 9_830_400), (983_040, 6_881_280)
    for name in ("learning-curves", "learning-curves-seeds"):
        canvas, caption = figures[name]
        assert thin_lines(canvas) == [[first, notebook, notebook], [first]]
        assert "No evaluation of SAC (Brax's settings) (brax-playground) lies within" in caption
        (legend,) = canvas.legends
        shown = [text.get_text().strip() for text in legend.get_texts()]
        assert "FPO (fpo-notebook)" in shown and not any("SAC" in text for text in shown)
        assert canvas.axes[0].get_xlim()[1] < 1.1 * budget()
    canvas, _ = figures["reference-curves"]
    curve = BRAX.evaluations["ppo-brax", "HopperStand"]
    assert thin_lines(canvas)[1] == [tuple(curve.steps), (26_315_789,)]
    assert canvas.axes[0].get_xlim()[1] > 88_473_600


def test_no_line_towards_an_evaluation_beyond_the_budget(short: Path) -> None:
    canvas, caption = figures_of(short, "brax-playground")["learning-curves"]
    assert thin_lines(canvas) == [[]]
    assert "PPO (Brax's settings) (brax-playground); SAC (Brax's settings)" in caption


# --- Commands ----------------------------------------------------------------------------


def test_a_report_with_several_is_made_again(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.csv"
    header = "algorithm,task,return_mean,return_std,seeds"
    mine.write_text(f"{header}\nppo,CheetahRun,612,2,3\n", encoding="utf-8")
    report, given = tmp_path / "report", ["--reference", f"gorl2025,{mine}"]
    arguments = ["report", short, "--out", report, "--reps", 50, "--format", "tables", *given]
    more = ["--reference", "fpo-notebook"]
    assert run_command([str(each) for each in [*arguments, *more]]) == 0
    asked = json.loads((report / "request.json").read_text())
    assert asked["reference"] == "gorl2025,mine.csv,fpo-notebook"
    returns = (report / "tables" / "final_returns.csv").read_text()
    assert "PPO (gorl2025),724.83" in returns and "PPO (mine.csv),612.00" in returns
    audit = ["audit", str(short), "--report", str(report)]
    assert run_command([*audit, "--reference", str(mine)]) == 0
    assert "made again, byte for byte" in capsys.readouterr().out
    assert run_command(audit) != 0  # where mine.csv lies, no report tells


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("gorl2025,brax-playgroun", "did you mean 'brax-playground'?"),
        (",", "no reference named in ','; known: gorl2025, gorl2026, brax"),
        ("gorl2025,gorl2026", "gorl2026: no row is of an algorithm and a task that were run"),
    ],
)
def test_a_wrong_one_is_named_in_one_line(
    short: Path, capsys: pytest.CaptureFixture[str], names: str, message: str
) -> None:
    assert run_command(["report", str(short), "--reference", names]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert re.search(re.escape(message), error) and len(error.splitlines()) == 1


def test_two_files_of_one_name_are_told_apart(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        text = "algorithm,task,return_mean,return_std,seeds\nppo,CheetahRun,1,2,3\n"
        (tmp_path / folder / "mine.csv").write_text(text, encoding="utf-8")
    names = f"{tmp_path / 'a/mine.csv'},{tmp_path / 'b/mine.csv'}"
    assert run_command(["report", str(short), "--reference", names]) == EXIT_USER_ERROR
    assert "two references are called mine.csv" in capsys.readouterr().err


def test_a_file_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    file = tmp_path / "my,own.csv"
    file.write_text("algorithm,task,return_mean,return_std,seeds\nppo,FishSwim,1,2,3\n")
    (reference,) = load_references(str(file))
    assert isinstance(reference, Reference) and reference.name == "my,own.csv"
