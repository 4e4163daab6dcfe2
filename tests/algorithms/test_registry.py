"""Names, their settings and the documentation of every hyper-parameter."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
from tiny import make

from algorithms import registry
from algorithms.api import Algorithm
from algorithms.names import ALL, BASELINES, CONTROLS, NAMES
from algorithms.ppo import PPO
from algorithms.registry import Entry, lookup


def hyper_parameters(cls: type[Algorithm]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)} - {"env", "pipeline"}


def documented(cls: type[Algorithm]) -> set[str]:
    """Names in the Attributes sections of a class and its bases."""
    names: set[str] = set()
    for base in cls.__mro__:
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:")
        for found in re.findall(r"^ {4}(\w+(?:, \w+)*):", section, flags=re.MULTILINE):
            names.update(found.split(", "))
    return names


def test_names() -> None:
    assert ALL[:5] == ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff")
    assert CONTROLS[:3] == ("gorl-identity", "ppo-matched", "ppo-matched-reset")
    assert {"sac", "fpo-plus-plus", "reinflow", "dppo-ren"} <= set(BASELINES)
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


class Point:
    """An entry point of an installed package."""

    value = "package:ENTRY"

    def __init__(self, named: Any) -> None:
        self.named = named
        self.name = "its-name"

    def load(self) -> Any:
        if isinstance(self.named, BaseException):
            raise self.named
        return self.named


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that installs entry points that name what it is given."""

    def pretend(*named: Any) -> None:
        points = [Point(each) for each in named]
        monkeypatch.setattr(
            metadata, "entry_points", lambda group: points if group == registry.ENTRY_POINTS else []
        )
        monkeypatch.setattr(registry, "_told", set())

    return pretend


def mine(name: str = "mine", cls: Any = PPO, **defaults: Any) -> Entry:
    return Entry(name, cls, "from elsewhere", defaults)


def test_packages_add_algorithms_but_replace_none(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install(mine("ppo"), mine("PPO"), mine("mine"), mine("mine"))
    assert lookup("mine").description == "from elsewhere"
    assert lookup("mine").distribution == "its-name"
    assert lookup("ppo").description != "from elsewhere"
    assert set(registry.entries()) == {*NAMES, "mine"}
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"the algorithm of its-name (package:ENTRY) is left out: its name {name!r} is taken"
        for name in ("ppo", "PPO", "mine")
    ]


class Undecorated(PPO):
    """Its field is none."""

    temperature: float = 1.0


@dataclasses.dataclass(frozen=True)
class Untyped(PPO):
    """Its default would be passed over in silence."""

    learning_rate = 1.0


@dataclasses.dataclass(frozen=True)
class Partial(Algorithm):
    """Lacks most of the contract."""

    def init(self, key: Any) -> Any:
        """Returns nothing."""


@dataclasses.dataclass(frozen=True)
class Table(PPO):
    """A field that cannot be typed."""

    table: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Unreadable(PPO):
    """A type that is not there at run time."""

    thing: Missing = None  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass(frozen=True, kw_only=True)
class Required(PPO):
    """A field without a default."""

    temperature: float


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (
            ModuleNotFoundError("No module named 'torch'"),
            "does not import (ModuleNotFoundError: No",
        ),
        (SystemExit(3), "does not import (SystemExit: 3)"),
        (PPO, "it is PPO, not an Entry"),
        (7, "it is of type int, not an Entry"),
        (mine("my ppo"), "its name 'my ppo' is not one of at most 64 letters"),
        (mine("lab/ppo"), "its name 'lab/ppo' is not"),
        (mine("a.b"), "its name 'a.b' is not"),
        (mine(""), "its name '' is not"),
        (mine("all"), "its name 'all' has a meaning of its own"),
        (mine(cls=dict), "its class dict does not extend Algorithm"),
        (mine(cls="PPO"), "its class of type str does not extend Algorithm"),
        (mine(cls=Partial), "its class Partial lacks act, parameters, update"),
        (mine(cls=Undecorated), "frozen=True), so temperature is no field"),
        (
            mine(cls=Untyped),
            "Untyped.learning_rate is set without a type, so the field keeps the value that it "
            "inherits; write learning_rate: float = ...",
        ),
        (mine(cls=Table), "Table.table is of type dict[str, int]"),
        (mine(cls=Unreadable), "the types of Unreadable's fields cannot be read (name 'Missing'"),
        (mine(cls=Required), "Required.temperature has no default"),
        (mine(clib=0.2), "PPO has no field clib, which its entry sets"),
    ],
)
def test_what_cannot_be_trained_is_left_out_and_named_once(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture, named: Any, reason: str
) -> None:
    install(named, mine("good"))
    for _ in range(2):
        assert set(registry.entries()) == {*NAMES, "good"}
    (record,) = caplog.records
    assert record.getMessage().startswith("the algorithm of its-name (package:ENTRY) is left out: ")
    assert reason in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_required_field_may_come_from_the_entry(install: Callable[..., None]) -> None:
    install(mine(cls=Required, temperature=2.0))
    assert lookup("mine").defaults == {"temperature": 2.0}
