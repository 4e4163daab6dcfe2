"""`suite report`: everything from stored runs, in files."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from reports.ablation import Arms, load_arms
from reports.ablation_report import ablation_summary, every_figure, every_table, page_words
from reports.analysis import Analysis
from reports.drawing import FORMATS as DRAWINGS
from reports.drawing import render
from reports.figures import make_figures
from reports.html import render_page, stamp
from reports.loading import load_results
from reports.markup import to_text
from reports.published import Reference, load_reference
from reports.results import display_name
from reports.run_tables import failures
from reports.score_tables import aggregates, final_returns, pairwise
from reports.scores import DEFAULT_POLICY, ScorePolicy
from reports.statistics import REPETITIONS
from reports.tables import build_tables, write_tables
from suite.ablation import is_ablation, read_ablation
from suite.errors import UserError, unknown
from suite.storage.files import atomic_write, json_bytes, make_directory
from suite.text import readable

Part = Literal["html", "tables", "figures"]
PARTS: tuple[Part, ...] = get_args(Part)
PAGE = "report.html"
REQUEST = "request.json"
"""What was asked for, so that `suite audit --report` can make the report again."""


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

    def to_plain(self, parts: Sequence[Part]) -> dict[str, Any]:
        """Returns what was asked for as plain data, but for where the runs are."""
        return {
            "mode": self.mode,
            "diverged": self.policy.diverged,
            "incomplete": self.policy.incomplete,
            # A path may say more of a person than a report should; its last part says which.
            "reference": readable(Path(self.reference).name),
            "repetitions": self.repetitions,
            "seed": self.seed,
            "parts": list(parts),
        }

    def load_arms(self) -> Arms | None:
        """Loads the runs of an ablation, None if the directories are runs.

        Raises:
            UserError: see `load_arms`, or there are other directories beside the ablation's.
        """
        found = [path for path in self.directories if is_ablation(path)]
        if not found:
            return None
        if len(self.directories) > 1:
            raise UserError(f"{found[0]} is an ablation; report it by itself")
        scoring = (self.mode, self.policy, self.repetitions, self.seed)
        return load_arms(read_ablation(found[0]), found[0], *scoring)

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


@_collector_paused()
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
    arms = request.load_arms()
    analysis = arms.analysis if arms else request.analyse()
    tables = every_table(arms) if arms else build_tables(analysis, reference)
    files = write_tables(tables, out / "tables") if "tables" in parts else []
    figures = []
    if {"html", "figures"} & {*parts}:
        figures = every_figure(arms) if arms else make_figures(analysis)
    formats = DRAWINGS if "figures" in parts else ("svg",)
    drawings = {figure.name: render(figure, formats) for figure in figures}
    if "figures" in parts:
        files += _write_drawings(drawings, out / "figures")
    if "html" in parts:
        vectors = {name: drawing["svg"] for name, drawing in drawings.items()}
        words: dict[str, Any] = page_words(arms) if arms else {}
        page = render_page(_every_mode(analysis), tables, figures, vectors, **words)
        files.append(_write(out / PAGE, page.encode(errors="backslashreplace")))
    files.append(_write(out / REQUEST, json_bytes(request.to_plain(parts))))
    return Written(tuple(files), ablation_summary(arms) if arms else summary(analysis))


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
    shown = [to_text(table) for table in tables if table.rows]
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
