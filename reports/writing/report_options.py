"""What a report may be asked for: the one source for command line, request and stored request.

Imports nothing heavy, for the command line reads it at its start.
"""

from __future__ import annotations

from typing import Any

from suite.common.errors import UserError

MODES = ("deterministic", "sample", "published")
POLICIES = ("zero", "last", "exclude")
MARGIN = 0.05
"""Of scores between 0 and 1: differences that do not matter are smaller."""

REPETITIONS = (1, 1_000_000)
"""Fewest and most; each takes memory."""

SEEDS = (0, 2**32 - 1)
"""Least and greatest."""


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{name} = {str(value)[:20]!r}: must be one of {', '.join(choices)}")


def check_whole(name: str, value: Any, bounds: tuple[int, int]) -> None:
    """Raises UserError unless `value` is a whole number within `bounds`, both included."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not bounds[0] <= value <= bounds[1]:
        text = f"must be a whole number from {bounds[0]} to {bounds[1]:,}"
        raise UserError(f"{name} = {str(value)[:20]}: {text}")
