"""What new methods are against stored ones: better, worse, equivalent or undecided."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from reports.analysis import bootstrap, claims
from reports.analysis.bootstrap import Estimate
from reports.analysis.comparison import Analysis
from reports.judgement.deciding import seeds_to_decide
from reports.judgement.margins import Judging, p_within
from reports.runs.names import Label
from reports.runs.remembered import remembered
from reports.runs.results import Results
from suite.common.claim_floor import LEVEL, Shortage, Sizes
from suite.common.errors import UserError, unknown

Outcome = Literal["better", "worse", "equivalent", "undecided", "undecidable"]


@dataclasses.dataclass(frozen=True)
class Judged:
    """A new method against a stored one.

    Attributes:
        new, stored: labels.
        difference: mean score of the new one less that of the stored one.
        sizes: runs of both on each task, the new one's first.
        p_different, p_equivalent: of the test that claims rest on, and of that of `p_within`.
        p_different_holm, p_equivalent_holm: each adjusted for the number of such pairs.
        can_differ, can_be_equivalent: whether so many runs could show it, whatever their scores.
    """

    new: Label
    stored: Label
    difference: Estimate
    sizes: Sizes
    p_different: float
    p_equivalent: float
    p_different_holm: float = math.nan
    p_equivalent_holm: float = math.nan
    can_differ: bool = False
    can_be_equivalent: bool = False

    @property
    def is_within(self) -> bool:
        """Whether equivalence is shown, be a smaller difference shown or not."""
        return self.p_equivalent_holm < LEVEL

    @property
    def is_open(self) -> bool:
        """Whether nothing is shown."""
        return self.outcome in ("undecided", "undecidable")

    @property
    def outcome(self) -> Outcome:
        """The answer; a difference that is shown counts as one, however small."""
        if self.p_different_holm < LEVEL:
            return "better" if self.difference.value > 0 else "worse"
        if self.is_within:
            return "equivalent"
        return "undecided" if self.can_differ or self.can_be_equivalent else "undecidable"


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """New methods against all others, each computed once, when first asked for.

    Attributes:
        analysis: of all of them.
        new: labels of the new ones.
        margin: within which methods are equivalent.
    """

    analysis: Analysis
    new: tuple[Label, ...]
    margin: float

    @functools.cached_property
    def pairs(self) -> tuple[Judged, ...]:
        """Every new method against every stored one, in the order of the tables.

        Only these are corrected for, as that they are asked for is settled before a score is
        known. What is shown to differ, and what is shown to be equivalent, is a family each.
        """
        algorithms = self.analysis.algorithms
        stored = [each for each in algorithms if each not in self.new]
        found = [self._judged(new, old) for new in algorithms if new in self.new for old in stored]
        sizes, repetitions = [pair.sizes for pair in found], self.analysis.repetitions
        return tuple(
            dataclasses.replace(
                pair,
                p_different_holm=different,
                p_equivalent_holm=equivalent,
                can_differ=can_differ,
                can_be_equivalent=can_be_equivalent,
            )
            for pair, different, equivalent, can_differ, can_be_equivalent in zip(
                found,
                bootstrap.holm([pair.p_different for pair in found]),
                bootstrap.holm([pair.p_equivalent for pair in found]),
                claims.reachable(sizes, repetitions),
                claims.reachable(sizes, repetitions, one_sided=True),
                strict=True,
            )
        )

    @property
    def left_out(self) -> tuple[Label, ...]:
        """New methods that are in no aggregate, so that they cannot be judged."""
        return tuple(each for each in self.new if each not in self.analysis.algorithms)

    @property
    def shortage(self) -> Shortage | None:
        """What the pairs lack that could never be shown to differ, None if all could."""
        unreachable = [pair.sizes for pair in self.pairs if not pair.can_differ]
        return self.analysis.differences.shortage_of(unreachable, len(self.pairs))

    @remembered
    def seeds(self, pair: Judged) -> float:
        """Returns how many seeds of each would decide, see `seeds_to_decide`."""
        x, y = (self.analysis.scores.by_task(each) for each in (pair.new, pair.stored))
        return seeds_to_decide(x, y, self.margin, len(self.pairs))

    def simulate(self, progress: Callable[[int, int], None]) -> None:
        """Finds out for every undecided pair how many seeds would decide, which takes seconds.

        Args:
            progress: called with the numbers of pairs that are done and that there are.
        """
        undecided = [pair for pair in self.pairs if pair.is_open]
        for done, pair in enumerate(undecided, start=1):
            self.seeds(pair)
            progress(done, len(undecided))

    def to_plain(self) -> dict[str, Any]:
        """Returns what a report was asked to judge, as plain data."""
        return {"new": list(self.new), "margin": self.margin}

    def _judged(self, new: Label, stored: Label) -> Judged:
        pair = self.analysis.differences.pair_of(new, stored)
        turned = pair.first != new
        x, y = (self.analysis.scores.by_task(each) for each in (new, stored))
        draws = self.analysis.draws
        generator = draws.generator(f"{new} equivalent to {stored}")
        return Judged(
            new,
            stored,
            negative(pair.mean_difference) if turned else pair.mean_difference,
            claims.sizes_of(x, y),
            pair.p_value,
            p_within(x, y, self.margin, draws.repetitions, generator),
        )


def negative(estimate: Estimate) -> Estimate:
    """Returns the estimate of the difference the other way round."""
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def judge_new(analysis: Analysis, judging: Judging) -> Judgement | None:
    """Returns the judgement of the new methods, None where there are none, or nothing but.

    Raises:
        UserError: a method that is called new is not there, or every one is called new.
    """
    results = analysis.results
    new = _named(results, judging.new) if judging.new else newcomers(results)
    if judging.new and len(new) == len(results.algorithms):
        raise UserError("--new names every method; leave out those to judge them against")
    if not new or len(new) == len(results.algorithms):
        return None
    return Judgement(analysis, new, judging.margin)


def newcomers(results: Results) -> tuple[Label, ...]:
    """Returns the labels that the directory named first holds no run of."""
    holders = results.holders
    return tuple(each for each in results.algorithms if results.first not in holders[each])


def _named(results: Results, names: Sequence[str]) -> tuple[Label, ...]:
    known = {*results.algorithms, *(label.method for label in results.algorithms)}
    for name in names:
        if name not in known:
            raise unknown("algorithm", name, sorted(known))
    return tuple(label for label in results.algorithms if {label, label.method} & {*names})
