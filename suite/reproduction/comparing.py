"""Whether an evaluation that was made again is the stored one: by bits, or within rounding.

Shapes: M modes, E episodes, K steps and G episodes that observations are kept of.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy import stats

from suite.storage.recomputation import Evaluation
from suite.storage.records import CurveRow

Others = Mapping[tuple[int, str], np.ndarray]
"""Returns [E] by seed and mode."""

CHANCE = 1e-5
"""Of calling rounding a fault, for each evaluation in one mode."""

RELATIVE = 1e-3
"""Of a mean return, or of 1 if it is smaller: what is never a fault within rounding."""

_MUCH_NEARER = 10
"""Times, of medians: episodes are another's, whatever their own spread."""


class Played(NamedTuple):
    """An evaluation that was made again.

    Attributes:
        seed: of the run.
        returns: [M, E].
        steps: environment steps that it took.
        obs: [K, G, O], see `suite.compute.evaluation.Episodes`.
    """

    seed: int
    returns: np.ndarray
    steps: int
    obs: np.ndarray


class Stored(NamedTuple):
    """An evaluation as a cell stores it.

    Attributes:
        updates: behind its policy.
        rows: of the curve, one a mode.
        returns: [M, E].
        steps: by which the ledger grew.
        obs: [K, G, O], None if the evaluation is not the newest or the run kept none.
    """

    updates: int
    rows: tuple[CurveRow, ...]
    returns: np.ndarray
    steps: int
    obs: np.ndarray | None


def compare(
    stored: Stored, played: Played, exactly: bool, others: Others = MappingProxyType({})
) -> Evaluation:
    """Compares an evaluation with the stored one.

    Args:
        stored: as it is stored.
        played: as it was made again.
        exactly: whether every bit must agree; else the means of paired episodes must agree
            within their own spread, see `within_rounding`, and be nearest to these.
        others: returns [E] of the other seeds and modes, made again after as many updates.
    """
    theirs, ours = stored.returns, played.returns
    if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
        fault = f"{_size(theirs)} returns are stored, {_size(ours)} recomputed"
        return Evaluation(stored.updates, theirs.size, 0, fault)
    same = _bits(theirs) == _bits(ours)
    faults = []
    for index, (row, mode_same) in enumerate(zip(stored.rows, same, strict=True)):
        also = {name: each for name, each in others.items() if name != (played.seed, row.mode)}
        fault = _mode_fault(row, mode_same, theirs[index], ours[index], exactly)
        nearer = _nearer(theirs[index], ours[index], also)
        if nearer and (fault or not exactly):
            fault = f"{fault or row.mode}: the returns are those of {nearer}"
        faults += [fault] if fault else []
    if exactly and stored.steps != played.steps:
        faults.append(f"the ledger counts {stored.steps} evaluation steps of {played.steps}")
    if exactly and stored.obs is not None and not np.array_equal(stored.obs, played.obs):
        faults.append("states.npz holds other observations")
    return Evaluation(stored.updates, theirs.size, int(same.sum()), ", ".join(faults))


def within_rounding(stored: np.ndarray, played: np.ndarray) -> bool:
    """Returns whether returns [E] may be the stored ones [E], computed with other last bits.

    Rounding moves an episode either way, little or, where contacts amplify it, much: the mean
    difference of paired episodes must then be within `RELATIVE` of the mean return, or what a
    paired t-test expects of differences with their spread, but for a chance of `CHANCE`.
    """
    difference = played.astype(np.float64) - stored
    mean, count = abs(difference.mean()), len(difference)
    if mean <= RELATIVE * max(1.0, abs(float(played.mean(dtype=np.float64)))):
        return True
    if count < 2:
        return False
    error = difference.std(ddof=1) / np.sqrt(count)
    return bool(mean <= stats.t.isf(CHANCE / 2, count - 1) * error)


def _mode_fault(
    row: CurveRow, same: np.ndarray, stored: np.ndarray, played: np.ndarray, exactly: bool
) -> str:
    """Returns what is wrong with the returns [E] of one mode, or with their row, "" if nothing."""
    means = f"mean {stored.mean():.6g} stored, {played.mean():.6g} recomputed"
    if exactly and not same.all():
        return f"{row.mode}: {int((~same).sum())} of {len(same)} returns differ, {means}"
    if not exactly and not same.all() and not within_rounding(stored, played):
        return f"{row.mode}: more than rounding differs, {means}"
    written = row.return_mean, row.return_std, row.episodes
    if same.all() and written != (*_summary(played), len(played)):
        return f"{row.mode}: curve.csv does not hold the mean and spread of its episodes"
    return ""


def _nearer(stored: np.ndarray, played: np.ndarray, others: Others) -> str:
    """Returns whose returns the stored ones [E] rather are than those played, "" if nobody's.

    Episodes that rounding has led astray are as far from all; others are next to their own.
    """
    own = np.median(np.abs(stored - played))
    for (seed, mode), returns in others.items():
        if np.median(np.abs(stored - returns)) < own / _MUCH_NEARER:
            return f"seed {seed}, {mode}"
    return ""


def _summary(returns: np.ndarray) -> tuple[float, float]:
    """Returns mean and spread of returns [E], as `SeedRecord.add_point` does."""
    return float(returns.mean(dtype=np.float64)), float(returns.std(dtype=np.float64))


def _bits(returns: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(returns).view(f"u{returns.itemsize}")


def _size(returns: np.ndarray) -> str:
    return f"{' x '.join(map(str, returns.shape))} {returns.dtype}"
