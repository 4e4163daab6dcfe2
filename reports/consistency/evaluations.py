"""Whether a cell was evaluated where its protocol says, and took the steps that this takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from reports.consistency.evidence import Contradicted, Evidence
from reports.consistency.likeness import Marks

_NEARLY_ALL = 0.75

Point = tuple[int, str]
"""Updates before an evaluation, and its mode."""


def off_the_grid(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields where the evaluations of a cell are not those of its protocol, in their order.

    A run that is finished has all of them, one that diverged or goes on has the first ones.
    """
    status, protocol = evidence.status, evidence.protocol
    total = status.total_updates if status else protocol.updates
    if not evidence.rows or not 0 < total <= protocol.updates:
        return  # the ledger speaks of such a total
    grid = protocol.evaluation_grid(total)
    due = [(updates, mode) for updates in grid for mode in evidence.modes]
    found = [(row.updates, row.mode) for row in evidence.rows]
    complete = status is not None and status.state == "done"
    wanted = due if complete else due[: len(found)]
    if found == wanted:
        return
    steps = protocol.steps_per_update
    yield "off the grid", f"{_difference(found, due, complete)}; an update is {steps:,} steps"


def _difference(found: Sequence[Point], due: Sequence[Point], complete: bool) -> str:
    """Says what is wrong with the evaluations that were found, the plainest first."""
    known = set(due)
    if strange := [point for point in found if point not in known]:
        grid = list(dict.fromkeys(updates for updates, _ in due))
        shown = ", ".join(map(str, grid[:4])) + (", ..." if len(grid) > 4 else "")
        return f"was evaluated after {_told(strange[0])}, but the protocol's grid is {shown}"
    if repeated := [point for point, count in Counter(found).items() if count > 1]:
        return f"was evaluated twice after {_told(repeated[0])}"
    end = len(due) if complete else due.index(found[-1])
    if missing := [point for point in due[:end] if point not in set(found)]:
        return f"lacks {len(missing)} of {len(due)} evaluations, first after {_told(missing[0])}"
    later = next(
        (point for point, before in zip(found[1:], found, strict=False) if point < before),
        found[0],
    )
    return f"has its evaluations in another order, first after {_told(later)}"


def _told(point: Point) -> str:
    return f"{point[0]:,} updates ({point[1]})"


def steps_of_evaluations(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields where eval_steps are not episodes x steps x modes.

    An episode that the task ends takes fewer steps, but then hardly equally many in every
    evaluation. How long an episode can be, states.npz tells.
    """
    taken = evidence.eval_steps
    if not taken:
        return
    episodes = evidence.points[0].episodes * len(evidence.modes)
    shortest, longest = episode_length(evidence.seen_at)
    for point, steps in zip(evidence.points, taken, strict=True):
        if not episodes <= steps <= episodes * longest:
            most = f" and at most {episodes * longest:,.0f}" if longest < np.inf else ""
            text = f"says {steps:,} evaluation steps at {point.env_steps:,} steps, where "
            yield "evaluation steps", f"{text}{episodes} episodes take at least {episodes:,}{most}"
            return
    whole = shortest * episodes <= taken[0] and taken[0] % episodes == 0
    if len(taken) > 1 and len(set(taken)) == 1 and not whole:
        length = f" of {shortest:,} steps" if shortest > 1 else ""
        text = f"says {taken[0]:,} evaluation steps in every evaluation, which {episodes} episodes"
        yield "evaluation steps", f"{text}{length} do not make"


def episode_length(seen_at: Sequence[int]) -> tuple[int, float]:
    """Returns the least and the greatest number of steps that a whole episode can have.

    Args:
        seen_at: [K] steps whose observations are kept, `length * i // K`; none if not known.
    """
    count, least, most = len(seen_at), 1, np.inf
    for index, step in enumerate(seen_at):
        if index:
            least = max(least, -(-count * step // index))
            most = min(most, (count * (step + 1) - 1) // index)
    return least, most


def odd_lengths(cells: Mapping[str, Marks]) -> Iterator[tuple[str, Contradicted]]:
    """Yields cells whose episodes took other steps than nearly all of their task's.

    A task that ends episodes has evaluations of many lengths, of which none is nearly all.

    Args:
        cells: by name.

    Yields:
        The name of a cell, and whether all of its evaluations are odd, as only a changed count
        explains, or some, as numbers that stopped being finite may.
    """
    tasks: dict[str, dict[str, list[float]]] = {}
    for name, marks in cells.items():
        episodes = max(1, marks.returns.shape[1] * marks.returns.shape[2])
        tasks.setdefault(marks.task, {})[name] = [each / episodes for each in marks.eval_steps]
    for lengths in tasks.values():
        counts = Counter(length for each in lengths.values() for length in each)
        usual, times = counts.most_common(1)[0] if counts else (0.0, 0)
        if times < _NEARLY_ALL * counts.total():
            continue
        for name, each in lengths.items():
            if odd := [length for length in each if length != usual]:
                text = f"says {odd[0]:,.6g} steps an episode in {len(odd)} of {len(each)} "
                text += f"evaluations, where nearly all of the task's took {usual:,g}"
                every = len(odd) == len(each)
                yield name, ("evaluation steps" if every else "short episodes", text)
