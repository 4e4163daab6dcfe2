"""The tables of the reference: what `suite list` knows, put into the pages while they are built.

A page has `<!-- catalog: protocols -->` where a table is to stand, so no number of a preset or a
method is written by hand. `python -m docs.catalog protocols` prints what the site would show.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from benchmarks import check_algo
from suite.catalog import listings
from suite.catalog.listings import AlgorithmRow
from suite.checks.all_checks import ALL
from suite.common import formatting
from suite.configuration.hyperparameters import field_documents
from suite.configuration.protocol import Protocol

MARK = re.compile(r"^<!-- catalog: (\w+) -->$", re.MULTILINE)

_WIDE = ("description", "algorithms", "tuning", "published_mode")
"""Fields of a protocol that hold too much for a column."""

Preset = Mapping[str, object]


def fill(text: str) -> str:
    """Returns a page with its tables.

    Raises:
        KeyError: the page asks for a table that there is not.
    """
    return MARK.sub(lambda match: TABLES[match[1]](), text)


def fill_page(app: object, page: str, source: list[str]) -> None:
    """Fills the one text in `source`, as Sphinx's event `source-read` has it."""
    del app, page
    source[0] = fill(source[0])


def protocols() -> str:
    """Returns every field of a protocol: its value in each preset, and what it is."""
    presets = [cast(Preset, each) for each in listings.protocols().data]
    names = [f"`{each['name']}`" for each in presets]
    fields = [field for field in presets[0] if field not in ("name", *_WIDE)]
    values = [
        [f"`{f}`", *(formatting.shown(each[f]) or "none" for each in presets)] for f in fields
    ]
    documents = {**field_documents(Protocol), **_DERIVED}
    parts = [
        "\n".join(f"- `{each['name']}`: {each['description']}" for each in presets),
        "## Values in the presets",
        _table(["field", *names], values),
        "## What the presets set for single methods",
        _table(["preset", "method", "what it sets"], list(_changes(presets))),
        "## What the fields are",
        _table(["field", "what it is"], [[f"`{f}`", documents[f]] for f in presets[0]]),
    ]
    return "\n\n".join(parts)


_DERIVED = {
    "updates": "whole updates that fit into `total_steps`; follows from the others.",
    "fingerprint": "of all that must be equal; runs with the same one may be compared.",
}


def _changes(presets: Sequence[Preset]) -> Iterator[list[str]]:
    for preset in presets:
        for kind, told in (("algorithms", "{}"), ("tuning", "found by trying: {}")):
            for method, values in cast(Mapping[str, Preset], preset[kind]).items():
                listed = ", ".join(f"{k} = {formatting.shown(v)}" for k, v in values.items())
                yield [f"`{preset['name']}`", f"`{method}`", told.format(listed)]


def hyperparameters() -> str:
    """Returns every hyper-parameter of every method, with default, range and source."""
    return "\n\n".join(
        f"## {each['name']}\n\n{each['description']}\n\n{_fields(each)}"
        for each in cast(Sequence[AlgorithmRow], listings.algos().data)
    )


def _fields(algorithm: AlgorithmRow) -> str:
    rows = [
        [
            f"`{field['name']}`",
            f"`{formatting.shown(field['default'])}`",
            "; ".join(filter(None, (field["type"], field["range"]))),
            field["tuned"],
            field["description"],
        ]
        for field in algorithm["hyperparameters"]
    ]
    return _table(["field", "default", "may be", "tuned in", "what it is, and its source"], rows)


def tasks() -> str:
    """Returns the tasks that `suite list tasks` names, with all that it says of each."""
    data = cast(Sequence[Mapping[str, object]], listings.tasks().data)
    columns = [key for key in data[0] if key != "name"]
    rest = [[formatting.plain(each[key]) for key in columns] for each in data]
    names = [f"`{each['name']}`" for each in data]
    rows = [[name, *cells] for name, cells in zip(names, rest, strict=True)]
    return _table(["task", *columns], rows)


def checks() -> str:
    """Returns every check of `suite check-algo`: what it asks, why, and how a method is mended."""
    rows = [[f"`{each.name}`", each.asks, each.why, each.mend or "-"] for each in ALL]
    return _table(["check", "what it asks", "why", "mend a method that fails"], rows)


def checked() -> str:
    """Returns what the record of benchmarks/check_algo.py holds of every method."""
    record = json.loads(check_algo.RECORD.read_text(encoding="utf-8"))
    header, rows = check_algo.table(record)
    where = record["where"]
    parts = [
        f"{where['cpu']}, {where['cpus_available']} cores, {where['platform']}, Python"
        f" {where['python']}, JAX {where['packages']['jax']}.",
        _table(header, [[f"`{name}`", *cells] for name, *cells in rows]),
        *(
            f"`{name}`, {check}: {reason}."
            for name, row in record["methods"].items()
            for check, reason in row["reasons"].items()
            if row["states"][check] == "FAIL"
        ),
    ]
    return "\n\n".join(parts)


TABLES: Mapping[str, Callable[[], str]] = {
    "protocols": protocols,
    "hyperparameters": hyperparameters,
    "tasks": tasks,
    "checks": checks,
    "checked": checked,
}
"""By the names that pages use."""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(map(_line, [header, ["---"] * len(header), *rows]))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(TABLES[sys.argv[1]]())
