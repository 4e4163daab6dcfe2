"""Plain text for people: numbers, durations and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def count(number: int) -> str:
    """Returns a whole number with its thousands apart: 1,234,567."""
    return f"{number:,}"


def duration(seconds: float | None) -> str:
    """Returns a time span in its two largest units: 2d03h, 1h05m, 3m20s, 7s, or ? if unknown."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24:02d}h"
    if hours:
        return f"{hours}h{minutes % 60:02d}m"
    if minutes:
        return f"{minutes}m{whole % 60:02d}s"
    return f"{whole}s"


def number(value: float | None) -> str:
    """Returns a return to one decimal, or - where there is none yet."""
    return "-" if value is None else f"{value:.1f}"


def typed(value: Any) -> str:
    """Returns a setting's value, to the last digit, as it is typed after `--set NAME.FIELD=`."""
    return _as_typed(value, str)


def shown(value: Any) -> str:
    """Returns a setting's value for readers: as it is typed, but in lists numbers of 6 digits."""
    return _as_typed(value, "{:g}".format)


def _as_typed(value: Any, in_list: Callable[[float], str]) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_as_typed(each, in_list)}" for name, each in value.items())
    if isinstance(value, tuple | list):
        return ",".join(in_list(each) if isinstance(each, float) else typed(each) for each in value)
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def plain(value: Any) -> str:
    """Returns a value of JSON in words: lists with spaces, `name = value`, floats of 6 digits."""
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {plain(each)}" for key, each in sorted(value.items()))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def readable(name: str) -> str:
    r"""Returns a file's name as any text can hold it: bytes that are no text become \udcff."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in name
    )


def spreadsheet_text(text: str) -> str:
    """Returns a cell of a table that spreadsheets show, and do not run as a formula.

    They take what follows one of `= @ + -` for one, unless there is a `'` before it. Numbers, also
    those with an interval behind them, stay as they are.
    """
    is_formula = text[:1] in _FORMULA and not _ARITHMETIC.fullmatch(text)
    return f"'{text}" if is_formula and len(text) > 1 else text


_FORMULA = ("=", "@", "+", "-", "\t", "\r")
_ARITHMETIC = re.compile(r"[+-]?(inf|nan|[0-9., %\[\]()±−∞eE+-]*)")


def by_name(values: Mapping[str, str]) -> str:
    """Returns one value if all names have it, else each value with the names that have it."""
    names = _names_by_value(values)
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{value} ({', '.join(each)})" for value, each in names.items())


def by_exception(values: Mapping[str, str]) -> str:
    """Returns the most frequent value, then each other one with the names that have it."""
    names = _names_by_value(values)
    usual, *others = sorted(names, key=lambda value: -len(names[value]))
    return "; ".join([usual, *(f"{value} ({', '.join(names[value])})" for value in others)])


def _names_by_value(values: Mapping[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    return names


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns aligned columns; those that hold only numbers are aligned to the right."""
    numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join(aligned([header, *rows], numeric))


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Returns a line for each row, every column as wide as its widest cell.

    Args:
        rows: cells, equally many in each row.
        right: for each column whether it is aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, right, strict=True)
        padded = (cell.rjust(width) if last else cell.ljust(width) for cell, width, last in cells)
        return "  ".join(padded).rstrip()

    return [line(row) for row in rows]


def _is_number(cell: str) -> bool:
    return cell == "-" or cell[:1].isdigit() or (cell[:1] == "-" and cell[1:2].isdigit())
