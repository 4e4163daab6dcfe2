"""What an entry of the registry must be before anything can be trained with it."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal

from algorithms.api import Algorithm

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A name is a directory, a column, and what stands before the dot in `--set NAME.FIELD=VALUE`."""

RESERVED = ("all", "protocol", "decoder")
"""What `--algos`, `--set` and the axes of an ablation mean something else by."""

_SCALARS = (bool, int, float, str)


def fault(entry: Any, taken: Collection[str] = ()) -> str:
    """Returns why nothing can be trained with an entry, a clause about it; "" if something can.

    Args:
        entry: whatever an entry point has named.
        taken: names of other entries.
    """
    parts = ("name", "cls", "description", "defaults", "distribution")
    if not all(hasattr(entry, part) for part in parts):
        return f"it is {_shown(entry)}, not an Entry of algorithms.registry"
    return name_fault(entry.name, taken) or class_fault(entry.cls, entry.defaults)


def name_fault(name: Any, taken: Collection[str]) -> str:
    """Returns what keeps a method from being called so, a clause about it; "" if nothing."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"its name {name!r} is not one of at most 64 letters, digits, '_' and '-'"
    if name.lower() in RESERVED:
        return f"its name {name!r} has a meaning of its own"
    # Some file systems do not tell upper from lower case.
    if name.lower() in {each.lower() for each in taken}:
        return f"its name {name!r} is taken"
    return ""


def class_fault(cls: Any, defaults: Mapping[str, Any]) -> str:
    """Returns what keeps a class from being an `Algorithm` with settable fields; "" if nothing."""
    if not (isinstance(cls, type) and issubclass(cls, Algorithm)):
        return f"its class {_shown(cls)} does not extend Algorithm of algorithms.api"
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"its class {cls.__name__} lacks {', '.join(missing)}"
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        return f"the types of {cls.__name__}'s fields cannot be read ({error})"
    fields = {field.name: field for field in dataclasses.fields(cls)}
    undeclared = [name for name in _annotated(cls) if name not in fields]
    if undeclared:
        listed, verb = ", ".join(undeclared), "is" if len(undeclared) == 1 else "are"
        return (
            f"{cls.__name__} lacks @dataclasses.dataclass(frozen=True), so {listed} {verb} no field"
        )
    if untyped := [name for name in fields if _is_untyped(cls, name)]:
        return (
            f"{cls.__name__}.{untyped[0]} is set without a type, so the field keeps the value that "
            f"it inherits; write {untyped[0]}: {_hint(hints[untyped[0]])} = ..."
        )
    return _fields_fault(cls.__name__, fields, hints, defaults)


def _fields_fault(
    owner: str,
    fields: Mapping[str, dataclasses.Field[Any]],
    hints: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> str:
    own = {name: field for name, field in fields.items() if name not in ("env", "pipeline")}
    if unknown := [name for name in defaults if name not in own]:
        return f"{owner} has no field {', '.join(unknown)}, which its entry sets"
    for name, field in own.items():
        if field.init and not settable(hints[name]):
            return (
                f"{owner}.{name} is of type {hints[name]}; a hyper-parameter is a bool, int, "
                "float, str or Literal, a tuple of one of them, or None instead"
            )
        given = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        if field.init and not given and name not in defaults:
            return f"{owner}.{name} has no default"
    return ""


def settable(hint: Any) -> bool:
    """Returns whether a value of this type can be typed, stored as JSON and read back."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal or hint in _SCALARS:
        return True
    if origin in (tuple, list):
        return bool(arguments) and all(
            each in _SCALARS or typing.get_origin(each) is Literal
            for each in arguments
            if each is not Ellipsis
        )
    if origin in (typing.Union, types.UnionType):
        return all(each is types.NoneType or settable(each) for each in arguments)
    return False


def _annotated(cls: type) -> list[str]:
    """Returns the names that a class's own body annotates, those of class variables left out."""
    return [
        name
        for name, hint in inspect.get_annotations(cls).items()
        if "ClassVar" not in str(hint) and not name.startswith("__")
    ]


def _is_untyped(cls: type, field: str) -> bool:
    """Returns whether a class sets a field that it inherits as what is no field to dataclasses."""
    for base in cls.__mro__:
        if field in inspect.get_annotations(base):
            return False
        if field in vars(base):
            return not hasattr(vars(base)[field], "__get__")  # a property fails by itself
    return False


def _hint(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _shown(value: Any) -> str:
    """Returns a value's class or name, in one short line whatever it is."""
    return getattr(value, "__qualname__", None) or f"of type {type(value).__qualname__}"
