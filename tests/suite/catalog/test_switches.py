"""Every switch on its own: its flag is taken, and the method still learns with it."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import PIPELINE, init, make, roll_out

from algorithms.api import Pipeline
from algorithms.registry import lookup
from suite import cli
from suite.common.errors import UserError
from suite.configuration.hyperparameters import hyperparameter_fields, hyperparameters
from suite.configuration.protocol import Protocol, load_protocol
from suite.configuration.protocol_changes import changed

METHODS = ("ppo", "fpo", "gorl-fm")
"""One of each class that has switches."""


def ways(hint: Any) -> tuple[Any, ...]:
    """Returns what a switch can be set to, nothing for other fields."""
    if hint is bool:
        return (True, False)
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def other_ways() -> Iterator[tuple[str, str, Any]]:
    """Yields method, field and each value but the default."""
    for name in METHODS:
        entry = lookup(name)
        now = hyperparameters(name, entry.cls, entry.defaults)
        for field, hint in hyperparameter_fields(entry.cls).items():
            for value in ways(hint):
                if value != now[field] and field != "generative_model":
                    yield name, field, value


def trace(algorithm: Any) -> Any:
    """Lets a method play, learn and change stage, as shapes only."""

    def run(key: jax.Array) -> Any:
        state = algorithm.init(key)
        rollout = roll_out(algorithm, state, key)
        state, metrics = algorithm.update(state, rollout, key)
        state = algorithm.reinstate(state, algorithm.candidate(state))
        state = algorithm.record(state, rollout)
        return algorithm.advance(state, key), metrics

    return jax.eval_shape(run, jax.random.key(0))


@pytest.mark.parametrize(("name", "field", "value"), list(other_ways()))
def test_a_method_runs_with_each_of_its_switches(name: str, field: str, value: Any) -> None:
    algorithm = make(name, **{field: value})
    before = jax.eval_shape(algorithm.init, jax.random.key(0))
    after, metrics = trace(algorithm)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (before, after)]
    assert shapes[0] == shapes[1]
    assert metrics
    assert sum(stage.updates for stage in algorithm.stages()) <= PIPELINE.updates


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field, hint in typing.get_type_hints(Pipeline).items()
        for value in ways(hint)
        if value != getattr(PIPELINE, field)
    ],
)
def test_every_method_runs_with_each_switch_of_the_pipeline(field: str, value: Any) -> None:
    for name in METHODS:
        trace(make(name, dataclasses.replace(PIPELINE, **{field: value})))


def test_best_policy_is_put_back_without_decoder_and_data() -> None:
    algorithm = make("gorl-fm", stage_policy="best")
    first, later = (init(algorithm, jax.random.key(seed)) for seed in (0, 1))
    recorded = later.experience._replace(written=jnp.int32(3))
    later = later._replace(experience=recorded)
    restored = algorithm.reinstate(later, algorithm.candidate(first))
    same = jax.tree.map(
        lambda a, b: bool((a == b).all()), restored.learner.networks, first.learner.networks
    )
    assert jax.tree.all(same)
    np.testing.assert_array_equal(restored.learner.normalizer.mean, first.learner.normalizer.mean)
    assert int(restored.experience.written) == 3
    for a, b in zip(jax.tree.leaves(restored.decoder), jax.tree.leaves(later.decoder), strict=True):
        np.testing.assert_array_equal(a, b)
    # What is kept is smaller than the state: no second ring of rollouts.
    kept = sum(leaf.size for leaf in jax.tree.leaves(algorithm.candidate(first)))
    assert kept < sum(leaf.size for leaf in jax.tree.leaves(first.experience))


def test_only_stages_that_another_follows_are_selected_from() -> None:
    stages = make("gorl-fm", stage_policy="best").stages()
    assert [stage.select_by for stage in stages] == ["deterministic"] * 3 + [None]
    assert {stage.select_by for stage in make("gorl-fm").stages()} == {None}
    extra = make("gorl-fm", decoder_data="extra", decoder_time_limits=False).stages()
    assert [stage.time_limits for stage in extra] == [False] * 3 + [True]
    # Without extra rollouts there is nothing that could run past the limit.
    assert all(stage.time_limits for stage in make("gorl-fm", decoder_time_limits=False).stages())


def test_a_field_of_the_protocol_by_flag() -> None:
    lite = load_protocol("lite")
    flags = ("protocol.normalizer=legacy", "protocol.random_phase=false", "protocol.discount=.9")
    ours = changed(lite, flags)
    assert (ours.normalizer, ours.random_phase, ours.discount) == ("legacy", False, 0.9)
    assert ours.differences(lite) == ["discount", "normalizer", "random_phase"]
    assert ours.name == "lite-normalizer-legacy-random_phase-false-discount-.9"
    assert changed(lite, ()) == lite


def test_fields_that_must_fit_each_other_change_together() -> None:
    flags = ["protocol.rollout_length=50", "protocol.chunk_length=25"]
    for order in (flags, flags[::-1]):
        ours = changed(load_protocol("lite"), order)
        assert (ours.rollout_length, ours.chunk_length) == (50, 25)


def test_an_entry_of_a_table_by_flag() -> None:
    fair = load_protocol("fair")
    ours = changed(fair, ["protocol.task_discount.FingerSpin = 0.995"])
    assert ours.discount_for("FingerSpin") == 0.995
    assert fair.discount_for("FingerSpin") == 0.95
    flags = ["protocol.published_mode.ppo=sample", "protocol.published_mode.mine=sample"]
    modes = changed(fair, flags).published_mode
    assert modes == dict.fromkeys(("fpo", "dppo", "ppo", "mine"), "sample")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("protocol.normaliser=legacy", "did you mean 'normalizer'"),
        ("protocol.normalizer=legcy", "'legcy' is not one of cumulative, legacy"),
        ("protocol.normalizer", "write protocol.FIELD=VALUE"),
        ("protocol.num_envs=0", "num_envs = 0: must be at least 1"),
        ("protocol.chunk_length=7", "must divide rollout_length"),
        ("protocol.name=x", "unknown field of a protocol 'name'"),
        ("protocol.task_discount=.9", "task_discount is a table"),
        ("protocol.num_envs.x=3", "num_envs has no entries"),
        ("protocol.task_discount.dmc6=.9", "must be one task, not a set of tasks"),
        ("protocol.eval_seed=" + "9" * 30, "must be between 0 and 2^31 - 1"),
    ],
)
def test_bad_flags_end_in_one_line(change: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        changed(load_protocol("lite"), [change])
    message = str(error.value)
    assert expected in message and "\n" not in message
    assert message.startswith(("--set protocol.", "--set 'protocol."))


def test_flags_reach_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--protocol", "lite", "--algos", "gorl-fm", "--tasks", "CheetahRun"]
    flags = ["--set", "protocol.total_steps=2000000", "--set", "gorl-fm.decoder_data=extra"]
    assert cli.run_command([*command, *flags, "--seeds", "1", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["protocol"] == "lite-total_steps-2000000"
    assert plan["jobs"][0]["decoder_data_steps"] == 3 * 10 * 256 * 60
    assert plan["jobs"][0]["train_steps"] == 2_000_000 // 15_360 * 15_360

    wrong = ["--set", "protocol.published_mode.fpoo=sample"]
    assert cli.run_command([*command, *wrong]) == 2
    assert "unknown algorithm 'fpoo'; did you mean 'fpo'" in capsys.readouterr().err


def test_every_field_of_a_protocol_but_its_names_has_a_flag() -> None:
    lite = load_protocol("lite")
    without = {"name", "description", "algorithms", "tuning"}
    tables = {"task_discount": "FishSwim=0.5", "published_mode": "ppo=sample"}
    for field in dataclasses.fields(Protocol):
        if field.name in without:
            continue
        value = getattr(lite, field.name)
        text = f".{tables[field.name]}" if field.name in tables else f"={value}".lower()
        changed(lite, [f"protocol.{field.name}{text}"])
