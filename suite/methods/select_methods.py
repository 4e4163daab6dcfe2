"""What `--algos` selects: methods by their names, and those of a user's own files."""

from __future__ import annotations

import re
from typing import Any

from algorithms import registry
from algorithms.api import Algorithm
from algorithms.registry import Entry, MethodFile
from suite.common.errors import UserError
from suite.common.user_file import (
    UserFile,
    content_of,
    is_user_file,
    load_class,
    parse_user_file,
    place_of,
)
from suite.configuration.selection import parse_algorithms

NAMED = "NAME"
"""Class attribute by which a method of a file can call itself."""


def select_methods(text: str) -> tuple[str, ...]:
    """Returns the names of what a list selects; methods of files are loaded and made known.

    Args:
        text: as in `parse_algorithms`; an item may also be `PATH.py` or `PATH.py:CLASS`, which
            is executed. Such a method is called as its class says by `NAME`, or like the class
            with dashes: MyMethod is my-method.

    Raises:
        UserError: a name is unknown, or a file holds no method that can be trained.
    """
    names = [method_name(item.strip()) for item in text.split(",")]
    return parse_algorithms(",".join(names), tuple(registry.entries()))


def method_name(text: str) -> str:
    """Returns a name as it is, and that of a file's method once that is loaded and made known.

    Raises:
        UserError: see `select_methods`.
    """
    return add_method(parse_user_file(text)) if is_user_file(text) else text


def add_method(file: UserFile, name: str = "") -> str:
    """Executes a file, makes its method known, and returns the method's name.

    Args:
        file: which, and which class of it.
        name: what to call it; by default as `select_methods` says.

    Raises:
        UserError: see `select_methods`.
    """
    cls: type[Algorithm[Any]] = load_class(file, Algorithm, "method")  # type: ignore[type-abstract]
    name = name or getattr(cls, NAMED, None) or _dashed(cls.__name__)
    try:
        kept = MethodFile(file.path, content_of(cls))
    except KeyError:
        raise UserError(
            f"{file}: {cls.__name__} is defined elsewhere; give the file that defines it"
        ) from None
    entry = Entry(name, cls, _description(cls), distribution="", file=kept)
    try:
        registry.add(entry)
    except ValueError as error:
        raise UserError(f"{place_of(file, cls)}: {_mended(str(error))}") from None
    return name


def _mended(fault: str) -> str:
    if "its name" not in fault:
        return fault
    return f'{fault}; call the class otherwise, or give it {NAMED} = "..."'


def _dashed(name: str) -> str:
    """Returns a class's name as a method's: GaussianPPO2 is gaussian-ppo2."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return parts.replace("_", "-").strip("-").lower()


def _description(cls: type) -> str:
    """Returns the first line of a class's docstring."""
    lines = (cls.__doc__ or "").strip().splitlines()
    generated = lines and lines[0].startswith(f"{cls.__name__}(")  # what dataclass puts there
    return f"a user's {cls.__name__}" if not lines or generated else lines[0].strip()
