"""Tables for a terminal."""

from __future__ import annotations

from suite.common.formatting import aligned


def test_no_line_ends_in_spaces() -> None:
    assert aligned([["a", "long", ""], ["b", "", "x"]], [False, True, False]) == [
        "a  long",
        "b        x",
    ]
