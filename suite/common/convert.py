"""Plain data, as JSON, TOML and command lines have it, to typed values; the one place that does.

What a type allows is read off its hints: dataclasses, `Literal`, unions, lists, tuples, mappings,
numbers, truth values and texts. How strictly it is read depends on where it comes from, see
`Rules`. A value that does not fit raises `Misfit`, which knows the path of the field; what a user
reads of it is the caller's to say, who knows the file and how to mend it.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")

WORDS: Mapping[object, str] = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
}
"""What a user has to give for each scalar type."""

_PLAIN = re.compile("[-+.0-9A-Za-z]*")
"""What numbers are written with, NaN and infinity too."""

_ANYTHING = (Any, object)
_LARGEST = 2**63 - 1
_field_types: dict[type, Mapping[str, Callable[[str], object]]] = {}
"""By class: reading the hints of one takes longer than reading a record by them."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """How plain data are read.

    Attributes:
        texts: whether a text may stand for a number, a truth value, none or a list.
        largest: numbers of a type beyond this are refused, and NaN is; none if not given.
        printable: whether texts must be fit to be shown.
        longest: a list with more values is refused before any of them is read; none if None.
    """

    texts: bool = False
    largest: Mapping[type, float] = dataclasses.field(default_factory=dict)
    printable: bool = False
    longest: int | None = None


JSON = Rules(largest={int: _LARGEST, float: _LARGEST}, printable=True, longest=10_000)
"""Of JSON that may come from a stranger."""

TOML = Rules(largest={float: sys.float_info.max})
"""Of a file that the user wrote."""

TYPED = Rules(texts=True, largest={float: sys.float_info.max})
"""Of a setting as it is typed, `1e-3`, `true`, `64,64` or `none`, or as TOML has it."""

STORED = Rules()
"""Of what this program stored itself, under a digest: every number goes, NaN too."""


class Misfit(ValueError):
    """A value that is not of its type.

    Args:
        path: names of the fields, keys and indices that lead to the value.
        value: what was there.
        kind: the type that it should have had.
        reason: what is wrong with it; also what `str` gives.
    """

    def __init__(self, path: Sequence[str], value: object, kind: object, reason: str) -> None:
        super().__init__(reason)
        self.path = tuple(path)
        self.value = value
        self.kind = kind


def convert(kind: type[T], value: object, rules: Rules = JSON) -> T:
    """Returns plain data as a value of a type.

    Args:
        kind: a type, or any hint made of those that the module names.
        value: numbers, texts, truth values, None, lists and mappings.
        rules: how strictly it is read.

    Raises:
        Misfit: a part of it is of another type, or a field is unknown.
        TypeError: a dataclass lacks a field, as the class itself says it.
    """
    return cast(T, _convert(kind, value, rules, ()))


def from_texts(kind: type[T], row: Mapping[str, str]) -> T:
    """Returns a line of a table as a dataclass of numbers and texts.

    Raises:
        KeyError: a column is missing.
        TypeError: the line is too short.
        ValueError: a number is none.
    """
    return kind(**{name: number(hint, row[name]) for name, hint in field_types(kind).items()})


def number(kind: Callable[[str], T], text: str) -> T:
    """Returns a text of a table as a number, as a program writes it, or as the text that it is.

    Raises:
        TypeError: it is no text.
        ValueError: it is no number, or one in other digits than ours, or with `_` or spaces.
    """
    if kind is not str and not _PLAIN.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is no number")
    return kind(text)


def field_types(kind: type) -> Mapping[str, Callable[[str], object]]:
    """Returns the type of every field of a dataclass by its name."""
    if kind not in _field_types:
        hints = typing.get_type_hints(kind)
        _field_types[kind] = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return _field_types[kind]


def immutable(value: object) -> object:
    """Turns lists into tuples, at every depth: what is hashed or compared holds no lists."""
    return tuple(map(immutable, value)) if isinstance(value, list | tuple) else value


def is_union(hint: object) -> bool:
    """Returns whether a hint is a union, written in either way."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _convert(kind: object, value: object, rules: Rules, path: tuple[str, ...]) -> object:
    origin = typing.get_origin(kind)
    if kind in _ANYTHING:
        return value
    if is_union(kind):
        return _one_of_several(kind, value, rules, path)
    if origin is Literal:
        return _choice(kind, value, rules, path)
    if origin in (list, tuple):
        return _items(kind, value, rules, path)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        table, item = _table(kind, value, path), typing.get_args(kind)[1]
        return {key: _convert(item, each, rules, (*path, key)) for key, each in table.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _record(kind, value, rules, path)
    return _scalar(kind, value, rules, path)


def _record(kind: type, value: object, rules: Rules, path: tuple[str, ...]) -> object:
    table, hints = _table(kind, value, path), field_types(kind)
    for name in table:
        if name not in hints:
            reason = f"{name!r} is no field of {kind.__name__}"
            raise Misfit((*path, name), table[name], kind, reason)
    return kind(
        **{name: _convert(hints[name], each, rules, (*path, name)) for name, each in table.items()}
    )


def _table(kind: object, value: object, path: tuple[str, ...]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _of_another_type(path, value, kind, dict)
    return value


def _items(kind: object, value: object, rules: Rules, path: tuple[str, ...]) -> object:
    make, arguments = typing.get_origin(kind), typing.get_args(kind)
    if rules.texts and isinstance(value, str):
        value = [item for item in value.strip("()[] ").split(",") if item.strip()]
    if not isinstance(value, list | tuple):
        raise _of_another_type(path, value, kind, list)
    if rules.longest is not None and len(value) > rules.longest:
        reason = f"{len(value):,} values are given, more than {rules.longest:,}"
        raise Misfit(path, None, kind, reason)
    if make is list or Ellipsis in arguments:
        kinds = [arguments[0]] * len(value)
    elif len(arguments) == len(value):
        kinds = list(arguments)
    else:
        raise Misfit(path, value, kind, f"{len(value)} values are given, not {len(arguments)}")
    found = (
        _convert(each, item, rules, (*path, str(index)))
        for index, (each, item) in enumerate(zip(kinds, value, strict=True))
    )
    return list(found) if make is list else tuple(found)


def _one_of_several(kind: object, value: object, rules: Rules, path: tuple[str, ...]) -> object:
    """Reads a value by the first kind of a union that it fits."""
    kinds = [each for each in typing.get_args(kind) if each is not types.NoneType]
    may_be_none = len(kinds) < len(typing.get_args(kind))
    if may_be_none and (value is None or (rules.texts and str(value).lower() == "none")):
        return None
    for each in kinds[:-1]:
        try:
            return _convert(each, value, rules, path)
        except (TypeError, ValueError):
            continue
    return _convert(kinds[-1], value, rules, path)


def _choice(kind: object, value: object, rules: Rules, path: tuple[str, ...]) -> object:
    choices = typing.get_args(kind)
    for choice in choices:
        if value == choice or (rules.texts and value == str(choice)):
            return choice
    reason = f"{value!r} is not one of {', '.join(map(str, choices))}"
    raise Misfit(path, value, kind, reason)


def _scalar(kind: object, value: object, rules: Rules, path: tuple[str, ...]) -> object:
    if not isinstance(kind, type):
        raise Misfit(path, value, kind, f"{str(value)[:40]!r} is of a type that cannot be read")
    if rules.texts and isinstance(value, str) and kind is not str:
        value = _parsed(kind, value, path)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    limit = rules.largest.get(kind)
    if number and limit is not None and not -limit <= cast(float, value) <= limit:
        raise Misfit(path, value, kind, f"the number {str(value)[:20]} is out of range")
    if number and kind is float:
        return float(cast(float, value))
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _of_another_type(path, value, kind, kind)
    if rules.printable and isinstance(value, str) and not value.isprintable():
        raise Misfit(path, value, kind, f"{value[:40]!r} cannot be shown")
    return value


def _parsed(kind: type, text: str, path: tuple[str, ...]) -> object:
    """Returns a text as a number, a truth value, or whatever the type makes of it."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, TypeError, ValueError):
        raise _of_another_type(path, text, kind, kind) from None


def _of_another_type(path: Sequence[str], value: object, kind: object, right: type) -> Misfit:
    return Misfit(path, value, kind, f"{str(value)[:40]!r} is not of type {right.__name__}")
