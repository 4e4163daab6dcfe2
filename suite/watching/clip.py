"""Films one episode of each stored policy of a task, for `suite watch`.

All start in one and the same state, the first that the protocol's evaluations start in.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from algorithms.api import Algorithm, Mode, PyTree
from algorithms.names import NAMES
from envs.api import Task
from envs.engines.choice import AUTO
from envs.engines.pictures import Draw, drawable, drawing, step_seconds
from envs.engines.playground import PlaygroundTask
from suite.common.errors import UserError
from suite.common.files import atomic_write, make_directory
from suite.compute.evaluation import start_states
from suite.configuration.selection import format_seeds
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.sample_actions import StoredPolicy, select_cells, stored_policies
from suite.training.stored_policies import trust_files
from suite.watching.episodes import Played, play
from suite.watching.strip import FPS, PANEL, Strip, check_writable, encode

MAX_PANELS = 12
"""Beyond that nothing can be seen any more, and the frames fill the memory."""

MAX_SECONDS = 10

OpenDrawing = Callable[[PlaygroundTask, int], contextlib.AbstractContextManager[Draw]]
"""Starts what draws the states of a task, in pictures of so many pixels."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """A policy of a clip.

    Attributes:
        cell: whose.
        env_steps: that it was trained for.
        shown: undiscounted return up to the clip's last frame.
        whole: that of the whole episode.
        steps: that the episode took, or None if it lasted until the time limit.
    """

    cell: Cell
    env_steps: int
    shown: float
    whole: float
    steps: int | None


@dataclasses.dataclass(frozen=True)
class Clip:
    """What was filmed.

    Attributes:
        path: of the file.
        bytes: its size.
        frames: how many it has.
        panels: from left to right.
        notes: what was left out.
    """

    path: Path
    bytes: int
    frames: int
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]


def make_clip(
    run: RunDirectory,
    task: str,
    out: Path,
    algorithms: str | None = None,
    seed: int | None = None,
    mode: Mode = "deterministic",
    seconds: float = MAX_SECONDS,
    trust: bool = False,
    open_drawing: OpenDrawing = drawing,
) -> Clip:
    """Plays one episode of each method's policy, and writes the clip of all of them.

    Args:
        run: where the policies are.
        task: its name.
        out: the file, which ends in .webp.
        algorithms: as in `select_methods`; by default all that have a policy.
        seed: of training; by default each method's first that has a policy.
        mode: `deterministic` or `sample`.
        seconds: of the episode, at its own speed; the clip ends with the episode.
        trust: whether files of methods and tasks that the run keeps may be executed.
        open_drawing: starts what draws.

    Raises:
        UserError: nothing stored is selected, or too much, or a file is damaged.
        EnvError: the task cannot be drawn, or nothing draws here.
    """
    check_writable(out)
    chosen, notes = _choose(run, task, algorithms, seed)
    if trust:
        trust_files(run, [policy.cell for policy in chosen])
    # A run on a GPU may be watched without one: on a CPU MuJoCo itself steps it.
    actors = [policy.load(run, engine=AUTO) for policy in chosen]
    pictured = drawable(actors[0][1])
    times, steps = frame_steps(pictured.episode_length, step_seconds(pictured), seconds)
    # Minutes are not spent on what cannot be drawn or written.
    with open_drawing(pictured, PANEL) as draw:
        make_directory(out.parent)
        played = _play_all(run, actors, mode)
        strip = Strip(len(chosen))
        frames = [
            strip.frame(
                f"{task}, {mode}, {time:.2f} s",
                [draw(each.rows[step]) for each in played],
                [_label(*pair, step) for pair in zip(chosen, played, strict=True)],
            )
            for time, step in zip(times, steps, strict=True)
        ]
    content = encode(frames)
    atomic_write(out, content)
    panels = [_panel(run, *pair, steps[-1]) for pair in zip(chosen, played, strict=True)]
    return Clip(out, len(content), len(frames), tuple(panels), notes)


def frame_steps(
    length: int, step_seconds: float, seconds: float
) -> tuple[Sequence[float], Sequence[int]]:
    """Returns when each frame is, and the control step that it shows.

    Args:
        length: control steps of an episode.
        step_seconds: simulated seconds of one.
        seconds: of the clip, at most; there is at least one frame.
    """
    count = max(1, round(min(seconds, length * step_seconds) * FPS))
    times = [index / FPS for index in range(count)]
    return times, [min(length, round(time / step_seconds)) for time in times]


def _play_all(
    run: RunDirectory, actors: Sequence[tuple[Algorithm[Any], Task, PyTree]], mode: Mode
) -> list[Played]:
    """Plays an episode of each, with the same start and the same random key."""
    protocol = run.protocol
    starts = start_states(actors[0][1], protocol.eval_episodes, protocol.eval_seed)
    start = jax.tree.map(lambda leaf: leaf[:1], starts)
    key = jax.random.fold_in(jax.random.key(protocol.eval_seed), 1)
    return [play(algorithm, task, state, start, key, mode) for algorithm, task, state in actors]


def _choose(
    run: RunDirectory, task: str, algorithms: str | None, seed: int | None
) -> tuple[list[StoredPolicy], tuple[str, ...]]:
    """Returns the newest policy of each method, in the order of the registry.

    Raises:
        UserError: there is none, or none of a method that was asked for.
    """
    cells = select_cells(run, task, algorithms, None)
    names = list(dict.fromkeys(cell.algorithm for cell in cells))
    known = {name: place for place, name in enumerate(NAMES)}
    names.sort(key=lambda name: known.get(name, len(known)))
    chosen, notes = [], []
    for name in names:
        of_method = [cell for cell in cells if cell.algorithm == name]
        newest = _newest(run, of_method, seed)
        if newest is not None:
            chosen.append(newest)
            continue
        missing = _missing(of_method, seed)
        if algorithms is not None:
            raise UserError(f"{run.path} has {missing}")
        notes.append(f"{missing}: left out")
    if not chosen:
        raise _nothing(run, task, cells, seed)
    if len(chosen) > MAX_PANELS:
        raise UserError(
            f"{len(chosen)} methods are too many to watch; choose up to {MAX_PANELS} with --algos"
        )
    return chosen, tuple(notes)


def _newest(run: RunDirectory, cells: Sequence[Cell], seed: int | None) -> StoredPolicy | None:
    """Returns the newest policy of the first cell that has one."""
    for cell in cells:
        if seed in (None, cell.seed) and (stored := stored_policies(run, cell)):
            return stored[-1]
    return None


def _nothing(run: RunDirectory, task: str, cells: Sequence[Cell], seed: int | None) -> UserError:
    known = {cell.seed for cell in cells}
    if seed is not None and seed not in known:
        known_seeds = format_seeds(sorted(known))
        return UserError(f"{run.path} has no seed {seed} of {task}; it has {known_seeds}")
    return UserError(
        f"{run.path} has no stored policy of {task}{'' if seed is None else f' with seed {seed}'}; "
        "policies lie beside the curves where they were trained, not in copies of results"
    )


def _missing(cells: Sequence[Cell], seed: int | None) -> str:
    """Says that none of a method's cells has a policy."""
    seeds = [cell.seed for cell in cells]
    which = cells[0].algorithm if seed is None else f"{cells[0].algorithm} with seed {seed}"
    trained = f"trained with seed {format_seeds(seeds)}"
    return f"no stored policy of {which} on {cells[0].task} ({trained})"


def _label(policy: StoredPolicy, played: Played, step: int) -> tuple[str, str]:
    over = played.over is not None and step >= played.over
    told = f"return {played.returns[step]:.1f}{' (over)' if over else ''}"
    return f"{policy.cell.algorithm}, seed {policy.cell.seed}", told


def _panel(run: RunDirectory, policy: StoredPolicy, played: Played, step: int) -> Panel:
    returns = played.returns
    shown, whole = float(returns[step]), float(returns[-1])
    return Panel(policy.cell, policy.env_steps(run), shown, whole, played.over)
