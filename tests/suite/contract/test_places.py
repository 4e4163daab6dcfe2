"""Where a method's file has what an error is about, held to the lines of a file that is written."""

from __future__ import annotations

from typing import Any

import pytest

from suite.common.user_file import load_module
from suite.contract.places import innermost, place_of

FILE = '''\
import dataclasses
import functools

from algorithms.ppo import PPO


class Base(PPO):
    def init(self, key):
        return key / 0


@dataclasses.dataclass(frozen=True)
class Mine(Base):
    """Mine."""

    width: int = 3
    plain = 4

    @property
    def actor(self):
        return 1

    @functools.cached_property
    def cached(self):
        return 1

    def act(self, state, obs, key, mode):
        return state.missing

    borrowed = PPO.draw
'''


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("places") / "mine.py"
    path.write_text(FILE)
    return load_module(path).Mine


def line(text: str) -> int:
    (found,) = [n for n, each in enumerate(FILE.splitlines(), start=1) if each.strip() == text]
    return found


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("act", "def act(self, state, obs, key, mode):"),
        ("init", "def init(self, key):"),  # of a base in the same file
        ("actor", "@property"),
        ("cached", "@functools.cached_property"),
        ("width", "width: int = 3"),
        ("plain", "plain = 4"),
        ("update", "@dataclasses.dataclass(frozen=True)"),  # of PPO: the class stands for it
        ("borrowed", "@dataclasses.dataclass(frozen=True)"),
        ("nothing", "@dataclasses.dataclass(frozen=True)"),
        ("", "@dataclasses.dataclass(frozen=True)"),
    ],
)
def test_the_line_of_a_member(mine: Any, member: str, text: str) -> None:
    assert place_of(mine, member) == f"mine.py:{line(text)}"


def test_classes_that_no_file_defines() -> None:
    assert place_of(type("Made", (), {"__module__": "nowhere"}), "act") == ""
    assert place_of(int) == ""


def raised(function: Any, *arguments: Any) -> Exception:
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return caught.value


def test_the_innermost_line_of_the_own_file(mine: Any) -> None:
    error = raised(mine.act, None, None, None, None, "sample")
    assert innermost(error, mine) == f"mine.py:{line('return state.missing')}"


def test_an_error_that_the_own_file_had_no_part_in(mine: Any) -> None:
    """Both are told: where it was, and whose it is."""
    found = innermost(raised(mine.draw, None, None, None, None, None), mine)
    there, _, whose = found.partition(", for Mine, ")
    assert there.startswith("ppo.py:")
    assert whose == place_of(mine)
