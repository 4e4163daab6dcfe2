"""The scripts for GPU machines, at tiny size and on tasks without physics."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import suite.training.job
import suite.training.stored_policies
from benchmarks.gpu import calibrate, common, everything, first, throughput
from envs.api import Task
from envs.probes import ActionReward
from suite.common import interrupt
from suite.configuration.protocol import load_protocol
from suite.planning.run_request import RunRequest
from suite.storage.records import Cell, CurveRow
from suite.storage.run_directory import RunDirectory
from suite.training.launch import Outcome

ROOT = Path(__file__).resolve().parents[2]


class Shifted(ActionReward):
    """Observes a little more with every step than `ActionReward` does."""

    def next_obs(self, obs: jax.Array) -> jax.Array:
        """Returns an observation that has moved by 1%."""
        return obs * 1.01


PROBES: Mapping[str, Callable[[], Task]] = {"jax": ActionReward, "native": Shifted}


def load_probe(name: str, engine: str, **_: Any) -> Task:
    if engine == "warp":
        raise RuntimeError("no such kernel")
    return PROBES[engine]()


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts a probe in place of every task; the engine `warp` fails."""
    for module in (common, suite.training.job, suite.training.stored_policies):
        monkeypatch.setattr(module, "load_task", load_probe)
    common.open_bench.cache_clear()
    yield
    common.open_bench.cache_clear()


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def options(out: Path, **changes: Any) -> argparse.Namespace:
    defaults = {"out": out, "minutes": 1.0, "retry": False, "tiny": True}
    return argparse.Namespace(**{**defaults, **changes})


def fail() -> dict[str, Any]:
    raise ValueError("broken")


def test_record_goes_on_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    record = common.Record("name", options(tmp_path))
    record.run("one", fail)
    record.run("two", lambda: {"speed": 12345.6, "same": True})
    assert record.finish({"speed": "steps/s", "same": "same"}) == 1
    first, second = read(tmp_path / "name.json")["parts"]
    assert (first["part"], first["status"], first["error"]) == (
        "one",
        "error",
        "ValueError: broken",
    )
    assert (second["part"], second["status"], second["speed"]) == ("two", "ok", 12345.6)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["two", "ok", "12,346", "yes"]


def test_record_does_not_repeat_a_part(tmp_path: Path) -> None:
    common.Record("name", options(tmp_path)).run("one", lambda: {"value": 1})
    again = common.Record("name", options(tmp_path))
    again.run("one", fail)
    assert again.finish({}) == 0
    assert again.parts["one"]["value"] == 1


def test_record_starts_afresh_with_other_settings(tmp_path: Path) -> None:
    common.Record("name", options(tmp_path)).run("one", dict)
    assert not common.Record("name", options(tmp_path, tiny=False)).parts


def test_record_passes_over_the_part_that_killed_the_process(tmp_path: Path) -> None:
    class Killed(BaseException):
        """Leaves the record as the death of the process would."""

    def die() -> dict[str, Any]:
        raise Killed

    with pytest.raises(Killed):
        common.Record("name", options(tmp_path)).run("one", die)
    again = common.Record("name", options(tmp_path))
    again.run("one", dict)
    again.run("two", dict)
    assert [part["status"] for part in again.parts.values()] == ["crashed", "ok"]
    retried = common.Record("name", options(tmp_path, retry=True))
    retried.run("one", dict)
    assert {part["status"] for part in retried.parts.values()} == {"ok"}


def test_record_forgets_a_part_that_the_user_interrupted(tmp_path: Path) -> None:
    def interrupted() -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        common.Record("name", options(tmp_path)).run("one", interrupted)
    assert not common.Record("name", options(tmp_path)).parts


def test_record_leaves_out_what_the_time_does_not_suffice_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: clock[0])
    record = common.Record("name", options(tmp_path, minutes=1.0))

    def take(seconds: float) -> dict[str, Any]:
        clock[0] += seconds
        return {}

    for name, seconds in {"short": 5, "long": 25, "fits": 6, "may be as long": 5}.items():
        record.run(name, functools.partial(take, seconds))
    assert list(record.parts) == ["short", "long", "fits"]
    assert record.left == ["may be as long"]
    assert record.finish({}) == 0


@pytest.mark.usefixtures("probes")
def test_starter_gives_states_like_those_of_a_run() -> None:
    protocol = load_protocol("smoke")
    bench = common.open_bench("CheetahRun", "jax")
    program = bench.program("gorl-fm", protocol)
    state = bench.starter(program)([3, 4])

    def shapes(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    expected = jax.eval_shape(jax.vmap(program.start), jnp.zeros(2, jnp.uint32))
    assert shapes(state) == shapes(expected)
    assert int(state.envs.phase.max()) < bench.task.episode_length
    assert not np.array_equal(state.envs.phase[0], state.envs.phase[1])


def test_differences_against_a_loop() -> None:
    random = np.random.default_rng(0)
    obs, reward = random.normal(size=(2, 3, 4, 5)), random.uniform(size=(2, 3, 4))
    other_obs = obs + 3e-4 * random.normal(size=obs.shape)
    other_obs[1, 2, 3, 0] = np.nan
    other_reward = reward.copy()
    other_reward[0, 1, 2] += 0.25
    shares = []
    for step in range(2):
        pairs = zip(obs[step].reshape(12, 5), other_obs[step].reshape(12, 5), strict=True)
        apart = [
            any(not abs(b - a) <= 2e-4 * (1 + abs(a)) for a, b in zip(x, y, strict=True))
            for x, y in pairs
        ]
        shares.append(sum(apart) / 12)
    found = everything.differences(obs, reward, other_obs, other_reward)
    assert 0 < shares[0] < 1
    assert [found["differing_first"], found["differing_last"]] == pytest.approx(shares)
    assert found["reward_difference"] == pytest.approx(0.25)
    assert found["obs_max"][1] == np.inf


@pytest.mark.usefixtures("probes")
@pytest.mark.parametrize(("other", "share"), [("jax", 0.0), ("native", 1.0)])
def test_compare_tells_engines_apart(other: str, share: float) -> None:
    found = everything.compare("CheetahRun", "jax", other, (2, 3))
    assert found["differing_first"] == found["differing_last"] == share
    assert found["reward_difference"] == 0


def test_digest_sees_every_bit() -> None:
    tree = {"key": jax.random.key(0), "x": jnp.zeros(3)}
    assert everything.digest(tree) == everything.digest(jax.tree.map(jnp.copy, tree))
    others = ({**tree, "key": jax.random.key(1)}, {**tree, "x": -jnp.zeros(3)})
    assert len({everything.digest(each) for each in (tree, *others)}) == 3


@pytest.mark.usefixtures("probes")
def test_everything_runs_one_engine_though_the_other_fails(tmp_path: Path) -> None:
    arguments = ["--tiny", "--algos", "ppo", "--engines", "jax,warp", "--out", str(tmp_path)]
    assert everything.main(arguments) == 1
    parts = {part["part"]: part for part in read(tmp_path / "everything.json")["parts"]}
    assert {name: part["status"] for name, part in parts.items()} == {
        "train jax ppo": "ok",
        "train warp ppo": "error",
        "compare jax warp": "error",
        "evaluate jax ppo": "ok",
        "evaluate warp ppo": "error",
    }
    trained, evaluated = parts["train jax ppo"], parts["evaluate jax ppo"]
    assert trained["repeatable"] and trained["finite"]
    assert trained["seconds_per_update"] > 0
    # Episodes of a probe end after one step: two modes, EPISODES episodes, for each seed.
    assert evaluated["steps"] == [2 * everything.EPISODES] * 2
    assert parts["train warp ppo"]["error"] == "RuntimeError: no such kernel"


@pytest.mark.usefixtures("probes")
def test_first_asks_the_most_important_first_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first, "parse_algorithms", lambda _: ("ppo", "fpo"))
    arguments = ["--tiny", "--engines", "jax,warp", "--out", str(tmp_path)]
    assert first.main(arguments) == 1
    parts = {part["part"]: part for part in read(tmp_path / "first.json")["parts"]}
    assert list(parts)[:7] == [
        "train HopperStand jax, 2 seeds",
        "train HopperStand warp, 2 seeds",
        "compare HopperStand jax warp, 2 seeds",
        "speed CheetahRun jax 1 x 8",
        "speed CheetahRun warp 1 x 8",
        "speed CheetahRun jax 2 x 8",
        "speed CheetahRun warp 2 x 8",
    ]
    assert {name for name, part in parts.items() if part["status"] == "error"} == {
        name for name in parts if "warp" in name
    }
    assert list(parts)[7:] == ["train CheetahRun jax fpo"]


def test_throughput_measures_the_most_useful_first() -> None:
    rows = throughput.settings(("a", "b"), ("jax", "warp"), (2048, 256), (5, 1))
    assert [str(row) for row in rows[::2]] == [
        "a jax 5 x 2048",
        "a jax 1 x 2048",
        "b jax 5 x 2048",
        "a jax 5 x 256",
        "b jax 1 x 2048",
        "a jax 1 x 256",
        "b jax 5 x 256",
        "b jax 1 x 256",
    ]
    assert [row.engine for row in rows] == ["jax", "warp"] * 8


@pytest.mark.usefixtures("probes")
def test_throughput_counts_the_steps_of_all_seeds(tmp_path: Path) -> None:
    arguments = ["--tiny", "--engines", "jax", "--seeds", "2", "--envs", "4"]
    assert throughput.main([*arguments, "--out", str(tmp_path)]) == 0
    (row,) = read(tmp_path / "throughput.json")["parts"]
    steps = 2 * 4 * load_protocol("smoke").rollout_length
    training = row["training_seconds"]
    assert row["env_steps_per_second"] * row["rollout_seconds"] == pytest.approx(steps)
    assert row["training_steps_per_second"] * training == pytest.approx(steps)


def test_median_is_taken_without_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, costs = [0.0], iter((100.0, 1.0, 9.0, 2.0))
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])

    def advance(state: Any) -> Any:
        clock[0] += next(costs)
        return state + 1

    start: Any = 0
    seconds, state = throughput.median_seconds(advance, start)
    end: Any = state
    assert (seconds, end) == (2.0, 4)


def curve_row(updates: int, mode: str, value: float) -> CurveRow:
    zeros: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(CurveRow)}
    return CurveRow(**{**zeros, "updates": updates, "mode": mode, "return_mean": value})


def test_returns_are_interpolated_between_evaluations() -> None:
    rows = [curve_row(0, "sample", 0.0), curve_row(6, "sample", 60.0)]
    rows.insert(1, curve_row(6, "deterministic", 999.0))
    returns = [calibrate.interpolated_return(rows, "sample", each) for each in (0, 1, 6, 7)]
    assert returns == [0.0, pytest.approx(10.0), 60.0, None]
    assert calibrate.interpolated_return([], "sample", 0) is None


def test_comparison_averages_seeds(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, load_protocol("smoke"))
    for seed, value in enumerate((100.0, 200.0)):
        rows = [curve_row(updates, "deterministic", value) for updates in (0, 7)]
        with run.files(Cell("ppo", "CheetahRun", seed)).batch() as batch:
            batch.put_curve(rows)
    ppo, fpo = calibrate.comparison(run, (0, 1, 2))
    assert ppo["ours"] == [150.0, 150.0] + [None] * 8
    assert fpo["ours"] == []
    lines = calibrate.render_comparison([ppo, fpo]).splitlines()
    assert lines[3].split()[:5] == ["ppo", "(deterministic)", "ratio", "750.00", "1.55"]


def test_calibration_is_the_paper_protocol_cut_short() -> None:
    paper = load_protocol("paper")
    short = load_protocol(calibrate.CALIBRATION.protocol)
    assert short.differences(paper) == ["total_steps"]
    assert short.algorithms == paper.algorithms
    assert short.updates == calibrate.PUBLISHED_UPDATES[-1]
    for published in calibrate.PUBLISHED.values():
        assert len(published.returns) == len(calibrate.PUBLISHED_UPDATES)


def calibrate_arguments(path: Path, *more: str) -> list[str]:
    places = ["--out", str(path / "out"), "--work", str(path / "work")]
    return ["--engines", "native", "--seeds", "1", *places, *more]


@pytest.mark.usefixtures("probes")
def test_calibrate_trains_and_reports(tmp_path: Path) -> None:
    assert calibrate.main(calibrate_arguments(tmp_path, "--tiny", "--algos", "ppo")) == 0
    with open(tmp_path / "out" / "curves.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["run"], row["task"], row["algorithm"], row["seed"]) for row in rows} == {
        ("smoke-native", "CheetahRun", "ppo", "0")
    }
    assert [(row["updates"], row["mode"]) for row in rows[::2]] == [
        ("0", "deterministic"),
        ("4", "deterministic"),
    ]
    record = read(tmp_path / "out" / "calibrate.json")
    assert record["cells"]["smoke-native"][0]["state"] == "done"
    assert record["comparison"][0]["ours"][0] is not None


def test_calibrate_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []

    def launch(request: RunRequest) -> Outcome:
        launched.append((request.protocol.name, *request.algorithms, *request.tasks))
        if len(launched) == 1:
            raise RuntimeError("out of memory")
        return Outcome((), interrupted=len(launched) == 4)

    monkeypatch.setattr(calibrate, "launch", launch)
    assert calibrate.main(calibrate_arguments(tmp_path)) == 1
    assert launched == [
        ("paper-60m", "ppo", "CheetahRun"),
        ("paper-60m", "fpo", "CheetahRun"),
        ("fair", "ppo", "CheetahRun"),
        ("fair", "gorl-fm", "CheetahRun"),
    ]
    errors = read(tmp_path / "out" / "calibrate.json")["errors"]
    assert errors == {"paper-60m-native/CheetahRun/ppo": "RuntimeError: out of memory"}


def test_training_is_asked_to_stop_in_time() -> None:
    with interrupt.handling(), calibrate.interrupted_after(0.05):
        deadline = time.monotonic() + 20
        while not interrupt.requested() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert interrupt.requested()


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (everything, ["--task", "CheetaRun"], "did you mean 'CheetahRun'"),
        (everything, ["--task", "dmc6"], "name one of them"),
        (throughput, ["--engines", "wrap"], "did you mean 'warp'"),
        (throughput, ["--envs", "2048,0"], "whole numbers"),
        (calibrate, ["--algos", "gorl"], "unknown algorithm"),
        (calibrate, ["--seeds", "x"], "--seeds"),
    ],
)
def test_mistakes_end_in_one_line(
    script: Any, arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as error:
        script.main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


PYTHON_STUB = r"""#!/bin/sh
echo "$@" >> "$OUT/calls"
case "$(grep -c . "$OUT/calls") $*" in
    "1 "*first*) kill -SEGV $$ ;;
    *first*) exit 1 ;;
    *calibrate\ --report*) exit 0 ;;
    *calibrate*) kill -KILL $$ ;;
esac
"""


def test_all_restarts_what_died_and_runs_the_rest(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON_STUB)
    python.chmod(0o755)
    result = run_all(tmp_path, str(python), "--engines", "jax")
    calls = (tmp_path / "calls").read_text().splitlines()
    modules = [call.split()[1].rpartition(".")[2] for call in calls]
    assert modules == ["first"] * 2 + ["calibrate"] * 6
    assert ["--report" in call for call in calls] == [False] * 7 + [True]
    assert all(call.endswith("--engines jax") for call in calls)
    # half of nine minutes, of which the script itself gets 85%
    assert float(calls[0].split()[3]) == pytest.approx(9 * 0.5 * 0.85, abs=0.1)
    assert result.returncode == 1
    assert [line.split(" at ")[0] for line in result.stdout.splitlines()] == [
        "first: exit code 1",
        "calibrate: exit code 137",
    ]


def run_all(out: Path, python: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "benchmarks" / "gpu" / "all.sh"), "9", *more]
    environment = {**os.environ, "OUT": str(out), "PYTHON": python}
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=600, check=False
    )


@pytest.mark.slow
def test_all_at_tiny_size(tmp_path: Path) -> None:
    result = run_all(tmp_path, sys.executable, "--tiny", "--engines", "native")
    assert result.returncode == 0, result.stdout
    assert all(part["status"] == "ok" for part in read(tmp_path / "first.json")["parts"])
    cells = read(tmp_path / "calibrate.json")["cells"]["smoke-native"]
    assert {cell["state"] for cell in cells} == {"done"}
