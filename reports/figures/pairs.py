"""Pairwise comparisons of algorithms."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from reports.analysis.comparison import Analysis, Pair
from reports.analysis.sentences import interval_text, left_out_text, run_counts, shortage_text
from reports.figures.drawing import (
    FULL_WIDTH,
    INK,
    ROW_SIZE,
    Figure,
    draw_estimate,
    make_canvas,
    name_rows,
)
from reports.figures.labels import drawable, fold, row_height, text_width
from reports.figures.palette import Style
from reports.runs.names import display_name

PAIRS_PER_FIGURE = 100
"""Most pairs in one figure: about as many as a tall page holds."""

_PAIR_WIDTH = 3.0
"""The same for names of pairs."""


def pair_figures(analysis: Analysis) -> list[Figure]:
    """Returns one figure, or several where the pairs are too many for one."""
    pairs = analysis.differences.pairs
    count = math.ceil(len(pairs) / PAIRS_PER_FIGURE)
    caption = (
        "Pairwise comparisons X − Y of the final scores. Blue diamonds: significant at a "
        "family-wise level of 5% (permutation tests of the mean within tasks, Holm-corrected over "
        f"{len(pairs)} pairs).{shortage_text(analysis)} {run_counts(analysis)} "
        f"{interval_text(analysis)}{left_out_text(analysis)}"
    )
    return [
        Figure(
            "comparisons" if count == 1 else f"comparisons-{index + 1}",
            "Pairwise comparisons" + (f", {index + 1} of {count}" if count > 1 else ""),
            caption,
            functools.partial(_draw_pairs, pairs, index * PAIRS_PER_FIGURE),
        )
        for index in range(count)
    ]


def _draw_pairs(pairs: Sequence[Pair], first: int) -> Canvas:
    """Draws the pairs from number `first` on, to the scale of all."""
    shown = pairs[first : first + PAIRS_PER_FIGURE]
    names = [_pair_name(pair) for pair in shown]
    height = row_height(names, ROW_SIZE, 0.19) * len(shown) + 0.8
    canvas, (left, right) = make_canvas(FULL_WIDTH, height, 1, 2, sharey=True)
    for row, pair in enumerate(shown):
        draw_estimate(left, row, pair.difference, _pair_style(pair))
        draw_estimate(right, row, pair.improvement, _pair_style(pair))
    left.axvline(0, color=INK, linewidth=0.8)
    right.axvline(0.5, color=INK, linewidth=0.8)
    left.set(xlabel="difference of IQM scores", xlim=_limits(pairs))
    right.set(xlabel="probability of improvement\nP(X > Y)", xlim=(-0.02, 1.02))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(4))
        name_rows(axes, names)
    return canvas


def _limits(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Returns the ends of an axis that holds 0 and every difference with its interval."""
    values = [each.difference for each in pairs]
    ends = [0.0, *(end for each in values for end in (each.value, each.low, each.high))]
    low, high = np.nanmin(ends), np.nanmax(ends)
    margin = 0.05 * (high - low) or 0.05
    return float(low - margin), float(high + margin)


def _pair_style(pair: Pair) -> Style:
    return Style("#3f78c9", (), "D") if pair.significant else Style("#8b8f95", (), "o")


def _pair_name(pair: Pair) -> str:
    """Returns `X − Y` on one line where it fits, else each name on lines of its own."""
    width = 72 * _PAIR_WIDTH
    first, second = display_name(pair.first), display_name(pair.second)
    if text_width(drawable(f"{first} − {second}"), ROW_SIZE) <= width:
        return drawable(f"{first} − {second}")
    above = fold(first, ROW_SIZE, width - text_width(" −", ROW_SIZE))
    return f"{above} −\n{fold(second, ROW_SIZE, width)}"
