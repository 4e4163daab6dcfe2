"""What a report is asked for, and what it is then about: stored runs, judged and analysed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from reports.analysis.arms import Arms
from reports.analysis.bootstrap import REPETITIONS
from reports.analysis.comparison import Analysis
from reports.analysis.scores import DEFAULT_POLICY, ScorePolicy
from reports.analysis.sentences import arms_headline, headline, scope
from reports.audit.recomputed import Stamp
from reports.audit.verdict import Verdict, judge, stamped
from reports.judgement.margins import Judging
from reports.judgement.verdicts import Judgement, judge_new
from reports.judgement.wording import judgement_sentences
from reports.references.published import Reference, load_references, shown_names
from reports.runs.choice import EVERYTHING, Choice
from reports.runs.opening import open_stored
from reports.runs.results import Results
from reports.writing.report_options import (
    MODES,
    POLICIES,
    SEEDS,
    check_choice,
    check_whole,
)
from reports.writing.report_options import REPETITIONS as REPETITION_BOUNDS
from suite.common.errors import UserError, unknown
from suite.storage.ablation_directory import is_ablation

Part = Literal["html", "tables", "figures"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """What a report is about.

    Attributes:
        analysis: of all runs together.
        arms: of the ablation that the runs are of, None for run directories.
        judgement: of the new methods, None where that was not asked for or there are none.
        stamp: what was made again of the runs' numbers, None if nothing was.
    """

    analysis: Analysis
    arms: Arms | None = None
    judgement: Judgement | None = None
    stamp: Stamp | None = None

    @functools.cached_property
    def verdict(self) -> Verdict:
        """Whether the runs may be compared."""
        results, policy = self.analysis.results, self.analysis.policy
        if self.arms is None:
            return stamped(judge(results, policy=policy), self.stamp)
        ablation = self.arms.ablation
        verdict = judge(results, scope(ablation), ablation.varied_protocol_fields, policy)
        return stamped(verdict, self.stamp)

    @functools.cached_property
    def analyses(self) -> tuple[Analysis, ...]:
        """One for each evaluation mode, the chosen one first."""
        chosen = self.analysis
        others = [mode for mode in chosen.results.modes if mode != chosen.mode]
        return (chosen, *(dataclasses.replace(chosen, mode=mode) for mode in others))

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        return arms_headline(self.arms) if self.arms else headline(self.analysis)

    @property
    def answers(self) -> tuple[str, ...]:
        """The answer, and a sentence on each new method."""
        return (self.headline, *(judgement_sentences(self.judgement) if self.judgement else ()))


@dataclasses.dataclass(frozen=True)
class ReportRequest:
    """What to report, and how.

    Attributes:
        directories: run directories, compared with each other.
        mode: evaluation mode of all scores; the page's curves show the others too.
        policy: what runs count as that did not end well.
        reference: published results to show beside, a comma-separated list of names and paths;
            none if empty.
        repetitions: of bootstrap and permutation test.
        seed: of both.
        choice: of tasks and algorithms.
        judging: how new methods are judged, if they are.
        stamp: what was made again of the runs' numbers, None if nothing was.

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
    judging: Judging | None = None
    stamp: Stamp | None = None

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
        return self.load().analysis

    def load(self) -> Subject:
        """Loads the runs, and the arms if they are an ablation's.

        Raises:
            UserError: see `open_stored`, `Analysis` and `judge_new`.
        """
        opened = open_stored(self.directories, self.choice)
        analysis = Analysis(opened.results, self.mode, self.policy, self.repetitions, self.seed)
        if opened.ablation is None:
            judgement = judge_new(analysis, self.judging) if self.judging else None
            return Subject(analysis, judgement=judgement, stamp=self.stamp)
        arms = Arms(opened.ablation, opened.directory, analysis)
        return Subject(analysis, arms, stamp=self.stamp)

    def to_plain(self, parts: Sequence[Part]) -> dict[str, Any]:
        """Returns what was asked for as plain data, but for where the runs are."""
        stamp = {} if self.stamp is None else {"stamp": dataclasses.asdict(self.stamp)}
        return {
            **stamp,
            "mode": self.mode,
            "diverged": self.policy.diverged,
            "incomplete": self.policy.incomplete,
            "reference": shown_names(self.reference),
            "repetitions": self.repetitions,
            "seed": self.seed,
            "tasks": list(self.choice.tasks),
            "algorithms": list(self.choice.algorithms),
            "common_tasks": self.choice.common,
            "parts": list(parts),
        }

    def load_references(self, results: Results) -> tuple[Reference, ...]:
        """Returns the published results to show beside these runs.

        Raises:
            UserError: there are none of that name, none of these runs' algorithms and tasks,
                or the runs are an ablation's.
        """
        if not self.reference:
            return ()
        if any(map(is_ablation, self.directories)):
            raise UserError("--reference is not shown beside the arms of an ablation; leave it out")
        references = load_references(self.reference)
        for reference in references:
            reference.check_use(results)
        return references

    def unused_references(self, results: Results) -> list[str]:
        """Says which published results stand beside no run, a line for each reference with such.

        Raises:
            UserError: see `load_references`.
        """
        said = [reference.unused(results) for reference in self.load_references(results)]
        return list(filter(None, said))


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
