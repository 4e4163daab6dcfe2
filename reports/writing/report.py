"""`suite report`: everything from stored runs, in files."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from reports.analysis.arms import Arms
from reports.analysis.bootstrap import REPETITIONS
from reports.analysis.claims import MAX_SEEDS
from reports.analysis.comparison import Analysis
from reports.analysis.scores import DEFAULT_POLICY, ScorePolicy
from reports.analysis.sentences import headline
from reports.figures.all_figures import make_figures
from reports.figures.drawing import FORMATS as DRAWINGS
from reports.figures.drawing import render
from reports.page.page import render_page, stamp
from reports.runs.choice import EVERYTHING, Choice
from reports.runs.names import display_name, listed
from reports.runs.opening import Opened, lone_ablation, open_stored
from reports.runs.published import Reference, load_reference
from reports.runs.results import Results
from reports.tables.all_tables import build_tables
from reports.tables.runs import failures
from reports.tables.scores import aggregates, final_returns, pairwise
from reports.tables.table import FORMATS as TEXTS
from reports.tables.table import Table, to_text
from reports.writing.ablation_report import ablation_summary, every_figure, every_table, page_words
from reports.writing.report_folder import PAGE, replace_report
from reports.writing.report_options import MODES, POLICIES, SEEDS, check_choice, check_whole
from reports.writing.report_options import REPETITIONS as REPETITION_BOUNDS
from suite.common.claim_floor import LEVEL
from suite.common.errors import UserError, unknown
from suite.common.formatting import readable
from suite.common.formatting import table as text_table
from suite.configuration.recipe import is_ablation

Part = Literal["html", "tables", "figures"]
PARTS: tuple[Part, ...] = get_args(Part)

POWER_SEEDS = (2, 3, 5, 10)
"""Numbers of seeds whose power `suite power` prints."""

FEW_RUNS = 5
"""Stored runs below which their spread is called a rough guess."""


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
        choice: of tasks and algorithms.

    Raises:
        UserError: mode, policy, repetitions or seed is none that report_options.py allows.
    """

    directories: tuple[Path, ...]
    mode: str = "deterministic"
    policy: ScorePolicy = DEFAULT_POLICY
    reference: str = ""
    repetitions: int = REPETITIONS
    seed: int = 0
    choice: Choice = EVERYTHING

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("diverged", self.policy.diverged, POLICIES)
        check_choice("incomplete", self.policy.incomplete, POLICIES)
        check_whole("repetitions", self.repetitions, REPETITION_BOUNDS)
        check_whole("seed", self.seed, SEEDS)

    def analyse(self) -> Analysis:
        """Loads the runs, also those of an ablation.

        Raises:
            UserError: see `open_stored` and `Analysis`.
        """
        return self._analysis(open_stored(self.directories, self.choice))

    def _analysis(self, opened: Opened) -> Analysis:
        return Analysis(opened.results, self.mode, self.policy, self.repetitions, self.seed)

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
            "tasks": list(self.choice.tasks),
            "algorithms": list(self.choice.algorithms),
            "common_tasks": self.choice.common,
            "parts": list(parts),
        }

    def load_arms(self) -> Arms | None:
        """Loads the runs of an ablation, None if the directories are runs.

        Raises:
            UserError: see `open_stored` and `Analysis`.
        """
        if lone_ablation(self.directories) is None:
            return None
        opened = open_stored(self.directories, self.choice)
        assert opened.ablation is not None
        return Arms(opened.ablation, opened.directory, self._analysis(opened))

    def load_reference(self, results: Results) -> Reference | None:
        """Returns the published results to show beside these runs.

        Raises:
            UserError: there are none of that name, none of these runs' algorithms and tasks,
                or the runs are an ablation's.
        """
        if not self.reference:
            return None
        if any(map(is_ablation, self.directories)):
            raise UserError("--reference is not shown beside the arms of an ablation; leave it out")
        reference = load_reference(self.reference)
        reference.check_use(results)
        return reference


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
    arms = request.load_arms()
    analysis = arms.analysis if arms else request.analyse()
    reference = request.load_reference(analysis.results)
    tables = every_table(arms) if arms else build_tables(analysis, reference)
    contents = _texts(tables) if "tables" in parts else {}
    figures = []
    if {"html", "figures"} & {*parts}:
        figures = every_figure(arms) if arms else make_figures(analysis)
    formats = DRAWINGS if "figures" in parts else ("svg",)
    drawings = {figure.name: render(figure, formats) for figure in figures}
    if "figures" in parts:
        contents |= _files(drawings)
    if "html" in parts:
        vectors = {name: drawing["svg"] for name, drawing in drawings.items()}
        words: dict[str, Any] = page_words(arms) if arms else {}
        page = render_page(_every_mode(analysis), tables, figures, vectors, **words)
        contents[PAGE] = page.encode(errors="backslashreplace")
    written = replace_report(out, contents, request.to_plain(parts))
    notices = [reference.unused(analysis.results)] if reference else []
    notices.append(_left(written.others, out))
    text = ablation_summary(arms) if arms else summary(analysis)
    return Written(written.files, text, tuple(filter(None, notices)))


def _left(others: Sequence[str], out: Path) -> str:
    """Says which files lie among the report's that are not its own, nothing if none does."""
    if not others:
        return ""
    return (
        f"in {out}, {listed(others)} {'are' if len(others) > 1 else 'is'} not of this report and "
        "was left as it is; delete what you do not need"
    )


def summary(analysis: Analysis) -> str:
    """Returns whether the runs may be compared, and the answer, in two lines."""
    verdict = stamp(analysis.results, policy=analysis.policy)
    return f"{verdict.word} {verdict.text}\n{headline(analysis)}"


def comparison_text(request: Request) -> str:
    """Returns the comparison for a terminal: summary, final returns, pairs and findings.

    Raises:
        UserError: as `write_report`.
    """
    arms = request.load_arms()
    analysis = arms.analysis if arms else request.analyse()
    if arms and arms.ablation.axes:
        return f"{ablation_summary(arms)}\n\n{to_text(failures(analysis))}".rstrip()
    tables = [
        final_returns(analysis, request.load_reference(analysis.results)),
        aggregates(analysis),
        pairwise(analysis),
        failures(analysis),
    ]
    shown = [to_text(table) for table in tables if table.rows]
    return "\n".join([summary(analysis), "", *shown]).rstrip()


class PowerRow(TypedDict):
    """What it takes to tell two algorithms apart.

    Attributes:
        first, second: names.
        power: simulated probability to show the difference, by number of seeds.
        seeds: fewest that show it, None where `MAX_SEEDS` do not.
        stored: fewest stored runs of a task that the spread was taken from.
    """

    first: str
    second: str
    power: dict[str, float]
    seeds: int | None
    stored: int


def power_rows(request: Request, delta: float, power: float) -> list[PowerRow]:
    """Returns for each pair of algorithms how many seeds show a difference of `delta`.

    Raises:
        UserError: as `Analysis.powers` and `open_stored`.
    """
    analysis = request.analyse()
    return [
        {
            "first": display_name(first),
            "second": display_name(second),
            "power": {str(seeds): found.at(seeds) for seeds in POWER_SEEDS},
            "seeds": found.seeds_needed(power),
            "stored": min(analysis.scores.runs_per_task(each)[0] for each in (first, second)),
        }
        for (first, second), found in analysis.differences.powers(delta).items()
    ]


def power_text(rows: Sequence[PowerRow], delta: float, power: float) -> str:
    """Returns `power_rows` as a table for a terminal."""
    head = (
        f"Probability to show that one method scores higher by {delta:g}, by seeds per task and "
        f"method,\nand the fewest seeds that show it with probability {power:g}. Simulated with "
        f"the report's test at a\nfamily-wise level of {LEVEL:.0%}; Holm's correction starts from "
        "the number of pairs."
    )
    header = ["pair", *(f"n = {seeds}" for seeds in POWER_SEEDS), "seeds needed"]
    lines = [
        [
            f"{row['first']} - {row['second']}",
            *(f"{each:.2f}" for each in row["power"].values()),
            f"none up to {MAX_SEEDS}" if row["seeds"] is None else str(row["seeds"]),
        ]
        for row in rows
    ]
    table = text_table(header, lines)
    stored = min(row["stored"] for row in rows)
    if stored >= FEW_RUNS:
        return f"{head}\n\n{table}"
    return f"{head}\nThe spread is that of {stored} stored runs, and so a rough guess.\n\n{table}"


def _every_mode(analysis: Analysis) -> list[Analysis]:
    others = [mode for mode in analysis.results.modes if mode != analysis.mode]
    return [analysis, *(dataclasses.replace(analysis, mode=mode) for mode in others)]


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
