"""Names, their settings and the documentation of every hyper-parameter."""

from __future__ import annotations

import dataclasses
import re
from importlib import metadata
from typing import Any

import pytest
from tiny import make

from algorithms import registry
from algorithms.api import Algorithm
from algorithms.names import ALL, CONTROLS, NAMES
from algorithms.registry import Entry, lookup


def hyper_parameters(cls: type[Algorithm]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)} - {"env", "pipeline"}


def documented(cls: type[Algorithm]) -> set[str]:
    """Names in the Attributes sections of a class and its bases."""
    names: set[str] = set()
    for base in cls.__mro__:
        _, _, section = (base.__doc__ or "").partition("Attributes:")
        for found in re.findall(r"^ {8}(\w+(?:, \w+)*):", section, flags=re.MULTILINE):
            names.update(found.split(", "))
    return names


def test_names() -> None:
    assert ALL[:5] == ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff")
    assert CONTROLS[:3] == ("gorl-identity", "ppo-matched", "ppo-matched-reset")
    assert tuple(registry.entries())[: len(NAMES)] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_entry(name: str) -> None:
    entry = lookup(name)
    assert entry.name == name
    assert entry.description
    assert set(entry.defaults) <= hyper_parameters(entry.cls)
    algorithm = make(name)
    for setting, value in entry.defaults.items():
        assert getattr(algorithm, setting) == value
    hash(algorithm)  # a static argument of jitted functions


@pytest.mark.parametrize("name", NAMES)
def test_every_hyper_parameter_is_documented(name: str) -> None:
    cls = lookup(name).cls
    assert hyper_parameters(cls) - documented(cls) == set()


def test_published_settings() -> None:
    """Learning rates, clips and networks of ALGORITHMS 1.5 and 2."""
    expected = {
        "ppo": (3e-4, 0.1),
        "fpo": (3e-4, 0.05),
        "dppo": (3e-4, 0.2),
        "gorl-fm": (1e-3, 0.15),
        "gorl-diff": (1e-3, 0.15),
        "gorl-identity": (1e-3, 0.15),
        "ppo-matched": (1e-3, 0.15),
        "ppo-matched-reset": (1e-3, 0.15),
    }
    plain = make("ppo")
    for name, numbers in expected.items():
        entry = lookup(name)
        algorithm: Any = entry.cls(env=plain.env, pipeline=plain.pipeline, **entry.defaults)
        assert (algorithm.learning_rate, algorithm.clip) == numbers
        assert algorithm.actor_hidden == (32,) * 4
        assert algorithm.critic_hidden == (256,) * 5
        shared = (algorithm.gae_lambda, algorithm.reward_scale, algorithm.value_cost)
        assert shared == (0.95, 10.0, 0.25)


def test_controls_differ_from_stage_zero_in_nothing() -> None:
    gorl = make("gorl-fm")
    for name in CONTROLS[:3]:
        control = make(name)
        for setting in (*registry.GORL_STAGE_0, "entropy_cost", "penalty_form"):
            assert getattr(control, setting) == getattr(gorl, setting)


def test_unknown_name() -> None:
    with pytest.raises(KeyError):
        lookup("pppo")


def test_packages_add_algorithms_but_replace_none(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = lookup("fpo").cls

    class Point:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> Entry:
            return Entry(self.name, cls, "from elsewhere")

    def points(group: str) -> list[Point]:
        return [Point("ppo"), Point("mine")] if group == registry.ENTRY_POINTS else []

    monkeypatch.setattr(metadata, "entry_points", points)
    assert lookup("mine").description == "from elsewhere"
    assert lookup("ppo").description != "from elsewhere"
    assert set(registry.entries()) == {*NAMES, "mine"}
