"""One HTML file with the whole comparison: offline, self-contained, for light and dark.

Texts from run directories are escaped, and a content security policy lets the page load
nothing and run no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import pairwise
from string import Template
from typing import Any

from reports.analysis.comparison import Analysis
from reports.audit.verdict import Verdict
from reports.figures.drawing import INK, Figure
from reports.page.curve_data import curve_data
from reports.references.published import Reference
from reports.runs.names import display_name
from reports.runs.results import Results
from reports.tables.table import Entry, Table

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Overview": ("tables/comparability", "tables/findings"),
    "Learning curves": (
        "figures/learning-curves",
        "figures/reference-curves",
        "tables/reference_evaluations",
    ),
    "Scores": (
        "figures/aggregates",
        "tables/aggregates",
        "figures/final-returns",
        "tables/final_returns",
        "tables/reference_stages",
        "tables/task_scores",
        "figures/profiles",
        "tables/reductions",
    ),
    "Comparisons": (
        "tables/judgement",
        "figures/comparisons",
        "tables/pairwise",
        "tables/leave_one_task_out",
    ),
    "Cost": (
        "figures/sample-efficiency",
        "figures/trade-off",
        "tables/time_to_threshold",
        "tables/ledger",
        "tables/cost",
    ),
    "Ablations": (),
    "How it was made": (
        "tables/references",
        "tables/deviations",
        "tables/hyperparameters",
        "tables/machines",
        "tables/runs",
    ),
}
"""What stands where, by the files' paths; ablations are all the others."""

LONG_TABLE = 30
"""Rows from which on a table scrolls in a window of its own."""

_REPLACED_BY_CURVES = "learning-curves-seeds"
"""A figure that only files need: on the page the curves show single runs."""


def render_page(
    analyses: Sequence[Analysis],
    tables: Sequence[Table],
    figures: Sequence[Figure],
    drawings: Mapping[str, bytes],
    verdict: Verdict,
    headline: str,
    references: Sequence[Reference] = (),
) -> str:
    """Returns the page.

    Args:
        analyses: one for each evaluation mode; the first is the one of tables and figures.
        tables: in the order of the report.
        figures: in the order of the report.
        drawings: SVG of each figure, by its name.
        verdict: whether the runs may be compared.
        headline: the answer in one sentence.
        references: published results whose learning curves are drawn too.
    """
    analysis = analyses[0]
    data = curve_data(analyses, references)
    script = _asset("page.js")
    if "published" in data:
        script = f"{_asset('published.js')}\n{script}"
    sections = dict(_sections(analysis, tables, figures, drawings))
    return Template(_asset("page.html")).substitute(
        policy=_content_policy(script),
        title=escape(_title(analysis.results)),
        style=_asset("page.css"),
        navigation="".join(f'<a href="#{_slug(each)}">{escape(each)}</a>' for each in sections),
        stamp_level=verdict.level,
        stamp_word=escape(verdict.word),
        stamp=escape(verdict.text),
        headline=escape(headline),
        sections="\n".join(sections.values()),
        footer=escape(_footer(analysis)),
        data=_json_in_html(data),
        script=script,
    )


# --- Text --------------------------------------------------------------------------------


def _title(results: Results) -> str:
    count, tasks = len(results.algorithms), len(results.tasks)
    algorithms = display_name(results.algorithms[0]) if count == 1 else f"{count} algorithms"
    where = results.tasks[0] if tasks == 1 else f"{tasks} tasks"
    return f"{algorithms} on {where}, protocol {results.protocol.name}"


def _footer(analysis: Analysis) -> str:
    return (
        f"Made by suite report from {', '.join(analysis.results.directories)}, with "
        f"{analysis.repetitions:,} bootstrap repetitions and seed {analysis.seed}. The same runs "
        "give the same file, byte for byte. This file loads nothing from anywhere."
    )


def _asset(name: str) -> str:
    return (resources.files("reports.page") / "assets" / name).read_text(encoding="utf-8")


def _content_policy(script: str) -> str:
    """Returns a policy that forbids every request and every script but the page's own."""
    # Browsers hash what stands between the tags, with the line ends of the template.
    digest = hashlib.sha256(f"\n{script}\n".encode()).digest()
    own = f"'sha256-{base64.b64encode(digest).decode()}'"
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return f"{nothing}; style-src 'unsafe-inline'; script-src {own}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())


# --- Sections ----------------------------------------------------------------------------


def _sections(
    analysis: Analysis,
    tables: Sequence[Table],
    figures: Sequence[Figure],
    drawings: Mapping[str, bytes],
) -> Iterator[tuple[str, str]]:
    """Yields the title and the HTML of every section that has a content."""
    numbers = {run.run_id: index for index, run in enumerate(analysis.results.runs)}
    parts = {f"tables/{table.name}": _table(table, numbers) for table in tables}
    for figure in figures:
        if figure.name != _REPLACED_BY_CURVES:
            show = _curves if figure.name == "learning-curves" else _figure
            parts[f"figures/{figure.name}"] = show(figure, drawings[figure.name])
    placed = {title: _parts_named(names, parts) for title, names in SECTIONS.items()}
    every = {name for names in placed.values() for name in names}
    further = [name for name in parts if name not in every]
    for title, names in placed.items():
        content = [parts[name] for name in (names if SECTIONS[title] else further)]
        if content:
            heading = f'<section id="{_slug(title)}">\n<h2>{escape(title)}</h2>'
            yield title, "\n".join([heading, *content, "</section>"])


def _parts_named(names: Sequence[str], parts: Mapping[str, str]) -> list[str]:
    """Returns which parts have one of the names, or such a name and a number: `pairs-2`."""
    return [
        part for name in names for part in parts if re.fullmatch(rf"{re.escape(name)}(-\d+)?", part)
    ]


def _curves(figure: Figure, drawing: bytes) -> str:
    return Template(_asset("curves.html")).substitute(
        static=_inline_svg(figure.name, drawing), caption=escape(figure.caption)
    )


def _figure(figure: Figure, drawing: bytes) -> str:
    svg = _inline_svg(figure.name, drawing)
    width = re.search(r'width="([\d.]+)pt"', svg)
    narrow = ' class="narrow"' if width and float(width[1]) < 300 else ""
    return (
        f"<h3>{escape(figure.title)}</h3>\n<figure{narrow}>{svg}"
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _inline_svg(name: str, drawing: bytes) -> str:
    """Returns a drawing that takes the page's colour of text, its ids apart from others'."""
    svg = drawing.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    return svg.replace(INK, "currentColor").strip()


# --- Tables ------------------------------------------------------------------------------


def _table(table: Table, numbers: Mapping[str, int]) -> str:
    right = [any(row[i].value is not None for row in table.rows) for i in range(len(table.columns))]
    header = "".join(
        f'<th scope="col"{_number_class(number)}><button type="button">{escape(column)}</button>'
        "</th>"
        for column, number in zip(table.columns, right, strict=True)
    )
    body = "\n".join(_row(table, row, right, numbers) for row in table.rows)
    long = " long" if len(table.rows) >= LONG_TABLE else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<h3 id="table-{escape(table.name)}">{escape(table.title)}</h3>\n'
        f'<div class="scroll{long}"><table class="sortable" '
        f'aria-labelledby="table-{escape(table.name)}">\n'
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n{note}"
    )


def _row(
    table: Table, row: Sequence[Entry], right: Sequence[bool], numbers: Mapping[str, int]
) -> str:
    """Returns a row, whose numbers are from the runs of its names unless they say otherwise."""
    named = tuple(run_id for entry in row if entry.value is None for run_id in entry.runs)
    cells = []
    for entry, number in zip(row, right, strict=True):
        runs = entry.runs or (named if entry.value is not None else ())
        known = sorted({numbers[run_id] for run_id in runs if run_id in numbers})
        cells.append(_cell(entry, number, known))
    anchors = [numbers[entry.text] for entry in row if entry.text in numbers]
    anchor = f' id="run-{anchors[0]}"' if table.name == "runs" and anchors else ""
    return f"<tr{anchor}>{''.join(cells)}</tr>"


def _cell(entry: Entry, number: bool, runs: Sequence[int]) -> str:
    value = "" if entry.value is None else f' data-value="{_js_number(entry.value)}"'
    traced = f' data-runs="{_ranges(runs)}" tabindex="-1"' if runs else ""
    return f"<td{_number_class(number)}{value}{traced}>{escape(entry.text)}</td>"


def _number_class(number: bool) -> str:
    return ' class="number"' if number else ""


def _js_number(value: float) -> str:
    return f"{value:.12g}".replace("inf", "Infinity")


def _ranges(numbers: Sequence[int]) -> str:
    """Returns ascending numbers as text: `0-4,7`."""
    breaks = [i for i, (a, b) in enumerate(pairwise(numbers), start=1) if b != a + 1]
    starts, ends = [0, *breaks], [*breaks, len(numbers)]
    spans = [(numbers[start], numbers[end - 1]) for start, end in zip(starts, ends, strict=True)]
    return ",".join(f"{first}-{last}" if first != last else f"{first}" for first, last in spans)


def _json_in_html(value: Any) -> str:
    """Returns JSON in which nothing can end the script element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
