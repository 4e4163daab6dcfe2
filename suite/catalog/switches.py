"""Every switch between ways of doing something, with its flag: `suite list switches`.

A switch is a field, of a protocol or an algorithm, that chooses among named ways; numbers
are none. All is read off the code, so that docs/switches.md can be held to it.
"""

from __future__ import annotations

import dataclasses
import textwrap
import typing
from collections.abc import Iterator, Mapping
from typing import Literal

from suite.catalog.deviations import resolve
from suite.common import formatting
from suite.configuration.hyperparameters import field_documents, hyperparameter_fields
from suite.configuration.protocol import PRESETS, Protocol

_MORE = ("published_mode", "task_discount", "latent_penalty", "later_latent_penalty")
"""Switches though they are tables or numbers: what they turn on and off is a way too."""

_NO_SWITCHES = ("generative_model",)
"""Choices that are the difference between two algorithms."""

HEADING = """# Switches

Every switch between ways of doing something, each usable on its own. A flag is given to `suite run`
or `suite plan`; `*` stands for every algorithm that has the field, and the fields of a protocol can
be set in a copy of its file as well. Numbers such as learning rates and clips are set in the same
way: `suite list algos --algo NAME` has a method's, with their sources. Which evaluation a report
reads is `suite report --mode deterministic`, `sample` or `published`. Of several values in a preset
the first is that of every method that has the switch and is not named beside another one.

This page is what `suite list switches` prints; a test holds it to that. Write it again with
`python -m suite.catalog.switches > docs/switches.md`. Why the presets differ is told by `suite list
deviations`.
"""


@dataclasses.dataclass(frozen=True)
class Switch:
    """One switch.

    Attributes:
        flag: as typed after `suite run`, with a metavariable for its value.
        values: what it can be set to, in words.
        acts_on: names of the algorithms that have it.
        presets: its value in each preset, as text; where algorithms differ, the most frequent
            value and then the others, with names.
        description: what it does, from the docstring of its field.
    """

    flag: str
    values: str
    acts_on: str
    presets: Mapping[str, str]
    description: str


def switches() -> list[Switch]:
    """Returns every switch: the protocol's, then the algorithms' by field."""
    return [*_of_protocol(), *_of_algorithms()]


def _of_protocol() -> Iterator[Switch]:
    documents = field_documents(Protocol)
    for field, hint in typing.get_type_hints(Protocol).items():
        if _is_choice(field, hint):
            names = {name: resolve(name).protocol.to_dict()[field] for name in PRESETS}
            entry = ".NAME" if typing.get_origin(hint) not in (None, Literal) else ""
            yield Switch(
                f"--set protocol.{field}{entry}=VALUE",
                _values(hint),
                "every algorithm",
                {name: formatting.shown(value) for name, value in names.items()},
                documents[field],
            )


def _of_algorithms() -> Iterator[Switch]:
    from algorithms.names import NAMES
    from algorithms.registry import entries

    known = entries()
    fields: dict[str, list[str]] = {}
    for name in NAMES:
        for field, hint in hyperparameter_fields(known[name].cls).items():
            if _is_choice(field, hint):
                fields.setdefault(field, []).append(name)
    for field, names in fields.items():
        cls = known[names[0]].cls
        yield Switch(
            # The shell would take a bare * for file names.
            f"--set {names[0]}.{field}=VALUE" if len(names) == 1 else f"--set '*.{field}=VALUE'",
            _values(hyperparameter_fields(cls)[field]),
            ", ".join(names),
            {preset: _preset_value(preset, field, names) for preset in PRESETS},
            field_documents(cls)[field],
        )


def _preset_value(preset: str, field: str, names: list[str]) -> str:
    resolved = resolve(preset)
    return formatting.by_exception(
        {name: formatting.shown(resolved.value(name, field)) for name in names}
    )


def _is_choice(field: str, hint: object) -> bool:
    chosen = hint is bool or typing.get_origin(hint) is Literal or field in _MORE
    return chosen and field not in _NO_SWITCHES


def _values(hint: object) -> str:
    if hint is bool:
        return "true, false"
    if typing.get_origin(hint) is Literal:
        return ", ".join(map(str, typing.get_args(hint)))
    if typing.get_args(hint):
        return _values(typing.get_args(hint)[1])
    return "a number"


def rows() -> list[dict[str, object]]:
    """Returns the switches as plain data."""
    return [dataclasses.asdict(switch) for switch in switches()]


def render() -> str:
    """Returns the switches for a terminal."""
    lines = []
    for switch in switches():
        presets = "  ".join(f"{name}: {value}" for name, value in switch.presets.items())
        lines += [f"{switch.flag}  ({switch.acts_on})", f"  {switch.values}", f"  {presets}"]
        lines += textwrap.wrap(switch.description, 96, initial_indent="  ", subsequent_indent="  ")
        lines.append("")
    return "\n".join(lines).rstrip()


def markdown() -> str:
    """Returns docs/switches.md."""
    header = ("flag", "values", "acts on", *(f"`{name}`" for name in PRESETS), "what it does")
    lines = [HEADING, _line(header), _line(["---"] * len(header))]
    for switch in switches():
        presets = [switch.presets[name] for name in PRESETS]
        first = [f"`{switch.flag}`", switch.values, switch.acts_on]
        lines.append(_line([*first, *presets, switch.description]))
    return "\n".join(lines) + "\n"


def _line(cells: typing.Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> None:
    """Prints docs/switches.md."""
    print(markdown(), end="")


if __name__ == "__main__":
    main()
