"""Tests against a margin and what they can show, against SciPy, enumeration and formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from benchmarks import margins as benchmark
from reports.analysis import claims
from reports.judgement import deciding
from reports.judgement.margins import Judging, p_above, p_within
from reports.judgement.power import MAX_SEEDS, fewest_seeds, is_reached
from suite.common import claim_floor
from suite.common.claim_floor import LEVEL
from suite.common.errors import UserError

Side = list[np.ndarray]


def draw(seed: int, sizes: list[tuple[int, int]], apart: float = 0.0) -> tuple[Side, Side]:
    generator = np.random.default_rng(seed)
    x = [generator.normal(0.5 + apart, 0.05, n) for n, _ in sizes]
    return x, [generator.normal(0.5, 0.05, n) for _, n in sizes]


def welch(x: Side, y: Side) -> float:
    """Returns the studentised difference of the means over tasks, with its sign."""
    difference = sum(float(a.mean() - b.mean()) for a, b in zip(x, y, strict=True))
    variance = sum(
        a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b) for a, b in zip(x, y, strict=True)
    )
    return difference / math.sqrt(variance)


def enumerated_p(x: Side, y: Side) -> float:
    """Looks at every way to deal out the runs within each task: how often x comes out as high."""
    pooled = [np.concatenate(pair) for pair in zip(x, y, strict=True)]
    ways = [itertools.combinations(range(len(p)), len(a)) for p, a in zip(pooled, x, strict=True)]
    found = []
    for chosen in itertools.product(*ways):
        first = [p[list(c)] for p, c in zip(pooled, chosen, strict=True)]
        second = [np.delete(p, c) for p, c in zip(pooled, chosen, strict=True)]
        found.append(welch(first, second) >= welch(x, y) - 1e-6)
    return float(np.mean(found))


def above(x: Side, y: Side, bound: float, repetitions: int = 999) -> float:
    return p_above(x, y, bound, repetitions, np.random.default_rng(0))


@pytest.mark.parametrize("bound", [-0.05, 0.0, 0.04])
@pytest.mark.parametrize("sizes", [[(4, 4)], [(3, 6)], [(3, 3), (2, 3)]], ids=str)
def test_one_sided_tests_are_those_of_a_slow_loop(
    sizes: list[tuple[int, int]], bound: float
) -> None:
    x, y = draw(1, sizes, 0.02)
    moved = [task - bound for task in x]
    assert above(x, y, bound) == pytest.approx(enumerated_p(moved, y), abs=1e-12)
    low, high = above(x, y, -0.05), above(y, x, -0.05)
    within = p_within(x, y, 0.05, 999, np.random.default_rng(0))
    assert within == pytest.approx(max(low, high), abs=1e-12)


def test_one_sided_tests_are_those_of_scipy() -> None:
    x, y = draw(2, [(5, 5)], 0.03)
    found = scipy.stats.permutation_test(
        (x[0], y[0]),
        lambda a, b: welch([a], [b]),
        permutation_type="independent",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=False,
    )
    assert above(x, y, 0.0) == pytest.approx(float(found.pvalue), abs=1e-12)


def test_many_runs_are_judged_as_by_welch() -> None:
    x, y = draw(3, [(60, 40)] * 2, 0.01)
    expected = scipy.stats.norm.sf(welch([task + 0.005 for task in x], y))
    assert above(x, y, -0.005, 20_000) == pytest.approx(expected, abs=0.01)


def test_known_answers() -> None:
    same = [np.full(3, 0.7)]
    assert above(same, same, -0.05) == 1 / 20  # of 20 ways to deal out, the one that is highest
    assert above(same, same, 0.05) == 1.0
    assert p_within(same, [np.full(3, 0.6)], 0.2, 999, np.random.default_rng(0)) == 1 / 20
    assert p_within(same, [np.full(3, 0.4)], 0.2, 999, np.random.default_rng(0)) == 1.0


@pytest.mark.parametrize("sizes", [[(2, 2)], [(3, 3)], [(2, 4)], [(2, 2), (2, 3)]], ids=str)
def test_the_floor_of_one_side(sizes: list[tuple[int, int]]) -> None:
    found = [above(*draw(seed, sizes, 2.0), 0.0) for seed in range(5)]
    assert min(found) == pytest.approx(claim_floor.smallest_p(sizes, one_sided=True))
    assert claim_floor.smallest_p(sizes, one_sided=True) == 1 / claim_floor.arrangements(sizes)


def test_one_sided_tests_need_fewer_seeds() -> None:
    # 1 / 20 is not below 5%, 1 / 70 is; of two tasks 1 / 36 is.
    lacking = claim_floor.shortage([[(2, 2)]], 1, one_sided=True)
    assert lacking == claim_floor.Shortage("runs", "4 seeds or 2 tasks")
    assert claims.reachable([[(4, 4)]], 999, one_sided=True) == [True]
    assert claims.reachable([[(3, 3)]], 999, one_sided=True) == [False]


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, math.nan])
def test_impossible_margins(margin: float) -> None:
    with pytest.raises(UserError, match=r"between 0 and 1, such as 0\.05"):
        Judging((), margin)


def test_equal_seeds_that_still_agree_do_not_make_it_rash() -> None:
    """Runs of equal seeds that are correlated: the test errs towards undecided."""
    generator = np.random.default_rng(7)
    shared, *own = generator.normal(0.0, 0.1, (3, 600, 5))
    x, y = shared + own[0] / 2 - 0.05, shared + own[1] / 2
    p = claims.p_values([x + 0.05], [y], 999, generator, one_sided=True)
    assert np.mean(p < LEVEL) < 0.03  # at 5%, with a standard error of 0.009


# --- Claims without their p-values -------------------------------------------------------


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("comparisons", [1, 7])
@pytest.mark.parametrize("sizes", [[(5, 5)], [(4, 4), (3, 2)], [(8, 8)] * 2], ids=str)
def test_claims_are_those_of_their_p_values(
    sizes: list[tuple[int, int]], comparisons: int, one_sided: bool
) -> None:
    """Stopping early where a claim is out of reach changes none."""
    generator = np.random.default_rng(4)
    x = [generator.normal(0.08, 0.05, (120, n)) for n, _ in sizes]
    y = [generator.normal(0.0, 0.05, (120, n)) for _, n in sizes]
    drawn = 1200
    p = claims.p_values(x, y, drawn, np.random.default_rng(5), drawn, one_sided)
    found = claims.claimed(x, y, comparisons, drawn, np.random.default_rng(5), one_sided)
    claimed = np.concatenate(list(found))
    assert (claimed == (p * comparisons < LEVEL)).all()
    if len(sizes) == 2:
        assert 0 < claimed.sum() < len(claimed)


def test_a_share_is_judged_as_by_all_batches() -> None:
    generator = np.random.default_rng(6)
    for share in (0.5, 0.79, 0.81, 0.95):
        batches = [generator.random(50) < share for _ in range(20)]
        expected = np.mean(np.concatenate(batches)) >= 0.8
        assert is_reached(0.8, batches) == expected
    asked = iter([np.ones(50, bool)] * 20)
    assert is_reached(0.8, asked) and len(list(asked)) > 15  # it was certain soon


def test_the_fewest_seeds() -> None:
    for needed in (2, 3, 7, 8, 63, MAX_SEEDS):
        assert fewest_seeds(needed.__le__) == needed
    assert fewest_seeds(lambda runs: False) is None


# --- Seeds that would decide -------------------------------------------------------------


def stored(difference: float, tasks: int = 6, spread: float = 0.1) -> tuple[Side, Side]:
    """Returns many scores that scatter normally and whose means differ by exactly so much."""
    quantiles = scipy.stats.norm.ppf((np.arange(200) + 0.5) / 200, 0.5, spread)
    return [quantiles + difference] * tasks, [quantiles] * tasks


def normal_seeds(spread: float, tasks: int, distance: float, *quantiles: float) -> float:
    return 2 * spread**2 / tasks * (sum(quantiles) / distance) ** 2


def test_seeds_that_would_show_equivalence() -> None:
    x, y = stored(0.0)
    # Both one-sided tests at 5% / 3, each with a power of 90%, so that both have 80%.
    expected = normal_seeds(0.1, 6, 0.05, scipy.stats.norm.isf(LEVEL / 3), 1.2816)
    assert deciding.seeds_to_decide(x, y, 0.05, 3) == pytest.approx(expected, rel=0.2)


def test_seeds_that_would_show_a_difference() -> None:
    x, y = stored(-0.12)
    expected = normal_seeds(0.1, 6, 0.12, scipy.stats.norm.isf(LEVEL / 2), 0.8416)
    assert deciding.seeds_to_decide(x, y, 0.05, 1) == pytest.approx(expected, abs=1.5)


def test_seeds_that_would_pass_or_fail_a_run() -> None:
    one_sided = scipy.stats.norm.isf(LEVEL)
    x, y = stored(0.0)
    expected = normal_seeds(0.1, 6, 0.05, one_sided, 0.8416)
    assert deciding.seeds_to_pass(x, y, 0.05, 4) == pytest.approx(expected, abs=1.5)
    x, y = stored(-0.1)
    expected = normal_seeds(0.1, 6, 0.05, scipy.stats.norm.isf(LEVEL / 4), 0.8416)
    assert deciding.seeds_to_pass(x, y, 0.05, 4) == pytest.approx(expected, rel=0.2)


def test_what_no_seeds_would_decide() -> None:
    x, y = stored(-0.05)  # the margin itself: neither more nor less
    assert deciding.seeds_to_pass(x, y, 0.05, 1) == math.inf
    assert math.isnan(deciding.seeds_to_decide([x[0][:1]], [y[0]], 0.05, 1))


# --- The benchmark -----------------------------------------------------------------------


def test_size_and_power_are_measured_where_they_are_known() -> None:
    # 400 trials at 5%: a standard error of 0.011.
    found = benchmark.row("normal", 6, 10, 400)
    assert 0.02 < found["size_not_worse"] < LEVEL + 2.5 * 0.011
    assert found["size_equivalent"] < LEVEL + 2.5 * 0.011
    error = 0.1 * math.sqrt(2 / 10 / 6)
    power = scipy.stats.norm.cdf(0.05 / error - scipy.stats.norm.isf(LEVEL))
    assert found["power_not_worse"] == pytest.approx(power, abs=0.06)
    assert found["power_equivalent"] == pytest.approx(2 * power - 1, abs=0.06)
