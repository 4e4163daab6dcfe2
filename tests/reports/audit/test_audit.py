"""`suite audit`: passes on a clean run, and names the cause of every planted unfairness."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from generate import generate_runs
from processes.killing import TWO_SEEDS

from reports.analysis.comparison import Analysis
from reports.audit.all_checks import audit
from reports.audit.verdict import judge
from reports.runs.loading import load_results
from reports.tables.runs import failures
from reports.writing import report_options, verify
from reports.writing.report_request import ReportRequest
from suite.cli import EXIT_USER_ERROR, run_command
from suite.common.errors import UserError
from suite.configuration.protocol import load_protocol
from suite.configuration.recipe import Axis
from suite.storage import digests
from suite.storage.ablation_directory import Ablation

ALGORITHMS = ("ppo", "fpo")
SEEDS = (0, 1)


class Audited(NamedTuple):
    code: int
    checks: dict[str, tuple[str, str]]

    @property
    def failed(self) -> set[str]:
        return {name for name, (verdict, _) in self.checks.items() if verdict == "failed"}

    def text(self, name: str) -> str:
        return self.checks[name][1]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a real `suite run` leaves, of two methods and two seeds."""
    path = tmp_path_factory.mktemp("clean") / "run"
    arguments = [
        "--tasks",
        "CheetahRun",
        *TWO_SEEDS,
        "--protocol",
        "smoke",
        "--out",
        str(path),
    ]
    assert run_command(["run", "--algos", ",".join(ALGORITHMS), *arguments]) == 0
    return path


@pytest.fixture
def run_dir(clean: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clean, tmp_path / "run")


@pytest.fixture
def audited(capsys: pytest.CaptureFixture[str]) -> Callable[..., Audited]:
    def invoke(*arguments: object) -> Audited:
        capsys.readouterr()
        code = run_command(["audit", *map(str, arguments), "--json"])
        result = json.loads(capsys.readouterr().out)
        checks = {each["name"]: (each["verdict"], each["text"]) for each in result["checks"]}
        assert result["verdict"] == ("failed" if code else "ok")
        return Audited(code, checks)

    return invoke


def cell_path(run_dir: Path, algorithm: str = "fpo", seed: int = 1) -> Path:
    return run_dir / "CheetahRun" / algorithm / f"seed-{seed:03d}"


def seal(cell: Path) -> None:
    """Gives a cell the digests of its present files, as somebody who hides an edit would."""
    names = [path.name for path in cell.iterdir() if path.name[0] != "."]
    digests = {
        name: hashlib.sha256((cell / name).read_bytes()).hexdigest()
        for name in names
        if name != "digests.json"
    }
    (cell / "digests.json").write_text(json.dumps({"files": digests, "before": {}}))


def edit_json(path: Path, edit: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def edit_run(cell: Path, edit: Callable[[Any], None]) -> None:
    """Changes run.json and its digest: the run was made like that, nobody edited it."""
    edit_json(cell / "run.json", edit)
    seal(cell)


def edit_curve(cell: Path, edit: Callable[[dict[str, str]], None]) -> None:
    with open(cell / "curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        edit(row)
    with open(cell / "curve.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_a_clean_run_passes(run_dir: Path, audited: Callable[..., Audited]) -> None:
    result = audited(run_dir)
    assert result.code == 0
    verdicts = {name: verdict for name, (verdict, _) in result.checks.items()}
    assert verdicts.pop("tuning effort") == "not recorded"
    verdicts.pop("code version")  # a checkout with changes is worth a warning
    assert set(verdicts.values()) == {"ok"}
    assert "640 environment steps in each of 4 finished runs" in result.text("equal steps")


def test_provenance_of_a_real_run(run_dir: Path) -> None:
    record = json.loads((cell_path(run_dir) / "run.json").read_text())
    (start,) = record["provenance"]
    last = list(csv.DictReader((cell_path(run_dir) / "curve.csv").read_text().splitlines()))[-1]
    spent = float(last["train_seconds"]) + float(last["eval_seconds"])
    assert start["compile_seconds"] > 0
    assert start["wall_seconds"] > max(spent, start["compile_seconds"])
    assert 10**8 < start["peak_memory_bytes"] < 10**11
    assert start["device_peak_memory_bytes"] is None  # the CPU keeps no such count
    assert len(record["configuration"]["eval_starts"]["sha256"]) == 16
    assert record["configuration"]["return_bounds"] == [0.0, 1000.0]


def test_an_update_less(run_dir: Path, audited: Callable[..., Audited]) -> None:
    """Two seeds whose every number says that they took one update less than the others."""

    def fewer(row: dict[str, str]) -> None:
        if row["updates"] != "0":
            row["updates"] = str(int(row["updates"]) - 1)
            for field in ("env_steps", "train_steps"):
                row[field] = str(int(row[field]) - each)

    def fewer_in_status(status: Any) -> None:
        for field in ("updates", "total_updates"):
            status[field] -= 1
        status["ledger"]["train_steps"] -= each

    each = json.loads((cell_path(run_dir) / "status.json").read_text())
    each = each["ledger"]["train_steps"] // each["updates"]
    for seed in SEEDS:
        cell = cell_path(run_dir, "fpo", seed)
        edit_curve(cell, fewer)
        edit_json(cell / "status.json", fewer_in_status)
        with np.load(cell / "episodes.npz") as arrays:
            steps, returns = arrays["env_steps"], arrays["returns"]
        np.savez(cell / "episodes.npz", env_steps=steps - each * (steps > 0), returns=returns)
        for name in ("policy-0.npz", "states.npz", "metrics.csv"):
            (cell / name).unlink()
        seal(cell)
    for path in cell.parent.glob("job-*"):  # whose curve is longer
        path.unlink()
    result = audited(run_dir)
    assert result.code == 1
    assert result.failed == {"equal steps"}
    assert f"CheetahRun/fpo/seed-000 took {640 - each} (" in result.text("equal steps")
    assert "ppo" not in result.text("equal steps")


def set_field(field: str, value: Any) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        record["configuration"][field] = value

    return edit


def move_starts(record: Any) -> None:
    """Leaves the digest as it was, so that it no longer goes with the numbers."""
    record["configuration"]["eval_starts"]["projection"] += 1.0


def set_rule(field: str, value: Any) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        record["configuration"]["protocol"][field] = value

    return edit


def set_device(field: str, value: Any) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        record["provenance"][0]["device"][field] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "check", "cause"),
    [
        (
            set_field("eval_starts", {"sha256": "0" * 16, "projection": 1e3}),
            *("evaluation starts",) * 2,
        ),
        # A digest alone tells no rounding from other states, nor does an edited record.
        (set_field("eval_starts", {"sha256": "0" * 16}), "evaluation starts", "0" * 16),
        (move_starts, "evaluation starts", '"projection"'),
        (set_field("engine", "jax"), "engine", "jax in CheetahRun/fpo/seed-001"),
        (set_field("model_hash", "f" * 64), "task models", "f" * 16),
        (set_rule("normalizer", "legacy"), "observations", 'normalizer: "legacy" in'),
        (set_rule("normalizer_timing", "before"), "observations", 'normalizer_timing: "before"'),
        (set_rule("truncation", "masked"), "rewards and time limits", 'truncation: "masked"'),
        (set_rule("starts", "own"), "training starts", 'starts: "own"'),
        (set_rule("eval_seed", 7), "evaluation rule", "eval_seed: 7"),
        (set_rule("num_epochs", 9), "budget and geometry", "num_epochs: 9"),
        (set_device("x64", True), "numerics", "64-bit numbers, whole products in CheetahRun/fpo"),
        (set_field("parameter_count", 3), "parameter counts", "CheetahRun/fpo 3 and"),
    ],
)
def test_planted_unfairness(
    run_dir: Path,
    audited: Callable[..., Audited],
    edit: Callable[[Any], None],
    check: str,
    cause: str,
) -> None:
    edit_run(cell_path(run_dir), edit)
    result = audited(run_dir)
    assert result.code == 1
    assert check in result.failed
    assert "files" not in result.failed
    if cause != check:
        assert cause in result.text(check)
    assert "CheetahRun/fpo" in result.text(check)


def test_start_states_that_differ_by_rounding_only(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    def nudge(record: Any) -> None:
        starts = record["configuration"]["eval_starts"]
        starts["sha256"], starts["projection"] = "0" * 16, starts["projection"] * (1 + 1e-7)

    edit_run(cell_path(run_dir), nudge)
    result = audited(run_dir)
    assert result.code == 0
    assert result.checks["evaluation starts"][0] == "warning"


@pytest.mark.parametrize("hidden", [False, True])
def test_an_edited_curve(run_dir: Path, audited: Callable[..., Audited], hidden: bool) -> None:
    def improve(row: dict[str, str]) -> None:
        row["return_mean"] = str(float(row["return_mean"]) + 0.5)

    edit_curve(cell_path(run_dir), improve)
    if hidden:
        seal(cell_path(run_dir))
    result = audited(run_dir)
    assert result.code == 1
    assert result.failed == {"files", "curves"}
    assert "CheetahRun/fpo/seed-001 its curve says" in result.text("curves")
    assert ("curve.csv is not what was written" in result.text("files")) == (not hidden)


def test_an_edit_that_only_the_digest_knows(run_dir: Path, audited: Callable[..., Audited]) -> None:
    def hurry(row: dict[str, str]) -> None:
        row["wall_seconds"] = "1.0"

    edit_curve(cell_path(run_dir), hurry)
    result = audited(run_dir)
    assert result.failed == {"files", "curves"}
    assert "CheetahRun/fpo/seed-001: curve.csv is not what was written" in result.text("files")
    assert load_results([run_dir]).runs_of("fpo", "CheetahRun")[1].state == "damaged"


def test_a_missing_seed(run_dir: Path, audited: Callable[..., Audited]) -> None:
    shutil.rmtree(cell_path(run_dir))
    result = audited(run_dir)
    assert result.failed == {"every cell"}
    assert result.text("every cell") == "missing: CheetahRun/fpo/seed-001"


@pytest.mark.parametrize(("tries", "times"), [(1, "once"), (2, "2 times")])
def test_a_seed_that_was_tried_again(
    run_dir: Path, audited: Callable[..., Audited], tries: int, times: str
) -> None:
    """What `--retry-diverged` sets aside shows: who tries until it works, selects."""
    assert audited(run_dir).checks["first tries"][0] == "ok"
    cell = cell_path(run_dir)
    for number in range(1, tries + 1):
        shutil.copytree(cell, cell.with_name(f"{cell.name}.diverged-{number}"))
    result = audited(run_dir)
    assert result.code == 0
    assert result.checks["first tries"][0] == "warning"
    said = f"CheetahRun/fpo/seed-001 diverged {times} before and was started afresh"
    assert said in result.text("first tries")
    results = load_results([run_dir])
    assert judge(results).level == "warn"
    rows = [[entry.text for entry in row] for row in failures(Analysis(results)).rows]
    (row,) = [row for row in rows if row[0] == "retried"]
    assert row[1].startswith("CheetahRun/fpo/seed-001#") and times in row[2]


def test_a_seed_that_is_missing_everywhere(run_dir: Path, audited: Callable[..., Audited]) -> None:
    for algorithm in ALGORITHMS:
        shutil.rmtree(cell_path(run_dir, algorithm))
    assert "CheetahRun/ppo/seed-001, CheetahRun/fpo/seed-001" in audited(run_dir).text("every cell")


def test_another_package_version_is_a_warning(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    def update(record: Any) -> None:
        record["provenance"][0]["packages"]["mujoco"] = "9.9.9"

    edit_run(cell_path(run_dir), update)
    result = audited(run_dir)
    assert result.code == 0
    verdict, text = result.checks["package versions"]
    assert (verdict, text[:44]) == ("warning", "mujoco 9.9.9 in CheetahRun/fpo/seed-001, 4.0"[:44])


def test_a_method_that_was_changed_between_its_seeds(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    def change(record: Any) -> None:
        method = record["provenance"][0]["method"]
        method["source"], method["modules"]["algorithms.parts.flow"] = "0" * 16, "1" * 12

    assert "each method has one source in all of its runs" in audited(run_dir).text("code version")
    edit_run(cell_path(run_dir), change)
    result = audited(run_dir)
    assert result.failed == {"code version"}
    said = "FPO was changed in algorithms.parts.flow between its runs: source 0000000000000000 in"
    assert said in result.text("code version")
    assert "PPO" not in result.text("code version").replace("FPO", "")


def test_a_method_that_was_changed_while_a_seed_was_stopped(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    def resume(record: Any) -> None:
        (start,) = record["provenance"]
        method = {**start["method"], "source": "f" * 16}
        record["provenance"].append({**start, "method": method})

    for seed in SEEDS:
        edit_run(cell_path(run_dir, "fpo", seed), resume)
    assert audited(run_dir).failed == {"code version"}


def test_older_runs_do_not_tell_the_source_of_their_method(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    def forget(record: Any) -> None:
        del record["provenance"][0]["method"]

    edit_run(cell_path(run_dir), forget)
    result = audited(run_dir)
    assert result.code == 0
    verdict, text = result.checks["code version"]
    assert verdict == "warning"
    assert "source of the method not told by CheetahRun/fpo/seed-001" in text
    for algorithm in ALGORITHMS:
        for seed in SEEDS:
            cell = cell_path(run_dir, algorithm, seed)
            edit_run(cell, lambda record: record["provenance"][0].pop("method", None))
    assert "no run tells the source of its method" in audited(run_dir).text("code version")


@pytest.mark.parametrize("lost", ["episodes.npz", "policy-0.npz", "metrics.csv", "digests.json"])
def test_a_directory_copied_in_part(
    run_dir: Path, audited: Callable[..., Audited], lost: str
) -> None:
    (cell_path(run_dir) / lost).unlink()
    result = audited(run_dir)
    assert "files" in result.failed
    assert f"CheetahRun/fpo/seed-001: {lost} is missing" in result.text("files")


def test_a_cell_that_kept_only_its_status(run_dir: Path, audited: Callable[..., Audited]) -> None:
    for path in cell_path(run_dir).iterdir():
        if path.name != "status.json":
            path.unlink()
    assert "CheetahRun/fpo/seed-001: run.json is missing" in audited(run_dir).text("files")


def checkpoint_path(run_dir: Path, algorithm: str = "fpo") -> Path:
    return run_dir / "CheetahRun" / algorithm / "job-000-001.ckpt"


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


EVALUATE = ["--task", "CheetahRun", "--algo", "fpo", "--seed", "1", "--episodes", "2"]
AGAIN = ["--tasks", "CheetahRun", *TWO_SEEDS, "--protocol", "smoke"]


@pytest.mark.parametrize("place", [0.001, 0.5, 0.99])
@pytest.mark.parametrize("ending", ["", ".prev", ".digests"])
def test_a_flipped_bit_in_a_checkpoint(
    run_dir: Path,
    audited: Callable[..., Audited],
    capsys: pytest.CaptureFixture[str],
    place: float,
    ending: str,
) -> None:
    path = checkpoint_path(run_dir)
    flip(path.with_name(f"{path.name}{ending}"), place)
    result = audited(run_dir)
    assert result.failed == {"checkpoints"}
    assert f"CheetahRun/fpo/seed-000 {path.name}" in result.text("checkpoints")
    if not ending:
        assert run_command(["eval", str(run_dir), *EVALUATE]) == EXIT_USER_ERROR
        assert f"{path} is not what its run wrote" in capsys.readouterr().err


def retell(path: Path, before: str, after: str) -> None:
    """Changes what a checkpoint says of itself, and every digest that covers it."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    manifest = json.loads(arrays.pop("manifest").tobytes())
    assert before in manifest["facts"]
    manifest["facts"] = manifest["facts"].replace(before, after)
    digest = hashlib.sha256(manifest["facts"].encode())
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    manifest["sha256"] = digest.hexdigest()
    told = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **arrays, manifest=told)
    path.with_name(f"{path.name}.digests").unlink()


@pytest.mark.parametrize("hidden", [False, True])
def test_a_checkpoint_of_another_run(
    run_dir: Path,
    audited: Callable[..., Audited],
    capsys: pytest.CaptureFixture[str],
    hidden: bool,
) -> None:
    """Of another method, or of the same one with another clip and its digests made again."""
    path = checkpoint_path(run_dir)
    if hidden:
        retell(path, '"clip": 0.05', '"clip": 0.3')
    else:
        shutil.copy(checkpoint_path(run_dir, "ppo"), path)
    result = audited(run_dir)
    assert result.failed == {"checkpoints"}
    said = "is of another run: clip (0.3 there, 0.05 now)" if hidden else "is not what its job"
    assert said in result.text("checkpoints")
    capsys.readouterr()
    assert run_command(["eval", str(run_dir), *EVALUATE]) == EXIT_USER_ERROR
    said = "is of another run, which differs in clip" if hidden else "is not what its run wrote"
    assert said in capsys.readouterr().err


def test_a_checkpoint_with_other_numbers(run_dir: Path, audited: Callable[..., Audited]) -> None:
    """What a checkpoint holds of the curve is the curve, whoever made its digests."""
    path = checkpoint_path(run_dir)
    path.with_name(f"{path.name}.digests").unlink()
    assert audited(run_dir).checks["checkpoints"][0] == "ok"  # older versions kept none
    cell = cell_path(run_dir)
    with np.load(cell / "episodes.npz") as arrays:
        steps, returns = arrays["env_steps"], arrays["returns"] + np.float32(1)
    np.savez(cell / "episodes.npz", env_steps=steps, returns=returns)
    means = returns.mean(axis=-1, dtype=np.float64).ravel().tolist()
    last = dict(zip(("deterministic", "sample"), means[-2:], strict=True))
    edit_curve(cell, lambda row: row.update(return_mean=means.pop(0)))
    edit_json(cell / "status.json", lambda status: status.update(returns=last))
    seal(cell)
    result = audited(run_dir)
    assert result.failed == {"checkpoints"}
    assert "says a return of" in result.text("checkpoints")


def test_a_flipped_bit_in_the_fingerprint_of_the_protocol(
    run_dir: Path, audited: Callable[..., Audited], capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir / "protocol.json"
    edit_json(path, lambda record: record.update(fingerprint="0" + record["fingerprint"][1:]))
    result = audited(run_dir)
    assert result.failed == {"fingerprints"}
    assert "protocol.json says 0" in result.text("fingerprints")
    capsys.readouterr()
    for command in (["eval", str(run_dir), *EVALUATE], ["run", *AGAIN, "--out", str(run_dir)]):
        assert run_command(command) == EXIT_USER_ERROR
        assert "protocol.json says 0" in capsys.readouterr().err


def test_a_flipped_bit_in_a_kept_policy(run_dir: Path, audited: Callable[..., Audited]) -> None:
    path = cell_path(run_dir) / "policy-0.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "policy-0.npz is not what was written" in audited(run_dir).text("files")


def test_swapped_cells(run_dir: Path, audited: Callable[..., Audited]) -> None:
    first, second = cell_path(run_dir, "fpo", 0), cell_path(run_dir, "fpo", 1)
    first.rename(run_dir / "aside")
    second.rename(first)
    (run_dir / "aside").rename(second)
    result = audited(run_dir)
    assert "files" in result.failed
    assert "its run.json is that of CheetahRun/fpo seed 1" in result.text("files")


def test_a_seed_made_by_copying_another(run_dir: Path, audited: Callable[..., Audited]) -> None:
    shutil.rmtree(cell_path(run_dir))
    shutil.copytree(cell_path(run_dir, "fpo", 0), cell_path(run_dir))
    edit_run(cell_path(run_dir), set_field("seed", 1))
    result = audited(run_dir)
    assert result.failed == {"every cell", "checkpoints"}
    assert "has the same returns as seed 0: one is a copy" in result.text("every cell")
    assert "not " in result.text("checkpoints") and "fpo/seed-001" in result.text("checkpoints")


def test_unfairness_between_directories(
    run_dir: Path, tmp_path: Path, audited: Callable[..., Audited]
) -> None:
    other = shutil.copytree(run_dir, tmp_path / "other")
    shutil.rmtree(run_dir / "CheetahRun" / "fpo")
    shutil.rmtree(other / "CheetahRun" / "ppo")
    assert audited(run_dir, other).code == 0
    for seed in SEEDS:
        edit_run(cell_path(other, "fpo", seed), set_rule("total_steps", 800))
    edit_json(other / "protocol.json", lambda record: record["protocol"].update(total_steps=800))
    result = audited(run_dir, other)
    assert {"protocol", "budget and geometry"} <= result.failed
    assert "total_steps (640 and 800)" in result.text("protocol")


def test_what_protocols_say_of_single_methods_is_named_and_not_printed(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    table = {"fpo": {"clip": 0.07}, "ppo": {"clip": 0.1}}
    edit_json(run_dir / "protocol.json", lambda record: record["protocol"].update(algorithms=table))
    for algorithm, clip in (("ppo", 0.1), ("fpo", 0.2)):
        told = {**table, "fpo": {"clip": clip}} if algorithm == "fpo" else table
        for seed in SEEDS:
            edit_run(cell_path(run_dir, algorithm, seed), set_rule("algorithms", told))
    verdict, text = audited(run_dir).checks["notes of the protocol"]
    assert verdict == "warning"
    assert text.startswith("algorithms: other than in protocol.json for fpo in CheetahRun/fpo/")
    assert "0.07" not in text and "CheetahRun/ppo" not in text


def test_tuning_effort_is_shown(run_dir: Path, audited: Callable[..., Audited]) -> None:
    def tuned(**effort: int) -> Callable[[Any], None]:
        table = {name: {"configurations": count} for name, count in effort.items()}
        return lambda record: record["protocol"].update(tuning=table)

    edit_json(run_dir / "protocol.json", tuned(ppo=3, fpo=3))
    assert audited(run_dir).checks["tuning effort"][0] == "ok"
    edit_json(run_dir / "protocol.json", tuned(ppo=30, fpo=3))
    verdict, text = audited(run_dir).checks["tuning effort"]
    assert verdict == "warning"
    assert text == "PPO: configurations = 30; FPO: configurations = 3"


def test_searches_are_compared_by_what_they_spent(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    """The newcomer's is told by its own runs alone; digests only say which search it was."""
    spent = {"configurations": 8, "tasks": "ReacherHard", "total_steps": 9, "tuner": 1}

    def tuned(**changes: Mapping[str, object]) -> tuple[str, str]:
        records = {
            name: {**spent, "digest": name, **changes.get(name, {})} for name in ("ppo", "fpo")
        }
        edit_json(
            run_dir / "protocol.json",
            lambda record: record["protocol"].update(tuning={"ppo": records["ppo"]}),
        )
        for seed in SEEDS:
            edit_run(
                cell_path(run_dir, "fpo", seed),
                lambda record: record["configuration"]["protocol"].update(
                    tuning={"fpo": records["fpo"]}
                ),
            )
        verdict, text = audited(run_dir).checks["tuning effort"]
        return verdict, text

    told = "configurations = 8, tasks = ReacherHard, total_steps = 9, tuner = 1"
    assert tuned() == ("ok", f"equal for all 2 methods: {told}")
    more = tuned(fpo={"total_steps": 10})
    assert more == ("warning", f"PPO: {told}; FPO: {told.replace('= 9', '= 10')}")
    none = tuned(fpo={"configurations": 0})
    assert none == ("warning", f"PPO: {told}; FPO: none")
    same = {"tasks": "CheetahRun,ReacherHard"}
    verdict, text = tuned(ppo=same, fpo=same)
    assert verdict == "warning"
    assert text.endswith("found on tasks that are compared here: CheetahRun")


def test_reports_are_stamped(run_dir: Path) -> None:
    assert judge(load_results([run_dir])).level != "bad"
    shutil.rmtree(cell_path(run_dir))
    verdict = judge(load_results([run_dir]))
    assert verdict.level == "bad"
    assert "Audit failed: every cell" in verdict.text


def test_older_runs_have_no_digests_and_no_fault(
    run_dir: Path, audited: Callable[..., Audited]
) -> None:
    for path in run_dir.glob("*/*/seed-*/digests.json"):
        edit_json(
            path.with_name("run.json"), lambda record: record["configuration"].pop("eval_starts")
        )
        path.unlink()
    result = audited(run_dir)
    assert result.code == 0
    assert result.checks["files"][0] == result.checks["evaluation starts"][0] == "not recorded"


def test_a_report_is_made_again(
    run_dir: Path, tmp_path: Path, audited: Callable[..., Audited]
) -> None:
    report = tmp_path / "report"
    arguments = ["--reps", "50", "--seed", "3", "--format", "tables", "--diverged", "last"]
    assert run_command(["report", str(run_dir), "--out", str(report), *arguments]) == 0
    assert audited(run_dir, "--report", report).checks["report"][0] == "ok"
    table = report / "tables" / "final_returns.csv"
    original = table.read_text()
    number = original.splitlines()[1].split(",")[-1]
    table.write_text(original.replace(number, "999.99", 1))
    result = audited(run_dir, "--report", report)
    assert result.failed == {"report"}
    assert "tables/final_returns.csv line 2 says" in result.text("report")
    table.unlink()
    (report / "report.html").write_text("not asked for")
    request = json.loads((report / "request.json").read_text())
    assert "tables/final_returns.csv" in request["files"] and "report.html" not in request["files"]
    text = audited(run_dir, "--report", report).text("report")
    assert "final_returns.csv is missing" in text and "report.html is no part of it" in text


def test_a_report_that_was_cut_off_says_so(
    run_dir: Path, tmp_path: Path, audited: Callable[..., Audited]
) -> None:
    (tmp_path / "request.json").write_text(json.dumps({**ASKED, "files": {}, "replaces": []}))
    assert "cut off" in audited(run_dir, "--report", tmp_path).text("report")


@pytest.mark.parametrize(
    ("option", "bounds"), [("--seed", report_options.SEEDS), ("--reps", report_options.REPETITIONS)]
)
def test_audit_takes_what_report_takes(
    run_dir: Path, capsys: pytest.CaptureFixture[str], option: str, bounds: tuple[int, int]
) -> None:
    field = {"--seed": "seed", "--reps": "repetitions"}[option]

    def asked(value: int) -> ReportRequest:
        changes: dict[str, Any] = {field: value}
        return dataclasses.replace(ReportRequest((run_dir,)), **changes)

    for value in bounds:
        request = asked(value)
        again, _ = verify._request(request.to_plain(["tables"]), (run_dir,), "")
        assert again == request
    for value in (bounds[0] - 1, bounds[1] + 1):
        assert run_command(["report", str(run_dir), option, str(value)]) == EXIT_USER_ERROR
        with pytest.raises(UserError, match=field):
            asked(value)
    assert len(capsys.readouterr().err.splitlines()) == 2


ASKED = {
    "mode": "sample",
    "diverged": "zero",
    "incomplete": "zero",
    "reference": "",
    "repetitions": 9,
    "seed": 0,
    "parts": ["tables"],
}


@pytest.mark.parametrize(
    "content",
    [
        *(None, "{", "[]", "{}", '{"repetitions": "x"}'),
        *(json.dumps({**ASKED, field: 1e99}) for field in ASKED),
        *(json.dumps({**ASKED, field: True}) for field in ("repetitions", "seed")),
        json.dumps({**ASKED, "reference": "../elsewhere.csv"}),
    ],
)
def test_a_report_that_does_not_say_how_it_was_made(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "request.json").write_text(content)
    code = run_command(["audit", str(run_dir), "--report", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == EXIT_USER_ERROR
    assert "request.json is" in error and len(error.splitlines()) == 1


def test_unfinished_runs_fail_but_are_not_unfair(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), ("CheetahRun",), SEEDS, 5)
    assert all(check.verdict != "failed" for check in audit(load_results([run.path])))
    generate_runs(run.path, ("ppo",), ("CheetahRun",), SEEDS, 5, state="running", evaluations=3)
    checks = {check.name: check for check in audit(load_results([run.path]))}
    assert checks["finished"].verdict == "failed"
    assert "CheetahRun/ppo/seed-000 not finished: 20 of 40 updates" in checks["finished"].text
    assert judge(load_results([run.path])).level == "warn"


@pytest.mark.parametrize(
    ("state", "after"), [("running", "running"), ("diverged", "diverged"), ("done", "damaged")]
)
def test_a_save_that_was_cut_off(tmp_path: Path, state: str, after: str) -> None:
    """What is announced but not written is an unfinished save, unless all was said to be done."""
    points = 5 if state == "done" else 3
    arguments = ("ppo",), ("CheetahRun",), SEEDS, 5
    run = generate_runs(tmp_path / "run", *arguments, state=state, evaluations=points)
    cell = cell_path(run.path, "ppo", 0)
    digests.announce(cell, {"curve.csv": b"the next one"})
    found = load_results([run.path]).runs_of("ppo", "CheetahRun")[0]
    assert (found.state, found.files.unsaved) == (after, ("curve.csv",))
    (cell / "curve.csv").write_bytes((cell / "curve.csv").read_bytes().replace(b"0,0", b"0,1", 1))
    assert load_results([run.path]).runs_of("ppo", "CheetahRun")[0].state == "damaged"


def test_arms_of_an_ablation_are_audited_one_by_one(
    tmp_path: Path, audited: Callable[..., Audited], capsys: pytest.CaptureFixture[str]
) -> None:
    Ablation(
        name="mine",
        description="",
        protocol=load_protocol("smoke"),
        source=None,
        algorithms=("ppo",),
        tasks=("CheetahRun",),
        seeds=SEEDS,
        engine="native",
        settings=(),
        metrics=(),
        axes=(Axis("protocol.discount", (0.9, 0.99)),),
    ).write(tmp_path)
    generate_runs(tmp_path / "0.9", ("ppo",), ("CheetahRun",), SEEDS, 5)
    result = audited(tmp_path)
    assert result.failed == {"0.99: every cell"}
    assert result.checks["0.9: equal steps"][0] == "ok"
    generate_runs(tmp_path / "0.99", ("ppo",), ("CheetahRun",), SEEDS, 5)
    assert audited(tmp_path).code == 0
    assert run_command(["audit", str(tmp_path), str(tmp_path / "0.9")]) == EXIT_USER_ERROR
    assert "is an ablation; name it by itself" in capsys.readouterr().err
