"""Where the paper's text, its code and our presets part company (docs/algorithms.md, 3).

What the texts and the code say stands in deviations.toml; what `paper`, `paper2026` and `fair` do
is looked up in the presets and the algorithms, so that the table cannot fall behind them.
Reports look it up in presets.json instead, which saves them the import of JAX. That file holds what
`resolve` gives, and a test holds it to that; this module is also the program that writes it again:

    python -m suite.catalog.deviations > suite/catalog/presets.json
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Literal, TypedDict

from suite.common import formatting
from suite.common.errors import unknown
from suite.configuration.hyperparameters import hyperparameters, protocol_settings
from suite.configuration.protocol import Protocol, load_protocol

EVERY = "all"
"""Stands for every algorithm in deviations.toml."""

COMPARED: tuple[Literal["paper"], Literal["paper2026"], Literal["fair"]] = (
    "paper",
    "paper2026",
    "fair",
)
"""The presets that are set side by side."""

_PROTOCOL = "protocol."


@dataclasses.dataclass(frozen=True)
class Deviation:
    """One entry of deviations.toml, whose head explains the fields."""

    topic: str
    algorithms: tuple[str, ...]
    fields: tuple[str, ...]
    paper_text: str
    reference_code: str
    source: tuple[str, ...]
    reason: str
    text_2026: str = ""

    def concerns(self, algorithm: str) -> bool:
        """Returns whether it is about an algorithm."""
        return EVERY in self.algorithms or algorithm in self.algorithms


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What a protocol and its hyper-parameters come to.

    Attributes:
        protocol: the protocol.
        hyperparameters: by algorithm and field.
    """

    protocol: Protocol
    hyperparameters: Mapping[str, Mapping[str, object]]

    def value(self, algorithm: str, field: str) -> object:
        """Returns the value of a field of an algorithm.

        Args:
            algorithm: its name.
            field: a hyper-parameter, or `protocol.FIELD`.

        Raises:
            KeyError: there is no such field.
        """
        if field == f"{_PROTOCOL}published_mode":
            return self.protocol.published_mode_of(algorithm)
        if field.startswith(_PROTOCOL):
            return self.protocol.to_dict()[field.removeprefix(_PROTOCOL)]
        return self.hyperparameters[algorithm][field]

    def has(self, algorithm: str, field: str) -> bool:
        """Returns whether an algorithm has a field; a protocol's are everyone's."""
        return field.startswith(_PROTOCOL) or field in self.hyperparameters[algorithm]

    def shown(self, deviation: Deviation, algorithms: Sequence[str]) -> dict[str, str]:
        """Returns each field's value as text; where algorithms differ, with their names.

        A method need not have every field that concerns all, such as `gae_lambda`.
        """
        found = {
            field: {
                name: formatting.shown(self.value(name, field))
                for name in algorithms
                if self.has(name, field)
            }
            for field in deviation.fields
        }
        return {field: formatting.by_name(values) for field, values in found.items() if values}


class Row(TypedDict):
    """A deviation and what the presets do, as plain data.

    Attributes:
        paper, paper2026, fair: values by field, as text.
        text_2026: what the paper's text of 2026 says where it is not `paper_text`.
        differ: whether `paper` and `fair` do.
    """

    topic: str
    concerns: list[str]
    paper_text: str
    text_2026: str
    reference_code: str
    paper: dict[str, str]
    paper2026: dict[str, str]
    fair: dict[str, str]
    differ: bool
    reason: str
    source: list[str]


@functools.cache
def load_deviations() -> tuple[Deviation, ...]:
    """Returns every entry of deviations.toml in its order."""
    file = resources.files("suite.catalog") / "deviations.toml"
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["deviation"]
    return tuple(Deviation(**_frozen(entry)) for entry in entries)


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}


@functools.cache
def resolve(preset: str) -> Resolved:
    """Returns what a preset comes to for every known algorithm."""
    from algorithms.registry import entries

    protocol = load_protocol(preset)
    layer = protocol_settings(protocol.algorithms)
    values = {
        name: hyperparameters(name, entry.cls, entry.defaults, layer)
        for name, entry in entries().items()
    }
    return Resolved(protocol, values)


@functools.cache
def stored(preset: str) -> Resolved:
    """Returns what `resolve` gives for the built-in algorithms, without importing them.

    Args:
        preset: one of `COMPARED`.
    """
    file = resources.files("suite.catalog") / "presets.json"
    return Resolved(load_protocol(preset), json.loads(file.read_text(encoding="utf-8"))[preset])


def presets_json() -> str:
    """Returns suite/catalog/presets.json: by preset, algorithm and field."""
    from algorithms.names import NAMES

    values = {preset: resolve(preset).hyperparameters for preset in COMPARED}
    built_in = {preset: {name: found[name] for name in NAMES} for preset, found in values.items()}
    return json.dumps(built_in, indent=1)


def rows(algorithm: str | None = None) -> list[Row]:
    """Returns the table as plain data.

    Args:
        algorithm: a name, for what concerns it alone; by default every built-in method.

    Returns:
        One row for each entry, in the order of deviations.toml.

    Raises:
        UserError: the algorithm is unknown.
    """
    from algorithms.names import NAMES

    known = resolve(COMPARED[0]).hyperparameters
    if algorithm is not None and algorithm not in known:
        raise unknown("algorithm", algorithm, known)
    chosen = NAMES if algorithm is None else (algorithm,)
    concerned = [
        (each, [name for name in chosen if each.concerns(name)]) for each in load_deviations()
    ]
    return [_row(each, names) for each, names in concerned if names]


def render(table: Sequence[Row], width: int | None = None) -> str:
    """Returns `rows` for a terminal, by default as wide as the terminal is."""
    if width is None:
        width = min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)
    lines: list[str] = []
    group: Sequence[str] | None = None
    for row in sorted(table, key=_group_order):
        if row["concerns"] != group:
            group = row["concerns"]
            lines += [*textwrap.wrap(f"=== {', '.join(group)} ===", width), ""]
        lines += [*_block(row, width), ""]
    return "\n".join(lines).rstrip()


def _row(deviation: Deviation, algorithms: Sequence[str]) -> Row:
    paper, paper2026, fair = (resolve(each).shown(deviation, algorithms) for each in COMPARED)
    return {
        "topic": deviation.topic,
        "concerns": list(deviation.algorithms),
        "paper_text": deviation.paper_text,
        "text_2026": deviation.text_2026,
        "reference_code": deviation.reference_code,
        "paper": paper,
        "paper2026": paper2026,
        "fair": fair,
        "differ": paper != fair,
        "reason": deviation.reason,
        "source": list(deviation.source),
    }


def _group_order(row: Row) -> tuple[bool, list[int]]:
    """Sorts what concerns all to the front and keeps the rest in the order of the registry."""
    known = list(resolve(COMPARED[0]).hyperparameters)
    everything = EVERY in row["concerns"]
    return (not everything, [] if everything else [known.index(n) for n in row["concerns"]])


def _block(row: Row, width: int) -> list[str]:
    settings = {name: settings_text(row[name]) for name in COMPARED}
    for name in COMPARED[1:]:
        if row[name] and row[name] == row[COMPARED[0]]:
            settings[name] = f"as `{COMPARED[0]}`"
    later = {"text of 2026": row["text_2026"]} if row["text_2026"] else {}
    parts = {
        "paper's text": row["paper_text"],
        **later,
        "reference code": row["reference_code"],
        **{f"`{name}`": shown for name, shown in settings.items()},
        "why": row["reason"],
    }
    lines = [f"{row['topic']}  (ALGORITHMS {', '.join(row['source'])})"]
    for label, content in parts.items():
        lines += textwrap.wrap(
            content, width, initial_indent=f"  {label:<16}", subsequent_indent=" " * 18
        )
    return lines


def settings_text(values: Mapping[str, str]) -> str:
    """Returns fields and their values in one line: `clip = 0.15, later_clip = 0.3`."""
    pairs = (f"{field.removeprefix(_PROTOCOL)} = {value}" for field, value in values.items())
    return ", ".join(pairs) or "no switch"


if __name__ == "__main__":
    print(presets_json())
