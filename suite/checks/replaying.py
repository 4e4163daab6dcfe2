"""That a method learns from what it was given, and from nothing else in its buffers.

A buffer is an array of the state in which numbers of a rollout are found again. Before anything
is put in, it is filled with other numbers, twice; whatever else then differs was read from them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import PyTree, Rollout
from algorithms.parts import learning_warm_up
from algorithms.parts.replay import Replay
from suite.checks.check import Check, Failed, Skipped
from suite.checks.made_up import made_up
from suite.checks.repeating import keystr, leaves
from suite.checks.subject import Subject
from suite.contract.compiling import compiled

_FEWEST = 8
"""Numbers of a rollout that make a buffer of an array."""

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Pass:
    """What two rollouts made of a state.

    Attributes:
        end: the state's arrays and the metrics by path.
        rollouts: what was put in.
    """

    end: Arrays
    rollouts: tuple[Rollout, ...]


def replay(subject: Subject) -> str:
    """Fills the buffers with other numbers beforehand, and looks for them in what comes out."""
    if not _may_keep(subject):
        raise Skipped("no array of the state could hold rollouts")
    algorithm = subject.wiring.algorithm
    start = compiled(algorithm.init)(jax.random.key(0))
    pass_ = _passes(subject)
    plain = pass_(start)
    names = _buffers(start, plain)
    if not names:
        raise Skipped("no numbers of a rollout are found again in the state")
    filled = [_filled(start, names, seed) for seed in (1, 2)]
    _hold_apart(names, filled, [pass_(state) for state in filled])
    _hold_aligned(names, plain)
    return f"{len(names)} arrays keep rollouts"


def _may_keep(subject: Subject) -> bool:
    """Returns whether a state has matrices that are no parameters or the moments of some."""
    algorithm = subject.wiring.algorithm
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    trained = {leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(algorithm.parameters, state))}
    return any(leaf.ndim > 1 and leaf.shape not in trained for leaf in jax.tree.leaves(state))


def _passes(subject: Subject) -> Any:
    """Returns a function that gives a state two rollouts, as the first two of a run are given."""
    algorithm = subject.wiring.algorithm
    stages = algorithm.stages()
    act = functools.partial(algorithm.act, mode="sample")

    def run(state: PyTree) -> tuple[PyTree, tuple[Rollout, ...]]:
        first, second, update_key, advance_key = jax.random.split(jax.random.key(1), 4)
        if stages[0].warm_up:
            length = learning_warm_up.rollout_length(algorithm)
            one = made_up(algorithm, state, first, algorithm.explore, length)
            state = learning_warm_up.taken_in(algorithm, state, one, first)
            state = algorithm.advance(state, advance_key)
        else:
            one = made_up(algorithm, state, first, act)
            state, _ = algorithm.update(state, one, jax.random.fold_in(update_key, 0))
        two = made_up(algorithm, state, second, act)
        state, metrics = algorithm.update(state, two, update_key)
        end = {"state": state, "metric": metrics}
        if len(stages) > 1 and not stages[0].warm_up:
            parameters = algorithm.parameters(algorithm.advance(state, advance_key))
            end["parameters after advance"] = parameters
        return end, (one, two)

    whole = compiled(run)

    def run_once(state: PyTree) -> _Pass:
        end, rollouts = whole(state)
        arrays = {keystr(path): leaf for path, leaf in leaves(end)}
        return _Pass(arrays, jax.device_get(rollouts))

    return run_once


def _buffers(start: PyTree, plain: _Pass) -> list[str]:
    """Returns the paths of the arrays that hold rollouts, and of those beside them."""
    seen = np.concatenate([_bits(np.asarray(rollout.obs)) for rollout in plain.rollouts])
    arrays = {keystr(path): path for path, _ in leaves({"state": start})}
    found = {
        name
        for name in arrays
        if np.isin(_bits(plain.end[name]), seen).sum() >= min(_FEWEST, plain.end[name].size)
        and plain.end[name].size > 1
    }
    parents = {arrays[name][:-1] for name in found}
    lengths = {len(plain.end[name]) for name in found}
    rings = _rings(start)
    return [
        name
        for name, path in arrays.items()
        if (path[:-1] in parents and plain.end[name].ndim and len(plain.end[name]) in lengths)
        or any(name.startswith(ring) for ring in rings)
    ]


def _rings(start: PyTree) -> list[str]:
    """Returns the paths of the rings of `algorithms.parts.replay`."""
    nodes = jax.tree_util.tree_leaves_with_path(
        {"state": start}, is_leaf=lambda node: isinstance(node, Replay)
    )
    return [f"{keystr(path)}.ring" for path, node in nodes if isinstance(node, Replay)]


def _filled(start: PyTree, names: list[str], seed: int) -> PyTree:
    """Returns a state whose buffers hold numbers that nobody put in."""
    rng = np.random.default_rng(seed)

    def fill(path: tuple[object, ...], leaf: jax.Array) -> jax.Array:
        if keystr((jax.tree_util.DictKey("state"), *path)) not in names:
            return leaf
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(rng.normal(0, 1, leaf.shape), leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.asarray(rng.integers(0, 100, leaf.shape), leaf.dtype)
        return leaf

    return jax.tree_util.tree_map_with_path(fill, start)


def _hold_apart(names: list[str], starts: list[PyTree], passes: list[_Pass]) -> None:
    """Refuses what depends on the numbers that nobody put in, but for those themselves."""
    before = [{keystr(path): leaf for path, leaf in leaves({"state": each})} for each in starts]
    for name, one in passes[0].end.items():
        other = passes[1].end[name]
        differs = _bits(one) != _bits(other)
        if not differs.any():
            continue
        left = name in names and all(
            np.isin(_bits(each.end[name])[differs], _bits(start[name])).all()
            for each, start in zip(passes, before, strict=True)
        )
        if not left:
            raise Failed(
                f"{name} depends on what {names[0]} held before anything was put there, in"
                " the first two rollouts"
            )


def _hold_aligned(names: list[str], plain: _Pass) -> None:
    """Refuses rows that hold parts of different steps."""
    steps = {name: found for name in names if (found := _steps(plain.end[name], plain)) is not None}
    for one, a in steps.items():
        for other, b in steps.items():
            if len(a) == len(b) and one.rpartition("[")[0] == other.rpartition("[")[0]:
                both = (a >= 0) & (b >= 0)
                if (a[both] != b[both]).any():
                    raise Failed(f"a row of {one} and {other} holds parts of two different steps")


def _steps(buffer: np.ndarray, plain: _Pass) -> np.ndarray | None:
    """Returns which step each row of a buffer is of, -1 where it is of none; None if of none."""
    best: np.ndarray | None = None
    for source in _sources(plain.rollouts):
        width = source.shape[1]
        if buffer.dtype != source.dtype or buffer.size % width:
            continue
        if width > 1 and buffer.shape[-1] != width:
            continue
        known: dict[bytes, int] = {}
        for index, row in enumerate(source):  # of two alike neither tells its step
            known[row.tobytes()] = -1 if row.tobytes() in known else index
        rows = np.ascontiguousarray(buffer).reshape(-1, width)
        found = np.array([known.get(row.tobytes(), -1) for row in rows])
        if (found >= 0).any() and (best is None or (found >= 0).sum() > (best >= 0).sum()):
            best = found
    return best


def _sources(rollouts: tuple[Rollout, ...]) -> Iterator[np.ndarray]:
    """Yields [steps, width] of each array of all the rollouts whose rows nearly all differ."""
    named = [{keystr(path): leaf for path, leaf in leaves(rollout)} for rollout in rollouts]
    for name in sorted(named[0].keys() & named[-1].keys()):  # a warm-up may have other extras
        parts = [each[name] for each in named]
        flat = [np.asarray(part).reshape(part.shape[0] * part.shape[1], -1) for part in parts]
        rows = np.concatenate(flat) if len({each.shape[1:] for each in flat}) == 1 else flat[-1]
        if len({row.tobytes() for row in rows}) > 0.9 * len(rows):
            yield rows


def _bits(array: np.ndarray) -> np.ndarray:
    """Returns numbers as whole numbers of their bits, flat, so that NaN is like itself."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(f"u{flat.itemsize}") if flat.dtype.kind in "fV" else flat


CHECKS = (
    Check(
        "replay",
        "a buffer gives back what was put in, whole rows of it, and nothing else",
        "A slot that was never written holds zeros, which are learned from like any transition; "
        "rows that mix two steps teach rewards of other actions. Neither crashes.",
        "Draw below the number of transitions that are in (algorithms.parts.replay does), and "
        "write all parts of a transition at the same slots.",
        replay,
        ("shapes",),
    ),
)
