"""Methods made from names and hyper-parameters."""

from __future__ import annotations

import dataclasses

import pytest

from algorithms.api import EnvSpec, Stage
from algorithms.ppo import PPO
from algorithms.registry import lookup
from suite.common.errors import UserError
from suite.configuration.hyperparameters import hyperparameters
from suite.configuration.protocol import load_protocol
from suite.methods.build_method import build, build_method

PROTOCOL = load_protocol("lite")
VALUES = hyperparameters("ppo", PPO, {})


def test_what_the_harness_fills_in_is_the_environment_and_the_pipeline() -> None:
    spec = EnvSpec(obs_size=17, action_size=6, discount=0.9)
    assert build_method("ppo", VALUES, PROTOCOL, spec) == PPO(spec, PROTOCOL.pipeline())


@pytest.mark.parametrize("name", ["ppo", "gorl-fm", "gorl-identity"])
def test_stages_do_not_depend_on_the_environment(name: str) -> None:
    entry = lookup(name)
    values = hyperparameters(name, entry.cls, entry.defaults)
    some = build_method(name, values, PROTOCOL)
    sized = build_method(name, values, PROTOCOL, EnvSpec(17, 6, 0.9))
    assert some.stages() == sized.stages()
    assert some.env.discount == PROTOCOL.discount


def test_values_that_the_class_refuses() -> None:
    entry = lookup("gorl-fm")
    values = hyperparameters("gorl-fm", entry.cls, entry.defaults)
    with pytest.raises(UserError, match=r"^algorithm gorl-fm: .*stage_shares must be positive"):
        build_method("gorl-fm", {**values, "stage_shares": (1.0, 1.0)}, PROTOCOL)


def test_a_class_that_fails_in_its_own_way() -> None:
    @dataclasses.dataclass(frozen=True)
    class Broken(PPO):
        def stages(self) -> tuple[Stage, ...]:
            raise ZeroDivisionError("of mine")

    expected = (
        r"^algorithm mine cannot be made, or lacks stages: "
        r"ZeroDivisionError: of mine \(test_.*py:\d+\)$"
    )
    with pytest.raises(UserError, match=expected):
        build("mine", Broken, EnvSpec(1, 1), PROTOCOL.pipeline(), {})
