"""Labels, their order and how they are shown; what objects remember."""

from __future__ import annotations

import gc
import weakref

import pytest
from generate import METHODS

from reports.runs.names import Label, algorithm_order, display_name, listed, named
from reports.runs.remembered import remembered


@pytest.mark.parametrize(
    ("text", "method", "changes"),
    [
        ("ppo", "ppo", ""),
        ("ppo [clip=0.2]", "ppo", "clip=0.2"),
        ("gorl-fm [a=[1, 2], results of x [old]]", "gorl-fm", "a=[1, 2], results of x [old]"),
    ],
)
def test_a_label_is_its_text_and_tells_its_parts(text: str, method: str, changes: str) -> None:
    label = Label(text)
    assert (label, label.method, label.changes) == (text, method, changes)
    assert label.is_variant == bool(changes)
    assert {text: 1}[label] == 1
    another = label.with_change("seed=3")
    assert (another.method, another.changes) == (
        method,
        f"{changes}, seed=3" if changes else "seed=3",
    )


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("ppo", "ppo"),
        ("ppo [clip=0.2]", "ppo [clip=0.2]"),
        ("ppo [results of c]", "ppo"),
        ("ppo [clip=0.2, results of c]", "ppo [clip=0.2]"),
        ("ppo [a=(1, 2), results of c]", "ppo [a=(1, 2)]"),
    ],
)
def test_a_setting_is_the_label_without_the_directory(text: str, setting: str) -> None:
    assert Label(text).setting == setting


def test_order_and_display_names() -> None:
    labels = ["zoo", "ppo-matched", "gorl-diff", "abc", "ppo [clip=0.2]", "dppo", "ppo"]
    expected = ["ppo", "ppo [clip=0.2]", "dppo", "gorl-diff", "ppo-matched", "abc", "zoo"]
    assert sorted(labels, key=algorithm_order) == expected
    assert display_name("gorl-diff") == "GoRL(Diff)"
    assert display_name("gorl-fm [clip=0.2]") == "GoRL(FM) [clip=0.2]"
    assert display_name("zoo") == "zoo"
    assert sorted(METHODS, key=algorithm_order) == list(METHODS)


def test_enumerations() -> None:
    assert named(["ppo"]) == "PPO"
    assert named(["ppo", "fpo [a=1]", "zoo"]) == "PPO, FPO [a=1] and zoo"
    assert listed(list("abcdef")) == "a, b, c, d, e, f"
    assert listed(list("abcdefgh"), "; ") == "a; b; c; d; e; f; and 2 more"


class Square:
    """Counts how often it had to compute."""

    asked = 0

    @remembered
    def of(self, number: int, power: int = 2) -> int:
        self.asked += 1
        return number**power


def test_answers_are_remembered_as_long_as_their_object() -> None:
    one, other = Square(), Square()
    assert [one.of(3), one.of(3), one.of(2), one.of(3, power=3)] == [9, 9, 4, 27]
    assert (one.asked, other.asked, other.of(3)) == (3, 0, 9)
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None
