"""The same networks under other names, and differences paired by seed."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from benchmarks.calibration import same_start
from benchmarks.calibration.same_start import ARMS, UPDATES, compare


def test_layers_keep_their_order_under_our_names() -> None:
    theirs = {"params": {f"hidden_{i}": {"kernel": jnp.full(1, i)} for i in (10, 2, 0)}}
    ours = {"params": {f"Dense_{i}": {"kernel": jnp.zeros(1)} for i in range(3)}}
    renamed = same_start._renamed(theirs, ours)
    values = [float(renamed["params"][f"Dense_{i}"]["kernel"][0]) for i in range(3)]
    assert values == [0, 2, 10]


def test_pairs_that_differ_by_one_constant_have_a_narrow_interval() -> None:
    draws = np.random.default_rng(0).normal(100, 30, (4, 1 + UPDATES))
    noise = np.random.default_rng(1).normal(0, 1, draws.shape)
    record = {
        ARMS[0]: {str(i): curve.tolist() for i, curve in enumerate(draws)},
        ARMS[1]: {str(i): curve.tolist() for i, curve in enumerate(draws + 5 + noise)},
        ARMS[2]: {str(i): curve.tolist() for i, curve in enumerate(draws + 5 + noise)},
    }
    row = compare(record)[2]
    differences = 5 + noise[:, 2]
    half = stats.t.ppf(0.975, 3) * differences.std(ddof=1) / 2
    assert row["low"] == pytest.approx(differences.mean() - half)
    assert row["high"] == pytest.approx(differences.mean() + half)
    assert row["own networks high"] - row["own networks low"] > 10 * (row["high"] - row["low"])
