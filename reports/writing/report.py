"""`suite report`: everything from stored runs, in files."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reports.figures.all_figures import make_figures
from reports.figures.drawing import FORMATS as DRAWINGS
from reports.figures.drawing import Figure, render
from reports.page.page import render_page
from reports.references.published import Reference
from reports.runs.names import listed
from reports.tables.all_tables import build_tables
from reports.tables.table import FORMATS as TEXTS
from reports.tables.table import Table
from reports.writing.ablation_report import every_figure, every_table
from reports.writing.report_folder import PAGE, replace_report
from reports.writing.report_request import PARTS, Part, ReportRequest, Subject
from reports.writing.terminal import summary


@dataclasses.dataclass(frozen=True)
class Written:
    """A report on the disk.

    Attributes:
        files: all of them.
        summary: whether the runs may be compared, and the answer, in two lines.
        notices: what a user should know beside, a line each.
    """

    files: tuple[Path, ...]
    summary: str
    notices: tuple[str, ...] = ()


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Pauses the collector of reference cycles.

    Drawing makes millions of objects that live until their figure is done; looking through
    them again and again took an eighth of a report's time and freed next to nothing.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def write_report(request: ReportRequest, out: Path, parts: Sequence[Part] = PARTS) -> Written:
    """Writes a report; the same runs and request give the same bytes.

    Args:
        request: what to report.
        out: directory of `report.html`, `tables` and `figures`; made if missing.
        parts: which of them.

    Raises:
        UserError: the runs cannot be loaded or compared, or there is no such reference.
        OSError: a file cannot be written.
    """
    return write_loaded(request, request.load(), out, parts)


@_collector_paused()
def write_loaded(
    request: ReportRequest, subject: Subject, out: Path, parts: Sequence[Part]
) -> Written:
    """Writes a report of what its request has loaded; see `write_report`."""
    analysis = subject.analysis
    references = request.load_references(analysis.results)
    tables = _tables(subject, references)
    contents = _texts(tables) if "tables" in parts else {}
    figures = _figures(subject, references) if {"html", "figures"} & {*parts} else []
    formats = DRAWINGS if "figures" in parts else ("svg",)
    drawings = {figure.name: render(figure, formats) for figure in figures}
    if "figures" in parts:
        contents |= _files(drawings)
    if "html" in parts:
        vectors = {name: drawing["svg"] for name, drawing in drawings.items()}
        verdict, answer = subject.verdict, " ".join(subject.answers)
        page = render_page(subject.analyses, tables, figures, vectors, verdict, answer, references)
        contents[PAGE] = page.encode(errors="backslashreplace")
    judged = subject.judgement.to_plain() if subject.judgement else {}
    written = replace_report(out, contents, request.to_plain(parts) | judged)
    notices = [reference.unused(analysis.results) for reference in references]
    notices.append(_left(written.others, out))
    return Written(written.files, summary(subject), tuple(filter(None, notices)))


def _tables(subject: Subject, references: Sequence[Reference]) -> list[Table]:
    if subject.arms:
        return every_table(subject.arms)
    return build_tables(subject.analysis, references, subject.judgement)


def _figures(subject: Subject, references: Sequence[Reference]) -> list[Figure]:
    if subject.arms:
        return every_figure(subject.arms)
    return make_figures(subject.analysis, references)


def _left(others: Sequence[str], out: Path) -> str:
    """Says which files lie among the report's that are not its own, nothing if none does."""
    if not others:
        return ""
    return (
        f"in {out}, {listed(others)} {'are' if len(others) > 1 else 'is'} not of this report and "
        "was left as it is; delete what you do not need"
    )


def _texts(tables: Sequence[Table]) -> dict[str, bytes]:
    return {
        f"tables/{table.name}.{ending}": form(table).encode()
        for table in tables
        for ending, form in TEXTS.items()
    }


def _files(drawings: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    return {
        f"figures/{name}.{ending}": content
        for name, files in drawings.items()
        for ending, content in files.items()
    }
