"""`suite audit --retrain`: the same cells come out again, and what was changed does not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes.killing import TWO_SEEDS

from reports.audit.recomputed import recomputation_checks
from suite.cli import EXIT_USER_ERROR, run_command
from suite.common.errors import UserError
from suite.reproduction.making import make_again
from suite.storage.recomputation import Recomputation
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

FILES = {
    *("run.json", "status.json", "curve.csv", "metrics.csv", "episodes.npz", "states.npz"),
    *("policy-0.npz", "policy-1.npz", "job-000-001.ckpt"),
}
CELL = Cell("fpo", "CheetahRun", 0)


def again(run: RunDirectory, retrain: str | None, **options: Any) -> Recomputation:
    defaults: dict[str, Any] = {"recompute": False, "draw_seed": None, "trust": False}
    return make_again([run], retrain=retrain, tell=lambda _: None, **{**defaults, **options})


def forge_middle(run: RunDirectory) -> None:
    """Doubles the returns of an evaluation whose policy is not kept, digests and all."""
    files = run.files(CELL)
    episodes, rows = files.read_episodes(), files.read_curve()
    assert episodes is not None
    returns = episodes[1].copy()
    returns[1] *= 2
    for index in (2, 3):
        each = returns[1][index - 2].astype(np.float64)
        rows[index] = dataclasses.replace(
            rows[index], return_mean=float(each.mean()), return_std=float(each.std())
        )
    with files.batch() as batch:
        batch.put_curve(rows)
        batch.put_episodes(episodes[0], returns)


def forget_sketches(run: RunDirectory) -> None:
    """Leaves of the start states what versions before sketches recorded of them."""
    for path in run.path.rglob("run.json"):
        record = json.loads(path.read_text())
        del record["configuration"]["eval_starts"]["sketch"]
        path.write_text(json.dumps(record))


def test_every_byte_but_times_and_what_recomputing_cannot_see(run: RunDirectory) -> None:
    before = sorted(run.path.rglob("*"))
    found = again(run, "fpo/CheetahRun/0")
    # The seeds of a job are trained together, so that both are compared.
    assert [each.cell for each in found.retrained] == [str(CELL), "CheetahRun/fpo/seed-001"]
    for each in found.retrained:
        assert set(each.files) == FILES and not each.faults and not each.reason
    (check,) = recomputation_checks(found)
    assert (check.verdict, check.name) == ("ok", "retrained")
    assert sorted(run.path.rglob("*")) == before

    forge_middle(run)
    forget_sketches(run)
    shutil.rmtree(run.path / "CheetahRun" / "ppo")
    played = again(run, None, recompute=True)
    assert recomputation_checks(played)[0].verdict == "ok"  # no policy of that evaluation is kept
    (first, second) = again(run, "CheetahRun/fpo/seed-001").retrained
    assert [fault.partition(" stored")[0].partition(":")[0] for fault in first.faults] == [
        "curve.csv row 3, return_mean",
        "episodes.npz holds other numbers",
    ]
    assert set(second.files) == FILES


def test_a_run_from_elsewhere_that_comes_out_otherwise_proves_nothing(run: RunDirectory) -> None:
    forge_middle(run)
    path = run.cell_path(CELL) / "run.json"
    record = json.loads(path.read_text())
    record["provenance"][0]["cpu"] = "another"
    path.write_text(json.dumps(record))
    found = again(run, "fpo/CheetahRun/0")
    (first, second) = found.retrained
    assert not first.faults and second.files
    assert "which proves nothing as it was trained elsewhere: processor another" in first.reason
    (check,) = recomputation_checks(found)
    assert check.verdict == "warning"


@pytest.mark.parametrize(
    ("retrain", "seed", "reason"),
    [
        ("0", None, "choose from 1 to 9, the finished cells"),
        ("10", None, "choose from 1 to 9, the finished cells"),
        ("ppo/CheetahRun/9", None, "did you mean 'ppo/CheetahRun/6'"),
        ("ppo/CheetahRun/0", 3, "--draw-seed is for --retrain with a count"),
    ],
)
def test_what_cannot_be_chosen(
    run: RunDirectory, retrain: str, seed: int | None, reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        again(run, retrain, draw_seed=seed)


def test_draws_are_told_and_repeat(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is known to nobody before, and to everybody afterwards."""
    monkeypatch.setattr("suite.reproduction.making.train_again", lambda *_: ())
    told: list[str] = []

    def draw(seed: int | None) -> tuple[int | None, str]:
        found = make_again([run], False, "3", seed, False, told.append)
        return found.draw_seed, told[-1].partition(": ")[2]

    seeds, cells = zip(*(draw(None) for _ in range(20)), strict=True)
    assert len(set(seeds)) == 20 and len(set(cells)) > 10
    assert all(draw(seed) == (seed, drawn) for seed, drawn in zip(seeds, cells, strict=True))
    assert all(f"drawn by seed {seed}: {drawn}" in " ".join(told) for seed, drawn in [draw(7)])


def test_an_unfinished_cell_is_not_trained_again(run: RunDirectory) -> None:
    files = run.files(CELL)
    status = files.read_status()
    assert status is not None
    with files.batch() as batch:
        batch.put_status(dataclasses.replace(status, state="running"))
    assert {each.reason for each in again(run, "fpo/CheetahRun/1").retrained} == {
        "it is not finished"
    }


def test_bad_options_on_the_command_line(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (["--out", "x.json"], ["--retrain", "99"], ["--retrain", "x"]):
        assert run_command(["audit", str(run.path), *options]) == EXIT_USER_ERROR
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_real_run_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The five methods and one with a warm-up, through the command line; then one bit flips."""
    path = tmp_path / "run"
    options = [
        "--tasks",
        "CheetahRun",
        *TWO_SEEDS,
        "--protocol",
        "smoke",
        "--out",
        str(path),
    ]
    methods = "ppo,fpo,dppo,gorl-fm,gorl-diff,sac"
    assert run_command(["run", "--algos", methods, "--engine", "native", *options]) == 0
    capsys.readouterr()
    command = ["audit", str(path), "--recompute", "--retrain", "2", "--draw-seed", "1", "--json"]
    assert run_command(command) == 0
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["recomputed"]["verdict"] == checks["retrained"]["verdict"] == "ok"
    assert "of 12 of 12 runs, the scored last one of 12" in checks["recomputed"]["text"]
    assert "drawn by seed 1" in checks["retrained"]["text"]

    cell = Cell("gorl-fm", "CheetahRun", 1)
    files = RunDirectory.open(path).files(cell)
    episodes = files.read_episodes()
    assert episodes is not None
    returns = episodes[1].copy()
    returns[-1, 1, 0] = np.nextafter(returns[-1, 1, 0], np.float32(np.inf))
    with files.batch() as batch:
        batch.put_episodes(episodes[0], returns)
    assert run_command(["audit", str(path), "--recompute", "--json"]) == 1
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert f"{cell} after 4 updates: sample: 1 of " in checks["recomputed"]["text"]


@pytest.mark.slow
def test_decoders_of_another_run_are_found_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arms of `stages` begin with decoders of the source run; elsewhere they cannot be had."""
    path = tmp_path / "stages"
    options = ["--algos", "gorl-fm", "--seeds", "1", "--protocol", "smoke", "--out", str(path)]
    assert run_command(["ablate", "stages", "--engine", "native", *options]) == 0
    arm = path / "stage-1"

    def audited(*options: str) -> dict[str, str]:
        capsys.readouterr()
        run_command(["audit", *options, "--json"])
        checks = json.loads(capsys.readouterr().out)["checks"]
        return {each["name"]: f"{each['verdict']}: {each['text']}" for each in checks}

    found = audited(str(arm), "--recompute", "--retrain", "1")
    assert found["recomputed"].startswith("ok: 2 evaluations of 1 of 1 run,")
    assert found["retrained"].startswith("ok: ")
    moved = arm.rename(tmp_path / "moved")
    found = audited(str(moved), "--recompute", "--retrain", "1")
    assert "not recomputed" in found and found["recomputed"].startswith("ok: 1 evaluations of 1")
    assert "its decoder came from the run source, which is not beside it" in found["not recomputed"]
    assert "its decoder came from the run source" in found["retrained"]
