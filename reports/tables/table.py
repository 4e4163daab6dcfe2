"""A table as data, and as CSV, Markdown or LaTeX with everything escaped."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
import textwrap
from collections.abc import Callable, Mapping

from suite.common.formatting import aligned, spreadsheet_text

NOT_RECORDED = "not recorded"
"""Stands for what runs of older versions did not store."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "∞": r"$\infty$",
    "≥": r"$\geq$",
    "×": r"$\times$",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&])")


@dataclasses.dataclass(frozen=True)
class Entry:
    """What stands in one place of a table.

    Attributes:
        text: as shown; empty where there is nothing to say.
        value: to sort by; None for a text.
        runs: ids of the runs it was computed from.
    """

    text: str
    value: float | None = None
    runs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of a report.

    Attributes:
        name: of its files, without ending.
        title: a few words.
        columns: header.
        rows: each as long as `columns`.
        note: what the numbers are: how many runs, which interval, which policy.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""


def number(value: float | None, digits: int = 1, runs: tuple[str, ...] = ()) -> Entry:
    """Returns a number with its thousands apart, `∞` for infinity, nothing for None or NaN."""
    if value is None or math.isnan(value):
        return Entry("", None, runs)
    text = "∞" if math.isinf(value) else f"{value:,.{digits}f}"
    return Entry(text, float(value), runs)


def to_csv(table: Table) -> str:
    """Returns comma-separated values with a header; numbers as shown but for their commas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_csv_text, table.columns))
    writer.writerows([_csv_text(entry.text) for entry in row] for row in table.rows)
    return text.getvalue()


def to_records(table: Table) -> list[dict[str, str | float]]:
    """Returns each row by column: numbers where there are any, texts elsewhere."""
    return [
        {
            column: entry.text if entry.value is None else entry.value
            for column, entry in zip(table.columns, row, strict=True)
        }
        for row in table.rows
    ]


def to_markdown(table: Table) -> str:
    """Returns a Markdown table under a heading, its note below."""
    lines = [f"### {escape_markdown(table.title)}", ""]
    lines.append(_markdown_row([escape_markdown(column) for column in table.columns]))
    lines.append(_markdown_row(["--:" if right else "---" for right in _aligned_right(table)]))
    lines += [_markdown_row([escape_markdown(each.text) for each in row]) for row in table.rows]
    if table.note:
        lines += ["", escape_markdown(table.note)]
    return "\n".join(lines) + "\n"


def to_text(table: Table) -> str:
    """Returns aligned columns for a terminal under the title, the wrapped note below."""
    texts = [table.columns, *([entry.text for entry in row] for row in table.rows)]
    rows = [[_printable(text) for text in row] for row in texts]
    lines = [f"  {line}".rstrip() for line in aligned(rows, _aligned_right(table))]
    note = textwrap.fill(_printable(table.note), 100)
    return "\n".join([_printable(table.title), *lines, *([note] if note else [])]) + "\n"


def to_latex(table: Table) -> str:
    """Returns a LaTeX table that needs the package booktabs."""
    columns = "".join("r" if right else "l" for right in _aligned_right(table))
    caption = escape_latex(f"{table.title}. {table.note}".strip())
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9-]', '-', table.name)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row([escape_latex(column) for column in table.columns]),
        r"\midrule",
        *(_latex_row([escape_latex(each.text) for each in row]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "csv": to_csv,
    "md": to_markdown,
    "tex": to_latex,
}
"""File endings and what makes their content."""


def escape_markdown(text: str) -> str:
    """Returns text on one line that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", _printable(" ".join(text.split()))).replace(r"\<", "&lt;")


def escape_latex(text: str) -> str:
    """Returns text on one line that LaTeX shows as it is."""
    plain = _printable(" ".join(text.split()))
    return "".join(_LATEX.get(character, character) for character in plain)


def _printable(text: str) -> str:
    """Returns text on one line without what could command a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _aligned_right(table: Table) -> list[bool]:
    """Returns for each column whether it holds numbers."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [any(entry.value is not None for entry in column) for column in columns]


def _csv_text(text: str) -> str:
    plain = text.replace(",", "")
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", plain):
        return plain
    return spreadsheet_text(_printable(text))


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_row(cells: list[str]) -> str:
    line = f"{' & '.join(cells)} \\\\"
    # After the end of a line, or a rule, these would be taken for what it is to be like.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line
