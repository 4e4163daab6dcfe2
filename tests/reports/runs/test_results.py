"""Loading run directories: what is there, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from generate import generate_runs, generated_protocol, write_cell

from reports.analysis.run_scores import RunScores
from reports.analysis.scores import (
    DEFAULT_POLICY,
    Axis,
    ScorePolicy,
    common_curves,
    reduce_curve,
    run_curve,
    task_scores,
    time_to_threshold,
)
from reports.runs.loading import load_results
from reports.runs.results import Results
from suite.common.errors import UserError
from suite.storage.records import Cell, Divergence, Job, Ledger, Status
from suite.storage.run_directory import RunDirectory

CELL = Cell("ppo", "CheetahRun", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two methods on two tasks, two seeds, five evaluations."""
    generate_runs(
        tmp_path / "run",
        ("gorl-fm", "ppo"),
        ("WalkerWalk", "CheetahRun"),
        seeds=(0, 1),
        points=5,
    )
    return tmp_path / "run"


def curve_file(path: Path, cell: Cell = CELL) -> Path:
    return path / cell.task / cell.algorithm / f"seed-{cell.seed:03d}" / "curve.csv"


def kinds(results: Results) -> list[str]:
    return [finding.kind for finding in results.findings]


def only_finding(results: Results) -> tuple[str, str]:
    assert len(results.findings) == 1
    return results.findings[0].where, results.findings[0].text


def test_a_whole_directory_has_no_findings(path: Path) -> None:
    results = load_results([path])
    assert results.findings == ()
    assert results.algorithms == ("ppo", "gorl-fm")
    assert results.tasks == ("CheetahRun", "WalkerWalk")
    assert results.seeds == (0, 1)
    assert results.modes == ("deterministic", "sample")
    assert results.budget == 40 * 256 * 60
    assert [len(run.curve) for run in results.runs] == [10] * 8
    stored = RunDirectory.open(path).files(CELL).read_curve()
    run = results.runs_of("ppo", "CheetahRun")[1]
    assert run.curve["return_mean"].tolist() == [row.return_mean for row in stored]
    assert run.mode_curve("sample")["env_steps"].tolist() == [n * 153_600 for n in range(5)]
    assert len(results.tidy()) == 80
    assert set(results.tidy()["run_id"]) == {run.run_id for run in results.runs}


def test_loading_is_repeatable_and_ids_follow_the_content(path: Path) -> None:
    before = [run.run_id for run in load_results([path]).runs]
    moved = shutil.copytree(path, path.parent / "moved")
    assert [run.run_id for run in load_results([moved]).runs] == before
    assert len(set(before)) == 8
    write_cell(RunDirectory.open(path), CELL, Job("ppo", "CheetahRun", (0, 1)), 5, "running", 3)
    after = [run.run_id for run in load_results([path]).runs]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_no_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run directory"):
        load_results([tmp_path])
    RunDirectory.create(tmp_path / "empty", generated_protocol())
    with pytest.raises(UserError, match="no runs in it"):
        load_results([tmp_path / "empty"])
    with pytest.raises(UserError, match="name at least one"):
        load_results([])


def test_other_protocols_are_refused_by_field(path: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(generated_protocol(5), discount=0.9, num_epochs=9)
    RunDirectory.create(tmp_path / "other", other)
    with pytest.raises(UserError, match=r"differ in discount \(0.995 and 0.9\), num_epochs"):
        load_results([path, tmp_path / "other"])


def test_a_cell_of_another_protocol_is_refused(path: Path) -> None:
    file = curve_file(path).with_name("run.json")
    record = json.loads(file.read_text())
    record["configuration"]["protocol"]["num_epochs"] = 9
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"CheetahRun/ppo/seed-001.*num_epochs \(4 and 9\)"):
        load_results([path])


def test_missing_seeds_and_tasks(path: Path) -> None:
    shutil.rmtree(path / "CheetahRun" / "ppo" / "seed-001")
    shutil.rmtree(path / "WalkerWalk" / "ppo")
    found = [(each.kind, each.where, each.text) for each in load_results([path]).findings]
    assert found == [
        ("missing", "CheetahRun/ppo", "no run of seed 1"),
        ("missing", "WalkerWalk/ppo", "no run of seeds 0, 1"),
        ("single seed", "CheetahRun/ppo", "one seed only: no interval can be given"),
    ]


@pytest.mark.parametrize("cut", [1, 30])
def test_a_truncated_curve(path: Path, cut: int) -> None:
    file = curve_file(path)
    file.write_bytes(file.read_bytes()[:-cut])
    results = load_results([path])
    assert results.runs_of("ppo", "CheetahRun")[1].state == "damaged"
    where, text = results.findings[0].where, results.findings[0].text
    assert where.startswith(str(CELL)) and "curve.csv is damaged" in text
    assert str(path) not in text


def test_a_curve_that_lost_rows(path: Path) -> None:
    lines = curve_file(path).read_text().splitlines(keepends=True)
    curve_file(path).write_text("".join(lines[:-2]))
    results = load_results([path])
    assert "its curve has 8 rows, its episodes make 10" in [each.text for each in results.findings]


def test_a_curve_edited_by_hand(path: Path) -> None:
    lines = curve_file(path).read_text().splitlines()
    fields = lines[5].split(",")
    fields[2] = "900.0"
    lines[5] = ",".join(fields)
    curve_file(path).write_text("\n".join(lines) + "\n")
    results = load_results([path])
    assert results.runs_of("ppo", "CheetahRun")[1].state == "damaged"
    where, text = only_finding(results)
    assert where.startswith(str(CELL))
    assert text.startswith("its curve says 900 at 307200 steps (deterministic), its episodes")
    assert kinds(results) == ["edited"]


def test_rows_that_are_not_finite(path: Path) -> None:
    run = RunDirectory.open(path)
    rows = run.files(CELL).read_curve()
    rows[2:4] = [dataclasses.replace(row, return_mean=float("nan")) for row in rows[2:4]]
    with run.files(CELL).batch() as batch:
        batch.put_curve(rows)
    steps, returns = run.files(CELL).read_episodes() or (np.empty(0), np.empty(0))
    returns[1] = np.nan
    with run.files(CELL).batch() as batch:
        batch.put_episodes(steps, returns)
    results = load_results([path])
    assert ("not finite", "2 evaluations were not finite") in [
        (each.kind, each.text) for each in results.findings
    ]
    assert len(results.runs_of("ppo", "CheetahRun")[1].curve) == 8


def test_a_return_out_of_bounds(path: Path) -> None:
    run = RunDirectory.open(path)
    steps, returns = run.files(CELL).read_episodes() or (np.empty(0), np.empty(0))
    returns[4] = 1200
    with run.files(CELL).batch() as batch:
        batch.put_episodes(steps, returns)
    rows = run.files(CELL).read_curve()
    rows[8:] = [dataclasses.replace(row, return_mean=1200.0) for row in rows[8:]]
    with run.files(CELL).batch() as batch:
        batch.put_curve(rows)
    results = load_results([path])
    assert only_finding(results)[1] == "has a return of 1200, outside [0, 1000]"
    assert results.runs_of("ppo", "CheetahRun")[1].state == "damaged"


def test_diverged_and_unfinished_runs(path: Path) -> None:
    run, job = RunDirectory.open(path), Job("ppo", "CheetahRun", (0, 1))
    write_cell(run, job.cells[0], job, 5, "diverged", 2)
    write_cell(run, job.cells[1], job, 5, "running", 4)
    texts = {each.kind: each.text for each in load_results([path]).findings}
    assert texts == {
        "diverged": "diverged after 153,601 steps, in actor.kernel",
        "partial": "not finished: 30 of 40 updates made",
        "unequal lengths": "curves of unequal lengths: 2, 4 evaluations",
    }


def test_a_budget_that_is_not_spent_to_the_step(path: Path) -> None:
    run, job = RunDirectory.open(path), Job("ppo", "CheetahRun", (0, 1))
    write_cell(run, CELL, job, 5, "done", 4)
    found = {each.kind: each.text for each in load_results([path]).findings}
    assert found["budget"] == "took 460,800 steps where the budget is 614,400"


def test_damaged_and_misplaced_records(path: Path) -> None:
    first = curve_file(path, Cell("ppo", "CheetahRun", 0)).parent
    second = curve_file(path, Cell("ppo", "WalkerWalk", 0)).parent
    shutil.copy(first / "run.json", second / "run.json")
    (first / "status.json").write_text("{")
    (curve_file(path).parent / "run.json").unlink()
    texts = [each.text for each in load_results([path]).findings]
    assert any("status.json is damaged" in text for text in texts)
    assert "its run.json is that of CheetahRun/ppo seed 0" in texts
    assert "run.json is missing, so it is not known what ran" in texts


def test_two_directories_are_merged(path: Path, tmp_path: Path) -> None:
    generate_runs(tmp_path / "b", ("zoo,<script>",), ("CheetahRun",), seeds=(0, 1), points=5)
    results = load_results([path, tmp_path / "b"])
    assert results.algorithms == ("ppo", "gorl-fm", "zoo,<script>")
    assert results.directories == ("run", "b")
    assert kinds(results) == ["fewer tasks"]  # b was never to hold the other task


def test_duplicates_are_counted_once(path: Path) -> None:
    copy = shutil.copytree(path, path.parent / "other" / "run")
    results = load_results([path, copy])
    assert len(results.runs) == 8
    assert results.directories == ("run (1)", "run (2)")
    assert kinds(results) == ["duplicate"] * 8


def test_a_seed_that_diverges_before_its_first_evaluation_scores_0(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), ("CheetahRun",), range(3), points=3)
    with run.files(Cell("ppo", "CheetahRun", 1)).batch() as batch:
        batch.put_curve([])
        batch.put_metrics([])
        batch.put_episodes(np.asarray([], np.int64), np.asarray([], np.float32))
        ended = Divergence(0, "actions")
        batch.put_status(
            Status("diverged", 0, run.protocol.updates, Ledger(), 1.0, {}, divergence=ended)
        )
    found = load_results([run.path])
    assert [each.state for each in found.runs] == ["done", "diverged", "done"]
    scores = RunScores(found, "deterministic", DEFAULT_POLICY).of("ppo", "CheetahRun")
    assert scores is not None and len(scores.scores) == 3 and scores.scores[1] == 0


def test_other_hyperparameters_get_a_label(path: Path, tmp_path: Path) -> None:
    generate_runs(
        tmp_path / "b",
        ("ppo",),
        ("CheetahRun", "WalkerWalk"),
        seeds=(0, 1),
        points=5,
        hyperparameters={"clip": 0.2},
        engine="jax",
    )
    results = load_results([path, tmp_path / "b"])
    label = "ppo [clip=0.2, engine=jax]"
    assert results.algorithms == ("ppo", label, "gorl-fm")
    assert len(results.runs_of(label, "WalkerWalk")) == 2
    # A setting and an engine that change no episode at all are worth a word.
    assert kinds(results) == [*["alike"] * 4, "engine", "variant"]


def scores(path: Path, policy: ScorePolicy, reduction: str = "final") -> list[float]:
    found = task_scores(
        load_results([path]),
        "ppo",
        "CheetahRun",
        "deterministic",
        reduction,  # type: ignore[arg-type]
        policy,
    )
    return list(found.scores)


def test_score_policy(path: Path) -> None:
    run, job = RunDirectory.open(path), Job("ppo", "CheetahRun", (0, 1))
    whole = scores(path, ScorePolicy())
    write_cell(run, CELL, job, 5, "diverged", 3)
    last = run.files(CELL).read_curve()[4].return_mean / 1000
    assert scores(path, ScorePolicy()) == [whole[0], 0.0]
    assert scores(path, ScorePolicy(diverged="last")) == pytest.approx([whole[0], last])
    assert scores(path, ScorePolicy(diverged="exclude")) == [whole[0]]
    write_cell(run, CELL, job, 5, "running", 3)
    assert scores(path, ScorePolicy()) == [whole[0]]
    assert scores(path, ScorePolicy(incomplete="last")) == pytest.approx([whole[0], last])
    shutil.rmtree(curve_file(path).parent)
    assert scores(path, ScorePolicy(incomplete="last")) == [whole[0]]
    assert scores(path, ScorePolicy(incomplete="zero")) == [whole[0], 0.0]


def test_area_under_a_curve_that_stopped(path: Path) -> None:
    run, job = RunDirectory.open(path), Job("ppo", "CheetahRun", (0, 1))
    write_cell(run, CELL, job, 5, "diverged", 3)
    y = [row.return_mean / 1000 for row in run.files(CELL).read_curve()[::2]]
    expected = ((y[0] + y[1]) / 2 + (y[1] + y[2]) / 2 + 2 * y[2]) / 4
    assert scores(path, ScorePolicy(diverged="last"), "auc")[1] == pytest.approx(expected)


def test_reductions() -> None:
    x, y = np.array([0.0, 1.0, 4.0]), np.array([0.0, 0.8, 0.2])
    assert reduce_curve(x, y, "final") == 0.2
    assert reduce_curve(x, y, "best") == 0.8
    assert reduce_curve(x, y, "auc") == pytest.approx((0.4 * 1 + 0.5 * 3) / 4)
    assert reduce_curve(x[:1], y[:1] + 0.3, "auc") == pytest.approx(0.3)


def test_axes_and_thresholds(path: Path) -> None:
    run = load_results([path]).runs_of("gorl-fm", "CheetahRun")[0]
    steps, y = run_curve(run, "deterministic")
    assert steps.tolist() == [n * 153_600 for n in range(5)]
    evaluations, _ = run_curve(run, "deterministic", "network_evaluations")
    assert evaluations.tolist() == [11 * step for step in steps]
    seconds, _ = run_curve(run, "deterministic", "wall_seconds")
    assert seconds.tolist() == pytest.approx([20.0 + 22 * n for n in range(5)])
    assert time_to_threshold(steps, y, float(y[2])) == steps[2]
    assert time_to_threshold(steps, y, 999.0) == float("inf")


def test_common_curves(path: Path) -> None:
    run, job = RunDirectory.open(path), Job("ppo", "CheetahRun", (0, 1))
    write_cell(run, CELL, job, 5, "diverged", 3)
    results = load_results([path])
    arguments = (results, "ppo", "CheetahRun", "deterministic", "env_steps")
    x, curves = common_curves(*arguments, ScorePolicy())  # type: ignore[arg-type]
    assert x.tolist() == [n * 153_600 for n in range(5)]
    stored = [row.return_mean / 1000 for row in run.files(CELL).read_curve()[::2]]
    assert curves[1].tolist() == pytest.approx([*stored, 0.0, 0.0])
    _, held = common_curves(*arguments, ScorePolicy(diverged="last"))  # type: ignore[arg-type]
    assert held[1].tolist() == pytest.approx([*stored, stored[-1], stored[-1]])
    _, kept = common_curves(*arguments, ScorePolicy(diverged="exclude"))  # type: ignore[arg-type]
    assert len(kept) == 1


def test_curves_of_runs_that_all_diverged_go_on_to_the_budget(path: Path) -> None:
    run, job = RunDirectory.open(path), Job("gorl-fm", "CheetahRun", (0, 1))
    write_cell(run, job.cells[0], job, 5, "diverged", 3)
    write_cell(run, job.cells[1], job, 5, "diverged", 2)
    stored = [
        [row.return_mean / 1000 for row in run.files(cell).read_curve()[::2]] for cell in job.cells
    ]
    expected = np.array([[*stored[0], 0, 0], [*stored[1], 0, 0, 0]])
    results = load_results([path])

    def curves(axis: Axis, policy: ScorePolicy) -> tuple[np.ndarray, np.ndarray]:
        return common_curves(results, "gorl-fm", "CheetahRun", "deterministic", axis, policy)

    steps, scores = curves("env_steps", ScorePolicy())
    assert steps.tolist() == [n * 153_600 for n in range(5)]
    assert scores == pytest.approx(expected)
    assert curves("network_evaluations", ScorePolicy())[0].tolist() == [11 * x for x in steps]
    # 20 s until the first evaluation, and 22 s from each to the next.
    seconds, scores = curves("wall_seconds", ScorePolicy())
    assert seconds.tolist() == pytest.approx([20.0 + 22 * n for n in range(5)])
    assert scores == pytest.approx(expected)
    _, held = curves("env_steps", ScorePolicy(diverged="last"))
    assert held[:, -1].tolist() == pytest.approx([stored[0][-1], stored[1][-1]])
    assert curves("env_steps", ScorePolicy(diverged="exclude"))[0].size == 0


def test_curves_count_missing_runs_as_the_scores_do(path: Path) -> None:
    shutil.rmtree(curve_file(path).parent)
    shutil.rmtree(path / "WalkerWalk" / "ppo")
    results = load_results([path])
    arguments = ("deterministic", "env_steps", ScorePolicy(incomplete="zero"))
    x, curves = common_curves(results, "ppo", "CheetahRun", *arguments)  # type: ignore[arg-type]
    assert curves.shape == (2, 5) and not curves[1].any()
    x, curves = common_curves(results, "ppo", "WalkerWalk", *arguments)  # type: ignore[arg-type]
    assert x.tolist() == [n * 153_600 for n in range(5)]
    assert curves.shape == (2, 5) and not curves.any()


def test_a_finished_run_without_its_last_evaluation(path: Path) -> None:
    run = RunDirectory.open(path)
    steps, returns = run.files(CELL).read_episodes() or (np.empty(0), np.empty(0))
    with run.files(CELL).batch() as batch:
        batch.put_curve(run.files(CELL).read_curve()[:-2])
    with run.files(CELL).batch() as batch:
        batch.put_episodes(steps[:-1], returns[:-1])
    results = load_results([path])
    assert results.runs_of("ppo", "CheetahRun")[1].state == "damaged"
    texts = [each.text for each in results.findings if each.kind == "damaged"]
    assert texts == ["its curve ends at 460800 steps, the run at 614400"]


def test_a_finished_run_whose_last_evaluation_is_not_finite(path: Path) -> None:
    run = RunDirectory.open(path)
    rows = run.files(CELL).read_curve()
    rows[-2] = dataclasses.replace(rows[-2], return_mean=float("nan"))
    with run.files(CELL).batch() as batch:
        batch.put_curve(rows)
    steps, returns = run.files(CELL).read_episodes() or (np.empty(0), np.empty(0))
    returns[-1, 0] = np.nan
    with run.files(CELL).batch() as batch:
        batch.put_episodes(steps, returns)
    results = load_results([path])
    assert results.runs_of("ppo", "CheetahRun")[1].state == "damaged"
    assert "damaged" in kinds(results) and "not finite" in kinds(results)
    assert len(scores(path, ScorePolicy())) == 1
