"""Whether the intervals of a report are those of `rliable.library`: each is computed again.

Both are percentile intervals of a stratified bootstrap, from other random numbers, so their ends
differ by the Monte-Carlo error. How much of it there is, the resamples themselves tell: an end of
a 95% interval has a share p of 2.5% or 97.5% of them below it, with a standard error of
sqrt(p (1 - p) (1 / theirs + 1 / ours)), whatever their distribution.

The only importer of `rliable.library`, which needs older versions of two packages.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from rliable import library

from reports.analysis.arms import Arms
from reports.analysis.bootstrap import CONFIDENCE
from reports.analysis.comparison import Analysis
from reports.audit.check import Check
from reports.audit.shown_intervals import Shown, shown_intervals
from reports.runs.names import listed

NAME = "intervals by rliable"

REPETITIONS = 2_000
"""Resamples of each interval by rliable, which draws and reduces them one by one."""

FEWEST = 1_000
"""Resamples of a report below which the standard error of its ends is itself a rough guess."""

TOLERANCE = 6.0
"""Standard errors. Of a right interval an end is as far away once in 30 million times, and a
report has some thousands; a 90% interval in the place of a 95% one is 7 away."""

_SEED = 0
_ROUNDING = 1e-6
"""Relative, of what is the same: we compute probabilities in single precision."""


@dataclasses.dataclass(frozen=True)
class End:
    """One end of an interval, or its value, computed twice.

    Attributes:
        name: for readers.
        ours: the report's.
        theirs: by rliable.
        error: standard error of their difference, in the same unit.
        distance: by how many standard errors they differ; infinite if the values do.
        are_scores: whether the unit is that of scores.
    """

    name: str
    ours: float
    theirs: float
    error: float
    distance: float
    are_scores: bool

    @property
    def difference(self) -> float:
        """Without its sign; of returns, which have another scale, 0."""
        return abs(self.ours - self.theirs) if self.are_scores else 0.0


def check_intervals(analyses: Sequence[Analysis], arms: Arms | None = None) -> Check:
    """Returns the check that rliable finds every interval of a report.

    Args:
        analyses: one for each evaluation mode, the first the one of tables and figures.
        arms: of the ablation that the report is about, if any.
    """
    repetitions = analyses[0].repetitions
    if repetitions < FEWEST:
        text = f"not recomputed: {repetitions:,} repetitions of the report are too few to judge"
        return Check(NAME, "warning", f"{text}, it takes {FEWEST:,}")
    shown = [each for each in map(_with_ends, shown_intervals(analyses, arms)) if each.names]
    possible = [each for each in shown if each.scores is not None]
    with _seeded():
        ends = [end for each in possible for end in recompute(each)]
    wrong = sorted((each for each in ends if each.distance > TOLERANCE), key=lambda e: -e.distance)
    if wrong:
        return Check(NAME, "failed", listed(list(map(_describe, wrong)), "; "))
    rest = _not_recomputed([each for each in shown if each.scores is None])
    if not ends:
        return Check(NAME, "warning" if rest else "ok", rest or "the report has no interval")
    text = _agreement(_count(possible), ends)
    return Check(NAME, "ok", "; ".join(filter(None, [text, rest])))


def recompute(shown: Shown) -> list[End]:
    """Returns both ends of each interval, and values that rliable does not find.

    Args:
        shown: with scores; its statistic is what rliable resamples.
    """
    assert shown.scores is not None
    drawn: list[np.ndarray] = []

    def statistic(*scores: np.ndarray) -> np.ndarray:
        drawn.append(shown.statistic(*scores))
        return drawn[-1]

    data = shown.scores[0] if len(shown.scores) == 1 else list(shown.scores)
    values, ends = library.get_interval_estimates(
        {NAME: data}, statistic, reps=REPETITIONS, confidence_interval_size=CONFIDENCE
    )
    kept = np.isfinite(shown.low)
    samples = np.sort(np.array(drawn[-REPETITIONS:]), axis=0)
    tail = (1 - CONFIDENCE) / 2
    return [
        *_values(shown, values[NAME], kept),
        *_ends(shown, "lower", shown.low, ends[NAME][0], samples, tail),
        *_ends(shown, "upper", shown.high, ends[NAME][1], samples, 1 - tail),
    ]


def _values(shown: Shown, theirs: np.ndarray, kept: np.ndarray) -> Iterator[End]:
    """Yields the values that are not the same."""
    far = np.abs(shown.values - theirs) > _ROUNDING * np.maximum(1, np.abs(theirs))
    for index in np.flatnonzero(kept & far):
        pair = float(shown.values[index]), float(theirs[index])
        yield End(f"value of the {shown.names[index]}", *pair, 0.0, np.inf, shown.are_scores)


def _ends(
    shown: Shown, side: str, ours: np.ndarray, theirs: np.ndarray, samples: np.ndarray, share: float
) -> Iterator[End]:
    """Yields one end of each interval.

    Args:
        shown: the intervals.
        side: which end.
        ours, theirs: [K] the ends.
        samples: [R, K] what rliable resampled, each column in ascending order.
        share: of them below the end.
    """
    slack = _ROUNDING * np.maximum(1, np.abs(ours))
    below, upto = (samples < ours - slack).mean(axis=0), (samples <= ours + slack).mean(axis=0)
    spread = np.sqrt(share * (1 - share) * (1 / REPETITIONS + 1 / shown.repetitions))
    distance = np.maximum(0, np.maximum(below - share, share - upto)) / spread
    ranks = np.clip(np.stack([share - spread, share + spread]), 0, 1) * (REPETITIONS - 1)
    low, high = np.take_along_axis(samples, np.rint(ranks).astype(int), axis=0)
    for index in np.flatnonzero(np.isfinite(ours)):
        yield End(
            f"{side} end of the {shown.names[index]}",
            float(ours[index]),
            float(theirs[index]),
            float(high[index] - low[index]) / 2,
            float(distance[index]),
            shown.are_scores,
        )


def _with_ends(shown: Shown) -> Shown:
    """Leaves the names out of what has no interval at all."""
    return shown if np.isfinite(shown.low).any() else dataclasses.replace(shown, names=())


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Seeds numpy's global generator, the only one that rliable draws from, and restores it."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(_SEED)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


# --- Text --------------------------------------------------------------------------------


def _describe(end: End) -> str:
    return f"{_numbers(end)} ({end.distance:.1f} standard errors)"


def _numbers(end: End) -> str:
    return f"{end.name} is {end.ours:.4f}, by rliable {end.theirs:.4f}"


def _agreement(count: int, ends: Sequence[End]) -> str:
    apart = max(ends, key=lambda end: end.difference)
    far = max(ends, key=lambda end: end.distance)
    return (
        f"{count:,} intervals with {REPETITIONS:,} resamples each: ends differ by at most "
        f"{apart.difference:.4f} with a Monte-Carlo error of {apart.error:.4f} ({apart.name}), and "
        f"by at most {far.distance:.1f} such errors ({far.name}), where {TOLERANCE:g} are tolerated"
    )


def _not_recomputed(shown: Sequence[Shown]) -> str:
    """Says whose intervals rliable cannot express, nothing if it can all."""
    if not shown:
        return ""
    whose = listed(list(dict.fromkeys(each.whose for each in shown)), "; ")
    return f"not recomputed: {_count(shown):,} over tasks with unequal numbers of runs ({whose})"


def _count(shown: Sequence[Shown]) -> int:
    return sum(int(np.isfinite(each.low).sum()) for each in shown)
