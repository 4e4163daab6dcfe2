"""The comparison with the official programs: what needs none of their code."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from benchmarks.speed import official, official_programs
from suite.configuration.protocol import load_protocol

KNOWN = {
    "gorl-fm official jax": {"training": 10.0, "whole": 5.0, "fit": 60.0},
    "gorl-fm ours jax": {"training": 15.0, "whole": 15.0, "fit": 20.0},
    "gorl-fm official native": {},
    "gorl-fm ours native": {"training": 40.0, "fit": 15.0},
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git repository with one commit and a package where the official FPO has it."""
    package = tmp_path / official.SOURCES["fpo"] / "flow_policy"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    author = ["-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "First"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


@pytest.mark.parametrize("name", ["lite", "smoke", "paper"])
def test_their_rollout_is_as_long_as_ours(name: str) -> None:
    protocol = load_protocol(name)
    found = official_programs.sizes(protocol)
    chunks = found["num_minibatches"] * found["batch_size"]
    assert chunks * found["unroll_length"] == protocol.steps_per_update
    assert protocol.steps_per_update == found["num_envs"] * protocol.rollout_length


def test_calls_go_on_from_each_other_and_those_that_compile_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(official_programs.time, "perf_counter", lambda: now)

    def step(taken: int) -> int:
        nonlocal now
        now += (100.0, 50.0, 3.0, 1.0, 2.0)[taken]
        return taken + 1

    assert official_programs.seconds_of(step, 0, calls=3) == 2.0
    now = 0.0
    assert official_programs.seconds_of(step, 0, calls=1, uncounted=0) == 100.0


def test_the_whole_has_every_update_and_every_fit() -> None:
    lite = load_protocol("lite")
    assert official_programs.speeds(0.5) == {"training": lite.steps_per_update * 2}
    assert official_programs.speeds(0.5, fit=10.0, fits=3) == {
        "training": lite.steps_per_update * 2,
        "fit": 10.0,
        "whole": lite.total_steps / (lite.updates * 0.5 + 30),
    }


def test_a_fit_has_the_adam_steps_that_lite_tells_of(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = SimpleNamespace(name="CheetahRun", obs_size=17, action_size=6)
    monkeypatch.setattr(official_programs, "load_task", lambda *_: sizes)
    algorithm = official_programs.algorithm_of("gorl-fm", "CheetahRun", "native")
    epochs = load_protocol("lite").algorithms["gorl-fm"]["decoder_epochs"]
    assert official_programs.adam_steps(algorithm) == 135 * epochs  # of 10 rollouts, less a tenth


def test_a_critic_is_replaced_and_nothing_else() -> None:
    @dataclasses.dataclass(frozen=True)
    class Learner:
        env: Any
        params: Any
        opt: Any
        opt_state: Any

    @dataclasses.dataclass(frozen=True)
    class Params:
        policy: jax.Array
        value: Any

    jax.tree_util.register_dataclass(Params, ["policy", "value"], [])
    policy, adam = jnp.ones(3), optax.scale_by_adam()
    learner = Learner(
        SimpleNamespace(observation_size=5), Params(policy, ()), adam, adam.init(policy)
    )
    found = official_programs.resized(learner, lambda _, sizes: jnp.asarray(sizes), (7, 7))
    assert found.params.value.tolist() == [5, 7, 7, 1]
    assert found.params.policy is policy
    assert found.opt_state.mu.value.shape == found.params.value.shape


def test_the_better_measurement_has_more_steps_or_fewer_seconds() -> None:
    one, other = {"training": 2.0, "fit": 5.0}, {"training": 3.0, "fit": 7.0, "whole": 1.0}
    expected = {"training": 3.0, "fit": 5.0, "whole": 1.0}
    assert official.better(one, other) == official.better(other, one) == expected
    assert official.better({}, one) == one


def test_ratios_above_one_are_in_our_favour() -> None:
    theirs = "gorl-fm official jax"
    assert official.ratio(KNOWN, theirs, "jax", "training") == 1.5
    assert official.ratio(KNOWN, theirs, "jax", "fit") == 3.0
    assert official.ratio(KNOWN, theirs, "native", "whole") is None
    assert official.ratio(KNOWN, "gorl-fm official native", "native", "training") is None
    said = official.line(KNOWN, theirs)
    assert "ours jax: training 1.5x, whole 3.0x, fit 3.0x" in said
    assert "ours native: training 4.0x, fit 4.0x" in said
    assert "failed" in official.line(KNOWN, "gorl-fm official native")


def test_every_row_of_theirs_has_ours_beside_it() -> None:
    assert sorted(official.rows(["gorl-fm"])) == sorted(KNOWN)
    assert set(official.SOURCES) == set(official_programs.OFFICIAL)


def test_what_is_missing_is_said(
    clone: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(official, "NEEDED", ())
    assert official.refusal((3, 12), {"fpo": clone}) is None
    assert "3.12 or newer" in str(official.refusal((3, 11), {"fpo": clone}))
    assert "src/flow_policy" in str(official.refusal((3, 12), {"gorl-fm": clone}))
    bare = tmp_path_factory.mktemp("bare")
    (bare / "src/flow_policy").mkdir(parents=True)
    assert "no git repository" in str(official.refusal((3, 12), {"gorl-fm": bare}))
    monkeypatch.setattr(official, "NEEDED", ("jax", "no_such_package"))
    assert str(official.refusal((3, 12), {})).endswith("pip install no_such_package")


def test_a_commit_is_named_whole_and_edits_show(clone: Path) -> None:
    first = str(official.commit(clone))
    assert len(first) == 40
    (clone / official.SOURCES["fpo"] / "flow_policy/__init__.py").write_text("edited = True\n")
    assert official.commit(clone) == f"{first}-dirty"
