"""`--algos` and `--seeds`."""

from __future__ import annotations

import pytest

from algorithms.names import ALL
from suite.common.errors import UserError
from suite.configuration.selection import format_seeds, parse_algorithms, parse_seeds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", ALL),
        ("fpo,ppo", ("fpo", "ppo")),
        ("gorl-fm, all", ("gorl-fm", *(name for name in ALL if name != "gorl-fm"))),
        ("ppo-matched-reset", ("ppo-matched-reset",)),
        ("ppo,ppo", ("ppo",)),
    ],
)
def test_algorithms(text: str, expected: tuple[str, ...]) -> None:
    assert parse_algorithms(text) == expected


def test_algorithms_of_other_packages() -> None:
    assert parse_algorithms("mine", ["ppo", "mine"]) == ("mine",)


@pytest.mark.parametrize(
    ("text", "nearest"), [("gorlfm", "gorl-fm"), ("PPO", "ppo"), ("ppo,fp", "fpo"), ("al", "all")]
)
def test_unknown_algorithm_suggests_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
        parse_algorithms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", (0, 1, 2, 3, 4)),
        ("1", (0,)),
        ("5-9", (5, 6, 7, 8, 9)),
        ("7-7", (7,)),
        ("0,3", (0, 3)),
        ("5-7, 0,3,6", (0, 3, 5, 6, 7)),
        ("2147483647-2147483647", (2**31 - 1,)),
    ],
)
def test_seeds(text: str, expected: tuple[int, ...]) -> None:
    assert parse_seeds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1", "x", "3-1", "1,,2", "5,", "1-", "1-2-3", "1.5", "²"),
        *(
            "1001",
            "0-1000",
            "9" * 30,
            "9" * 5000,
            "0" * 5000,
            "1," + "9" * 5000,
            "2147483648-2147483648",
        ),
    ],
)
def test_bad_seeds(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("seeds", "text"), [((0, 1, 2, 3, 4), "0-4"), ((7,), "7"), ((5, 0, 3, 6, 7), "0,3,5-7")]
)
def test_format_seeds(seeds: tuple[int, ...], text: str) -> None:
    assert format_seeds(seeds) == text


def test_padded_seeds_tell_every_set_apart() -> None:
    sets = [tuple(i for i in range(8) if mask >> i & 1) for mask in range(1, 256)]
    assert len({format_seeds(seeds, width=3) for seeds in sets}) == len(sets)
    assert format_seeds((0, 3, 4), width=3) == "000,003-004"
