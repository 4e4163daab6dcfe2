"""What a number of runs can decide at all: the floor of the p-values that claims rest on.

Plain arithmetic, so that a plan can say before training what a report would have to say after
it. The test itself is in reports/analysis/claims.py.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

Sizes = Sequence[tuple[int, int]]
"""Runs of the one and of the other algorithm, for each task."""

LEVEL = 0.05
"""Family-wise error rate of the claims, which are p-values below it."""

ENUMERATED = 50_000
"""Most ways to deal out the runs that are all looked at; of more, random ones are drawn."""

PERMUTATIONS = 50_000
"""Random ways that are drawn unless said otherwise."""


Runs = Mapping[tuple[str, str], int]
"""Number of runs, by algorithm (and the like) and task."""


@dataclasses.dataclass(frozen=True)
class Shortage:
    """Why a claim is out of reach whatever the scores, and what would mend it.

    Attributes:
        of: what there is too little of, `runs` or `permutations`.
        remedy: `6 seeds or 2 tasks`, or `--reps 200`.
    """

    of: str
    remedy: str

    def sentence(self, what: str) -> str:
        """Returns `too few runs to tell them apart: needs 6 seeds or 2 tasks`.

        Args:
            what: ` them apart`, with a space in front; may be empty.
        """
        return f"too few {self.of} to tell{what}: needs {self.remedy}"


def arrangements(sizes: Sizes) -> int:
    """Returns in how many ways the runs of two algorithms can be dealt out within each task."""
    return math.prod(math.comb(first + second, first) for first, second in sizes)


def sizes_of(runs: Runs, first: str, second: str) -> Sizes:
    """Returns the runs of two algorithms on each task that both have."""
    tasks = sorted({task for _, task in runs})
    counts = [(runs.get((first, task), 0), runs.get((second, task), 0)) for task in tasks]
    return [pair for pair in counts if all(pair)]


def smallest_p(sizes: Sizes, permutations: int = PERMUTATIONS, one_sided: bool = False) -> float:
    """Returns the smallest p-value that any scores of so many runs can have.

    Where both algorithms have as many runs on every task, each way to deal them out has a
    mirror image that is as extreme, so the most extreme one is never alone unless the side
    counts.

    Args:
        sizes: runs of both algorithms on each task; no task, no evidence.
        permutations: that are drawn where there are more than `ENUMERATED` ways.
        one_sided: whether only one of the two scoring higher is evidence.
    """
    mirrored = not one_sided and all(first == second for first, second in sizes)
    alike = 2 if mirrored else 1
    ways = arrangements(sizes)
    exact = min(1.0, alike / ways)
    return exact if ways <= ENUMERATED else max(exact, 1 / (permutations + 1))


def seeds_to_tell(tasks: int, comparisons: int, one_sided: bool = False) -> int:
    """Returns the fewest seeds of each algorithm with which a claim is possible at all.

    Args:
        tasks: at least 1.
        comparisons: number of claims that Holm's correction starts from.
        one_sided: as of `smallest_p`.
    """
    possible = (n for n in itertools.count(1) if _exact(n, tasks, one_sided) * comparisons < LEVEL)
    return next(possible)


def tasks_to_tell(seeds: int, comparisons: int, one_sided: bool = False) -> int:
    """Returns the fewest tasks with which a claim is possible at all, given seeds of each."""
    possible = (m for m in itertools.count(1) if _exact(seeds, m, one_sided) * comparisons < LEVEL)
    return next(possible)


def shortage(
    pairs: Iterable[Sizes],
    comparisons: int,
    permutations: int = PERMUTATIONS,
    one_sided: bool = False,
) -> Shortage | None:
    """Returns what the comparisons lack of which none can become a claim, None without any.

    Args:
        pairs: runs of those that are out of reach.
        comparisons: number of all comparisons, which Holm's correction starts from.
        permutations, one_sided: as of `smallest_p`.
    """
    sizes = [list(pair) for pair in pairs]
    if not sizes:
        return None
    tasks = max(1, min(map(len, sizes)))
    seeds = min((n for pair in sizes for counts in pair for n in counts), default=0)
    enough = seeds_to_tell(tasks, comparisons, one_sided)
    if seeds >= enough:
        return Shortage("permutations", f"--reps {_permutations_to_tell(comparisons)}")
    remedy = f"{enough} seeds"
    if seeds:
        remedy += f" or {tasks_to_tell(seeds, comparisons, one_sided)} tasks"
    return Shortage("runs", remedy)


def shortage_of_all(pairs: Sequence[Sizes], permutations: int = PERMUTATIONS) -> Shortage | None:
    """Returns what is lacking if none of the comparisons can become a claim, None if one can.

    Args:
        pairs: runs of all comparisons that are corrected together.
        permutations: as of `smallest_p`.
    """
    smallest = min((smallest_p(sizes, permutations) for sizes in pairs), default=0.0)
    return shortage(pairs, len(pairs), permutations) if smallest * len(pairs) >= LEVEL else None


def _exact(seeds: int, tasks: int, one_sided: bool) -> float:
    """Returns the smallest p-value of equally many runs if all ways were looked at."""
    ways: int = math.comb(2 * seeds, seeds) ** tasks
    return (1 if one_sided else 2) / ways


def _permutations_to_tell(comparisons: int) -> int:
    return next(r for r in itertools.count(1) if comparisons / (r + 1) < LEVEL)
