"""A wrong method for each thing that the harness takes for granted, refused in one line."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from replaying import Warming
from tiny import PIPELINE, SPEC

from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, Stage, emptied
from suite.common.errors import UserError
from suite.compute.build import acting_part
from suite.contract import wiring
from suite.contract.wiring import check_method

State = Any


@dataclasses.dataclass(frozen=True)
class Sound(Algorithm):
    """Breaks nothing: a linear policy with noise, and a critic."""

    widths: Any = ()

    def init(self, key: jax.Array) -> State:
        """Returns weights."""
        weights = jax.random.normal(key, (self.env.obs_size, self.env.action_size))
        return {"weights": weights, "critic": jnp.ones(self.env.obs_size)}

    def act(
        self, state: State, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Squashes the mean, with noise in mode `sample`."""
        mean = self.mean(state, obs)
        noise = jax.random.normal(key, mean.shape) if mode == "sample" else 0.0
        return jnp.tanh(mean + noise), {"mean": mean}

    def mean(self, state: State, obs: jax.Array) -> jax.Array:
        """Multiplies."""
        return obs @ state["weights"]

    def update(self, state: State, rollout: Rollout, key: jax.Array) -> tuple[State, Metrics]:
        """Learns something."""
        order = jax.random.permutation(key, rollout.reward.shape[0])
        weights = state["weights"] + 0.1 * rollout.reward[order].mean()
        return {**state, "weights": weights}, {"reward": rollout.reward.mean()}

    def parameters(self, state: State) -> Any:
        """Returns all."""
        return state

    def policy(self, state: State) -> State:
        """Leaves the critic out."""
        return {**state, "critic": emptied(state["critic"])}


def refusal(**methods: Any) -> str:
    """Returns what is said of `Sound` with some of its functions replaced."""
    wrong: Any = dataclasses.dataclass(frozen=True)(type("Wrong", (Sound,), methods))
    with pytest.raises(UserError) as caught:
        check_method("mine", wrong(SPEC, PIPELINE))
    text = str(caught.value)
    assert text.startswith("algorithm mine: ")
    assert "\n" not in text
    return text


def acting(change: Any) -> Any:
    """Returns `act` with its result changed by a function of action, extras, obs, key and mode."""

    def act(self: Any, state: State, obs: jax.Array, key: jax.Array, mode: Mode) -> Any:
        action, extras = Sound.act(self, state, obs, key, mode)
        return change(action, extras, obs, key, mode)

    return act


def updating(change: Any) -> Any:
    def update(self: Any, state: State, rollout: Rollout, key: jax.Array) -> Any:
        return change(*Sound.update(self, state, rollout, key))

    return update


def test_a_sound_method_passes_and_is_not_checked_twice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check_method("mine", Sound(SPEC, PIPELINE))
    assert not caplog.records
    monkeypatch.setattr(wiring.Wiring, "check_shapes", lambda self: pytest.fail("checked again"))
    check_method("mine", Sound(SPEC, PIPELINE))


def doubled(array: jax.Array) -> jax.Array:
    """Returns an array as float64, which JAX has only where it is asked to."""
    with jax.enable_x64(True):
        return array.astype(jnp.float64)


DOUBLE = "returns float64 in result"
SAMPLE, QUIET = "act in mode sample ", "act in mode deterministic "


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda action, extras, obs, key, mode: (action[:, :1], extras),
            SAMPLE + "returns actions of shape [8, 1], expected [8, 3]",
        ),
        (
            lambda action, extras, obs, key, mode: (action.T, extras),
            SAMPLE + "returns actions of shape [3, 8], expected [8, 3]",
        ),
        (
            lambda action, extras, obs, key, mode: (action > 0, extras),
            SAMPLE + "returns actions of type bool, expected float32",
        ),
        (
            lambda action, extras, obs, key, mode: (action.astype(jnp.float16), extras),
            SAMPLE + "returns actions of type float16, expected float32",
        ),
        (
            lambda action, extras, obs, key, mode: action,
            SAMPLE + "does not return a pair, actions and extras",
        ),
        (
            lambda action, extras, obs, key, mode: (action, (action,)),
            SAMPLE + "returns extras that are no mapping",
        ),
        (
            lambda action, extras, obs, key, mode: (action, {"mean": action.mean()}),
            SAMPLE + "returns extras['mean'] of shape []; the first axis",
        ),
        (
            lambda action, extras, obs, key, mode: (2.5 * jnp.sign(action + 2), extras),
            QUIET + "returns the action 2.5, outside of [-1, 1]; squash it",
        ),
        (
            lambda action, extras, obs, key, mode: (
                action if mode == "sample" else extras["mean"],
                extras,
            ),
            QUIET + "returns the action ",
        ),
        (
            lambda action, extras, obs, key, mode: (action / (obs[:, :1] != 0), extras),
            QUIET + "returns actions that are not finite",
        ),
        (
            lambda action, extras, obs, key, mode: (
                jnp.clip(action + 0.1 * jax.random.normal(key, action.shape), -1, 1),
                extras,
            ),
            QUIET + "depends on its key",
        ),
        (
            lambda action, extras, obs, key, mode: (
                jnp.clip(action + np.random.normal(0, 0.1, action.shape), -1, 1),  # noqa: NPY002
                extras,
            ),
            SAMPLE + "draws random numbers outside of JAX",
        ),
        (
            lambda action, extras, obs, key, mode: (
                jnp.clip(action + np.random.default_rng().normal(), -1, 1),
                extras,
            ),
            SAMPLE + "draws random numbers outside of JAX",
        ),
        (
            lambda action, extras, obs, key, mode: (np.zeros(action.shape), {}),
            SAMPLE + "returns NumPy's float64 in result[0]; it is computed once",
        ),
        (
            lambda action, extras, obs, key, mode: (action, {**extras, "one": np.ones(8)}),
            SAMPLE + "returns NumPy's float64 in result[1]['one']; it is computed once",
        ),
        (
            lambda action, extras, obs, key, mode: (action.astype(jnp.float16), extras),
            SAMPLE + "returns actions of type float16, expected float32",
        ),
        (lambda action, extras, obs, key, mode: (doubled(action), {}), SAMPLE + DOUBLE + "[0]"),
        (
            lambda action, extras, obs, key, mode: (action, {"mean": doubled(extras["mean"])}),
            SAMPLE + DOUBLE + "[1]['mean']",
        ),
    ],
)
def test_wrong_actions(change: Any, expected: str) -> None:
    assert refusal(act=acting(change)).startswith(f"algorithm mine: {expected}")


def with_one_more(state: State, metrics: Metrics) -> Any:
    return {**state, "critic": jnp.ones(4)}, metrics


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state, metrics: state, "does not return a pair, a state and metrics"),
        (lambda state, metrics: (state, 0.0), "returns metrics that are no mapping"),
        (
            lambda state, metrics: (state, {"loss": jnp.zeros(3)}),
            "returns a metric 'loss' that has shape [3], not a scalar",
        ),
        (
            lambda state, metrics: (state, {"env_steps": jnp.zeros(())}),
            "returns a metric called 'env_steps'; call it otherwise",
        ),
        (
            lambda state, metrics: (state, {"action excess": jnp.zeros(())}),  # the harness's own
            "returns a metric called 'action excess'; call it otherwise",
        ),
        (
            lambda state, metrics: (state, {"": jnp.zeros(())}),
            "returns a metric called ''; call it otherwise",
        ),
        (
            lambda state, metrics: (state, {"good": jnp.array(True)}),
            "returns a metric 'good' of type bool",
        ),
        (
            lambda state, metrics: ((state, state), metrics),
            "returns a state of another structure than init does",
        ),
        (with_one_more, "changes state['critic'] from float32[11] to float32[4]"),
        (
            lambda state, metrics: (state, {"loss": jnp.float32(random.random())}),
            "draws random numbers outside of JAX",
        ),
        (
            lambda state, metrics: ({**state, "critic": np.ones(11, np.float32)}, metrics),
            "returns NumPy's float32 in result[0]['critic']; it is computed once",
        ),
        (
            lambda state, metrics: (state, {"loss": np.float32(0.0)}),
            "returns NumPy's float32 in result[1]['loss']; it is computed once",
        ),
        (
            lambda state, metrics: ({**state, "critic": doubled(state["critic"])}, metrics),
            DOUBLE + "[0]['critic']; everything is computed in float32",
        ),
    ],
)
def test_wrong_updates(change: Any, expected: str) -> None:
    assert refusal(update=updating(change)).startswith(f"algorithm mine: update {expected}")


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((), "takes 0 updates where the budget has 6"),
        ((Stage(4), Stage(3)), "takes 7 updates where the budget has 6"),
        ((Stage(6), Stage(0)), "has stages of [6, 0] updates"),
        ((Stage(3.0),), "has stages of [3.0] updates"),  # type: ignore[arg-type]
        ([Stage(6)], "returns no tuple of Stage"),
        ((Stage(3, extra_rollouts=-1), Stage(3)), "has a negative or broken number"),
        ((Stage(6, extra_rollouts=1),), "has extra_rollouts in the last stage"),
        ((Stage(3, select_by="best"), Stage(3)), "has a select_by"),  # type: ignore[arg-type]
        (
            (Stage(2, 1, time_limits=False), Stage(2, 1), Stage(2)),
            "has time_limits that differ between stages",
        ),
        ((Stage(6, warm_up=True),), "has a warm-up that is not the first stage, or the only one"),
        ((Stage(3), Stage(3, warm_up=True)), "has a warm-up that is not the first stage"),
        ((Stage(3, warm_up=True, select_by="sample"), Stage(3)), "has a select_by in a warm-up"),
    ],
)
def test_wrong_stages(stages: Any, expected: str) -> None:
    assert refusal(stages=lambda self: stages).startswith(f"algorithm mine: stages {expected}")


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"advance": lambda self, state, key: None}, "advance returns a state of another"),
        ({"record": lambda self, state, rollout: None}, "record returns a state of another"),
        ({"reinstate": lambda self, state, part: part[0]}, "reinstate fails: KeyError: 0"),
    ],
)
def test_wrong_changes_of_stage(methods: Any, expected: str) -> None:
    two = (Stage(3, extra_rollouts=1, select_by="sample"), Stage(3))
    assert expected in refusal(stages=lambda self: two, **methods)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"record": lambda self, state, rollout: None}, "record returns a state of another"),
        (
            {"record": lambda self, state, rollout: {**state, "weights": rollout.extras["noise"]}},
            "record fails: KeyError: 'noise'",
        ),
        (
            {"explore": lambda self, state, obs, key: (obs[:, :1], {})},
            "explore returns actions of shape [8, 1], expected [8, 3]",
        ),
        (
            {"explore": lambda self, state, obs, key: (jnp.full((len(obs), 3), 2.0), {})},
            "explore returns the action 2, outside of [-1, 1]",
        ),
    ],
)
def test_wrong_warm_ups(methods: Any, expected: str) -> None:
    two = (Stage(3, warm_up=True), Stage(3))
    assert expected in refusal(stages=lambda self: two, **methods)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({}, ""),
        (
            {"warm_up_update": lambda self, state, rollout, key: state.weights},
            "warm_up_update returns a state of another structure",
        ),
        ({"warm_up_update": lambda self, state, rollout, key: key.nothing}, "warm_up_update fails"),
        ({"warm_up_rollout_length": 5}, "warm_up_rollout_length is 5, which does not divide the"),
    ],
)
def test_warm_ups_that_learn(methods: Any, expected: str) -> None:
    method = type("Warm", (Warming,), methods)(SPEC, PIPELINE)
    if not expected:
        check_method("mine", method)
        return
    with pytest.raises(UserError, match=expected):
        check_method("mine", method)


def init_without_jax(self: Any, key: jax.Array) -> State:
    rng = np.random.default_rng()
    return {**Sound.init(self, key), "weights": jnp.asarray(rng.normal(size=(11, 3)), jnp.float32)}


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"init": init_without_jax}, "init draws random numbers outside of JAX"),
        ({"init": lambda self, key: self.nothing}, "init fails: AttributeError: 'Wrong' object"),
        ({"parameters": lambda self, state: {}}, "parameters returns none"),
        (
            {"unsquashed": lambda self, action, extras: action[0]},
            "unsquashed returns actions of shape [3], expected [8, 3]",
        ),
        (
            {"policy": lambda self, state: {**state, "weights": 0 * state["weights"]}},
            "policy leaves out what act depends on",
        ),
        ({"evaluations_per_action": 1.5}, "evaluations_per_action is 1.5, not a whole number"),
        ({"gradient_steps": -1}, "gradient_steps is -1, not a whole number"),
        ({"rollout_length": 5}, "rollout_length is 5, which does not divide the protocol's 12"),
        ({"rollout_length": 0}, "rollout_length is 0, which does not divide the protocol's 12"),
        ({"rollout_length": 2.0}, "rollout_length is 2.0, which does not divide"),
    ],
)
def test_other_wrong_parts(methods: Any, expected: str) -> None:
    assert expected in refusal(**methods)


def test_samples_that_do_not_depend_on_the_key_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As of a NumPy generator that is made anew, with its seed, in every trace."""

    def act(self: Any, state: State, obs: jax.Array, key: jax.Array, mode: Mode) -> Any:
        noise = np.random.default_rng(0).normal(size=(len(obs), 3)) if mode == "sample" else 0.0
        return jnp.tanh(self.mean(state, obs) + noise), {}

    wrong: Any = dataclasses.dataclass(frozen=True)(type("Wrong", (Sound,), {"act": act}))
    check_method("mine", wrong(SPEC, PIPELINE))
    assert "algorithm mine: act in mode sample does not depend on its key" in caplog.text


def test_a_setting_of_jax_that_something_has_changed_for_all_methods() -> None:
    with jax.enable_x64(True), pytest.raises(UserError) as caught:
        check_method("mine", Sound(SPEC, PIPELINE, widths=(64,)))
    assert str(caught.value).startswith("jax.config.jax_enable_x64 is True, but the suite computes")


def test_what_is_wrong_is_told_with_its_place() -> None:
    """That of the function, and of the class where that has it from another file."""

    @dataclasses.dataclass(frozen=True)
    class Heir(Sound):
        def update(self, state: State, rollout: Rollout, key: jax.Array) -> Any:
            return state

    with pytest.raises(UserError) as caught:
        check_method("mine", Heir(SPEC, PIPELINE))
    line = Heir.update.__code__.co_firstlineno
    assert str(caught.value).endswith(f"a state and metrics (test_wiring.py:{line})")
    with pytest.raises(UserError, match=r"\(test_wiring\.py:\d+\)$") as caught:
        check_method("mine", Sound(SPEC, PIPELINE, widths=[3]))
    text = Path(__file__).read_text().splitlines()
    place = int(str(caught.value).rpartition(":")[2].rstrip(")"))
    assert text[place - 1 : place + 1] == ["@dataclasses.dataclass(frozen=True)", SOUND]


SOUND = "class Sound(Algorithm):"


def test_an_error_is_told_with_its_place() -> None:
    text = refusal(mean=lambda self, state, obs: obs @ state["weights"].T)
    assert text.startswith("algorithm mine: act in mode sample fails: TypeError: ")
    assert "test_wiring.py:" in text


def test_a_hyper_parameter_that_cannot_be_hashed() -> None:
    with pytest.raises(UserError, match="a hyper-parameter cannot be hashed; use a tuple"):
        check_method("mine", Sound(SPEC, PIPELINE, widths=[3]))


def test_a_method_that_acts_by_its_critic_is_kept_whole() -> None:
    """Its base class empties the critic, and `suite actions` cannot act with what is left."""

    @dataclasses.dataclass(frozen=True)
    class ByCritic(Sound):
        def mean(self, state: State, obs: jax.Array) -> jax.Array:
            return (obs * state["critic"]) @ state["weights"]

    state = ByCritic(SPEC, PIPELINE).init(jax.random.key(0))
    assert acting_part(Sound(SPEC, PIPELINE))(state)["critic"] is None
    check_method("mine", ByCritic(SPEC, PIPELINE))
    assert acting_part(ByCritic(SPEC, PIPELINE))(state) is state
