"""Which values a hyper-parameter can take, and which are tried, declared beside its field.

A field's type says it: `decoder_epochs: Count = 50`. A subclass that only changes the default
may write the plain type; the bounds of the class that it inherits the field from hold on.

So does the range that `suite tune` draws from, where there is one:
`learning_rate: Annotated[Positive, Range(1e-4, 3e-3, log=True)] = 3e-4`. A subclass replaces it by
another one, or withdraws it with `NOT_TUNED`. A method declares two to five.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from typing import Annotated, Any

LARGEST = 3.4028234e38
"""Of float32, in which everything is computed: beyond it a number is infinite there."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The values of a number; of a list of numbers, which must not be empty, those of each.

    Attributes:
        low: the smallest.
        high: the largest.
        above: whether `low` itself is no value any more.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def allow(self, value: Any) -> bool:
        """Returns whether `value` lies within; what is no number, none for example, does."""
        if isinstance(value, tuple | list):
            return len(value) > 0 and all(map(self.allow, value))
        if not isinstance(value, int | float):
            return True
        if abs(value) > LARGEST:
            return False
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        ends = []
        if self.low > -math.inf:
            ends.append(f"{'above' if self.above else 'at least'} {self.low:g}")
        if self.high < math.inf:
            ends.append(f"at most {self.high:g}")
        return " and ".join(ends)


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers between two that a field is tuned in, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        log: whether their logarithm is uniform, and not they.
        also: fields that move along, by the factor that this one moves from its default.
    """

    low: float
    high: float
    log: bool = False
    also: tuple[str, ...] = ()

    def at(self, share: float) -> float:
        """Returns the value at a share in [0, 1) of the way from `low` to `high`."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share

    def holds(self, value: Any) -> bool:
        """Returns whether `value` lies within."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def fault(self) -> str:
        """Returns why nothing can be drawn from it; "" if something can."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            return "must have a low end below its high end"
        return "must begin above 0 to be logarithmic" if self.log and self.low <= 0 else ""

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """The values, two or more, one of which a field is tuned to.

    Attributes:
        values: all different.
        also: as of `Range`.
    """

    values: tuple[Any, ...]
    also: tuple[str, ...] = ()

    def at(self, share: float) -> Any:
        """Returns the value at a share in [0, 1) of the way through the list."""
        return self.values[int(share * len(self.values))]

    def holds(self, value: Any) -> bool:
        """Returns whether `value` is one of them."""
        return value in self.values

    def fault(self) -> str:
        """Returns why nothing can be drawn from it; "" if something can."""
        return "" if len(self.values) > 1 else "must have two values or more"

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclasses.dataclass(frozen=True)
class NotTuned:
    """What a subclass declares to withdraw a range that it inherits."""


NOT_TUNED = NotTuned()
Tunable = Range | Choice

Count = Annotated[int, Bounds(1)]
WholeNumber = Annotated[int, Bounds(0)]
"""A number of things of which there may be none."""
Positive = Annotated[float, Bounds(0, above=True)]
NotNegative = Annotated[float, Bounds(0)]
Nats = Annotated[float, Bounds(-80, 80)]
"""Of an entropy: float32 holds e to these powers, and not much beyond."""
UnitInterval = Annotated[float, Bounds(0, 1)]
Widths = Annotated[tuple[int, ...], Bounds(1)]
"""Of a network's hidden layers; there is at least one."""
Shares = Annotated[tuple[float, ...], Bounds(0, 1, above=True)]


@functools.cache
def bounds_of(cls: type) -> Mapping[str, Bounds]:
    """Returns the bounds of each field of a dataclass that has some.

    They are those of the first class in the method resolution order that declares any.
    """
    found: dict[str, Bounds] = {}
    for base in cls.__mro__:
        for field, hint in typing.get_type_hints(base, include_extras=True).items():
            for each in getattr(hint, "__metadata__", ()):
                if isinstance(each, Bounds):
                    found.setdefault(field, each)
    return found


@functools.cache
def ranges_of(cls: type) -> Mapping[str, Tunable]:
    """Returns what each field of a dataclass that is tuned is drawn from, in the fields' order.

    It is what the first class in the method resolution order declares, and nothing where that
    is `NOT_TUNED`.
    """
    found: dict[str, Tunable | NotTuned] = {}
    for base in cls.__mro__:
        for field, hint in typing.get_type_hints(base, include_extras=True).items():
            for each in getattr(hint, "__metadata__", ()):
                if isinstance(each, Range | Choice | NotTuned):
                    found.setdefault(field, each)
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    declared = {name: found[name] for name in fields if name in found}
    return {name: each for name, each in declared.items() if not isinstance(each, NotTuned)}


def fault(cls: type, field: str, value: Any) -> str:
    """Returns what a field's value must be instead, `must be at least 1`; "" if nothing."""
    bounds = bounds_of(cls).get(field)
    if bounds is None or bounds.allow(value):
        return ""
    is_list = isinstance(value, tuple | list)
    if not is_list and abs(value) > LARGEST:
        return f"must be {bounds} and at most {LARGEST:.1e}, the largest float32"
    return f"must be a list of numbers {bounds}" if is_list else f"must be {bounds}"


def check(instance: Any) -> None:
    """Raises ValueError if a field of a dataclass instance lies outside its bounds."""
    cls: type = type(instance)
    for field in bounds_of(cls):
        value = getattr(instance, field)
        if text := fault(cls, field, value):
            raise ValueError(f"{field} = {value}: {text}")
