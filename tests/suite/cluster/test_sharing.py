"""The order of jobs, their tries, and how long a division takes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.cluster.sharing import Sharing, lower_bound, makespan, seeds_each
from suite.storage.records import Job

JOBS = {name: Job(name, "CheetahRun", (0, 1)) for name in ("a", "b", "c")}


def best(lengths: list[float], workers: int) -> float:
    """Returns the least makespan, by trying every division."""
    found = []
    for division in itertools.product(range(workers), repeat=len(lengths)):
        sums = [0.0] * workers
        for worker, length in zip(division, lengths, strict=True):
            sums[worker] += length
        found.append(max(sums))
    return min(found)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 3))
def test_longest_first_is_within_grahams_bound_of_the_best(
    lengths: list[int], workers: int
) -> None:
    values = [float(each) for each in lengths]
    least = best(values, workers)
    assert lower_bound(values, workers) <= least + 1e-9
    assert least - 1e-9 <= makespan(values, workers) <= (4 / 3) * least + 1e-9


def test_workers_that_are_busy_take_part_when_they_are_free() -> None:
    assert makespan([4.0, 1.0], 2, busy=[3.0]) == 4.0
    assert makespan([], 2, busy=[3.0]) == 3.0
    assert makespan([], 2) == 0.0


@pytest.mark.parametrize(
    ("seeds", "workers", "together"),
    [
        ([5], 1, 5),
        ([5], 2, 4),
        ([5], 3, 2),
        ([5], 5, 1),
        ([5], 9, 1),
        ([5, 5], 2, 5),
        ([5, 5], 4, 4),
    ],
)
def test_seeds_stay_together_as_far_as_workers_have_enough_to_do(
    seeds: list[int], workers: int, together: int
) -> None:
    assert seeds_each(seeds, workers) == together


def test_the_longest_that_waits_is_first() -> None:
    sharing = Sharing(lambda job: 0)
    sharing.look_up({JOBS["a"]: 1.0, JOBS["b"]: 3.0, JOBS["c"]: 2.0})
    assert [job.algorithm for job in sharing.waiting] == ["b", "c", "a"]
    sharing.start(JOBS["b"], "w")
    sharing.hold(JOBS["c"], 9.0)
    assert [job.algorithm for job in sharing.waiting] == ["a"]


def test_of_equals_every_method_s_first_seed_comes_first() -> None:
    """Its program is then compiled once, and at hand for the other seeds."""
    sharing = Sharing(lambda job: 0)
    apart = [Job(name, "CheetahRun", (seed,)) for name in ("a", "b") for seed in (0, 1)]
    sharing.look_up(dict.fromkeys(apart, 1.0))
    assert [(job.algorithm, *job.seeds) for job in sharing.waiting] == [
        ("a", 0), ("b", 0), ("a", 1), ("b", 1),
    ]  # fmt: skip


def test_a_try_that_stored_something_is_not_in_vain() -> None:
    stored = {"a": 0}
    sharing = Sharing(lambda job: stored[job.algorithm])
    sharing.look_up({JOBS["a"]: 1.0})
    for _ in range(5):  # as a worker that is killed every hour
        sharing.start(JOBS["a"], "w")
        stored["a"] += 100
        assert sharing.fail(JOBS["a"], "gone", fault=True) == 1
    for tried in (2, 3):
        assert sharing.waiting
        sharing.start(JOBS["a"], "w")
        assert sharing.fail(JOBS["a"], "gone", fault=True) == tried
    assert not sharing.waiting
    assert [failure.job for failure in sharing.failures] == [JOBS["a"]]
