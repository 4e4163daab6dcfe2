"""`suite list`: what there is to choose from, as plain data and as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from algorithms import names as method_names
from algorithms.bounds import bounds_of, ranges_of
from envs.names import CANNOT_RUN, SUITES, TASK_SETS, TASKS
from envs.own_tasks import left_out, own_tasks
from envs.tasks import registered_with_playground
from suite.catalog import deviations as deviation_table
from suite.catalog import switches as switch_table
from suite.common import formatting
from suite.common.errors import unknown
from suite.configuration.hyperparameters import (
    class_defaults,
    describe_type,
    field_documents,
    hyperparameter_fields,
    hyperparameters,
)
from suite.configuration.protocol import PRESETS, load_protocol

if TYPE_CHECKING:
    from algorithms.registry import Entry


class Listing(NamedTuple):
    """Plain data for JSON, and the same for people."""

    data: Sequence[object]
    text: str


class HyperparameterRow(TypedDict):
    """One hyper-parameter; `range`, and what it is `tuned` in, are empty where there is none."""

    name: str
    type: str
    range: str
    tuned: str
    default: object
    description: str


class AlgorithmRow(TypedDict):
    """One algorithm; `group` is what kind of method it is."""

    name: str
    group: str
    description: str
    hyperparameters: list[HyperparameterRow]


def algos() -> Listing:
    """Lists the algorithms; what is plain data has every hyper-parameter, the text only names."""
    from algorithms.registry import entries

    data = [_algorithm(entry) for entry in entries().values()]
    rows = [
        (each["name"], each["group"], each["description"].removeprefix(f"{each['group']}: "))
        for each in data
    ]
    return Listing(data, f"{formatting.table(('method', 'group', 'what it is'), rows)}\n{_MORE}")


_MORE = (
    "compared: what --algos all means. Hyper-parameters of one, with their sources: suite list "
    "algos --algo NAME.\nA method of your own, in one file: suite new-algo NAME, then "
    "--algos ./NAME.py."
)

_GROUPS: Mapping[str, Sequence[str]] = {
    "compared": method_names.ALL,
    "control": method_names.CONTROLS,
    "baseline": method_names.BASELINES,
}


def algorithm(name: str) -> Listing:
    """Lists every hyper-parameter of one algorithm, its default, range and source.

    Raises:
        UserError: there is no such algorithm.
    """
    from algorithms.registry import entries

    known = entries()
    if name not in known:
        raise unknown("algorithm", name, tuple(known))
    data = _algorithm(known[name])
    return Listing([data], _render_algorithm(data))


class TaskRow(TypedDict):
    """One task; `note` says what it needs, or why it cannot be run."""

    name: str
    sets: list[str]
    group: str
    engines: list[str]
    note: str


def tasks() -> Listing:
    """Lists the tasks in groups, with the sets each belongs to and the engines that can run it."""
    data = [_task(name, group) for group, names in _groups().items() for name in names]
    rows = [
        (each["name"], " ".join(each["sets"]), " ".join(each["engines"]) or "none", each["note"])
        for each in data
    ]
    text = formatting.table(("task", "task sets", "engines", "note"), rows)
    remarks = [_SETS, *left_out(), _OWN]
    return Listing(data, "\n".join([text, *remarks]))


_SETS = (
    "Task sets are names for --tasks: methods are compared on dmc6, its default, and settings are "
    "searched\nfor on tuning."
)

_OWN = (
    "Menagerie: needs the models of the MuJoCo Menagerie, a download. Returns of these "
    "tasks have no known bounds, so that there are no scores.\n"
    "native*: if it agrees with MJX in a short check before training; else the reason is told.\n"
    "A task of your own, a class with the interface of Playground's MjxEnv: "
    "--tasks ./FILE.py:CLASS."
)


def _groups() -> dict[str, tuple[str, ...]]:
    """Returns the names of tasks by their group; imports none of them."""
    return {**SUITES, "installed": tuple(own_tasks()), "registered": registered_with_playground()}


def _task(name: str, group: str) -> TaskRow:
    engines = ["jax", "warp", "native"] if name in TASKS else ["jax", "warp", "native*"]
    note = own_tasks()[name].source if group == "installed" else ""
    if group in ("locomotion", "manipulation"):
        note = "Menagerie"
    if name in CANNOT_RUN:
        engines, note = [], CANNOT_RUN[name]
    return {
        "name": name,
        "sets": [each for each, names in TASK_SETS.items() if name in names],
        "group": group,
        "engines": engines,
        "note": note,
    }


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
    return Listing(data, f"{formatting.table(header, rows)}\n{_COMPARABLE}")


_COMPARABLE = (
    "Runs of one fingerprint may be compared. The default is fair with a GPU and lite without; "
    "--protocol\nalso takes a file, such as an edited copy of one in suite/protocols."
)


def deviations(algorithm: str | None = None) -> Listing:
    """Lists where the paper's text, its code, `paper` and `fair` part company."""
    data = deviation_table.rows(algorithm)
    return Listing(data, deviation_table.render(data))


def switches() -> Listing:
    """Lists the switches, their flags and what the presets set them to."""
    return Listing(switch_table.rows(), switch_table.render())


LISTINGS: Mapping[str, Callable[[], Listing]] = {
    "algos": algos,
    "tasks": tasks,
    "protocols": protocols,
    "deviations": deviations,
    "switches": switches,
}
"""By what `suite list` calls them."""

OF_ONE: Mapping[str, Callable[[str], Listing]] = {"algos": algorithm, "deviations": deviations}
"""Those of one method alone."""


def _algorithm(entry: Entry) -> AlgorithmRow:
    groups = (group for group, names in _GROUPS.items() if entry.name in names)
    return {
        "name": entry.name,
        "group": next(groups, "yours" if entry.file else "installed"),
        "description": entry.description,
        "hyperparameters": _fields(entry.name, entry.cls, entry.defaults),
    }


def _fields(name: str, algorithm: type, defaults: Mapping[str, object]) -> list[HyperparameterRow]:
    values = hyperparameters(name, algorithm, defaults)
    documents = field_documents(algorithm)
    # What a class says of its value is not true of one that its registration puts in its place.
    own = {each for each, value in class_defaults(algorithm).items() if values[each] != value}
    return [
        {
            "name": field,
            "type": describe_type(hint),
            "range": str(bounds_of(algorithm).get(field, "")),
            "tuned": str(ranges_of(algorithm).get(field, "")),
            "default": values.get(field),
            "description": f"{_OF_CLASS if field in own else ''}{documents.get(field, '')}",
        }
        for field, hint in hyperparameter_fields(algorithm).items()
    ]


_OF_CLASS = "the value is this method's own; of the field: "


def _render_algorithm(algorithm: AlgorithmRow) -> str:
    lines = [f"{algorithm['name']}: {algorithm['description']}"]
    for field in algorithm["hyperparameters"]:
        tuned = f"tuned: {field['tuned']}" if field["tuned"] else ""
        allowed = "; ".join(filter(None, (field["type"], field["range"], tuned)))
        lines.append(f"  {field['name']} = {formatting.shown(field['default'])}  ({allowed})")
        lines += textwrap.wrap(
            field["description"], 96, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)
