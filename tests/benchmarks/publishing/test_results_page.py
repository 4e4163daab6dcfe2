"""docs/results.md and its picture: they are what their commands make, and claim what is so."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import generate
import numpy as np
import pytest
from generate import METHODS, TASKS, generate_runs, write_cell
from matplotlib import image

from benchmarks.publishing import results_page
from benchmarks.publishing.answers import Question, answer, ask, tuning_words
from benchmarks.publishing.results_page import page, request, whole_part
from benchmarks.publishing.results_picture import PICTURE, picture
from benchmarks.publishing.results_tables import SEEDS, cells_table, returns_table
from benchmarks.publishing.robustness import one_task_less, still_rising
from reports.analysis.comparison import Analysis
from reports.analysis.scores import ScorePolicy
from reports.judgement.deciding import seeds_to_decide
from reports.runs.choice import EVERYTHING
from reports.runs.loading import load_results
from reports.runs.names import display_name
from suite.storage.records import Cell, Job

ROOT = Path(__file__).resolve().parents[3]
POINTS = 3
REPETITIONS = 2_000

Matrix = Callable[..., Path]


def test_the_page_is_what_its_command_prints() -> None:
    stored = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    command = "python -m benchmarks.publishing.results_page"
    assert f"`{command}`" in stored
    assert stored == page(request()), f"write it again: {command} > docs/results.md"


def test_the_picture_shows_the_stored_runs() -> None:
    """Up to what another version of a font changes."""
    told = "draw it again: python -m benchmarks.publishing.results_picture"
    stored, drawn = image.imread(PICTURE), image.imread(io.BytesIO(picture(request().analyse())))
    assert stored.shape == drawn.shape, told
    assert np.mean(np.abs(stored - drawn).max(axis=-1) > 0.3) < 0.002, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The matrix that is planned; GoRL is better than PPO, FPO and DPPO are worse."""
    path = tmp_path_factory.mktemp("whole") / "results" / "lite"
    generate_runs(path, METHODS, TASKS, range(SEEDS), POINTS)
    return path


@pytest.fixture
def matrix(whole: Path, tmp_path: Path) -> Matrix:
    """Returns a copy without some cells."""

    def without(*cells: str) -> Path:
        path = tmp_path / "results" / "lite"
        shutil.copytree(whole, path)
        for cell in cells:
            for found in path.glob(cell):
                shutil.rmtree(found)
        return path

    return without


def analysed(path: Path, repetitions: int = REPETITIONS) -> Analysis:
    return Analysis(load_results([path]), repetitions=repetitions)


def asked(path: Path) -> tuple[Question, str]:
    question = ask(analysed(path))
    return question, "\n\n".join(answer(question))


def test_a_difference_that_is_there_is_claimed_with_its_direction(whole: Path) -> None:
    question, text = asked(whole)
    assert text.startswith("**Yes: GoRL(FM) and GoRL(Diff) score higher than PPO.**")
    higher, lower = (
        text.partition(f"Shown to be {word}: ")[2].partition("\n")[0]
        for word in ("higher", "lower")
    )
    assert re.findall(r"(\S+) against PPO", higher) == ["GoRL(FM)", "GoRL(Diff)"]
    assert re.findall(r"(\S+) against PPO", lower) == ["FPO", "DPPO"]
    # By hand: 24 comparisons, of which the smallest p of 5 against 5 is 2 in 252.
    assert len(question.on_tasks) == 24
    assert all(min(1.0, 24 * each.judged.p_different) >= 0.05 for each in question.on_tasks)
    assert "On a single task 5 seeds can show no difference" in text
    assert (
        "7 seeds of each method" in text
    )  # 2 / C(14, 7) * 24 = 0.014, and 2 / C(12, 6) * 24 = 0.052


def test_where_methods_probably_differ_is_named_by_the_false_discovery_rate(whole: Path) -> None:
    """Against Benjamini and Hochberg's rule: all up to the last p <= rank / count of 5%."""
    question, text = asked(whole)
    ordered = sorted(question.on_tasks, key=lambda each: each.judged.p_different)
    kept = [
        rank
        for rank, each in enumerate(ordered, 1)
        if each.judged.p_different <= 0.05 * rank / len(ordered)
    ]
    named = {(e.task, e.judged.new) for e in ordered[: max(kept)]}
    assert {(e.task, e.judged.new) for e in question.on_tasks if e.is_named} == named
    assert len(named) > 0 and not any(e.is_higher or e.is_lower for e in question.on_tasks)
    higher, lower = text.partition("Higher: ")[2].partition(".\n")[0].split(" Lower: ")
    shown = {
        (task.strip(), label)
        for part in (*higher.rstrip(".").split("; "), *lower.split("; "))
        for label, _, tasks in [part.partition(" against PPO on ")]
        for task in tasks.split(",")
    }
    assert shown == {(task, display_name(new)) for task, new in named}
    assert {label.partition(" ")[0] for label in higher.split("; ")} == {"GoRL(FM)", "GoRL(Diff)"}


def test_single_tasks_are_claimed_where_there_are_seeds_enough(tmp_path: Path) -> None:
    path = tmp_path / "run"
    generate_runs(path, ("ppo", "gorl-fm", "fpo"), ("CheetahRun", "FishSwim"), range(6), POINTS)
    question, text = asked(path)
    assert {(each.task, each.judged.new) for each in question.on_tasks if each.is_higher} == {
        ("CheetahRun", "gorl-fm"),
        ("FishSwim", "gorl-fm"),
    }
    told = text.partition("On single tasks, Holm-corrected for 4 comparisons")[2]
    higher, lower, rest = told.split(";")[:3]
    assert re.findall(r"on (\w+) (\S+) against", higher) == [
        ("CheetahRun", "GoRL(FM)"),
        ("FishSwim", "GoRL(FM)"),
    ]
    assert {name for _, name in re.findall(r"on (\w+) (\S+) against", lower)} == {"FPO"}
    shown = len(re.findall("against", higher + lower))
    assert f"of the other {4 - shown}" in rest or (shown == 4 and "no other is left" in rest)


def test_methods_that_are_alike_are_not_called_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dict_of_levels(), "gorl-fm", generate.LEVELS["ppo"])
    path = tmp_path / "run"
    generate_runs(path, ("ppo", "gorl-fm"), TASKS, range(SEEDS), POINTS)
    _, text = asked(path)
    assert text.startswith("**No: on average no generative policy scores higher than PPO.**")
    assert "Shown to be less than 0.05 apart: GoRL(FM) against PPO" in text


def test_what_is_open_says_how_many_seeds_would_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dict_of_levels(), "gorl-fm", generate.LEVELS["ppo"] + 0.005)
    path = tmp_path / "run"
    generate_runs(path, ("ppo", "fpo", "gorl-fm"), TASKS[:2], range(4), POINTS)
    question, text = asked(path)
    pair = next(each for each in question.judgement.pairs if each.new == "gorl-fm")
    scores = [question.judgement.analysis.scores.by_task(each) for each in ("gorl-fm", "ppo")]
    seeds = seeds_to_decide(scores[0], scores[1], 0.05, comparisons=2)
    assert pair.outcome == "undecided"
    assert text.startswith("**Not shown: no generative policy is shown to score higher than PPO.**")
    assert f"GoRL(FM) against PPO ({pair.difference}, seeds: {seeds:g})" in text
    assert "Shown to be lower: FPO against PPO" in text


def test_better_than_one_gaussian_is_not_better_than_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dict_of_levels(), "ppo-brax", 0.9)
    path = tmp_path / "run"
    generate_runs(path, ("ppo", "ppo-brax", "gorl-fm"), TASKS[:2], range(5), POINTS)
    _, text = asked(path)
    assert text.startswith("**In part: GoRL(FM) scores higher than PPO, but none higher")


def test_a_method_without_a_search_is_told_beside_those_with_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    generate_runs(path, ("ppo", "ppo-brax", "gorl-fm"), TASKS[:1], range(2), POINTS)
    results = load_results([path])
    search: dict[str, int | str] = {
        "configurations": 3,
        "seeds": 1,
        "steps": 100,
        "tasks": "Outside,CheetahRun",
    }

    def told(*searches: dict[str, int | str]) -> str:
        tuning = dict(zip(("ppo", "gorl-fm", "ppo-brax"), searches, strict=False))
        protocol = dataclasses.replace(results.protocol, tuning=tuning)
        return tuning_words(dataclasses.replace(results, protocol=protocol))

    spent = "3 configurations with 1 seed, 300 steps at most, on Outside, CheetahRun"
    silent = "the protocol tells of no search behind the settings of"
    assert told(search, search, search) == (
        f"Tuning, the same for each method: {spent}. CheetahRun is compared here too."
    )
    assert told(search, search).startswith(f"Tuning, the same for each other method: {spent}.")
    assert told(search, search).endswith(f" But {silent} PPO (Brax's settings).")
    assert told(search, search | {"seeds": 2}).startswith("Tuning was not of equal effort: PPO 3 ")
    assert told().startswith(f"Tuning: {silent} PPO, GoRL(FM) and PPO (Brax's settings)")


def dict_of_levels() -> dict[str, float]:
    assert isinstance(generate.LEVELS, dict)
    return generate.LEVELS


def test_too_few_runs_are_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "run"
    generate_runs(path, METHODS, ("CheetahRun",), range(2), POINTS)
    _, text = asked(path)
    assert text.startswith("**It cannot be told from so few runs")
    assert "Shown to be" not in text
    assert "need 5 seeds" in text  # 2 / C(10, 5) * 4 = 0.032, and 2 / C(8, 4) * 4 = 0.114


def test_without_a_gaussian_there_is_no_question(tmp_path: Path) -> None:
    path = tmp_path / "run"
    generate_runs(path, ("fpo", "gorl-fm"), ("CheetahRun",), range(2), POINTS)
    question, text = asked(path)
    assert not question.judgement.pairs
    assert "cannot be told yet" in text


def test_claims_are_made_of_the_whole_part_while_a_matrix_fills(matrix: Matrix) -> None:
    path = matrix("WalkerWalk/gorl-*", "HopperStand/dppo/seed-004", "FishSwim/*")
    results = load_results([path])
    choice = whole_part(results)
    assert choice.tasks == ("CheetahRun", "FingerSpin", "FingerTurnHard")
    assert set(choice.algorithms) == set(METHODS)
    text = page(request(path.parents[1], repetitions=REPETITIONS))
    assert "**Yes: GoRL(FM) and GoRL(Diff) score higher than PPO.**" in text
    assert "What is claimed is claimed of CheetahRun, FingerSpin, FingerTurnHard." in text
    missing = 2 * SEEDS + 1 + len(METHODS) * SEEDS
    said = " ".join(text.split())
    assert f"{150 - missing} of them came to the end of their budget, {missing} are missing" in said


def test_a_task_that_is_training_is_no_part_of_the_claims(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run = generate_runs(path, METHODS, TASKS[:2], range(2), POINTS)
    job = Job("dppo", TASKS[1], (0, 1))
    write_cell(run, job.cells[1], job, points=POINTS, state="running", evaluations=2)
    results = load_results([path])
    assert whole_part(results).tasks == TASKS[:1]
    write_cell(run, job.cells[1], job, points=POINTS, state="diverged", evaluations=2)
    assert whole_part(load_results([path])).tasks == TASKS[:2]
    shutil.rmtree(path / TASKS[0] / "ppo")
    shutil.rmtree(path / TASKS[1] / "fpo")
    assert whole_part(load_results([path])) == EVERYTHING


def test_what_a_run_that_diverged_would_change_is_told(tmp_path: Path) -> None:
    path = tmp_path / "results" / "lite"
    run = generate_runs(path, ("ppo", "fpo", "dppo"), TASKS[:2], range(5), POINTS)
    job = Job("fpo", TASKS[0], tuple(range(5)))
    for cell in job.cells:
        write_cell(run, cell, job, points=POINTS, state="diverged", evaluations=2)
    asked_for = request(tmp_path, repetitions=REPETITIONS)
    kept = dataclasses.replace(asked_for, policy=ScorePolicy(diverged="last")).analyse()
    pair = next(each for each in ask(kept).judgement.pairs if each.new == "fpo")
    said = " ".join(page(asked_for).split())
    told = said.partition("Were a run that diverged scored by its last evaluation")[2]
    assert f"FPO against PPO ({pair.difference}, p " in told.partition(". ")[0]
    assert "DPPO" not in told.partition(". ")[0]  # of which none diverged


def test_what_sampled_actions_would_change_is_told(matrix: Matrix, tmp_path: Path) -> None:
    matrix("F*", "HopperStand", "WalkerWalk")
    asked_for = request(tmp_path, repetitions=REPETITIONS)
    sampled = dataclasses.replace(asked_for, mode="sample").analyse()
    told = " ".join(page(asked_for).split()).partition(results_page.SAMPLED)[2].partition(". ")[0]
    pairs = ask(sampled).judgement.pairs
    assert pairs
    for pair in pairs:
        assert f"{display_name(pair.new)} against PPO ({pair.difference}, p " in told
    assert ask(sampled).judgement.pairs != ask(asked_for.analyse()).judgement.pairs


def test_a_difference_that_hangs_on_one_task_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FPO lies far below PPO on one task and has its very scores on two; DPPO is far below on all.

    Exchanging runs that score the same changes nothing, so that without that task p is 1.
    """
    of_cell = generate.episode_returns

    def returns(cell: Cell, points: int) -> np.ndarray:
        like = of_cell(dataclasses.replace(cell, algorithm="ppo"), points)
        low = cell.algorithm == "dppo" or (cell.algorithm, cell.task) == ("fpo", TASKS[0])
        return like / 10 if low else like

    monkeypatch.setattr(generate, "episode_returns", returns)
    path = tmp_path / "results" / "lite"
    generate_runs(path, ("ppo", "fpo", "dppo"), TASKS[:3], range(5), POINTS)
    question, _ = asked(path)
    assert [pair.outcome for pair in question.judgement.pairs] == ["worse", "worse"]
    told = one_task_less(question)
    assert told == (
        "these are shown: DPPO against PPO. These are not: FPO against PPO without "
        f"{TASKS[0]} (0.000, p = 1.0000)."
    )
    text = " ".join(page(request(tmp_path, repetitions=REPETITIONS)).split())
    assert f"Whichever task is left out, {told}" in text


def test_what_was_still_learned_at_the_end_is_that_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run = generate_runs(path, ("ppo", "dppo"), TASKS[:2], range(2), points=6)
    job = Job("dppo", TASKS[0], (0, 1))
    for cell in job.cells:
        write_cell(run, cell, job, points=6, state="diverged", evaluations=3)
    both = [_rises(path / task / "ppo") for task in TASKS[:2]]
    assert still_rising(analysed(path)).endswith(
        f": PPO {np.mean(both):.0f}, DPPO {np.mean(_rises(path / TASKS[1] / 'dppo')):.0f} "
        "(2 of 4 runs)."
    )


def _rises(path: Path) -> list[float]:
    """How much two seeds rose from the fourth to the fifth fifth, read without the project."""
    found = []
    for seed in range(2):
        lines = (path / f"seed-{seed:03d}" / "curve.csv").read_text().splitlines()
        returns = [float(r[2]) for r in (x.split(",") for x in lines) if r[1] == "deterministic"]
        found.append(returns[5] - returns[4])
    return found


def test_two_tasks_hang_on_each_other(tmp_path: Path) -> None:
    path = tmp_path / "run"
    generate_runs(path, ("ppo", "dppo"), TASKS[:2], range(5), POINTS)
    assert one_task_less(asked(path)[0]) == ""


def test_runs_that_may_not_be_compared_give_no_answer(matrix: Matrix) -> None:
    path = matrix("*/gorl-*", "*/dppo", "F*", "HopperStand", "WalkerWalk")
    curve = path / "CheetahRun/fpo/seed-000/curve.csv"
    curve.write_bytes(curve.read_bytes().replace(b"deterministic", b"sample", 1))
    text = page(request(path.parents[1], repetitions=100))
    assert "**Nothing is claimed: the runs may not be compared.**" in text
    assert "highest IQM" not in text


def test_cells_and_returns_are_those_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run = generate_runs(path, ("ppo", "fpo"), ("CheetahRun",), range(3), POINTS)
    job = Job("fpo", "CheetahRun", (0, 1, 2))
    write_cell(run, job.cells[2], job, points=POINTS, state="diverged", evaluations=2)
    analysis = analysed(path)
    rows = {row[0].text: row for row in cells_table(analysis.results).rows}
    assert rows["FPO"][1].text == "2 done, 1 diverged, 2 missing"
    assert rows["GoRL(FM)"][1].text == "5 missing"
    shown = {row[0].text: row[1] for row in returns_table(analysis).rows}
    returns = [last_return(path / f"CheetahRun/fpo/seed-00{seed}") for seed in (0, 1)]
    assert shown["FPO"].value == pytest.approx(sum([*returns, 0.0]) / 3)  # that diverged: 0
    assert shown["FPO"].text.endswith("(n = 3, 1 diverged)")


def last_return(cell: Path) -> float:
    rows = [line.split(",") for line in (cell / "curve.csv").read_text("utf-8").splitlines()]
    return float([row for row in rows if row[1] == "deterministic"][-1][2])


def test_a_cross_marks_a_seed_that_diverged(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), TASKS, range(2), POINTS)
    job = Job("fpo", TASKS[0], (0, 1))
    write_cell(run, job.cells[1], job, points=POINTS, state="diverged", evaluations=2)
    figure = results_page.overview(analysed(run.path)).draw()
    crosses = [
        (axes.get_title(), *map(float, np.asarray(line.get_xydata())[0]))
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() == "x"
    ]
    rows = run.files(job.cells[1]).read_curve()
    last = [row for row in rows if row.mode == "deterministic"][-1]
    assert crosses == [(TASKS[0], last.env_steps, last.return_mean)]
