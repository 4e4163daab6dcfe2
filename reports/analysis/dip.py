"""Hartigan's dip: how far a sample is from every unimodal distribution.

J. A. Hartigan and P. M. Hartigan, "The dip test of unimodality", Annals of Statistics 13(1),
1985. The packages that have the test are under the GPL, so it is written here from the paper.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.optimize import isotonic_regression

NULL_REPETITIONS = 999
"""Uniform samples that a p-value is counted among: no p-value is below 1 / 1000."""

MAX_NULL_SIZE = 10_000
"""The dip of longer samples is scaled to this size: sqrt(n) times it converges (section 4)."""

_NULL_SEED = 1985
_TOUCHING = 1e-9
"""Two curves of probabilities this close to each other touch."""


def dip(sample: np.ndarray) -> float:
    """Returns the dip of a sample [n]: the least sup-distance of its cdf to a unimodal one.

    A unimodal cdf is convex up to its mode and concave beyond. The dip lies between 1 / (2n)
    and 1/4. Equal values count as a narrow peak where they are, not as steps of the cdf.

    Raises:
        ValueError: the sample is empty or not finite.
    """
    values = np.sort(np.asarray(sample, np.float64))
    if not values.size or not np.isfinite(values).all():
        raise ValueError("the dip needs a sample of finite numbers")
    return _twice_the_dip(_spacings(values)) / 2.0


def dip_p_value(value: float, size: int) -> float:
    """Returns the share of uniform samples of `size` whose dip is at least `value`.

    No unimodal distribution has larger dips than the uniform for long samples, so the test
    is conservative for all others (section 4 of the paper). The share counts the sample
    itself. The uniform samples are drawn once for each size, always the same.
    """
    simulated = min(size, MAX_NULL_SIZE)
    null = _null_dips(simulated)
    scaled = value * (size / simulated) ** 0.5
    as_large = null.size - int(np.searchsorted(null, scaled, side="left"))
    return (as_large + 1) / (null.size + 1)


@functools.cache
def _null_dips(size: int) -> np.ndarray:
    """Returns the sorted dips of `NULL_REPETITIONS` uniform samples."""
    rng = np.random.default_rng(_NULL_SEED)
    return np.sort([dip(rng.random(size)) for _ in range(NULL_REPETITIONS)])


def _spacings(values: np.ndarray) -> np.ndarray:
    """Returns the distances [n - 1] of sorted values, those of equal ones tiny instead of 0."""
    distances = np.diff(values)
    apart = distances[distances > 0]
    tiny = 1e-6 * apart.min() / values.size if apart.size else 1.0
    return np.where(distances > 0, distances, tiny)


def _twice_the_dip(spacings: np.ndarray) -> float:
    """Returns twice the dip by the paper's algorithm (section 3).

    An interval around the mode is narrowed. Inside it the convex minorant of the cdf and
    its concave majorant are drawn; where they are farthest apart is the next interval, and
    what the cdf departs from them outside of it is a lower bound of twice the dip. Once the
    two are nowhere farther apart than the bound, the bound is reached.
    """
    size = spacings.size + 1
    upto = np.arange(1, size + 1) / size
    below = upto - 1.0 / size  # the cdf just before each value
    low, high, bound = 0, size, 1.0 / size
    while high - low > 1:
        widths = spacings[low : high - 1]
        minorant = _convex_minorant(widths, below[low:high])
        majorant = -_convex_minorant(widths, -upto[low:high])
        on_minorant = below[low:high] - minorant <= _TOUCHING
        on_majorant = majorant - upto[low:high] <= _TOUCHING
        # The widest place is where one of them touches the cdf, also between parallel lines.
        distance = np.where(on_minorant | on_majorant, majorant - minorant, 0.0)
        widest = int(np.argmax(distance))
        if distance[widest] <= bound:
            break
        left = int(np.flatnonzero(on_minorant[: widest + 1])[-1])
        right = widest + int(np.flatnonzero(on_majorant[widest:])[0])
        departures = (upto[low:high] - minorant)[: left + 1], (majorant - below[low:high])[right:]
        bound = max(bound, *(float(each.max()) for each in departures))
        if right - left + 1 == high - low:
            break
        low, high = low + left, low + right + 1
    return bound


def _convex_minorant(widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Returns the greatest convex curve below points [m], `widths` [m - 1] apart.

    Its slopes are the isotonic regression of the points' slopes, weighted by the widths.
    """
    slopes = isotonic_regression(np.diff(heights) / widths, weights=widths).x
    curve: np.ndarray = heights[0] + np.concatenate([[0.0], np.cumsum(slopes * widths)])
    return curve
