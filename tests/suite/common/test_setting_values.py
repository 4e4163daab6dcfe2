"""Values of settings as they are typed, as readers see them, and as JSON in words."""

from __future__ import annotations

from typing import Any

import pytest

from suite.common.formatting import plain, shown, typed


@pytest.mark.parametrize(
    ("value", "as_typed", "for_readers", "in_words"),
    [
        (0.1234567891, "0.1234567891", "0.1234567891", "0.123457"),
        ([1 / 3, 1.0], "0.3333333333333333,1.0", "0.333333,1", "0.333333, 1"),
        ((32, 32), "32,32", "32,32", "32, 32"),
        (True, "true", "true", "True"),
        (None, "none", "none", "None"),
        ({"b": 2, "a": [0.5]}, "b=2,a=0.5", "b=2,a=0.5", "a = 0.5, b = 2"),
        ("text", "text", "text", "text"),
    ],
)
def test_settings(value: Any, as_typed: str, for_readers: str, in_words: str) -> None:
    assert (typed(value), shown(value), plain(value)) == (as_typed, for_readers, in_words)
