"""What is known of the published results that are shipped: their source, and what was run."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from importlib import resources

from suite.common.convert import convert


@dataclasses.dataclass(frozen=True)
class Card:
    """What a reference is.

    Attributes:
        description: one line, for the notes of tables.
        source: where the numbers were published.
        evaluated: what they are, of which methods and tasks.
        seeds: how many.
        mode: evaluation mode of each method.
        steps: environment steps of training.
        remark: what else must be known, empty if nothing.
        names: what readers see of methods that there are only in published results.
    """

    description: str
    source: str
    evaluated: str
    seeds: str
    mode: str
    steps: str
    remark: str = ""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)


def data_text(file: str) -> str:
    """Returns the text of a shipped file, empty if there is none of that name."""
    path = resources.files("reports.references") / "data" / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _load() -> dict[str, Card]:
    cards = tomllib.loads(data_text("cards.toml"))
    return {name: convert(Card, fields) for name, fields in cards.items()}


REFERENCES: Mapping[str, Card] = _load()
"""Published results that are shipped, by the names that `--reference` takes."""
