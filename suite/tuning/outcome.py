"""What a search has come to: a line for every trial, and a table that a protocol can hold."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.common import formatting
from suite.common.files import atomic_write, json_bytes
from suite.configuration.effort import Effort, shares
from suite.tuning.directory import TRIALS, TUNED
from suite.tuning.search import Search, searches

_COLUMNS = ("algorithm", "candidate", "rung", "updates", "score", "diverged", "outcome")

Row = Mapping[str, str]


def trial_rows(search: Search) -> list[Row]:
    """Returns a row for every candidate of every rung that has begun, in the order of both.

    Beside `_COLUMNS` there are `settings`, and the score on every task under its name.
    """
    rows: list[Row] = []
    for rung, each in enumerate(search.rounds()):
        for number, value in each.scores.items():
            found = search.score(number, rung)
            by_task = found.by_task if found else dict.fromkeys(search.effort.tasks)
            settings = search.method.candidates[number]
            rows.append(
                {
                    "algorithm": search.method.name,
                    "candidate": str(number),
                    "rung": str(rung),
                    "updates": str(search.effort.ends[rung]),
                    "score": "" if value is None else f"{value:.6f}",
                    "diverged": "" if found is None else str(found.diverged),
                    "outcome": _outcome(search.effort, rung, number, each.kept),
                    **{task: "" if x is None else f"{x:.6f}" for task, x in by_task.items()},
                    "settings": " ".join(f"{k}={formatting.typed(v)}" for k, v in settings.items()),
                }
            )
    return rows


def trials(directory: Path) -> list[Row]:
    """Returns `trial_rows` of all searches in a directory.

    Raises:
        UserError: a file is damaged.
    """
    return [row for search in searches(directory) for row in trial_rows(search)]


def render(directory: Path) -> str:
    """Returns the state of all searches in a directory as a table for people.

    Raises:
        UserError: a file is damaged.
    """
    found = searches(directory)
    header = ("algorithm", "candidate", "updates", "score", "diverged", "outcome", "settings")
    rows = [tuple(row[name] or "-" for name in header) for row in trials(directory)]
    chosen = [search.chosen() for search in found]
    done = sum(number is not None for number in chosen)
    table = formatting.table(header, rows) if rows else "nothing was started yet"
    return f"{table}\n{done} of {len(found)} methods are tuned"


def write_outcome(directory: Path) -> None:
    """Writes trials.csv, and tuned.toml with the methods whose search is done.

    Raises:
        UserError: a file is damaged.
        OSError: one cannot be written.
    """
    found = searches(directory)
    atomic_write(directory / TRIALS, _csv(trials(directory)))
    done = [(each, number) for each in found if (number := each.chosen()) is not None]
    if done:
        atomic_write(directory / TUNED, tuned_toml(done).encode())


def tuned_toml(chosen: Sequence[tuple[Search, int]]) -> str:
    """Returns the outcome as the tables of a protocol.

    Args:
        chosen: searches that are done, each with the number of its best candidate.
    """
    effort = chosen[0][0].effort
    lines = [
        f"# Found by `suite tune`: {effort.trials} candidates a method, of which",
        f"# {', '.join(map(str, effort.candidates))} trained for {shares(effort.rungs)} of the "
        f"budget, on {', '.join(effort.tasks)}.",
    ]
    for search, number in chosen:
        lines += ["", f"[algorithms.{_key(search.method.name)}]  # candidate {number}"]
        lines += _entries(search.method.candidates[number])
        lines += _entries(search.method.fixed or {})
    for search, _ in chosen:
        lines += ["", f"[tuning.{_key(search.method.name)}]"]
        lines += _entries({**effort.record(), "digest": digest(search)})
    return "\n".join(lines) + "\n"


def digest(search: Search) -> str:
    """Returns 16 hex digits of what was tried of a method and what came of it."""
    content = [search.effort.to_dict(), search.method.to_dict(), trial_rows(search)]
    return hashlib.sha256(json_bytes(content)).hexdigest()[:16]


def _outcome(effort: Effort, rung: int, number: int, kept: Sequence[int]) -> str:
    if not kept:
        return "running"
    last = rung == len(effort.ends) - 1
    if number in kept:
        return "chosen" if last else "goes on"
    return "not chosen" if last else f"dropped, not among the best {len(kept)}"


def _csv(rows: Sequence[Row]) -> bytes:
    file = io.StringIO()
    columns = dict.fromkeys((*_COLUMNS, *(name for row in rows for name in row)))
    writer = csv.DictWriter(file, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: formatting.spreadsheet_text(v) for k, v in row.items()} for row in rows)
    return file.getvalue().encode()


def _entries(values: Mapping[str, Any]) -> Iterable[str]:
    return [f"{_key(name)} = {_toml(value)}" for name, value in values.items()]


def _key(name: str) -> str:
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isascii() and plain.isalnum() else json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | str):
        return json.dumps(value)
    return f"{value:_}" if isinstance(value, int) else repr(value)
