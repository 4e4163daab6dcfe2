"""The shape of a cloud of actions: its moments, whether it is Gaussian, how many modes it has.

Shapes: N samples, A action size, P points of a curve. All arithmetic is in float64.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import ndimage, signal, stats

from reports.analysis.bootstrap import holm
from reports.analysis.dip import dip, dip_p_value

WIDE_BANDWIDTH = 0.8
"""The GoRL paper's, of its figure of action distributions; times the sample's std."""

_CURVE_POINTS = 256
_CURVE_MARGIN = 3.0
"""How far a curve goes on beyond the outermost sample, in kernel widths."""
_BINS_PER_KERNEL = 16
_MAX_BINS = 1 << 17
_MIN_PROMINENCE = 0.05
"""A peak stands out by this share of the highest one, or it is not counted."""


class Curve(NamedTuple):
    """A density [P] at x [P], and how many peaks it has."""

    x: np.ndarray
    density: np.ndarray
    peaks: int


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is known of N actions.

    Attributes:
        mean, std: [A].
        skewness: [A] standardised third moment; 0 for a Gaussian.
        kurtosis: [A] excess of the fourth; 0 for a Gaussian.
        correlation: the largest between two dimensions, without its sign; NaN if A is 1.
        gaussian_p: of Mardia's test of a Gaussian in all dimensions together; NaN where a
            dimension does not vary.
        dips: [A] Hartigan's dip of each dimension.
        dip_p: [A] their p-values.
    """

    mean: np.ndarray
    std: np.ndarray
    skewness: np.ndarray
    kurtosis: np.ndarray
    correlation: float
    gaussian_p: float
    dips: np.ndarray
    dip_p: np.ndarray

    @property
    def adjusted_dip_p(self) -> np.ndarray:
        """[A] p-values of the dips, Holm-corrected for the number of dimensions."""
        return np.array(holm(list(self.dip_p)))


@dataclasses.dataclass(frozen=True)
class Component:
    """What is known of N actions along one direction.

    Attributes:
        share: of the actions' own variance that lies along it.
        dip: Hartigan's.
        dip_p: its p-value.
        wide: density with `WIDE_BANDWIDTH`.
        scott: density with Scott's bandwidth, n^(-1/5).
    """

    share: float
    dip: float
    dip_p: float
    wide: Curve
    scott: Curve


def describe(actions: np.ndarray) -> Shape:
    """Returns the shape of actions [N, A]."""
    actions = np.asarray(actions, np.float64)
    std = actions.std(axis=0)
    scaled = (actions - actions.mean(axis=0)) / np.where(std > 0, std, 1.0)
    dips = np.array([dip(column) for column in actions.T])
    return Shape(
        mean=actions.mean(axis=0),
        std=std,
        skewness=np.mean(scaled**3, axis=0),
        kurtosis=np.where(std > 0, np.mean(scaled**4, axis=0) - 3.0, 0.0),
        correlation=_largest_correlation(scaled),
        gaussian_p=mardia_p_value(actions),
        dips=dips,
        dip_p=np.array([dip_p_value(value, len(actions)) for value in dips]),
    )


def describe_along(actions: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> Component:
    """Returns what actions [N, A] are along a unit vector `direction` [A] from `origin` [A]."""
    actions = np.asarray(actions, np.float64)
    values = (actions - origin) @ direction
    variance = float(actions.var(axis=0).sum())
    value = dip(values)
    return Component(
        share=float(values.var()) / variance if variance > 0 else np.nan,
        dip=value,
        dip_p=dip_p_value(value, values.size),
        wide=density(values, WIDE_BANDWIDTH),
        scott=density(values, scott_bandwidth(values.size)),
    )


def first_component(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean [A] of actions [N, A] and the unit vector [A] of largest variance.

    Its largest entry is positive, so that the direction is the same everywhere.
    """
    actions = np.asarray(actions, np.float64)
    mean = actions.mean(axis=0)
    _, vectors = np.linalg.eigh(np.atleast_2d(np.cov(actions, rowvar=False)))
    direction = vectors[:, -1]
    return mean, direction * np.sign(direction[np.argmax(np.abs(direction))])


def scott_bandwidth(size: int) -> float:
    """Returns Scott's bandwidth for `size` numbers, times their std: .158 for 10,000."""
    return float(size ** (-1 / 5))


def density(values: np.ndarray, bandwidth: float) -> Curve:
    """Returns a Gaussian kernel density estimate of values [N].

    Values are counted in bins far narrower than the kernel, so that long samples cost little.

    Args:
        values: in the actions' units.
        bandwidth: the kernel's standard deviation, times that of the values: what scipy calls
            `bw_method`.
    """
    values = np.asarray(values, np.float64)
    spread = float(values.std(ddof=1))
    if not spread > 0:
        return Curve(values[:1], np.ones(1), 1)
    kernel = bandwidth * spread
    low = values.min() - _CURVE_MARGIN * kernel
    high = values.max() + _CURVE_MARGIN * kernel
    bins = min(_MAX_BINS, int(np.ceil((high - low) / kernel * _BINS_PER_KERNEL)))
    counts, edges = np.histogram(values, bins, (low, high))
    width = (high - low) / bins
    smooth = ndimage.gaussian_filter1d(
        counts / (values.size * width), kernel / width, mode="constant", truncate=6.0
    )
    centres = (edges[1:] + edges[:-1]) / 2.0
    peaks, _ = signal.find_peaks(smooth, prominence=_MIN_PROMINENCE * smooth.max())
    x = np.linspace(low, high, _CURVE_POINTS)
    return Curve(x, np.interp(x, centres, smooth), len(peaks))


def mardia_p_value(actions: np.ndarray) -> float:
    """Returns the p-value of Mardia's test that actions [N, A] are Gaussian.

    Twice the smaller of the asymptotic p-values of multivariate skewness and kurtosis
    (K. V. Mardia, Biometrika 57(3), 1970); NaN where the actions span fewer dimensions.
    """
    count, size = actions.shape
    centred = actions - actions.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / count)
    if variances[0] <= 1e-12 * variances[-1]:
        return float("nan")
    white = centred @ axes / np.sqrt(variances)
    pairs = (white[:, :, None] * white[:, None, :]).reshape(count, -1)
    skewness = np.sum(np.square(pairs.T @ white / count))
    kurtosis = np.mean(np.square(np.sum(np.square(white), axis=1)))
    skewness_p = stats.chi2.sf(count * skewness / 6.0, size * (size + 1) * (size + 2) / 6)
    deviation = (kurtosis - size * (size + 2)) / np.sqrt(8.0 * size * (size + 2) / count)
    return float(min(1.0, 2.0 * min(skewness_p, 2.0 * stats.norm.sf(abs(deviation)))))


def _largest_correlation(scaled: np.ndarray) -> float:
    if scaled.shape[1] < 2:
        return float("nan")
    correlations = np.abs(scaled.T @ scaled / len(scaled))
    return float(np.max(correlations[~np.eye(scaled.shape[1], dtype=bool)]))
