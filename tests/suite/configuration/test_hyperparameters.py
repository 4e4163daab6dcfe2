"""Hyper-parameters from the command line and from protocol files."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pytest

from algorithms.api import EnvSpec, settings_of
from algorithms.ppo import PPOSettings
from algorithms.registry import lookup
from suite.checks.subject import of_protocol
from suite.common.errors import UserError
from suite.configuration.hyperparameters import (
    Setting,
    check_settings,
    convert,
    describe_type,
    field_documents,
    hyperparameters,
    parse_setting,
    protocol_settings,
)
from suite.configuration.protocol import PRESETS, load_protocol
from suite.methods.build_method import build


@dataclasses.dataclass(frozen=True)
class Base:
    """A base.

    Attributes:
        rate: 1e-3, from a book
            on learning.
        flag: a switch: on or off.
    """

    env: Any
    pipeline: Any
    rate: float = 1e-3
    flag: bool = False


@dataclasses.dataclass(frozen=True)
class Method(Base):
    """A method.

    More about it.

    Attributes:
        rate: 2e-3, by ours.
        widths: of the layers.
    """

    rate: float = 2e-3
    steps: int = 10
    form: Literal["code", "kl"] = "code"
    widths: tuple[int, ...] = (64, 64)
    ends: tuple[float, float] = (0.0, 1.0)
    limit: float | None = None
    label: str = ""


def value_of(text: str) -> Any:
    setting = parse_setting(f"m.{text}")
    return hyperparameters("m", Method, {}, [setting])[setting.field]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate=1e-4", 1e-4),
        ("rate=1", 1.0),
        ("flag=true", True),
        ("flag=False", False),
        ("steps=7", 7),
        ("steps = -7", -7),
        ("form=kl", "kl"),
        ("widths=128,64,32", (128, 64, 32)),
        ("widths=(8, 8,)", (8, 8)),
        ("widths=[8]", (8,)),
        ("widths=", ()),
        ("ends=0.25,2", (0.25, 2.0)),
        ("limit=none", None),
        ("limit=0.5", 0.5),
        ("label=a=b", "a=b"),
    ],
)
def test_texts_become_values_of_the_fields_type(text: str, expected: Any) -> None:
    value = value_of(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate=fast", "a finite number"),
        ("rate=nan", "a finite number"),
        ("rate=inf", "a finite number"),
        ("steps=1.5", "a whole number"),
        ("flag=1", "true or false"),
        ("form=KL", "one of code, kl"),
        ("widths=64,a", "a list of any number of whole numbers"),
        ("ends=1,2,3", "a list of 2 of finite numbers"),
        ("limit=low", "a finite number or none"),
    ],
)
def test_ill_typed_texts_are_refused(text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        value_of(text)
    assert f"--set m.{text}" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("rate", 1, 1.0),
        ("widths", [3, 4], (3, 4)),
        ("flag", True, True),
        ("form", "kl", "kl"),
        ("limit", 2, 2.0),
    ],
)
def test_values_of_a_protocol_file(field: str, value: Any, expected: Any) -> None:
    settings = protocol_settings({"m": {field: value}})
    result = hyperparameters("m", Method, {}, settings)[field]
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("rate", True), ("rate", [1.0]), ("steps", 1.0), ("steps", True), ("flag", 0)),
        *(("widths", 3), ("widths", [1.5]), ("label", 3), ("form", "x")),
    ],
)
def test_ill_typed_values_of_a_protocol_file(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=r"\[algorithms.m\] " + field):
        hyperparameters("m", Method, {}, protocol_settings({"m": {field: value}}))


def test_layers_override_in_order() -> None:
    everyone, mine = {"*": {"rate": 3.0}}, {"m": {"rate": 4.0}}
    both = protocol_settings({**mine, **everyone})
    set_everyone, set_mine = parse_setting("*.rate=5"), parse_setting("m.rate=6")

    def rate(defaults: dict[str, Any], *layers: list[Setting]) -> object:
        return hyperparameters("m", Method, defaults, *layers)["rate"]

    assert rate({}) == 2e-3
    assert rate({"rate": 1.0}) == 1.0
    assert rate({"rate": 1.0}, protocol_settings(everyone)) == 3.0
    assert rate({"rate": 1.0}, both) == 4.0
    assert rate({"rate": 1.0}, both, [set_everyone]) == 5.0
    assert rate({"rate": 1.0}, both, [set_mine, set_everyone]) == 6.0
    assert rate({}, [parse_setting("other.rate=7")]) == 2e-3


def test_what_the_harness_fills_in_is_no_hyperparameter() -> None:
    values = hyperparameters("m", Method, {})
    assert list(values) == ["rate", "flag", "steps", "form", "widths", "ends", "limit", "label"]


def test_check_settings() -> None:
    classes = {"m": Method, "base": Base}
    check_settings([parse_setting("*.steps=3"), parse_setting("base.flag=true")], classes)
    for text, expected in {
        "n.steps=3": "unknown algorithm 'n'",
        "bse.flag=true": "did you mean 'base'",
        "m.step=3": "did you mean 'steps'",
        "base.steps=3": "unknown hyper-parameter of base 'steps'",
        "*.stps=3": "did you mean 'steps'",
        "*.steps=x": "'x' is not a whole number",
        "m.env=3": "unknown hyper-parameter of m 'env'",
    }.items():
        with pytest.raises(UserError) as caught:
            check_settings([parse_setting(text)], classes)
        assert expected in str(caught.value)


def test_what_is_set_for_all_need_not_suit_those_that_are_not_asked_for() -> None:
    @dataclasses.dataclass(frozen=True)
    class Narrow:
        form: Literal["code"] = "code"

    change, classes = parse_setting("*.form=kl"), {"m": Method, "narrow": Narrow}
    check_settings([change], classes)
    assert hyperparameters("m", Method, {}, [change])["form"] == "kl"
    with pytest.raises(UserError, match=r"^--set \*\.form=kl, of narrow: 'kl' is not one of code$"):
        hyperparameters("narrow", Narrow, {}, [change])
    # What nobody takes is told of nobody.
    with pytest.raises(UserError, match=r"^--set \*\.form=kl: "):
        check_settings([change], {"narrow": Narrow})


@pytest.mark.parametrize("text", ["", "m", "m.a", "a=3", "m.=3", ".a=3", "m.a.b=3"])
def test_malformed_settings(text: str) -> None:
    with pytest.raises(UserError, match=r"ALGORITHM\.FIELD=VALUE"):
        parse_setting(text)


def test_field_documents_follow_inheritance() -> None:
    assert field_documents(Method) == {
        "rate": "2e-3, by ours.",
        "flag": "a switch: on or off.",
        "widths": "of the layers.",
    }


def test_a_list_of_texts() -> None:
    assert convert(Setting("m", "f", "a,b", ""), tuple[str, ...]) == ("a", "b")


@dataclasses.dataclass(frozen=True)
class Lists(Base):
    """Defaults out of factories."""

    widths: list[int] = dataclasses.field(default_factory=lambda: [64, 32])
    ends: tuple[float, ...] = dataclasses.field(default_factory=lambda: (0.0, 1.0))


def test_defaults_out_of_a_factory_are_recorded_and_typed_like_others() -> None:
    """`--set m.widths=64,64` once became the characters 6, 4, a comma and so on."""
    assert hyperparameters("m", Lists, {})["widths"] == (64, 32)
    assert hyperparameters("m", Lists, {})["ends"] == (0.0, 1.0)
    chosen = hyperparameters("m", Lists, {}, [parse_setting("m.widths=128,8")])
    assert chosen["widths"] == (128, 8)
    assert hyperparameters("m", Lists, {}, protocol_settings({"m": {"widths": [3]}}))["widths"] == (
        3,
    )
    with pytest.raises(UserError, match="is not a list of any number of whole numbers"):
        hyperparameters("m", Lists, {}, [parse_setting("m.widths=64,wide")])
    assert describe_type(tuple[bool, ...]) == "a list of any number of values, like 64,64"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_warm_start_learns_from_the_ppo_of_its_preset(preset: str) -> None:
    """Its PPO is set by fields of its own, which a preset that changes `ppo` has to follow."""
    protocol = load_protocol(preset)

    def method(name: str) -> Any:
        entry = lookup(name)
        pipeline = protocol.pipeline()
        return build(name, entry.cls, EnvSpec(17, 6), pipeline, of_protocol(entry, protocol))

    known = settings_of(PPOSettings, method("ppo"))
    found = settings_of(PPOSettings, method("rldt-warm").ppo)
    if preset == "paper2026":  # a std for all states, which the teacher's is not
        assert known.pop("std_form") != found.pop("std_form")
    assert found == known
