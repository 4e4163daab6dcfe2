"""Several directories, several settings: what is one run, what is another, what may be averaged."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from generate import (
    configuration,
    curve_rows,
    episode_returns,
    generate_runs,
    generated_protocol,
    provenance,
    status,
    write_cell,
)

from reports.audit.all_checks import audit
from reports.audit.check import Check
from reports.audit.verdict import judge
from reports.runs.choice import Choice
from reports.runs.loading import load_results
from reports.runs.merging import explanations
from reports.runs.names import Label
from reports.runs.results import CURVE_COLUMNS, Results, Run
from reports.writing.report_request import ReportRequest
from reports.writing.terminal import comparison_text
from suite.cli import EXIT_USER_ERROR, run_command
from suite.common.errors import UserError
from suite.configuration.recipe import Axis
from suite.storage.ablation_directory import Ablation
from suite.storage.digests import Verdict
from suite.storage.records import Cell, Configuration, Job, RunRecord
from suite.storage.run_directory import RunDirectory

LITE = Path(__file__).resolve().parents[3] / "results" / "lite-first"
POINTS = 4
SEEDS = (0, 1)

Edit = Callable[[Any], None]


def make(path: Path, seeds: Sequence[int] = SEEDS, name: str = "ppo", **changes: Any) -> Path:
    """One method on one task."""
    return generate_runs(path, (name,), ("CheetahRun",), seeds, POINTS, **changes).path


def compared(*paths: Path) -> str:
    """Returns what `suite compare` prints."""
    return comparison_text(ReportRequest(paths, repetitions=50, choice=Choice(common=True)))


def rescale(path: Path, factor: float, seeds: Sequence[int] = SEEDS) -> None:
    """Multiplies all returns of PPO, in every file that holds them."""
    run, job = RunDirectory.open(path), Job("ppo", "CheetahRun", tuple(seeds))
    for cell in job.cells:
        returns = factor * episode_returns(cell, POINTS)
        rows = curve_rows(run.protocol, cell, returns)
        steps = np.array([row.env_steps for row in rows[::2]], np.int64)
        with run.files(cell).batch() as batch:
            batch.put_curve(rows)
        with run.files(cell).batch() as batch:
            batch.put_episodes(steps, returns)
        with run.files(cell).batch() as batch:
            batch.put_status(status(run.protocol, rows, "done"))


def edit_records(path: Path, edit: Edit) -> None:
    """Changes every run.json below a path, which then was written by a version without digests."""
    for file in path.glob("*/*/seed-*/run.json"):
        record = json.loads(file.read_text())
        edit(record)
        record["configuration"].pop("eval_starts", None)
        file.write_text(json.dumps(record))
        (file.parent / "digests.json").unlink(missing_ok=True)


def in_configuration(**fields: Any) -> Edit:
    return lambda record: record["configuration"].update(fields)


def in_start(**parts: Any) -> Edit:
    return lambda record: record["provenance"][0].update(parts)


def finals(results: Results, label: str) -> list[float]:
    runs = results.runs_of(label, "CheetahRun")
    return [float(run.mode_curve("deterministic")["return_mean"].iloc[-1]) for run in runs]


def stored_finals(path: Path, seeds: Sequence[int] = SEEDS) -> list[float]:
    """Reads PPO's final returns straight from the files."""
    found = []
    for seed in seeds:
        with open(path / "CheetahRun" / "ppo" / f"seed-{seed:03d}" / "curve.csv") as file:
            rows = [row for row in csv.DictReader(file) if row["mode"] == "deterministic"]
        found.append(float(rows[-1]["return_mean"]))
    return found


def check_of(results: Results, name: str) -> Check:
    return next(check for check in audit(results) if check.name == name)


def texts(results: Results, kind: str) -> list[str]:
    return [finding.text for finding in results.findings if finding.kind == kind]


# --- Runs of one cell in several directories ---------------------------------------------


def test_halved_returns_are_no_duplicates(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    rescale(two, 0.5)
    results = load_results([one, two])
    labels = ("ppo [results of one]", "ppo [results of two]")
    assert results.algorithms == labels
    assert finals(results, labels[0]) == pytest.approx(stored_finals(one))
    assert finals(results, labels[1]) == pytest.approx([x / 2 for x in stored_finals(one)])
    assert not texts(results, "duplicate")
    assert check_of(results, "repeated cells").verdict == "failed"
    assert "CheetahRun seed 0, CheetahRun seed 1" in check_of(results, "repeated cells").text
    assert judge(results).level == "bad"


def test_other_results_of_another_machine_are_shown_apart_without_blame(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", (0, 1, 2)), make(tmp_path / "two")
    rescale(two, 0.9)
    edit_records(two, in_start(cpu="another"))
    edit_records(two, in_configuration(seeds_together=[0, 1, 2]))
    results = load_results([one, two])
    # The directory with most runs keeps the name.
    assert results.algorithms == ("ppo", "ppo [results of two]")
    assert texts(results, "contradiction") == []
    assert texts(results, "rerun")[0].endswith("they also differ in processor. Shown apart")
    assert check_of(results, "repeated cells").verdict == "warning"


@pytest.mark.parametrize(
    ("edit", "reasons"),
    [
        (in_start(command=["suite", "report"], platform="Linux 7"), []),
        (in_start(device={"platform": "cpu", "kind": "cpu", "matmul_precision": "highest"}), []),
        (in_start(environment={"JAX_DEFAULT_MATMUL_PRECISION": "highest"}), []),
        (in_start(environment={"OMP_NUM_THREADS": "1"}), ["environment"]),
        (in_start(packages={"jax": "0.12"}), ["packages"]),
        (in_start(git={"commit": "1" * 40, "clean": True}), ["commit"]),
        (in_start(git={"commit": "0" * 40, "clean": False}), ["changes of the code"]),
        (in_start(device={"platform": "gpu", "kind": "cpu"}), ["what a GPU does not repeat"]),
        (in_configuration(seeds_together=(0, 1, 2)), ["seeds trained together"]),
        (in_configuration(engine="warp"), ["what engine warp does not repeat"]),
        (lambda record: record.update(provenance=()), ["what was not recorded"]),
    ],
)
def test_what_lets_results_of_one_cell_differ(edit: Edit, reasons: list[str]) -> None:
    assert explanations(a_run(lambda _: None), a_run(edit)) == reasons


def a_run(edit: Edit) -> Run:
    """A run of which only the record matters, edited."""
    cell, run = Cell("ppo", "CheetahRun", 0), RunDirectory(Path(), generated_protocol(POINTS))
    stored = configuration(run, cell, Job("ppo", "CheetahRun", SEEDS), {}, "native")
    record: Any = {"configuration": dict(vars(stored)), "provenance": (provenance(),)}
    edit(record)
    made = RunRecord(Configuration(**record["configuration"]), record["provenance"])
    table, files = pd.DataFrame(columns=CURVE_COLUMNS), Verdict(recorded=False)
    return Run("", "", Label("ppo"), "CheetahRun", 0, "done", made, None, table, files)


def test_the_same_results_are_a_duplicate_also_at_another_pace(tmp_path: Path) -> None:
    one = make(tmp_path / "one")
    two = shutil.copytree(one, tmp_path / "two")
    run = RunDirectory.open(two)
    for cell in Job("ppo", "CheetahRun", SEEDS).cells:
        rows = [dataclasses.replace(r, wall_seconds=9.0) for r in run.files(cell).read_curve()]
        with run.files(cell).batch() as batch:
            batch.put_curve(rows)
    results = load_results([one, two])
    assert results.algorithms == ("ppo",)
    assert finals(results, "ppo") == pytest.approx(stored_finals(one))
    assert len(texts(results, "duplicate")) == 2


@pytest.mark.parametrize("stage", [0, 3])
def test_other_decoders_are_other_settings(tmp_path: Path, stage: int) -> None:
    """The policies that stage 0 and stage 3 left differ, whatever else is the same."""

    def decoder(stage: int, digest: str) -> Edit:
        source = {"run": "source", "cell": "CheetahRun/ppo/seed-000", "digest": digest}
        return in_configuration(decoder={**source, "stage": stage})

    one, two = make(tmp_path / "stage-0"), make(tmp_path / "stage-3")
    rescale(two, 0.5)
    edit_records(one, decoder(0, "a" * 64))
    edit_records(two, decoder(stage, "b" * 64))
    results = load_results([one, two])
    expected = {
        3: ("ppo", "ppo [decoder=source stage 3]"),
        0: ("ppo [results of stage-0]", "ppo [results of stage-3]"),
    }
    assert results.algorithms == expected[stage]
    assert [len(results.runs_of(label, "CheetahRun")) for label in results.algorithms] == [2, 2]
    assert not texts(results, "contradiction")


def test_finished_runs_come_before_unfinished_and_damaged_ones_in_any_order(
    tmp_path: Path,
) -> None:
    whole = make(tmp_path / "whole")
    cut = make(tmp_path / "cut", state="running", evaluations=2)
    broken = shutil.copytree(whole, tmp_path / "broken")
    for file in broken.glob("*/*/*/curve.csv"):
        file.write_text(file.read_text().replace(",deterministic,", ",deterministic,9", 1))
    more = make(tmp_path / "more", (0, 1, 2, 3))
    found = []
    for paths in itertools.permutations([whole, cut, broken, more]):
        results = load_results(paths)
        assert [run.state for run in results.runs] == ["done"] * 4
        assert finals(results, "ppo") == pytest.approx(stored_finals(more, range(4)))
        found.append((results.findings, results.directories, [r.run_id for r in results.runs]))
    assert all(each == found[0] for each in found)
    assert len(texts(results, "duplicate")) == 6
    assert not texts(results, "partial") and not texts(results, "edited")


def test_a_divergence_is_not_repaired_by_a_second_try_elsewhere(tmp_path: Path) -> None:
    """Who tries until it works, selects: both ends are shown."""
    failed = make(tmp_path / "failed", state="diverged", evaluations=2)
    again = make(tmp_path / "again")
    results = load_results([again, failed])
    assert results.algorithms == ("ppo [results of again]", "ppo [results of failed]")
    assert check_of(results, "repeated cells").verdict == "failed"


def test_seeds_of_two_directories_add_up(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", (0, 1)), make(tmp_path / "two", (1, 2))
    edit_records(two, in_configuration(seeds_together=[1, 2]))
    results = load_results([one, two])
    assert results.algorithms == ("ppo",)
    assert results.seeds == (0, 1, 2)
    assert len(results.runs_of("ppo", "CheetahRun")) == 3


# --- Settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("directories", [1, 4])
def test_settings_are_never_averaged(tmp_path: Path, directories: int) -> None:
    """One method in four settings, each five changes from the others, one seed of each."""
    levels = (1.0, 0.8, 0.5, 0.2)
    paths = [tmp_path / f"run-{index % directories}" for index in range(4)]
    for seed, (path, factor) in enumerate(zip(paths, levels, strict=True)):
        run = RunDirectory.create(path, generated_protocol(POINTS))
        job = Job("ppo", "CheetahRun", (seed,))
        settings = {f"x{index}": factor for index in range(5)}
        write_cell(run, job.cells[0], job, POINTS, hyperparameters=settings)
        rescale(path, factor, (seed,))
    results = load_results([*dict.fromkeys(paths)])
    assert len(results.algorithms) == 4
    means = sorted(value for label in results.algorithms for value in finals(results, label))
    expected = sorted(stored_finals(path, (seed,))[0] for seed, path in enumerate(paths))
    assert means == pytest.approx(expected)
    assert all(len(results.runs_of(label, "CheetahRun")) == 1 for label in results.algorithms)


def test_labels_do_not_depend_on_the_order_of_directories(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"clip": 0.2}, {}, {"x": 1}]
    paths = [
        make(tmp_path / f"run-{index}", hyperparameters=change)
        for index, change in enumerate(changes)
    ]
    for order in itertools.permutations(paths):
        # The setting with the fewest changes to all others is the one without brackets.
        assert load_results(order).algorithms == ("ppo", "ppo [clip=0.2]", "ppo [x=1]")


def test_a_run_of_unknown_settings_goes_with_its_directory(tmp_path: Path) -> None:
    one = make(tmp_path / "one", (0, 1, 2))
    two = make(tmp_path / "two", hyperparameters={"clip": 0.2})
    (two / "CheetahRun" / "ppo" / "seed-001" / "run.json").write_text("{")
    results = load_results([one, two])
    assert [r.state for r in results.runs_of("ppo", "CheetahRun")] == ["done"] * 3
    states = [run.state for run in results.runs_of("ppo [clip=0.2]", "CheetahRun")]
    assert states == ["done", "damaged"]


# --- Numerics and other facts, by effect -------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "tensorfloat32", "float32", "highest"])
def test_no_precision_changes_a_bit_of_a_product_on_a_cpu(precision: str) -> None:
    cpu = jax.devices("cpu")[0]
    x, w = (np.random.default_rng(n).normal(size=(67, 67)).astype(np.float32) for n in (0, 1))

    def values(name: str | None) -> bytes:
        def loss(w: jax.Array) -> jax.Array:
            return jax.numpy.sum(jax.numpy.tanh(x @ w) ** 2)

        with jax.default_device(cpu), jax.default_matmul_precision(name or "default"):
            value, gradient = jax.jit(jax.value_and_grad(loss))(jax.numpy.asarray(w))
        return np.asarray(value).tobytes() + np.asarray(gradient).tobytes()

    assert values(precision) == values(None)


@pytest.mark.parametrize(
    ("platforms", "precisions", "verdict"),
    [
        (("cpu", "cpu"), ("default", "highest"), "ok"),
        (("cpu", "gpu"), ("default", "highest"), "ok"),
        (("gpu", "gpu"), ("float32", "highest"), "ok"),
        (("gpu", "gpu"), ("tensorfloat32", "highest"), "failed"),
        (("cpu", "gpu"), ("highest", "default"), "failed"),
    ],
)
def test_numerics_are_judged_by_what_they_do(
    tmp_path: Path, platforms: tuple[str, str], precisions: tuple[str, str], verdict: str
) -> None:
    paths = make(tmp_path / "one"), make(tmp_path / "two", name="zoo")
    for path, platform, precision in zip(paths, platforms, precisions, strict=True):
        device = {"platform": platform, "kind": "any", "matmul_precision": precision, "x64": False}
        edit_records(path, in_start(device=device))
    assert check_of(load_results(paths), "numerics").verdict == verdict


@pytest.mark.parametrize(("version", "verdict"), [("4.0.0", "failed"), ("4.1.0", "warning")])
def test_digests_of_models_tell_nothing_between_mujoco_versions(
    tmp_path: Path, version: str, verdict: str
) -> None:
    paths = make(tmp_path / "one"), make(tmp_path / "two", name="zoo")
    edit_records(paths[1], in_configuration(model_hash="f" * 8))
    edit_records(paths[1], in_start(packages={"mujoco": version}))
    results = load_results(paths)
    assert check_of(results, "task models").verdict == verdict
    assert bool(texts(results, "model")) == (verdict == "failed")


# --- The last step of CONTRIBUTING, and other ways to ask --------------------------------


def newcomer(path: Path) -> Path:
    """Runs under the protocol of the stored results, by a program of today."""
    shutil.copytree(LITE, path, ignore=shutil.ignore_patterns("fpo", "dppo", "gorl-*"))
    (path / "CheetahRun" / "ppo").rename(path / "CheetahRun" / "newcomer")
    for file in path.glob("*/*/*/run.json"):
        record = json.loads(file.read_text())
        record["configuration"]["algorithm"] = "newcomer"
        record["provenance"][0]["device"]["matmul_precision"] = "highest"
        file.write_text(json.dumps(record))
    return path


def test_a_newcomer_is_compared_with_the_stored_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = newcomer(tmp_path / "mine")
    assert run_command(["compare", str(LITE), str(mine), "--reps", "50"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("Comparable, with reservations. One protocol (lite,")
    assert "newcomer" in second


def test_directories_are_compared_on_their_common_tasks(tmp_path: Path) -> None:
    tasks = ("CheetahRun", "FishSwim")
    big = generate_runs(tmp_path / "big", ("ppo", "fpo"), tasks, SEEDS, POINTS).path
    mine = make(tmp_path / "mine", (0, 1, 2), "zoo")
    third = generate_runs(tmp_path / "third", ("dppo",), tasks, SEEDS, POINTS).path
    text = compared(big, mine, third)
    assert text.startswith("Comparable, with reservations.")
    assert "missing" not in text.replace("damaged and missing", "")
    assert "compared on CheetahRun only; left out: FishSwim, which mine did not run" in text
    assert "seeds differ: 2 (0 to 1) of PPO, FPO, DPPO; 3 (0 to 2) of zoo" in text
    assert "over 1 task" in text and "zoo" in text.splitlines()[1]
    results = load_results([big, mine])  # a report shows all, and says what is not there
    assert texts(results, "fewer tasks") == ["was not run on FishSwim, as others were"]
    assert not texts(results, "missing")
    assert check_of(results, "every cell").verdict == "warning"
    more = make(tmp_path / "more", (0, 1, 2))  # the same method, with more seeds on one task
    results = load_results([big, more])
    assert not texts(results, "missing")
    assert check_of(results, "every cell").verdict == "warning"
    shutil.rmtree(big / "CheetahRun")
    with pytest.raises(UserError, match=r"no task is in all directories: big holds Fish.*; mine"):
        load_results([big, mine], choice=Choice(common=True))


def test_a_seed_lost_in_one_directory_is_missing_still(tmp_path: Path) -> None:
    big = generate_runs(tmp_path / "big", ("ppo", "fpo"), ("CheetahRun",), SEEDS, POINTS).path
    mine = make(tmp_path / "mine", (0, 1, 2), "zoo")
    shutil.rmtree(big / "CheetahRun" / "fpo" / "seed-001")
    results = load_results([big, mine])
    assert results.missing_seeds("fpo", "CheetahRun") == [1]
    assert results.missing_seeds("ppo", "CheetahRun") == []
    assert check_of(results, "every cell").text == "missing: CheetahRun/fpo/seed-001"


def test_a_choice_of_tasks_and_algorithms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ("CheetahRun", "FishSwim")
    run = generate_runs(tmp_path / "run", ("ppo", "fpo"), tasks, SEEDS, POINTS).path
    mine = make(tmp_path / "mine", hyperparameters={"clip": 0.2, "x": 1.0})
    one = load_results([run, mine], choice=Choice.parse("CheetahRun", "ppo"))
    assert one.algorithms == ("ppo", "ppo [clip=0.2, x=1.0]")
    assert one.tasks == ("CheetahRun",) and one.findings_for("ppo [clip=0.2, x=1.0]")
    two = load_results([run, mine], choice=Choice.parse(None, "ppo [clip=0.2, x=1.0],fpo"))
    assert two.algorithms == ("ppo [clip=0.2, x=1.0]", "fpo")
    whole = load_results([run], choice=Choice.parse(None, "all"))
    assert whole.algorithms == ("ppo", "fpo")
    for choice in (Choice.parse("CheetaRun", None), Choice.parse(None, "pppo")):
        with pytest.raises(UserError, match=r"did you mean '(CheetahRun|ppo)'"):
            load_results([run], choice=choice)
    out, arguments = tmp_path / "tidy.csv", ["--tasks", "FishSwim", "--algos", "fpo"]
    assert run_command(["export", str(run), "--out", str(out), *arguments]) == 0
    with open(out) as file:
        rows = list(csv.DictReader(file))
    assert {(row["task"], row["algorithm"]) for row in rows} == {("FishSwim", "fpo")}
    assert len(rows) == 2 * POINTS * len(SEEDS)
    report = str(tmp_path / "report")
    chosen = [str(run), "--tasks", "FishSwim", "--format", "tables", "--out", report]
    assert run_command(["report", *chosen, "--reps", "50"]) == 0
    capsys.readouterr()
    assert run_command(["audit", str(run), "--report", report]) == 0  # it was asked the same


def test_compare_says_how_many_directories_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path / "run")
    assert run_command(["compare", str(run)]) == EXIT_USER_ERROR
    assert "compare takes two run directories or more, or one ablation" in capsys.readouterr().err


def make_ablation(path: Path, axis: Axis) -> None:
    """Two methods on two tasks in two arms."""
    ablation = Ablation(
        name="mine",
        description="made up",
        protocol=generated_protocol(POINTS),
        source=None,
        algorithms=("ppo", "fpo"),
        tasks=("CheetahRun", "FishSwim"),
        seeds=SEEDS,
        engine="native",
        settings=(),
        metrics=(),
        axes=(axis,),
    )
    ablation.write(path)
    for arm in ablation.arms:
        run = RunDirectory.create(path / arm.name, ablation.protocol_of(arm))
        for algorithm, task in itertools.product(ablation.algorithms, ablation.tasks):
            job = Job(algorithm, task, SEEDS)
            values = {"clip": arm.values[0]} if algorithm == "ppo" else {}
            for cell in job.cells:
                write_cell(run, cell, job, POINTS, hyperparameters=values)


def test_every_command_takes_an_ablation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ablation(tmp_path / "abl", Axis("ppo.clip", (0.1, 0.2)))
    path, only = str(tmp_path / "abl"), ["--tasks", "FishSwim", "--algos", "ppo"]
    assert run_command(["export", path, *only]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["algorithm"] for row in rows} == {"ppo [0.1]", "ppo [0.2]"}
    assert {row["task"] for row in rows} == {"FishSwim"}
    assert len(rows) == 2 * 2 * POINTS * len(SEEDS)
    assert run_command(["compare", path, "--reps", "50", *only]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines if line[:1] == ["PPO"]] == [["PPO", "0.1"], ["PPO", "0.2"]]
    assert run_command(["power", path, "--delta", "0.3", "--json"]) == 0
    pairs = [(p["first"], p["second"]) for p in json.loads(capsys.readouterr().out)]
    assert ("PPO [0.1]", "PPO [0.2]") in pairs and len(pairs) == 6
    for command in ("report", "export", "power", "compare", "audit"):
        more = ["--delta", "0.3"] if command == "power" else []
        assert run_command([command, path, f"{path}/0.1", *more]) == EXIT_USER_ERROR
        assert "is an ablation; name it by itself" in capsys.readouterr().err
    run, job = RunDirectory.open(tmp_path / "abl" / "0.1"), Job("ppo", "CheetahRun", SEEDS)
    write_cell(run, job.cells[1], job, POINTS, hyperparameters={"clip": 0.3})
    with pytest.raises(UserError, match=r"arm 0.1 holds ppo in several settings.*clip="):
        compared(tmp_path / "abl")


def test_cells_of_stored_results_say_what_they_compute() -> None:
    results = load_results([LITE])
    assert sorted(run.state for run in results.runs) == ["diverged"] * 2 + ["done"] * 8
    assert check_of(results, "numerics").text == "32-bit numbers, whole products"
