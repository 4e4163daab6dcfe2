"""For each check a method that is broken in one place, which fails that check and no other."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learner import Learned, Learner

from algorithms.api import Mode, Rollout, Stage
from algorithms.parts.replay import Replay
from algorithms.registry import Entry
from suite.checks.all_checks import ALL, examine
from suite.checks.check import Outcome
from suite.checks.subject import Subject, make_subject

CHECKS = {check.name: check for check in ALL}
COUNTED: list[int] = []
"""What a method with a side effect counts in."""


def subject_of(**methods: Any) -> Subject:
    """Returns `Learner` with some of its functions replaced, to be checked."""
    namespace = {"__module__": __name__, **methods}
    wrong: Any = dataclasses.dataclass(frozen=True)(type("Wrong", (Learner,), namespace))
    return make_subject(Entry("mine", wrong, "a method that is broken in one place"))


def acting(change: Any) -> Any:
    """Returns `act` with its result changed by a function of action, extras, obs, key and mode."""

    def act(self: Any, state: Learned, obs: jax.Array, key: jax.Array, mode: Mode) -> Any:
        action, extras = Learner.act(self, state, obs, key, mode)
        return change(action, extras, obs, key, mode)

    return act


def updating(change: Any) -> Any:
    """Returns `update` with the new state changed by a function of it and the old."""

    def update(self: Any, state: Learned, rollout: Rollout, key: jax.Array) -> Any:
        new, metrics = Learner.update(self, state, rollout, key)
        return change(new, state), metrics

    return update


@jax.custom_batching.custom_vmap
def mixed(critic: jax.Array) -> jax.Array:
    """Returns a critic alone, and the mean of all where there are several."""
    return critic


@mixed.def_vmap
def _mixed_rule(size: int, batched: Any, critic: jax.Array) -> tuple[jax.Array, bool]:
    return jnp.broadcast_to(critic.mean(axis=0), critic.shape), True


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass
class Twins:
    """Two arrays of different shapes that go by one name."""

    one: Any
    other: Any

    def tree_flatten_with_keys(self) -> Any:
        """Names both alike."""
        key = jax.tree_util.GetAttrKey("one")
        return ((key, self.one), (key, self.other)), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> Twins:
        """Puts them back."""
        return cls(*children)


def with_twins(self: Any, key: jax.Array) -> Learned:
    return Learner.init(self, key)._replace(more=Twins(jnp.zeros(2), jnp.ones(3)))


def with_weak_count(self: Any, key: jax.Array) -> Learned:
    return Learner.init(self, key)._replace(updates=jnp.asarray(0.0))


def unfilled(self: Any, buffer: Replay[Any], key: jax.Array) -> Any:
    drawn = jax.random.randint(key, (64,), 0, self.capacity)
    return jax.tree.map(lambda ring: ring[drawn], buffer.ring)


def shifted(self: Any, buffer: Replay[Any], rollout: Rollout) -> Replay[Any]:
    return buffer.add({"obs": rollout.obs, "reward": jnp.roll(rollout.reward, 1, axis=0)})


def counting(self: Any, state: Learned, rollout: Rollout, key: jax.Array) -> Any:
    COUNTED.append(len(COUNTED))
    return Learner.update(self, state, rollout, key)


def printing(self: Any, state: Learned, rollout: Rollout, key: jax.Array) -> Any:
    print("an update")
    return Learner.update(self, state, rollout, key)


def telling(self: Any, state: Learned, rollout: Rollout, key: jax.Array) -> Any:
    jax.debug.print("{}", state.updates)
    return Learner.update(self, state, rollout, key)


def timed(self: Any, key: jax.Array) -> Learned:
    assert time.time() > 0
    return Learner.init(self, key)


def reading(self: Any, key: jax.Array) -> Learned:
    assert Path(__file__).read_text(encoding="utf-8")
    return Learner.init(self, key)


def noisy(new: Learned, old: Learned) -> Learned:
    return new._replace(critic=new.critic + 1e-6 * np.random.default_rng().normal())


def stages_of(*stages: Stage) -> Any:
    return lambda self: stages


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a field that cannot be typed": (
        "settings",
        {"__annotations__": {"table": dict}, "table": dataclasses.field(default_factory=dict)},
        "Wrong.table is of type <class 'dict'>",
    ),
    "a stage too few": (
        "stages",
        {"stages": stages_of(Stage(30), Stage(20))},
        "of a budget of 60 updates, stages of 30, 20 updates take 50",
    ),
    "extra rollouts beyond the budget": (
        "stages",
        {"stages": stages_of(Stage(30, extra_rollouts=5), Stage(30))},
        "of a budget of 60 updates, stages of 30 and 5 extra, 30 updates take 65",
    ),
    "stages by the size of the observations": (
        "stages",
        {"stages": lambda self: (Stage(60 - self.env.obs_size), Stage(self.env.obs_size))},
        "stages gives stages of 59, 1 updates once and stages of 49, 11 updates another time",
    ),
    "rollouts of 7 steps": ("interleaving", {"rollout_length": 7}, "rollout_length is 7"),
    "half of an action": (
        "shapes",
        {"act": acting(lambda action, extras, obs, key, mode: (action[:, :1], extras))},
        "act in mode sample returns actions of shape [16, 1], expected [16, 3]",
    ),
    "a critic in half precision": (
        "float32",
        {
            "update": updating(
                lambda new, old: new._replace(
                    critic=new.critic.astype(jnp.bfloat16).astype(jnp.float32)
                )
            )
        },
        "update computes in bfloat16, first in convert_element_type",
    ),
    "noise of NumPy's": (
        "same bits",
        {"update": updating(noisy)},
        "update draws random numbers outside of JAX",
    ),
    "seeds that are mixed": (
        "seeds",
        {"update": updating(lambda new, old: new._replace(critic=mixed(new.critic)))},
        "after an update, state.critic is ",
    ),
    "seeds that are mixed in a warm-up": (
        "seeds",
        {
            "stages": lambda self: (Stage(6, warm_up=True), Stage(self.pipeline.updates - 6)),
            "record": lambda self, state, rollout: state._replace(
                critic=mixed(state.critic + rollout.reward.mean())
            ),
        },
        "after an update of the warm-up, state.critic is ",
    ),
    "seeds that are mixed between stages": (
        "seeds",
        {
            "stages": lambda self: (Stage(6, warm_up=True), Stage(self.pipeline.updates - 6)),
            "advance": lambda self, state, key: state._replace(
                critic=mixed(state.critic + jax.random.normal(key))
            ),
        },
        "after the warm-up, state.critic is ",
    ),
    "a count without a type": (
        "compiling",
        {"init": with_weak_count},
        "the second update is compiled anew",
    ),
    "arrays of one name": (
        "checkpoint",
        {"init": with_twins},
        "the state cannot be read back: leaf .algorithm.more.one is ",
    ),
    "a call of print": ("side effects", {"update": printing}, "tracing it prints 'an update'"),
    "a callback": ("side effects", {"update": telling}, "update calls Python while it runs, by "),
    "a list that grows": (
        "side effects",
        {"update": counting},
        "tracing it changes tests.suite.checks.test_broken_methods.COUNTED",
    ),
    "a look at the clock": ("blind", {"init": timed}, "it looks at the clock (test_broken"),
    "a look at a file": ("blind", {"init": reading}, "it looks at files (test_broken"),
    "actions up to 1.5": (
        "bounds",
        {"act": acting(lambda action, extras, obs, key, mode: (1.5 * action, extras))},
        "act in mode deterministic returns the action 1.5, outside of [-1, 1]",
    ),
    "a deterministic mode with noise": (
        "deterministic",
        {
            "act": acting(
                lambda action, extras, obs, key, mode: (
                    jnp.clip(action + 0.01 * jax.random.normal(key, action.shape), -1.0, 1.0)
                    if mode == "deterministic"
                    else action,
                    extras,
                )
            )
        },
        "act in mode deterministic depends on its key",
    ),
    "a sample that is not the action's": (
        "extras",
        {
            "act": acting(
                lambda action, extras, obs, key, mode: (
                    action,
                    {**extras, "drawn": jax.random.normal(key, action.shape)}
                    if mode == "sample"
                    else {},
                )
            )
        },
        "unsquashed is not what the action was made of",
    ),
    "a mean over environments": (
        "rows",
        {
            "act": lambda self, state, obs, key, mode: Learner.act(
                self, state, obs + 0.05 * jnp.tanh(obs.mean()), key, mode
            )
        },
        "in mode deterministic, action of the first environment changes",
    ),
    "a policy without its bias": (
        "policy",
        {"policy": lambda self, state: Learner.policy(self, state)._replace(bias=0 * state.bias)},
        "policy leaves out what act in mode deterministic depends on, once it is trained",
    ),
    "draws of what is not in": (
        "replay",
        {"drawn": unfilled},
        "metric['error'] depends on what state.buffer.ring['obs'] held before",
    ),
    "rewards of the step before": (
        "replay",
        {"kept": shifted},
        "a row of state.buffer.ring['obs'] and state.buffer.ring['reward'] holds parts of two",
    ),
    "a critic that becomes NaN": (
        "finite",
        {
            "update": updating(
                lambda new, old: new._replace(
                    critic=jnp.where(new.updates > 9, jnp.nan, new.critic)
                )
            )
        },
        "metric['error'] is not finite in ConstantReward, in the first 12 updates",
    ),
    "parameters that nothing trains": (
        "learning",
        {"parameters": lambda self, state: (*Learner.parameters(self, state), jnp.ones(3))},
        "parameters[3] never changes in a whole run",
    ),
    "steps in the wrong direction": (
        "probes",
        {
            "update": updating(
                lambda new, old: new._replace(
                    weights=2 * old.weights - new.weights, bias=2 * old.bias - new.bias
                )
            )
        },
        "in ActionReward the policy loses ",
    ),
}
"""What is wrong: the check that finds it, functions in the place of `Learner`'s, what is found."""

TRACED = ("settings", "stages", "interleaving", "shapes", "float32", "side effects", "blind")
"""Checks that compute nothing, and so are quick."""


def failures(outcomes: list[Outcome]) -> dict[str, str]:
    return {each.check.name: each.text for each in outcomes if each.state == "FAIL"}


def test_every_check_has_a_method_that_fails_it() -> None:
    assert {check for check, _, _ in CASES.values()} == set(CHECKS) - {"cost"}


@pytest.mark.parametrize("case", [case for case, each in CASES.items() if each[0] in TRACED])
def test_what_a_trace_shows(case: str) -> None:
    check, methods, expected = CASES[case]
    outcomes = examine(subject_of(**methods), checks=tuple(CHECKS[name] for name in TRACED))
    found = failures(outcomes)
    assert list(found) == [check]
    assert found[check].startswith(expected)
    (lesson,) = [each.lesson() for each in outcomes if each.state == "FAIL"]
    assert CHECKS[check].why in lesson
    assert CHECKS[check].mend in lesson


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_broken_method_fails_its_own_check_alone(case: str) -> None:
    check, methods, expected = CASES[case]
    outcomes = examine(subject_of(**methods), checks=ALL[:-1])  # without the cost, which is PPO's
    found = failures(outcomes)
    assert list(found) == [check], found
    assert found[check].startswith(expected)


@pytest.mark.slow
def test_a_sound_method_passes() -> None:
    outcomes = examine(subject_of())
    assert {each.check.name: each.state for each in outcomes} == dict.fromkeys(CHECKS, "ok")


def test_code_that_fails_is_no_lesson_on_what_could_not_be_looked_at() -> None:
    def update(self: Learner, state: object, rollout: Rollout, key: jax.Array) -> object:
        return rollout.extras["logprob"]

    outcomes = examine(subject_of(update=update), checks=(CHECKS["shapes"],))
    (lesson,) = [each.lesson() for each in outcomes if each.state == "FAIL"]
    assert lesson.startswith("update fails: KeyError: 'logprob'")
    assert CHECKS["shapes"].why not in lesson and "own code fails" in lesson


def test_sound_traces_pass() -> None:
    outcomes = examine(subject_of(), checks=tuple(CHECKS[name] for name in TRACED))
    assert not failures(outcomes)
