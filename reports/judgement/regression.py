"""Whether a run directory's methods are worse than a reference's by more than a margin.

Runs of equal seeds are not taken as pairs. Of the same code they are equal bit for bit, which is
said and needs no test; after a change that matters they part within a few updates and are as good
as independent. Where they are still alike the difference scatters less than the test believes, so
it errs towards undecided, while pairs of n seeds could not show anything below 1 / 2^n.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Literal

from reports.analysis import bootstrap, claims
from reports.analysis.bootstrap import Estimate, sizes_of
from reports.analysis.comparison import Analysis
from reports.analysis.point_estimates import Scores
from reports.judgement.deciding import seeds_to_pass
from reports.judgement.margins import p_above
from reports.runs.loading import check_comparable
from reports.runs.merging import agree
from reports.runs.names import Label, listed
from reports.runs.remembered import remembered
from suite.common.claim_floor import LEVEL, Shortage, Sizes, shortage
from suite.common.errors import UserError

Outcome = Literal["not worse", "worse", "undecided"]


@dataclasses.dataclass(frozen=True)
class Checked:
    """One method of a run directory against the same of the reference.

    Attributes:
        algorithm: label in both.
        tasks: that both have scores on.
        difference: mean score of the run's less that of the reference's; 0 of identical ones.
        sizes: runs of both on each task, the checked ones first.
        identical: whether every run is one of the reference's, bit for bit.
        p_not_worse: of the test that it is lower by less than the margin.
        p_worse: of the test that it is lower by more than the margin.
        p_worse_holm: adjusted for the number of methods.
        decidable: whether so many runs could show either, whatever their scores.
    """

    algorithm: Label
    tasks: tuple[str, ...]
    difference: Estimate
    sizes: Sizes
    identical: bool
    p_not_worse: float
    p_worse: float
    p_worse_holm: float = math.nan
    decidable: bool = False

    @property
    def outcome(self) -> Outcome:
        """The answer."""
        if self.identical or self.p_not_worse < LEVEL:
            return "not worse"
        return "worse" if self.p_worse_holm < LEVEL else "undecided"


@dataclasses.dataclass(frozen=True, eq=False)
class Regression:
    """The methods that a run directory and its reference both hold.

    Attributes:
        run, reference: the analyses of both, each of its own directory.
        margin: by how much a mean score may be lower.

    Raises:
        UserError: they have no method in common, or the bounds of the return on a task differ.
    """

    run: Analysis
    reference: Analysis
    margin: float

    def __post_init__(self) -> None:
        if not self.algorithms:
            mine, theirs = (listed(each.results.algorithms) for each in (self.run, self.reference))
            raise UserError(
                f"no method is in both: the run holds {mine}, the reference {theirs}; run one of "
                "the reference's, or choose another reference"
            )
        for task in self.run.results.tasks:
            if task not in self.reference.results.tasks:
                continue
            bounds, older = (each.results.bounds(task) for each in (self.run, self.reference))
            if bounds != older:
                raise UserError(
                    f"the bounds of the return on {task} differ, {bounds} and {older}, so its "
                    "scores cannot be compared; leave it out by --tasks"
                )

    @property
    def algorithms(self) -> tuple[Label, ...]:
        """Labels that both hold."""
        others = {*self.reference.results.algorithms}
        return tuple(each for each in self.run.results.algorithms if each in others)

    @functools.cached_property
    def checked(self) -> tuple[Checked, ...]:
        """Every method that has scores on a task that both hold.

        That methods are worse is corrected for their number, as one false alarm fails the whole.
        That they are not worse is not: the whole passes only where each of them does, and
        whichever is worse than it may be has to slip through its own test.
        """
        found = [each for label in self.algorithms if (each := self._check(label))]
        adjusted = bootstrap.holm([each.p_worse for each in found])
        repetitions = self.run.repetitions
        return tuple(
            dataclasses.replace(
                each,
                p_worse_holm=p_worse,
                decidable=each.identical
                or claims.reachable([each.sizes], repetitions, one_sided=True)[0],
            )
            for each, p_worse in zip(found, adjusted, strict=True)
        )

    @property
    def outcome(self) -> Outcome:
        """The answer for all methods together."""
        outcomes = {each.outcome for each in self.checked}
        if "worse" in outcomes:
            return "worse"
        return "not worse" if outcomes == {"not worse"} and not self.unscored else "undecided"

    @property
    def unscored(self) -> tuple[Label, ...]:
        """Methods of both without a score on any task that both hold, such as crashed ones."""
        checked = {each.algorithm for each in self.checked}
        return tuple(each for each in self.algorithms if each not in checked)

    @property
    def shortage(self) -> Shortage | None:
        """What the methods lack of which nothing can be shown, None without any."""
        sizes = [each.sizes for each in self.checked if not each.decidable]
        return shortage(sizes, 1, self.run.repetitions, one_sided=True)

    @remembered
    def seeds(self, checked: Checked) -> float:
        """Returns how many seeds of each would decide, see `seeds_to_pass`."""
        x, y = self._scores(checked.algorithm, checked.tasks)
        return seeds_to_pass(x, y, self.margin, len(self.checked))

    def _check(self, label: Label) -> Checked | None:
        tasks = tuple(
            task
            for task in self.run.scores.scored_tasks
            if task in self.reference.scores.scored_tasks
            and len(self.run.scores.of(label, task))
            and len(self.reference.scores.of(label, task))
        )
        if not tasks:
            return None
        x, y = self._scores(label, tasks)
        draws = self.run.draws
        counts = draws.counts(f"{label} checked", sizes_of(x)), draws.counts(label, sizes_of(y))
        generator = draws.generator(f"{label} against its reference")
        identical = self._is_identical(label, tasks)
        return Checked(
            label,
            tasks,
            Estimate(0.0) if identical else bootstrap.difference(bootstrap.mean, x, y, *counts),
            claims.sizes_of(x, y),
            identical,
            p_above(x, y, -self.margin, draws.repetitions, generator),
            p_above(y, x, self.margin, draws.repetitions, generator),
        )

    def _scores(self, label: Label, tasks: tuple[str, ...]) -> tuple[Scores, Scores]:
        mine, theirs = self.run.scores, self.reference.scores
        x, y = ([of(label, task).scores for task in tasks] for of in (mine.of, theirs.of))
        return x, y

    def _is_identical(self, label: Label, tasks: tuple[str, ...]) -> bool:
        """Returns whether every run came to its end as the reference's run of its cell did."""
        for task in tasks:
            others = {run.seed: run for run in self.reference.results.runs_of(label, task)}
            for run in self.run.results.runs_of(label, task):
                other = others.get(run.seed)
                ended = run.state in ("done", "diverged")
                if other is None or not ended or other.state != run.state or not agree(run, other):
                    return False
        return True


def check_directories(reference: Path, run: Path) -> None:
    """Raises UserError if the two directories are one, or follow protocols that differ."""
    if reference.resolve() == run.resolve():
        raise UserError(
            f"{run} is its own reference; name the directory of older runs by --against"
        )
    check_comparable((reference, run))
