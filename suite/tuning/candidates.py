"""What a search tries of a method: its defaults, and settings drawn from its declared ranges.

Every field is drawn by itself, stratified: of N values exactly one lies in each N-th of its range
(a Latin hypercube: McKay et al. 1979). The numbers depend on the field's name and nothing else of
the method, so that methods that declare one range for a field try the same values of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc

from algorithms import bounds
from algorithms.bounds import Range, Tunable, ranges_of
from suite.common.errors import UserError
from suite.configuration.hyperparameters import hyperparameter_fields

Values = Mapping[str, Any]
"""Of the fields that are tuned, or that move along."""

_ATTEMPTS = 5
"""Draws to find enough different candidates in."""

_DIGITS = 3
"""Significant ones of a value; more would tell nothing."""


def draw_candidates(
    name: str, cls: type, defaults: Mapping[str, Any], count: int, draw: int
) -> tuple[Values, ...]:
    """Returns what is tried of a method, the defaults first.

    Args:
        name: of the method, for messages.
        cls: its class, which declares the ranges.
        defaults: every hyper-parameter as it is without tuning.
        count: candidates, the defaults included.
        draw: seed.

    Raises:
        UserError: nothing is declared, or something that cannot be; or there are not so many
            different candidates.
    """
    ranges = ranges_of(cls)
    _check_ranges(name, cls, ranges, defaults)
    found = [_settings(ranges, defaults, {field: defaults[field] for field in ranges})]
    for attempt in range(_ATTEMPTS):
        for settings in _drawn(cls, ranges, defaults, count - 1, (draw, attempt)):
            # What was drawn before: defaults that an earlier search of the same draw found, say.
            if len(found) < count and settings not in found:
                found.append(settings)
    if len(found) < count:
        raise UserError(
            f"{name}: only {len(found)} of {count} candidates differ; declare wider ranges, or ask "
            "for fewer --trials"
        )
    return tuple(found)


def _drawn(
    cls: type,
    ranges: Mapping[str, Tunable],
    defaults: Values,
    count: int,
    key: tuple[int, int],
) -> Iterator[Values]:
    """Yields `count` settings, of every field one out of each `count`-th of its range."""
    shares = {field: _shares(field, count, key) for field in ranges}
    hints = hyperparameter_fields(cls)
    for index in range(count):
        drawn = {
            field: _value(each, shares[field][index], whole=hints[field] is int)
            for field, each in ranges.items()
        }
        yield _settings(ranges, defaults, drawn)


def describe_ranges(cls: type) -> dict[str, str]:
    """Returns in words what each field is drawn from."""
    return {
        field: f"{each}{', moving ' + ', '.join(each.also) if each.also else ''}"
        for field, each in ranges_of(cls).items()
    }


def _shares(field: str, count: int, key: tuple[int, int]) -> list[float]:
    """Returns one number in each `count`-th of [0, 1), in random order.

    Args:
        field: its name.
        count: how many.
        key: seed, and how many times it was drawn from before.
    """
    draw, attempt = key
    again = [attempt] if attempt else []
    generator = np.random.default_rng([draw, zlib.crc32(field.encode()), *again])
    sample: list[float] = qmc.LatinHypercube(d=1, rng=generator).random(count)[:, 0].tolist()
    return sample


def _value(each: Tunable, share: float, whole: bool) -> Any:
    value = each.at(share)
    if not isinstance(each, Range):
        return value
    rounded = round(value) if whole else float(f"{value:.{_DIGITS}g}")
    return min(max(rounded, type(rounded)(each.low)), type(rounded)(each.high))


def _settings(ranges: Mapping[str, Tunable], defaults: Values, drawn: Values) -> Values:
    """Returns the drawn values, and of fields that move along what follows for them."""
    found = dict(drawn)
    for field, each in ranges.items():
        for other in each.also:
            if drawn[field] == defaults[field]:
                found[other] = defaults[other]
            else:
                factor = drawn[field] / defaults[field]
                found[other] = float(f"{defaults[other] * factor:.{_DIGITS}g}")
    return found


def _check_ranges(
    name: str, cls: type, ranges: Mapping[str, Tunable], defaults: Mapping[str, Any]
) -> None:
    if not ranges:
        raise UserError(
            f"{name} declares nothing to tune; write `learning_rate: Annotated[float, "
            "Range(1e-4, 3e-3, log=True)] = 3e-4` in its class (algorithms/bounds.py)"
        )
    for field, each in ranges.items():
        what = f"{name}.{field}, tuned in {each},"
        ends = (each.low, each.high) if isinstance(each, Range) else each.values
        faults = [each.fault(), *(bounds.fault(cls, field, end) for end in ends)]
        if fault := next(filter(None, faults), ""):
            raise UserError(f"{what} {fault}")
        if missing := [other for other in each.also if other not in defaults]:
            raise UserError(f"{what} moves {', '.join(missing)}, of which it has no field")
        if each.also and not defaults[field]:
            raise UserError(f"{what} moves {', '.join(each.also)} by a factor, but it begins at 0")


def check_defaults(name: str, cls: type, defaults: Mapping[str, Any]) -> None:
    """Raises UserError if a default of a method lies outside of what it is tuned in."""
    for field, each in ranges_of(cls).items():
        if not each.holds(defaults[field]):
            raise UserError(
                f"{name}.{field} = {defaults[field]}, its default, lies outside of what it is "
                f"tuned in, {each}; widen the range"
            )
