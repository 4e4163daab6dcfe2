"""The table of deviations beside what the runs did (see suite/catalog/deviations.py)."""

from __future__ import annotations

from collections.abc import Sequence

from reports.runs.names import Label, display_name
from reports.runs.results import Results
from reports.tables.entries import make_table, text_entries
from reports.tables.table import NOT_RECORDED, Table
from suite.catalog.deviations import (
    COMPARED,
    Deviation,
    Resolved,
    load_deviations,
    settings_text,
    stored,
)
from suite.common.formatting import by_name, shown
from suite.storage.origin import completed


def deviations(results: Results) -> Table:
    """Paper's texts, reference code, the presets and these runs, row by row."""
    rows = [
        _row(deviation, results, labels)
        for deviation in load_deviations()
        if (labels := [a for a in results.algorithms if deviation.concerns(a.method)])
    ]
    presets = [f"protocol {name}" for name in COMPARED]
    header = ("topic", "methods", "paper's text", "reference code", *presets, "here", "reason")
    note = (
        "What the text of the GoRL paper says, v1 and where it differs that of 2026, what the code "
        "of v1 does, and how the presets and these "
        "runs do it. In brackets: the sections of docs/algorithms.md that tell it."
    )
    return make_table("deviations", "Deviations", header, map(text_entries, rows), note)


def _row(deviation: Deviation, results: Results, labels: Sequence[Label]) -> tuple[str, ...]:
    known = stored(COMPARED[0]).hyperparameters
    # What concerns methods that are not built in concerns all of them alike.
    names = [n for n in dict.fromkeys(a.method for a in labels) if n in known] or [*known][:1]
    presets = [settings_text(stored(preset).shown(deviation, names)) for preset in COMPARED]
    methods = "all" if "all" in deviation.algorithms else ", ".join(map(display_name, labels))
    return (
        deviation.topic,
        methods,
        _texts(deviation),
        f"{deviation.reference_code} ({', '.join(deviation.source)})",
        *presets,
        settings_text(_here(results, labels, deviation.fields)),
        deviation.reason,
    )


def _texts(deviation: Deviation) -> str:
    later = f"; in 2026: {deviation.text_2026}" if deviation.text_2026 else ""
    return f"{deviation.paper_text}{later}"


def _here(results: Results, labels: Sequence[Label], fields: Sequence[str]) -> dict[str, str]:
    """Returns what the runs have by field, without methods that have no such field."""
    found: dict[str, dict[str, str]] = {
        field: {each: _value(results, each, field) for each in labels if _has(results, each, field)}
        for field in fields
    }
    return {field: by_name(values) for field, values in found.items() if values}


def _has(results: Results, label: Label, field: str) -> bool:
    """Returns whether a method has a field; of one that is not built in its runs tell."""
    resolved = stored(COMPARED[0])
    if label.method not in resolved.hyperparameters:
        resolved = Resolved(results.protocol, {label.method: results.settings_of(label)})
    return resolved.has(label.method, field)


def _value(results: Results, label: Label, field: str) -> str:
    settings = {label.method: completed(results.settings_of(label))}
    try:
        return shown(Resolved(results.protocol, settings).value(label.method, field))
    except KeyError:
        return NOT_RECORDED
