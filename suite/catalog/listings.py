"""`suite list`: what there is to choose from, as plain data and as text for people."""

from __future__ import annotations

import textwrap
from typing import Any

from algorithms.bounds import bounds_of
from envs.tasks import TASK_SETS, TASKS
from suite.common import formatting
from suite.configuration.hyperparameters import (
    describe_type,
    field_documents,
    hyperparameter_fields,
    hyperparameters,
)
from suite.configuration.protocol import PRESETS, load_protocol

Listing = tuple[list[dict[str, Any]], str]
"""Plain data for JSON, and the same for people."""


def algos() -> Listing:
    """Lists the algorithms with every hyper-parameter, its default and its source."""
    from algorithms.registry import entries

    data = [
        {
            "name": name,
            "description": entry.description,
            "hyperparameters": _fields(name, entry.cls, dict(entry.defaults)),
        }
        for name, entry in entries().items()
    ]
    return data, "\n\n".join(_render_algorithm(each) for each in data)


def tasks() -> Listing:
    """Lists the tasks that load without a download, and the sets each belongs to."""
    data = [
        {"name": name, "sets": [each for each, names in TASK_SETS.items() if name in names]}
        for name in TASKS
    ]
    rows = [(str(each["name"]), " ".join(each["sets"])) for each in data]
    return data, formatting.table(("task", "task sets"), rows)


def protocols() -> Listing:
    """Lists the presets with all their fields."""
    presets = [load_protocol(name) for name in PRESETS]
    rows = [
        (
            each.name,
            formatting.count(each.total_steps),
            formatting.count(each.updates),
            f"{each.num_envs} x {each.rollout_length}",
            each.fingerprint(),
            each.description,
        )
        for each in presets
    ]
    header = "protocol", "steps", "updates", "envs x rollout", "fingerprint", "purpose"
    data = [
        {**each.to_dict(), "updates": each.updates, "fingerprint": each.fingerprint()}
        for each in presets
    ]
    return data, formatting.table(header, rows)


def deviations(algorithm: str | None = None) -> Listing:
    """Lists where the paper's text, its code, `paper` and `fair` part company."""
    from suite.catalog.deviations import render, rows

    data = rows(algorithm)
    return data, render(data)


def switches() -> Listing:
    """Lists the switches, their flags and what the presets set them to."""
    from suite.catalog.switches import render, rows

    return rows(), render()


def _fields(name: str, algorithm: type, defaults: dict[str, Any]) -> list[dict[str, Any]]:
    values = hyperparameters(name, algorithm, defaults)
    documents = field_documents(algorithm)
    return [
        {
            "name": field,
            "type": describe_type(hint),
            "range": str(bounds_of(algorithm).get(field, "")),
            "default": values.get(field),
            "description": documents.get(field, ""),
        }
        for field, hint in hyperparameter_fields(algorithm).items()
    ]


def _render_algorithm(algorithm: dict[str, Any]) -> str:
    lines = [f"{algorithm['name']}: {algorithm['description']}"]
    for field in algorithm["hyperparameters"]:
        allowed = "; ".join(filter(None, (field["type"], field["range"])))
        lines.append(f"  {field['name']} = {formatting.shown(field['default'])}  ({allowed})")
        lines += textwrap.wrap(
            field["description"], 96, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)
