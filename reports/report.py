"""`suite report`: everything from stored runs, in files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from reports.analysis import Analysis
from reports.figures import FORMATS as DRAWINGS
from reports.figures import make_figures, render
from reports.html import render_page, stamp
from reports.markup import to_markdown
from reports.results import display_name, load_results
from reports.scores import DEFAULT_POLICY, ScorePolicy
from reports.statistics import REPETITIONS
from reports.tables import (
    Reference,
    aggregates,
    build_tables,
    failures,
    final_returns,
    load_reference,
    pairwise,
    write_tables,
)
from suite.errors import UserError, unknown
from suite.files import atomic_write, make_directory

Part = Literal["html", "tables", "figures"]
PARTS: tuple[Part, ...] = get_args(Part)
PAGE = "report.html"


@dataclasses.dataclass(frozen=True)
class Written:
    """A report on the disk.

    Attributes:
        files: all of them.
        summary: whether the runs may be compared, and the answer, in two lines.
    """

    files: tuple[Path, ...]
    summary: str


@dataclasses.dataclass(frozen=True)
class Request:
    """What to report, and how.

    Attributes:
        directories: run directories, compared with each other.
        mode: evaluation mode of all scores; the page's curves show the others too.
        policy: what runs count as that did not end well.
        reference: published results to show beside, by name or path; none if empty.
        repetitions: of bootstrap and permutation test.
        seed: of both.
    """

    directories: tuple[Path, ...]
    mode: str = "deterministic"
    policy: ScorePolicy = DEFAULT_POLICY
    reference: str = ""
    repetitions: int = REPETITIONS
    seed: int = 0

    def analyse(self) -> Analysis:
        """Loads the runs.

        Raises:
            UserError: see `load_results` and `Analysis`.
        """
        results = load_results(self.directories)
        return Analysis(results, self.mode, self.policy, self.repetitions, self.seed)

    def load_reference(self) -> Reference | None:
        """Returns the published results.

        Raises:
            UserError: there are none of that name.
        """
        return load_reference(self.reference) if self.reference else None


def parse_parts(text: str) -> tuple[Part, ...]:
    """Returns the parts named in a list such as `html,tables`.

    Raises:
        UserError: one is unknown, or none is named.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise unknown("format", name, PARTS)
    if not names:
        raise UserError(f"no format given; choose from {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in names)


def write_report(request: Request, out: Path, parts: Sequence[Part] = PARTS) -> Written:
    """Writes a report; the same runs and request give the same bytes.

    Args:
        request: what to report.
        out: directory of `report.html`, `tables` and `figures`; made if missing.
        parts: which of them.

    Raises:
        UserError: the runs cannot be loaded or compared, or there is no such reference.
        OSError: a file cannot be written.
    """
    reference = request.load_reference()
    analysis = request.analyse()
    tables = build_tables(analysis, reference)
    files = write_tables(tables, out / "tables") if "tables" in parts else []
    figures = make_figures(analysis) if {"html", "figures"} & {*parts} else []
    formats = DRAWINGS if "figures" in parts else ("svg",)
    drawings = {figure.name: render(figure, formats) for figure in figures}
    if "figures" in parts:
        files += _write_drawings(drawings, out / "figures")
    if "html" in parts:
        vectors = {name: drawing["svg"] for name, drawing in drawings.items()}
        page = render_page(_every_mode(analysis), tables, figures, vectors)
        files.append(_write(out / PAGE, page.encode()))
    return Written(tuple(files), summary(analysis))


def summary(analysis: Analysis) -> str:
    """Returns whether the runs may be compared, and the answer, in two lines."""
    verdict = stamp(analysis.results)
    return f"{verdict.word} {verdict.text}\n{analysis.headline()}"


def comparison_text(request: Request) -> str:
    """Returns the comparison for a terminal: summary, final returns, pairs and findings.

    Raises:
        UserError: as `write_report`.
    """
    analysis = request.analyse()
    tables = [
        final_returns(analysis, request.load_reference()),
        aggregates(analysis),
        pairwise(analysis),
        failures(analysis),
    ]
    shown = [to_markdown(table) for table in tables if table.rows]
    return "\n".join([summary(analysis), "", *shown]).rstrip()


def power_rows(request: Request, delta: float, power: float) -> list[dict[str, str | int]]:
    """Returns for each pair of algorithms how many seeds show a difference of `delta`.

    Raises:
        UserError: as `Analysis.seeds_needed` and `load_results`.
    """
    needed = request.analyse().seeds_needed(delta, power)
    return [
        {"first": display_name(first), "second": display_name(second), "seeds": seeds}
        for (first, second), seeds in needed.items()
    ]


def power_text(rows: Sequence[Mapping[str, str | int]], delta: float, power: float) -> str:
    """Returns `power_rows` as a table for a terminal."""
    width = max(len(f"{row['first']} - {row['second']}") for row in rows)
    head = (
        f"Seeds per task and algorithm to show a difference of {delta:g} in IQM score with "
        f"probability {power:g},\nat a family-wise level of 5% over {len(rows)} "
        f"pair{'s' * (len(rows) != 1)}:"
    )
    pairs = [(f"{row['first']} - {row['second']}", row["seeds"]) for row in rows]
    return "\n".join([head, *(f"  {pair:<{width}}  {seeds:>5}" for pair, seeds in pairs)])


def _every_mode(analysis: Analysis) -> list[Analysis]:
    others = [mode for mode in analysis.results.modes if mode != analysis.mode]
    return [analysis, *(dataclasses.replace(analysis, mode=mode) for mode in others)]


def _write_drawings(drawings: dict[str, dict[str, bytes]], directory: Path) -> list[Path]:
    return [
        _write(directory / f"{name}.{ending}", content)
        for name, files in drawings.items()
        for ending, content in files.items()
    ]


def _write(path: Path, content: bytes) -> Path:
    make_directory(path.parent)
    atomic_write(path, content)
    return path
