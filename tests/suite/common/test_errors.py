"""What errors say to people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from suite.common.convert import JSON, convert
from suite.common.errors import damage


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda data: data["seeds"], "it lacks 'seeds'"),
        (lambda data: convert(int, data["name"], JSON), "'kl' is not of type int"),
        (lambda data: data["name"].items(), "something in it is of another kind"),
        (lambda data: data["name"] + 1, "something in it is of another kind"),
    ],
)
def test_damage_is_told_without_python(read: Callable[[Any], Any], said: str) -> None:
    with pytest.raises((KeyError, ValueError, AttributeError, TypeError)) as caught:
        read({"name": "kl"})
    assert damage(caught.value) == said
