"""The scripts for GPU machines, at tiny size and on tasks without physics."""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import suite.training.job
import suite.training.stored_policies
from benchmarks.gpu import common, everything, throughput, turns
from envs.api import Task
from envs.probes import ActionReward
from suite.configuration.protocol import load_protocol
from suite.planning.status import cell_reports
from suite.storage.run_directory import RunDirectory

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
    defaults = {"out": out, "record": "name", "minutes": 1.0, "retry": False, "tiny": True}
    return argparse.Namespace(**{**defaults, **changes})


def fail() -> dict[str, Any]:
    raise ValueError("broken")


def test_record_goes_on_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    record = common.Record(options(tmp_path))
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
    common.Record(options(tmp_path)).run("one", lambda: {"value": 1})
    again = common.Record(options(tmp_path))
    again.run("one", fail)
    assert again.finish({}) == 0
    assert again.parts["one"]["value"] == 1


def test_record_starts_afresh_with_other_settings(tmp_path: Path) -> None:
    common.Record(options(tmp_path)).run("one", dict)
    assert not common.Record(options(tmp_path, tiny=False)).parts


def test_record_passes_over_the_part_that_killed_the_process(tmp_path: Path) -> None:
    class Killed(BaseException):
        """Leaves the record as the death of the process would."""

    def die() -> dict[str, Any]:
        raise Killed

    with pytest.raises(Killed):
        common.Record(options(tmp_path)).run("one", die)
    again = common.Record(options(tmp_path))
    again.run("one", dict)
    again.run("two", dict)
    assert [part["status"] for part in again.parts.values()] == ["crashed", "ok"]
    retried = common.Record(options(tmp_path, retry=True))
    retried.run("one", dict)
    assert {part["status"] for part in retried.parts.values()} == {"ok"}


def test_record_forgets_a_part_that_the_user_interrupted(tmp_path: Path) -> None:
    def interrupted() -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        common.Record(options(tmp_path)).run("one", interrupted)
    assert not common.Record(options(tmp_path)).parts


def test_record_leaves_out_what_the_time_does_not_suffice_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: clock[0])
    record = common.Record(options(tmp_path, minutes=1.0))

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


def test_median_is_taken_of_the_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, costs = [0.0], iter((1.0, 9.0, 2.0))
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])

    def advance(state: Any) -> Any:
        clock[0] += next(costs)
        return state + 1

    start: Any = 0
    seconds, state = throughput.median_seconds(advance, start, 3)
    end: Any = state
    assert (seconds, end) == (2.0, 3)


@pytest.mark.usefixtures("probes")
def test_timing_waits_until_others_have_computed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    arguments = ["--tiny", "--engines", "jax", "--seeds", "2", "--envs", "4"]
    arguments += ["--lock", str(lock), "--out", str(tmp_path)]
    with turns.beside_others(lock):
        thread = threading.Thread(target=throughput.main, args=(arguments,))
        thread.start()
        thread.join(timeout=8.0)  # it compiles, and then waits
        assert thread.is_alive() and not (tmp_path / "throughput.json").exists()
    thread.join()
    (row,) = read(tmp_path / "throughput.json")["parts"]
    assert row["status"] == "ok"


@pytest.mark.usefixtures("probes")
def test_a_row_that_does_not_compile_is_an_error_of_its_own(tmp_path: Path) -> None:
    arguments = ["--tiny", "--engines", "warp,jax", "--seeds", "1", "--envs", "4"]
    lock = ["--lock", str(tmp_path / "lock")]
    assert throughput.main([*arguments, *lock, "--out", str(tmp_path)]) == 1
    statuses = {row["part"]: row["status"] for row in read(tmp_path / "throughput.json")["parts"]}
    assert statuses == {"CheetahRun warp 1 x 4": "error", "CheetahRun jax 1 x 4": "ok"}


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (everything, ["--task", "CheetaRun"], "did you mean 'CheetahRun'"),
        (everything, ["--task", "dmc6"], "name one of them"),
        (throughput, ["--engines", "wrap"], "did you mean 'warp'"),
        (throughput, ["--envs", "2048,0"], "a whole number from 1"),
        (everything, ["--algos", "gorl"], "unknown algorithm"),
        (throughput, ["--repeats", "0"], "whole number from 1"),
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
case "$*" in
    *everything*) if mkdir "$OUT/died" 2> /dev/null; then kill -SEGV $$; fi ;;
    *throughput*) exit 1 ;;
esac
"""


def test_all_restarts_what_died_and_runs_the_rest(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON_STUB)
    python.chmod(0o755)
    result = run_all(tmp_path, str(python), "jax")
    calls = (tmp_path / "calls").read_text().splitlines()
    counts = Counter(call.split()[1].rpartition(".")[2] for call in calls)
    # One of everything's five processes died once.
    assert counts == {"everything": 6, "cli": 2, "throughput": 6}
    assert all("jax" in call.split() for call in calls)
    assert result.returncode == 1
    ends = dict(line.split(" at ")[0].split(": ") for line in result.stdout.splitlines())
    assert ends["calibrate-1"] == ends["everything-ppo"] == "exit code 0"
    assert {ends[name] for name in ends if "throughput" in name} == {"exit code 1"}
    assert len(ends) == 13


def run_all(
    out: Path, python: str, *more: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "benchmarks" / "gpu" / "all.sh"), "9", *more]
    environment = {**os.environ, "OUT": str(out), "PYTHON": python, **variables}
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=600, check=False
    )


@pytest.mark.slow
def test_all_at_tiny_size(tmp_path: Path) -> None:
    tasks = {"TASKS": "CheetahRun", "ALGOS": "ppo gorl-fm"}
    result = run_all(tmp_path, sys.executable, "native", "--tiny", **tasks)
    assert result.returncode == 0, result.stdout
    for name in ("everything-ppo", "everything-gorl-fm", "throughput-CheetahRun"):
        parts = read(tmp_path / f"{name}.json")["parts"]
        assert parts and all(part["status"] == "ok" for part in parts)
    cells = cell_reports(RunDirectory.open(tmp_path / "paper"))
    assert {cell["state"] for cell in cells} == {"done"}
