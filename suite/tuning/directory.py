"""What a directory holds of a search for settings.

TUNING_DIR/tuning.json           the effort, equal for all methods; written once
TUNING_DIR/methods/NAME.json     the ranges and candidates of a method; written once
TUNING_DIR/candidate-03/         an ordinary run directory: that candidate of every method
TUNING_DIR/trials.csv            scores, and what became of each candidate (suite/tuning/outcome.py)
TUNING_DIR/tuned.toml            the outcome, as a protocol can hold it

What goes on is read off the run directories alone; the last two files only show it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.common.errors import UserError, damage
from suite.common.files import (
    exclusive_write,
    json_bytes,
    make_directory,
    read_object,
)
from suite.configuration.effort import RECORD, Effort

TRIALS = "trials.csv"
TUNED = "tuned.toml"

_MAX_BYTES = 1 << 20
"""Of a record, which holds a protocol or a few candidates."""


@dataclasses.dataclass(frozen=True)
class Method:
    """What a search tries of one method.

    Attributes:
        name: of the method.
        ranges: what each field is drawn from, in words.
        candidates: values of those fields, and of those that move along, by number.
        fixed: other fields that all candidates have otherwise than the method's class, by the
            protocol or by `--set`; None where an older version did not tell.
    """

    name: str
    ranges: Mapping[str, str]
    candidates: tuple[Mapping[str, Any], ...]
    fixed: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        told = {} if self.fixed is None else {"fixed": dict(self.fixed)}
        drawn = {"ranges": dict(self.ranges), "candidates": [dict(e) for e in self.candidates]}
        return {**drawn, **told}


def candidate_path(directory: Path, number: int) -> Path:
    """Returns the run directory of one candidate of every method."""
    return directory / f"candidate-{number:02d}"


def is_tuning(directory: Path) -> bool:
    """Returns whether a directory holds a search."""
    return (directory / RECORD).is_file()


def write_effort(directory: Path, effort: Effort) -> None:
    """Writes tuning.json, or checks that the one there says the same.

    Raises:
        UserError: it says something else; names what.
        OSError: it cannot be written.
    """
    make_directory(directory)
    if not exclusive_write(directory / RECORD, json_bytes(effort.to_dict())):
        check_effort(directory, effort)


def check_effort(directory: Path, effort: Effort) -> None:
    """Raises UserError if a directory holds a search of another effort."""
    if is_tuning(directory) and (fields := read_effort(directory).differences(effort)):
        raise UserError(
            f"{directory} holds another search: it differs in {', '.join(fields)}; choose another "
            "directory with --out"
        )


def read_effort(directory: Path) -> Effort:
    """Reads tuning.json.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = directory / RECORD
    if not path.is_file():
        raise UserError(f"{directory} is no search for settings: it has no {RECORD}")
    return Effort.from_dict(read_object(path, _MAX_BYTES), str(path))


def write_method(directory: Path, method: Method) -> None:
    """Writes methods/NAME.json, unless there is one.

    Raises:
        OSError: it cannot be written.
    """
    path = _method_path(directory, method.name)
    make_directory(path.parent)
    exclusive_write(path, json_bytes(method.to_dict()))


def stored_method(directory: Path, method: Method) -> Method:
    """Returns what is stored of a method, or `method` if nothing is.

    Raises:
        UserError: it was drawn from other ranges or around other defaults.
    """
    path = _method_path(directory, method.name)
    if not path.is_file():
        return method
    stored = read_method(directory, method.name)
    if stored.ranges != method.ranges or stored.candidates[0] != method.candidates[0]:
        raise UserError(
            f"{path} was drawn from other ranges or around other defaults than {method.name} has "
            "now; choose another directory with --out"
        )
    if stored.fixed is not None and stored.fixed != method.fixed:
        now, then = method.fixed or {}, stored.fixed
        names = sorted(n for n in now.keys() | then.keys() if now.get(n) != then.get(n))
        raise UserError(
            f"{path}: {method.name} was searched for with another {', '.join(names)}; choose "
            "another directory with --out"
        )
    if len(stored.candidates) != len(method.candidates):
        raise UserError(
            f"{path} is damaged ({len(stored.candidates)} candidates of "
            f"{len(method.candidates)}); restore it"
        )
    return stored


def read_method(directory: Path, name: str) -> Method:
    """Reads methods/NAME.json.

    Raises:
        UserError: it is damaged.
    """
    path = _method_path(directory, name)
    data = read_object(path, _MAX_BYTES)
    try:
        ranges = {str(field): str(text) for field, text in data["ranges"].items()}
        candidates = [{str(f): _value(v) for f, v in each.items()} for each in data["candidates"]]
        fixed = {str(f): _value(v) for f, v in data["fixed"].items()} if "fixed" in data else None
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({damage(error)}); restore it") from None
    if not candidates or any(each.keys() != candidates[0].keys() for each in candidates):
        raise UserError(f"{path} is damaged (candidates lack fields, or all are gone); restore it")
    return Method(name, ranges, tuple(candidates), fixed)


def stored_methods(directory: Path) -> list[str]:
    """Returns the names of the methods that were searched for here, sorted."""
    return sorted(path.stem for path in (directory / "methods").glob("[!.]*.json"))


def note_unsound(directory: Path, name: str, number: int, reason: str) -> None:
    """Stores that a candidate's first numbers were none, so that it is not tried again."""
    path = _unsound_path(directory, name, number)
    make_directory(path.parent)
    exclusive_write(path, json_bytes({"reason": reason}))


def is_unsound(directory: Path, name: str, number: int) -> bool:
    """Returns whether a candidate's first numbers were none."""
    return _unsound_path(directory, name, number).is_file()


def _method_path(directory: Path, name: str) -> Path:
    return directory / "methods" / f"{name}.json"


def _unsound_path(directory: Path, name: str, number: int) -> Path:
    return candidate_path(directory, number) / f"unsound-{name}.json"


def _value(value: Any) -> Any:
    """Returns a stored value of a hyper-parameter, whose lists are tuples."""
    return tuple(value) if isinstance(value, list) else value
