"""The table of deviations beside what the runs did (see suite/catalog/deviations.py)."""

from __future__ import annotations

from collections.abc import Sequence

from reports.runs.results import Results, display_name
from reports.tables.cells import make_table, settings_of, text_entries
from reports.tables.table import NOT_RECORDED, Table
from suite.catalog.deviations import (
    COMPARED,
    Deviation,
    Resolved,
    load_deviations,
    settings_text,
    stored,
)
from suite.common import formatting
from suite.storage.origin import completed


def deviations(results: Results) -> Table:
    """Paper's text, reference code, `paper`, `fair` and these runs, row by row."""
    rows = [
        _row(deviation, results, labels)
        for deviation in load_deviations()
        if (labels := [a for a in results.algorithms if deviation.concerns(_name(a))])
    ]
    presets = [f"protocol {name}" for name in COMPARED]
    header = ("topic", "methods", "paper's text", "reference code", *presets, "here", "reason")
    note = (
        "What the text of the GoRL paper says, what its code does, and how the presets and these "
        "runs do it. In brackets: the sections of docs/algorithms.md that tell it."
    )
    return make_table("deviations", "Deviations", header, map(text_entries, rows), note)


def _row(deviation: Deviation, results: Results, labels: Sequence[str]) -> tuple[str, ...]:
    known = stored(COMPARED[0]).hyperparameters
    # What concerns methods that are not built in concerns all of them alike.
    names = [name for name in dict.fromkeys(map(_name, labels)) if name in known] or [*known][:1]
    presets = [settings_text(stored(preset).shown(deviation, names)) for preset in COMPARED]
    methods = "all" if "all" in deviation.algorithms else ", ".join(map(display_name, labels))
    return (
        deviation.topic,
        methods,
        deviation.paper_text,
        f"{deviation.reference_code} ({', '.join(deviation.source)})",
        *presets,
        settings_text({f: _here(results, labels, f) for f in deviation.fields}),
        deviation.reason,
    )


def _here(results: Results, labels: Sequence[str], field: str) -> str:
    settings = {label: completed(settings_of(results, label)) for label in labels}
    found = Resolved(results.protocol, settings)
    return formatting.by_name({label: _value(found, label, field) for label in labels})


def _value(found: Resolved, label: str, field: str) -> str:
    try:
        return formatting.typed(found.value(label, field))
    except KeyError:
        return NOT_RECORDED


def _name(label: str) -> str:
    """Returns the algorithm that a label is of, without the changes of a variant."""
    return label.partition(" [")[0]
