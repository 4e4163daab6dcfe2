"""The test that claims rest on, its floor and its power, against enumeration and slow loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from benchmarks.claims import compared, family_wise_size, reported
from reports.analysis import claims
from reports.judgement import power as simulation
from suite.common import claim_floor
from suite.common.claim_floor import LEVEL, Shortage


def draw(
    seed: int, sizes: list[tuple[int, int]], apart: float = 0.0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    x = [generator.normal(0.5 + apart, 0.1, n) for n, _ in sizes]
    y = [generator.normal(0.5, 0.1, n) for _, n in sizes]
    return x, y


def welch(x: list[np.ndarray], y: list[np.ndarray]) -> float:
    """Returns |t| of the difference of the means over tasks, infinite where nothing scatters."""
    difference = sum(float(a.mean() - b.mean()) for a, b in zip(x, y, strict=True))
    variance = sum(
        float(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) for a, b in zip(x, y, strict=True)
    )
    if variance < 1e-15:
        return math.inf if abs(difference) > 1e-9 else 0.0
    return abs(difference) / math.sqrt(variance)


def exact_p(x: list[np.ndarray], y: list[np.ndarray]) -> float:
    """Enumerates every way to deal out the runs within each task."""
    pooled = [np.concatenate(pair) for pair in zip(x, y, strict=True)]
    choices = [
        itertools.combinations(range(len(p)), len(a)) for p, a in zip(pooled, x, strict=True)
    ]
    observed, extreme = welch(x, y), []
    for chosen in itertools.product(*choices):
        first = [p[list(c)] for p, c in zip(pooled, chosen, strict=True)]
        second = [np.delete(p, c) for p, c in zip(pooled, chosen, strict=True)]
        extreme.append(welch(first, second) >= observed - 1e-6)
    return float(np.mean(extreme))


def p_of(x: list[np.ndarray], y: list[np.ndarray], repetitions: int = 999) -> float:
    return claims.permutation_test(x, y, repetitions, np.random.default_rng(0))


@pytest.mark.parametrize(
    "sizes", [[(3, 3)], [(2, 5)], [(5, 5)], [(3, 3), (3, 2)], [(2, 2)] * 3], ids=str
)
def test_few_permutations_are_all_looked_at(sizes: list[tuple[int, int]]) -> None:
    for seed, apart in enumerate((0.0, 0.1)):
        x, y = draw(seed, sizes, apart)
        assert p_of(x, y) == pytest.approx(exact_p(x, y), abs=1e-12)


def test_scores_without_any_spread() -> None:
    same = [np.full(3, 0.7)]
    assert p_of(same, [np.full(3, 0.1)]) == pytest.approx(2 / 20)
    assert p_of(same, same) == 1.0
    # A failed run among equal ones, as diverged runs that count as 0.
    x, y = [np.array([0.7, 0.7, 0.0])], [np.zeros(3)]
    assert p_of(x, y) == pytest.approx(exact_p(x, y))


def test_one_run_each_is_judged_by_the_tasks() -> None:
    """Without a spread within tasks the test is that of the signs of the differences."""
    x, y = [np.array([0.6 + m / 100]) for m in range(6)], [np.array([0.5])] * 6
    assert p_of(x, y) == pytest.approx(2 / 2**6)


def test_many_permutations_are_drawn() -> None:
    x, y = draw(3, [(4, 5), (3, 4)], 0.05)  # 126 x 35 of them
    one_x, one_y = ([task[None] for task in side] for side in (x, y))
    drawn = claims.p_values(one_x, one_y, 20_000, np.random.default_rng(0), enumerated=0)
    assert drawn[0] == pytest.approx(p_of(x, y), abs=0.01)
    far = draw(4, [(5, 5)] * 6, 2.0)
    assert p_of(*far) == pytest.approx(1 / 1000)  # itself alone, and never 0


def test_many_tasks_are_judged_together() -> None:
    """With many runs the p-value is that of Welch's test of the mean over tasks."""
    x, y = draw(5, [(40, 60)] * 3, 0.02)
    assert p_of(x, y, 20_000) == pytest.approx(2 * scipy.stats.norm.sf(welch(x, y)), abs=0.01)


@pytest.mark.parametrize(
    "sizes", [[(2, 2)], [(3, 3)], [(2, 4)], [(2, 2), (2, 2)], [(2, 2), (2, 3)], [(1, 1)] * 4],
    ids=str,
)  # fmt: skip
def test_floor_is_the_smallest_p_of_all(sizes: list[tuple[int, int]]) -> None:
    found = [p_of(*draw(seed, sizes, 1.0)) for seed in range(10)]
    assert min(found) == pytest.approx(claim_floor.smallest_p(sizes))
    # Four random scores in every order: nothing lies below it.
    found = [p_of(*draw(seed, sizes)) for seed in range(100)]
    assert min(found) >= claim_floor.smallest_p(sizes) - 1e-12


def test_floor_of_drawn_permutations() -> None:
    assert claim_floor.smallest_p([(5, 5)] * 6, 199) == 1 / 200
    assert claim_floor.smallest_p([(9, 9)], 199) == 2 / 48_620  # all are looked at
    assert claim_floor.smallest_p([]) == 1.0


@pytest.mark.parametrize("tasks", [1, 2, 6])
@pytest.mark.parametrize("comparisons", [1, 10, 15])
def test_as_many_seeds_or_tasks_as_needed_are_just_enough(tasks: int, comparisons: int) -> None:
    def possible(seeds: int, tasks: int) -> bool:
        sizes = tuple([(seeds, seeds)] * tasks)
        return any(claims.reachable([sizes] * comparisons, 50_000))

    seeds = claim_floor.seeds_to_tell(tasks, comparisons)
    assert possible(seeds, tasks) and not possible(seeds - 1, tasks)
    more = claim_floor.tasks_to_tell(2, comparisons)
    assert possible(2, more) and not possible(2, more - 1)


def test_what_is_lacking_is_named() -> None:
    def lacking(pairs: int, seeds: int, tasks: int, permutations: int = 999) -> Shortage | None:
        return claim_floor.shortage_of_all([[(seeds, seeds)] * tasks] * pairs, permutations)

    # Ten pairs: 10 x 2 / 252 = .079 at five seeds, 10 x 2 / 924 = .022 at six.
    assert lacking(10, 5, 1) == Shortage("runs", "6 seeds or 2 tasks")
    assert lacking(10, 6, 1) is None
    assert lacking(0, 1, 1) is None
    drawn = lacking(10, 5, 6, permutations=199)
    assert drawn == Shortage("permutations", "--reps 200")
    assert drawn.sentence(" them") == "too few permutations to tell them: needs --reps 200"
    assert lacking(10, 5, 6, permutations=200) is None
    # A pair with runs enough makes a claim possible, whatever the others lack.
    assert claim_floor.shortage_of_all([[(2, 2)], [(6, 6)]]) is None
    runs = {("a", "s"): 3, ("b", "s"): 2, ("a", "t"): 1}
    assert claim_floor.sizes_of(runs, "a", "b") == [(3, 2)]


def test_a_pair_is_within_reach_once_others_are_claimed() -> None:
    """Holm's second step divides by one less: 2/70 x 2 is too much, 2/70 is not."""
    small, large = ((4, 4),), ((6, 6),)
    assert claims.reachable([small, small], 999) == [False, False]
    assert claims.reachable([small, large], 999) == [True, True]


@pytest.mark.parametrize(
    ("spread", "sizes", "most"),
    [
        ((0.1, 0.1), (5, 5), LEVEL),
        ((0.1, 0.1), (3, 6), LEVEL),
        # Where fewer runs scatter more, an unstudentised difference is wrong in 15%.
        ((0.1, 0.025), (3, 6), 0.07),
    ],
)
def test_size_of_a_pair(spread: tuple[float, float], sizes: tuple[int, int], most: float) -> None:
    generator = np.random.default_rng(7)
    x, y = (
        [generator.normal(0.5, s, (800, n)) for _ in range(6)]
        for s, n in zip(spread, sizes, strict=True)
    )
    p = claims.p_values(x, y, 499, generator)
    # 800 trials at 5%: a standard error of 0.008.
    assert 0.03 < np.mean(p < LEVEL) < most + 2.5 * 0.008


def test_size_of_ten_pairs() -> None:
    """With six seeds on one task all 924 permutations are looked at: 0.022 can be reached."""
    size = family_wise_size(tasks=1, seeds=6, trials=400)
    assert 0 < size < LEVEL + 2.5 * 0.011
    assert family_wise_size(tasks=1, seeds=5, trials=50) == 0


def test_the_benchmark_compares_the_tests() -> None:
    row = compared("normal", tasks=2, seeds=3, delta=1.0, trials=20)
    assert row["studentised"] == row["mean"] == row["IQM"] == row["Welch"] == 1.0
    assert reported(tasks=1, seeds=3, trials=10)["power"]["0.3"] == 0.0


def test_power_is_that_of_a_slow_loop() -> None:
    x, y = draw(8, [(8, 8)] * 2)
    generator = np.random.default_rng(9)
    shown = []
    for _ in range(300):
        # Normal scatter of the stored spread: what the smoothed draw comes to for such scores.
        a = [generator.normal(0.15, task.std(ddof=1), 4) for task in x]
        b = [generator.normal(0.0, task.std(ddof=1), 4) for task in y]
        shown.append(p_of(a, b, 399) < LEVEL / 3)
    power = simulation.simulated_power(x, y, 4, 0.15, comparisons=3)
    assert 0.3 < power < 0.9
    # Standard errors of 0.028 and 0.022.
    assert power == pytest.approx(np.mean(shown), abs=0.1)


def test_no_power_below_the_floor() -> None:
    x, y = draw(1, [(5, 5)])
    assert simulation.simulated_power(x, y, 5, 0.9, comparisons=10) == 0.0
    assert simulation.simulated_power(x, y, 6, 0.9, comparisons=10) == 1.0
    assert simulation.Power(x, y, 0.9, 10).seeds_needed() == 6


def test_seeds_needed_are_the_fewest_with_the_power() -> None:
    x, y = draw(2, [(5, 5)] * 2)
    power = simulation.Power(x, y, 0.1)
    seeds = power.seeds_needed()
    assert seeds is not None
    assert power.at(seeds) >= 0.8 > power.at(seeds - 1)


def test_no_number_of_seeds_is_made_up() -> None:
    x, y = draw(2, [(5, 5)])
    assert simulation.simulated_power(x, y, simulation.MAX_SEEDS, 0.001) < 0.2
    assert simulation.Power(x, y, 0.001).seeds_needed() is None


def test_simulated_runs_spread_like_the_stored_ones() -> None:
    generator = np.random.default_rng(0)
    for stored in (np.array([0.2, 0.4]), np.array([0.0, 0.7, 0.72, 0.69, 0.71])):
        drawn = simulation._like(stored, 4000, 20, generator)
        assert drawn.mean() == pytest.approx(0.0, abs=0.005)
        assert drawn.std() == pytest.approx(stored.std(ddof=1), rel=0.02)
