"""A program compiled for all seeds of a job.

Shapes: S seeds, M modes, E evaluation episodes.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import PyTree
from envs.api import TaskState
from suite.compute.evaluation import Episodes
from suite.compute.program import Program, SeedState

Array = jax.Array | np.ndarray
Arrays = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The metrics of a chunk's updates so far, whether of training or of a warm-up.

    Attributes:
        updates: how many they were.
        sums: [S] of each metric.
        means: likewise; none before the first update.
    """

    updates: int
    sums: Arrays
    means: Arrays


class Compiled:
    """A program for several seeds at once; each function is compiled on first use.

    Attributes:
        seconds: spent compiling, or reading compiled code from the cache.
        compilations: functions compiled so far; a piece of a chunk never adds one.
    """

    def __init__(self, program: Program) -> None:
        self.seconds = 0.0
        self.compilations = 0
        self._executables: dict[str, Callable[..., Any]] = {}
        self._zeros: dict[bool, Mapping[str, np.ndarray]] = {}
        self._start = jax.jit(jax.vmap(program.start))
        self._no_metrics = {
            warm_up: jax.vmap(functools.partial(program.no_metrics, warm_up=warm_up))
            for warm_up in (False, True)
        }
        self._train, self._warm_up = (
            jax.jit(jax.vmap(each, in_axes=(0, 0, None, None)), donate_argnums=0)
            for each in (program.train, program.warm_up)
        )
        self._evaluate = jax.jit(jax.vmap(program.evaluate, in_axes=(0, None)))
        self._collect = jax.jit(
            jax.vmap(program.collect, in_axes=(0, None, None)), donate_argnums=0
        )
        self._remember = jax.jit(jax.vmap(program.remember), donate_argnums=0)
        self._reinstate = jax.jit(jax.vmap(program.reinstate), donate_argnums=0)
        self._advance = jax.jit(jax.vmap(program.advance), donate_argnums=0)
        self._adopt = jax.jit(jax.vmap(program.adopt))
        self._restart_envs = jax.jit(jax.vmap(program.restart_envs, in_axes=(0, None)))
        self._finite = jax.jit(jax.vmap(_finite_leaves))

    def start(self, seeds: tuple[int, ...]) -> SeedState:
        """Returns the states [S, ...] before any step."""
        return self._run("start", self._start, jnp.asarray(seeds, jnp.uint32))

    def abstract_start(self, seeds: tuple[int, ...]) -> SeedState:
        """Returns the shapes and types of `start`, computing nothing."""
        return jax.eval_shape(self._start, jnp.asarray(seeds, jnp.uint32))

    def train(
        self, state: SeedState, updates: int, chunk: Chunk | None = None, warm_up: bool = False
    ) -> tuple[SeedState, Chunk]:
        """Makes some of a chunk's updates; `state` must not be used any more.

        Args:
            state: of every seed.
            updates: how many.
            chunk: what this returned for the chunk's updates before, if there were any.
            warm_up: whether they are a warm-up's.
        """
        before = chunk or self.restore_chunk(state, 0, {}, warm_up)
        numbers = jnp.int32(before.updates), jnp.int32(updates)
        name, function = ("warm up", self._warm_up) if warm_up else ("train", self._train)
        state, sums, means = self._run(name, function, state, before.sums, *numbers)
        return state, Chunk(before.updates + updates, sums, means)

    def restore_chunk(
        self,
        state: SeedState,
        updates: int,
        sums: Mapping[str, Sequence[float]],
        warm_up: bool = False,
    ) -> Chunk:
        """Returns a chunk that is under way: the sums of its metrics, [S] each; all 0 without any.

        Raises:
            ValueError: they are not those of this program.
        """
        if warm_up not in self._zeros:
            began = time.perf_counter()
            shapes = jax.eval_shape(self._no_metrics[warm_up], state)
            self.seconds += time.perf_counter() - began
            self._zeros[warm_up] = {n: np.zeros(s.shape, s.dtype) for n, s in shapes.items()}
        zeros = self._zeros[warm_up]
        if updates == 0:
            return Chunk(0, zeros, {})
        given = {name: np.asarray(sums[name], zero.dtype) for name, zero in zeros.items()}
        if given.keys() != sums.keys():
            raise ValueError("its metrics are not those of this program")
        return Chunk(updates, given, {})

    def evaluate(self, state: SeedState, starts: TaskState) -> Episodes:
        """Evaluates every seed: returns [S, M, E] and steps [S]."""
        return self._run("evaluate", self._evaluate, state, starts)

    def collect(self, state: SeedState, rollouts: int, first: int = 0) -> SeedState:
        """Takes rollouts for a decoder, the `first` of which were taken before.

        `state` must not be used any more.
        """
        return self._run("collect", self._collect, state, jnp.int32(first), jnp.int32(rollouts))

    def remember(self, state: SeedState, scores: np.ndarray) -> SeedState:
        """Keeps each seed's policy if its score [S] is its stage's best; consumes `state`."""
        return self._run("remember", self._remember, state, jnp.asarray(scores, jnp.float32))

    def reinstate(self, state: SeedState) -> SeedState:
        """Puts each seed's best policy of the stage back; `state` must not be used any more."""
        return self._run("reinstate", self._reinstate, state)

    def advance(self, state: SeedState) -> SeedState:
        """Enters the next stage; `state` must not be used any more."""
        return self._run("advance", self._advance, state)

    def adopt(self, state: SeedState, policies: PyTree) -> SeedState:
        """Puts frozen parts of kept policies [S, ...] into the states before any step."""
        return self._run("adopt", self._adopt, state, policies)

    def restart_envs(self, state: SeedState, occasion: int) -> SeedState:
        """Starts the environments afresh."""
        return self._run("restart_envs", self._restart_envs, state, jnp.int32(occasion))

    def finite(self, state: SeedState) -> dict[str, jax.Array]:
        """Says of each float leaf of the algorithm's state which seeds are finite, [S] each."""
        return self._run("finite", self._finite, state.algorithm)

    def _run(self, name: str, function: Any, *arguments: Any) -> Any:
        if name not in self._executables:
            began = time.perf_counter()
            self._executables[name] = function.lower(*arguments).compile()
            self.seconds += time.perf_counter() - began
            self.compilations += 1
        return jax.block_until_ready(self._executables[name](*arguments))


def _finite_leaves(tree: Any) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): jnp.isfinite(leaf).all()
        for path, leaf in leaves
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
