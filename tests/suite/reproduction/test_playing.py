"""`suite audit --recompute` finds forgeries that agree with themselves, digests included."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import suite.training.stored_policies
from algorithms import registry
from algorithms.api import MODES
from envs.api import EnvError
from reports.audit.recomputed import recomputation_checks
from suite.cli import run_command
from suite.compute.compiled import Compiled
from suite.reproduction import playing
from suite.storage.recomputation import NOT_KEPT, Missing, Recomputation, Replayed
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

Returns = np.ndarray
Change = Callable[[Returns], Returns]


@pytest.fixture(autouse=True, scope="module")
def _compiled_once() -> Iterator[None]:
    """Keeps compiled programs from one test to the next."""
    known: dict[object, Compiled] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(playing, "Compiled", lambda p: known.setdefault(p.algorithm, Compiled(p)))
        yield


def cell(seed: int, algorithm: str = "ppo") -> Cell:
    return Cell(algorithm, "CheetahRun", seed)


def forge(run: RunDirectory, which: Cell, change: Change) -> None:
    """Changes returns [P, M, E], the curve and the status with them, and makes digests again."""
    files = run.files(which)
    episodes, rows, status = files.read_episodes(), files.read_curve(), files.read_status()
    assert episodes is not None and status is not None
    steps, returns = episodes[0], change(episodes[1].copy())
    made = [
        dataclasses.replace(
            row,
            return_mean=float(each.mean(dtype=np.float64)),
            return_std=float(each.std(dtype=np.float64)),
            episodes=len(each),
        )
        for row, each in zip(rows, returns.reshape(-1, returns.shape[-1]), strict=True)
    ]
    last = {row.mode: row.return_mean for row in made[-2:]}
    with files.batch() as batch:
        batch.put_curve(made)
        batch.put_episodes(steps, returns)
        batch.put_status(dataclasses.replace(status, returns=last))


def returns_of(run: RunDirectory, which: Cell) -> Returns:
    episodes = run.files(which).read_episodes()
    assert episodes is not None
    return episodes[1]


def best_half(returns: Returns) -> Returns:
    return np.sort(returns, axis=-1)[..., returns.shape[-1] // 2 :]


def forge_all(run: RunDirectory) -> dict[Cell, str]:
    """Plants the five forgeries, and returns by which words each is to be found."""
    originals = {seed: returns_of(run, cell(seed)) for seed in range(7)}
    other = returns_of(run, cell(0, "fpo"))
    forge(run, cell(0), lambda returns: returns + np.float32(50))
    forge(run, cell(1), lambda _: originals[2])
    forge(run, cell(2), lambda _: originals[1])
    forge(run, cell(3), lambda returns: returns[:, ::-1])
    forge(run, cell(4), best_half)
    forge(run, cell(6), lambda _: other)
    return {
        cell(0): "differ, mean 5",
        cell(1): "32 of 32 returns differ",
        cell(2): "32 of 32 returns differ",
        cell(3): "sample: 32 of 32 returns differ",
        cell(4): "2 x 16 float32 returns are stored, 2 x 32 float32 recomputed",
        cell(6): "32 of 32 returns differ",
    }


def replay(run: RunDirectory) -> dict[str, Replayed]:
    return {each.cell: each for each in playing.replay(run, False, lambda _: None)}


def faulty(found: dict[str, Replayed]) -> set[str]:
    return {
        name
        for name, each in found.items()
        if each.faults or any(one.fault for one in each.evaluations)
    }


def faults(each: Replayed) -> str:
    return "; ".join([*each.faults, *(one.fault for one in each.evaluations)])


def test_every_bit_comes_out_again(run: RunDirectory) -> None:
    found = replay(run)
    assert len(found) == 9
    for each in found.values():
        assert each.elsewhere == () and each.faults == () and each.last == 4
        assert [(one.updates, one.equal, one.returns, one.fault) for one in each.evaluations] == [
            (updates, 64, 64, "") for updates in (0, 2, 4)
        ]
        assert each.missing == (Missing(NOT_KEPT, 2),)
    recomputed, missing = recomputation_checks(Recomputation("here", tuple(found.values())))
    assert (recomputed.verdict, missing.verdict) == ("ok", "not recorded")
    assert "27 evaluations of 9 of 9 runs, the scored last one of 9" in recomputed.text
    assert "1,728 of 1,728 returns equal bit for bit" in recomputed.text
    assert missing.text == f"18 evaluations of 9 runs, as {NOT_KEPT}"


def test_the_five_forgeries_whose_digests_hold(run: RunDirectory) -> None:
    planted = forge_all(run)
    assert all(not run.files(each).check_digests().faults for each in run.cells())
    found = replay(run)
    assert faulty(found) == {str(each) for each in planted}
    for each, words in planted.items():
        assert words in faults(found[str(each)])
        # The evaluation that scores are made from is among those found.
        assert found[str(each)].evaluations[-1].fault
    (check, _) = recomputation_checks(Recomputation("here", tuple(found.values())))
    assert check.verdict == "failed" and "mean 5" in check.text


def test_a_run_that_claims_another_processor_is_held_to_the_tolerance(run: RunDirectory) -> None:
    planted = forge_all(run)
    for path in run.path.rglob("run.json"):
        record = json.loads(path.read_text())
        record["provenance"][0]["cpu"] = "another"
        path.write_text(json.dumps(record))
    found = replay(run)
    assert faulty(found) == {str(each) for each in planted}
    clean = found[str(cell(5))]
    assert len(clean.elsewhere) == 1 and clean.elsewhere[0].startswith("processor another (")


def test_the_best_half_under_a_protocol_that_asks_for_no_more(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """protocol.json and run.json say 16 episodes, and exactly 16 are stored."""
    shutil.rmtree(run.path / "CheetahRun" / "ppo")
    half = dataclasses.replace(run.protocol, eval_episodes=16)
    for path in [*run.path.rglob("run.json"), run.path / "protocol.json"]:
        plain = json.loads(path.read_text())
        holder = plain.get("configuration", plain)
        holder |= {"protocol": half.to_dict(), "fingerprint": half.fingerprint()}
        path.write_text(json.dumps(plain))
    run = RunDirectory.open(run.path)
    monkeypatch.setattr(playing, "Compiled", Compiled)  # anew, for as many episodes
    for each in run.cells():
        forge(run, each, best_half)
    found = replay(run)
    assert faulty(found) == {str(each) for each in run.cells()}
    assert all("16 of 16 returns differ" in faults(each) for each in found.values())


def test_policies_of_another_seed(run: RunDirectory) -> None:
    """Results and final policy of seed 1 stand in seed 0: the random keys give it away."""
    one, other = (run.files(cell(seed)) for seed in (0, 1))
    shutil.copy(other.policy_path(1), one.policy_path(1))
    forge(run, cell(0), lambda _: returns_of(run, cell(1)))
    found = replay(run)
    assert faulty(found) == {str(cell(0))}
    assert [bool(one.fault) for one in found[str(cell(0))].evaluations] == [True] * 3
    policy = json.dumps(found[str(cell(0))].faults)
    assert "its job's checkpoint holds another policy after 4 updates" in policy


def test_a_policy_of_another_moment_and_a_damaged_one(run: RunDirectory) -> None:
    files = run.files(cell(0))
    shutil.copy(files.policy_path(0), files.policy_path(1))
    run.files(cell(1)).policy_path(1).write_bytes(b"no archive")
    found = replay(run)
    assert found[str(cell(0))].faults == ("policy-1.npz is of 2 updates, not 4",)
    assert "is damaged" in found[str(cell(1))].faults[0]
    assert faulty(found) == {str(cell(0)), str(cell(1))}


def test_a_seed_without_policies_leaves_the_others_their_bits(run: RunDirectory) -> None:
    """The width of the program stays the run's; the newest policy is in the checkpoint too."""
    for stage in (0, 1):
        run.files(cell(0)).policy_path(stage).unlink()
    found = replay(run)
    assert not faulty(found)
    assert [one.updates for one in found[str(cell(0))].evaluations] == [0, 4]
    assert found[str(cell(0))].missing == (Missing(NOT_KEPT, 3),)
    assert [one.updates for one in found[str(cell(1))].evaluations] == [0, 2, 4]


def test_a_checkpoint_stands_in_for_policies_that_are_not_there(run: RunDirectory) -> None:
    for seed in range(7):
        run.files(cell(seed)).policy_path(1).unlink()
    found = replay(run)
    assert not faulty(found)
    assert [one.updates for one in found[str(cell(3))].evaluations] == [0, 2, 4]


def test_another_checkpoint_in_the_place_of_a_jobs(run: RunDirectory) -> None:
    directory = run.path / "CheetahRun" / "ppo"
    (directory / "job-000-006.ckpt").write_bytes(
        (run.path / "CheetahRun" / "fpo" / "job-000-001.ckpt").read_bytes()
    )
    found = replay(run)
    assert faulty(found) == {str(cell(seed)) for seed in range(7)}
    assert "its job's checkpoint is of no use" in faults(found[str(cell(0))])


def test_a_curve_without_its_last_evaluation_or_with_two(run: RunDirectory) -> None:
    def keep(which: Cell, rows: slice) -> None:
        files = run.files(which)
        episodes = files.read_episodes()
        assert episodes is not None
        picked = [*range(5)][rows] if rows.step is None else [0, 1, 2, 3, 4, 4]
        with files.batch() as batch:
            curve = files.read_curve()
            batch.put_curve([curve[len(MODES) * i + m] for i in picked for m in range(2)])
            batch.put_episodes(episodes[0][picked], episodes[1][picked])

    keep(cell(0), slice(4))
    keep(cell(1), slice(0, 5, 1))
    found = replay(run)
    assert faulty(found) == {str(cell(0)), str(cell(1))}
    assert found[str(cell(0))].evaluations[-1].fault == "the curve lacks this evaluation"
    assert "two evaluations after as many updates" in faults(found[str(cell(1))])


@pytest.mark.parametrize("field", ["parameter_count", "evaluations_per_action", "model_hash"])
def test_what_run_json_tells_of_the_method_and_the_task(run: RunDirectory, field: str) -> None:
    shutil.rmtree(run.path / "CheetahRun" / "ppo")
    path = run.cell_path(cell(1, "fpo")) / "run.json"
    for each in (path, path.parent.with_name("seed-000") / "run.json"):
        record = json.loads(each.read_text())
        record["configuration"][field] = "x" if field == "model_hash" else 7777
        each.write_text(json.dumps(record))
    found = replay(run)
    assert all(f"{field} " in faults(each) for each in found.values())


def test_what_cannot_be_had_here_is_said(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(name: str) -> registry.Entry:
        raise KeyError(name)

    def load_task(*_: object) -> None:
        raise EnvError("engine warp needs a GPU")

    monkeypatch.setattr(suite.training.stored_policies, "load_task", load_task)
    engine = replay(run)
    monkeypatch.setattr(registry, "lookup", lookup)
    method = replay(run)
    for found, words in ((engine, "needs a GPU"), (method, "which is not installed here")):
        assert not faulty(found)
        for each in found.values():
            ((reason, evaluations),) = [(one.reason, one.evaluations) for one in each.missing]
            assert words in reason and evaluations == 5
    recomputed, missing = recomputation_checks(Recomputation("here", tuple(method.values())))
    assert (recomputed.verdict, missing.verdict) == ("warning", "warning")


def test_seeds_that_no_job_has(run: RunDirectory) -> None:
    for seed, seeds in ((0, [5, 6]), (1, list(range(5000)))):
        path = run.cell_path(cell(seed, "fpo")) / "run.json"
        record = json.loads(path.read_text())
        record["configuration"]["seeds_together"] = seeds
        path.write_text(json.dumps(record))
    found = replay(run)
    reasons = [found[str(cell(seed, "fpo"))].missing[0].reason for seed in (0, 1)]
    assert "is not among the seeds that it was trained with" in reasons[0]
    assert "5,000 seeds_together; at most 1,000" in reasons[1]


def test_on_the_command_line(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run.path / "CheetahRun" / "ppo")
    command = ["audit", str(run.path), "--recompute", "--json"]
    before = {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}
    run_command([*command, "--out", str(tmp_path / "recomputed.json")])
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["recomputed"]["verdict"] == "ok"
    assert json.loads((tmp_path / "recomputed.json").read_text())["machine"]
    assert before == {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}
    forge(run, cell(0, "fpo"), lambda returns: returns + np.float32(50))
    assert run_command(command) == 1
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["recomputed"]["verdict"] == "failed"
    assert (
        "CheetahRun/fpo/seed-000 after 4 updates: deterministic: 32 of 32"
        in (checks["recomputed"]["text"])
    )
