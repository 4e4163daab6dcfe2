"""The comparison with Brax: Welch's test, by its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.calibration.beside_brax import UPDATES, compare


def test_the_interval_is_that_of_welch_s_formula() -> None:
    brax = {"0": [10.0, 100.0], "1": [14.0, 140.0], "2": [12.0, 130.0]}
    ours = {"0": [20.0, 90.0], "1": [26.0, 120.0], "2": [29.0, 180.0]}
    for index, row in enumerate(compare(brax, ours)):
        assert row["updates"] == UPDATES[index]
        a, b = (np.array([each[index] for each in found.values()]) for found in (ours, brax))
        va, vb = a.var(ddof=1) / 3, b.var(ddof=1) / 3
        freedom = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 2)
        middle = (row["difference_low"] + row["difference_high"]) / 2
        assert middle == pytest.approx(a.mean() - b.mean())
        # Between the quantiles of Student's t for 2 and for 4 degrees of freedom.
        quantile = (row["difference_high"] - middle) / math.sqrt(va + vb)
        assert 2 < freedom < 4 and 2.776 < quantile < 4.303
