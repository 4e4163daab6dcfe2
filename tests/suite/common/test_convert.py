"""Plain data to typed values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from suite.common.convert import (
    JSON,
    STORED,
    TOML,
    TYPED,
    Misfit,
    Rules,
    convert,
    from_texts,
    immutable,
    number,
)


@dataclasses.dataclass(frozen=True)
class Part:
    """A record within another."""

    size: int
    mode: Literal["code", "kl"] = "code"


@dataclasses.dataclass(frozen=True)
class Whole:
    """One of every kind."""

    name: str
    rate: float
    shown: bool
    part: Part
    parts: list[Part]
    hidden: tuple[int, ...]
    pair: tuple[int, str]
    table: Mapping[str, float]
    limit: float | None = None
    choice: int | tuple[int, ...] | None = None
    anything: Any = None


WHOLE = Whole(
    "a", 0.5, True, Part(1), [Part(2, "kl")], (32, 64), (1, "b"), {"c": 1.0}, None, (1, 2), [1, "x"]
)
PLAIN = json.loads(json.dumps(dataclasses.asdict(WHOLE)))


@pytest.mark.parametrize("rules", [JSON, TOML, TYPED, STORED])
def test_a_record_comes_back_from_json(rules: Rules) -> None:
    assert convert(Whole, PLAIN, rules) == WHOLE


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"part": {"size": "x"}}, "part.size", "'x' is not of type int"),
        ({"part": {"size": 1, "odd": 2}}, "part.odd", "'odd' is no field of Part"),
        ({"part": {"size": 1, "mode": "no"}}, "part.mode", "'no' is not one of code, kl"),
        ({"part": [1]}, "part", "'[1]' is not of type dict"),
        ({"parts": [{"size": 1}, {"size": None}]}, "parts.1.size", "'None' is not of type int"),
        ({"parts": {}}, "parts", "'{}' is not of type list"),
        ({"hidden": [1, True]}, "hidden.1", "'True' is not of type int"),
        ({"pair": [1]}, "pair", "1 values are given, not 2"),
        ({"table": {"c": "1"}}, "table.c", "'1' is not of type float"),
        ({"limit": "none"}, "limit", "'none' is not of type float"),
        ({"choice": "1,2"}, "choice", "'1,2' is not of type list"),
        ({"shown": 1}, "shown", "'1' is not of type bool"),
        ({"rate": True}, "rate", "'True' is not of type float"),
        ({"rate": float("nan")}, "rate", "the number nan is out of range"),
        ({"rate": 2**63}, "rate", "the number 9223372036854775808 is out of range"),
        ({"name": "a\nb"}, "name", r"'a\nb' cannot be shown"),
    ],
)
def test_a_misfit_knows_its_path(change: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(Misfit) as caught:
        convert(Whole, {**PLAIN, **change})
    assert ".".join(caught.value.path) == path
    assert str(caught.value) == reason


def test_whole_numbers_are_numbers_and_the_rules_say_how_large() -> None:
    assert convert(float, 3) == 3.0
    assert isinstance(convert(float, 3), float)
    assert convert(int, 2**70, TOML) == 2**70
    assert convert(str, "a\nb", TOML) == "a\nb"
    assert str(convert(float, float("nan"), STORED)) == "nan"
    for rules in (TOML, TYPED):
        for value in (float("inf"), float("nan"), 10**400):
            with pytest.raises(Misfit):
                convert(float, value, rules)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (float, "1e-3", 1e-3),
        (int, "7", 7),
        (bool, "True", True),
        (tuple[int, ...], "(64, 64)", (64, 64)),
        (list[float], "0.5", [0.5]),
        (float | None, "None", None),
        (int | Literal["auto"], "auto", "auto"),
        (int | Literal["auto"], "3", 3),
        (Literal[1, 2], "2", 2),
        (str, "none", "none"),
    ],
)
def test_typed_texts(kind: Any, text: str, value: object) -> None:
    assert convert(kind, text, TYPED) == value
    if not isinstance(value, str):
        with pytest.raises(Misfit):
            convert(kind, text)


@pytest.mark.parametrize(("kind", "text"), [(bool, "yes"), (int, "1.5"), (tuple[int, int], "1")])
def test_texts_that_mean_nothing(kind: Any, text: str) -> None:
    with pytest.raises(Misfit):
        convert(kind, text, TYPED)


def test_a_line_of_a_table() -> None:
    @dataclasses.dataclass
    class Line:
        count: int
        name: str
        value: float

    assert from_texts(Line, {"value": "inf", "count": "3", "name": "4"}) == Line(
        3, "4", float("inf")
    )
    with pytest.raises(ValueError, match="invalid literal"):
        from_texts(Line, {"value": "1", "count": "x", "name": ""})
    with pytest.raises(KeyError):
        from_texts(Line, {"value": "1", "count": "3"})


def test_lists_within_lists_become_tuples() -> None:
    assert immutable([1, [2, [3]], {"a": 1}]) == (1, (2, (3,)), {"a": 1})


def test_a_strangers_list_is_refused_before_it_is_read() -> None:
    hidden = {**PLAIN, "hidden": list(range(10_001))}
    with pytest.raises(Misfit, match="10,001 values are given, more than 10,000"):
        convert(Whole, hidden, JSON)
    assert convert(Whole, hidden, STORED).hidden[-1] == 10_000


@pytest.mark.parametrize("text", ["\N{ARABIC-INDIC DIGIT THREE}", "1_0", " 1", "1 ", "0x1"])
def test_a_table_holds_numbers_as_programs_write_them(text: str) -> None:
    with pytest.raises(ValueError):
        number(int, text)
    assert number(float, "-1.5e-3") == -1.5e-3 and number(float, "inf") == math.inf
    assert number(str, text) == text
