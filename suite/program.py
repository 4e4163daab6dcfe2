"""What one job computes, as pure functions of a seed's state, compiled once for all seeds.

Shapes: S seeds, T rollout steps, N environments, M modes, E evaluation episodes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm, Metrics, PyTree, Rollout
from envs.api import TaskState
from envs.vector import EnvState, VectorEnv
from suite.evaluate import Episodes, run_episodes
from suite.soundness import EXCESS, action_excess


class Best(NamedTuple):
    """What `Stage.select_by` keeps.

    Attributes:
        candidate: as `Algorithm.candidate` returns it.
        score: [] mean return of its evaluation, -inf before the stage's first.
    """

    candidate: PyTree
    score: jax.Array


class SeedState(NamedTuple):
    """All that training one seed depends on.

    Random numbers are drawn from `key` and `updates` alone, so that a resumed run
    draws what an uninterrupted one does.

    Attributes:
        algorithm: the algorithm's state.
        envs: the training environments.
        key: [] fixed for the whole run.
        updates: [] int32 policy updates made.
        best: the best policy of the stage so far; None where no stage asks for it, so
            that it costs nothing then.
    """

    algorithm: PyTree
    envs: EnvState
    key: jax.Array
    updates: jax.Array
    best: Best | None = None


# What a key is for; folded into the seed's key.
_INIT, _ENVS, _TRAIN, _EVALUATE, _COLLECT, _ADVANCE, _RESTART = range(7)

_BY_RULE = 2
"""An occasion of `Program.restart_envs`, after those of the training loop."""


@dataclasses.dataclass(frozen=True)
class Program:
    """The computation of one seed.

    Attributes:
        algorithm: what learns.
        envs: what it learns in.
        restart_interval: updates after which the environments start afresh; 0 is never.
    """

    algorithm: Algorithm[Any]
    envs: VectorEnv
    restart_interval: int = 0

    def start(self, seed: jax.Array) -> SeedState:
        """Returns the state before any step, for a seed number []."""
        key = jax.random.key(seed)
        algorithm = self.algorithm.init(jax.random.fold_in(key, _INIT))
        selects = any(stage.select_by for stage in self.algorithm.stages())
        return SeedState(
            algorithm=algorithm,
            envs=self.envs.reset(jax.random.fold_in(key, _ENVS)),
            key=key,
            updates=jnp.int32(0),
            best=self._best(algorithm, jnp.float32(-jnp.inf)) if selects else None,
        )

    def train(self, state: SeedState, updates: jax.Array) -> tuple[SeedState, Metrics]:
        """Makes `updates` [] updates and returns their mean metrics.

        The number is a run-time value: one executable serves every chunk.
        """
        shapes = jax.eval_shape(self._update, state)[1]
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        def body(_: jax.Array, carry: tuple[SeedState, Metrics]) -> tuple[SeedState, Metrics]:
            state, sums = carry
            state, metrics = self._update(state)
            return state, jax.tree.map(jnp.add, sums, metrics)

        state, sums = jax.lax.fori_loop(0, updates, body, (state, zeros))
        return state, jax.tree.map(lambda x: x / jnp.maximum(updates, 1), sums)

    def evaluate(self, state: SeedState, starts: TaskState) -> Episodes:
        """Plays an episode from each of `starts` in both modes: returns [M, E]."""
        key = self._key(state, _EVALUATE)
        return run_episodes(self.algorithm, self.envs.task, state.algorithm, starts, key, MODES)

    def remember(self, state: SeedState, score: jax.Array) -> SeedState:
        """Keeps the policy if its evaluation, score [], is the best of the stage so far."""
        assert state.best is not None
        newest = self._best(state.algorithm, score)
        best = _choose(score > state.best.score, newest, state.best)
        return state._replace(best=best)

    def reinstate(self, state: SeedState) -> SeedState:
        """Puts the best policy of the stage back; the last stays if none was evaluated."""
        assert state.best is not None
        candidate, score = state.best
        reinstated = self.algorithm.reinstate(state.algorithm, candidate)
        algorithm = _choose(score > -jnp.inf, reinstated, state.algorithm)
        forgotten = Best(candidate, jnp.full_like(score, -jnp.inf))
        return state._replace(algorithm=algorithm, best=forgotten)

    def collect(self, state: SeedState, rollouts: jax.Array) -> SeedState:
        """Takes `rollouts` [] rollouts for the algorithm to record, without an update."""
        limits = all(stage.time_limits for stage in self.algorithm.stages())
        envs = dataclasses.replace(self.envs, time_limits=limits)
        collecting = dataclasses.replace(self, envs=envs)

        def body(index: jax.Array, state: SeedState) -> SeedState:
            key = jax.random.fold_in(self._key(state, _COLLECT), index)
            envs, rollout, _ = collecting._roll_out(state, key)
            recorded = self.algorithm.record(state.algorithm, rollout)
            return state._replace(algorithm=recorded, envs=envs)

        return jax.lax.fori_loop(0, rollouts, body, state)

    def advance(self, state: SeedState) -> SeedState:
        """Takes the algorithm into its next stage."""
        advanced = self.algorithm.advance(state.algorithm, self._key(state, _ADVANCE))
        return state._replace(algorithm=advanced)

    def adopt(self, state: SeedState, policy: PyTree) -> SeedState:
        """Puts what stays frozen, out of another run's kept policy, into the state before any step.

        Raises:
            ValueError: the algorithm has no such part.
        """
        adopted = self.algorithm.adopt(state.algorithm, policy, self._key(state, _ADVANCE))
        return state._replace(algorithm=adopted)

    def restart_envs(self, state: SeedState, occasion: jax.Array) -> SeedState:
        """Starts the environments afresh; steps not yet counted stay in the count.

        Args:
            state: of one seed.
            occasion: [] tells restarts after the same update apart.
        """
        envs = self.envs.reset(jax.random.fold_in(self._key(state, _RESTART), occasion))
        return state._replace(envs=envs._replace(steps=state.envs.steps))

    def _best(self, state: PyTree, score: jax.Array) -> Best:
        return Best(self.algorithm.candidate(state), score)

    def _key(self, state: SeedState, purpose: int) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(state.key, purpose), state.updates)

    def _update(self, state: SeedState) -> tuple[SeedState, Metrics]:
        rollout_key, update_key = jax.random.split(self._key(state, _TRAIN))
        envs, rollout, excess = self._roll_out(state, rollout_key)
        algorithm, metrics = self.algorithm.update(state.algorithm, rollout, update_key)
        updated = state._replace(algorithm=algorithm, envs=envs, updates=state.updates + 1)
        return self._restarted(updated), {**metrics, EXCESS: excess}

    def _restarted(self, state: SeedState) -> SeedState:
        """Starts the environments afresh after an update where the reset rule says so."""
        if not self.restart_interval:
            return state
        fresh = self.restart_envs(state, jnp.int32(_BY_RULE))
        due = state.updates % self.restart_interval == 0
        return state._replace(envs=_choose(due, fresh.envs, state.envs))

    def _roll_out(self, state: SeedState, key: jax.Array) -> tuple[EnvState, Rollout, jax.Array]:
        """Returns the environments, T steps, and the `action_excess` [] of them together."""

        def step(envs: EnvState, key: jax.Array) -> tuple[EnvState, tuple[Rollout, jax.Array]]:
            act_key, reset_key = jax.random.split(key)
            obs = envs.obs
            action, extras = self.algorithm.act(state.algorithm, obs, act_key, "sample")
            envs, seen = self.envs.step(envs, action, reset_key)
            rollout = Rollout(
                obs, extras, seen.reward, seen.terminated, seen.truncated, seen.next_obs
            )
            return envs, (rollout, action_excess(action))

        keys = jax.random.split(key, self.algorithm.pipeline.rollout_length)
        envs, (rollout, excess) = jax.lax.scan(step, state.envs, keys)
        return envs, rollout, excess.sum()


class Compiled:
    """A program for several seeds at once; each function is compiled on first use.

    Attributes:
        seconds: spent compiling, or reading compiled code from the cache.
        compilations: functions compiled so far; a chunk never adds one.
    """

    def __init__(self, program: Program) -> None:
        self.seconds = 0.0
        self.compilations = 0
        self._executables: dict[str, Callable[..., Any]] = {}
        self._start = jax.jit(jax.vmap(program.start))
        self._train = jax.jit(jax.vmap(program.train, in_axes=(0, None)), donate_argnums=0)
        self._evaluate = jax.jit(jax.vmap(program.evaluate, in_axes=(0, None)))
        self._collect = jax.jit(jax.vmap(program.collect, in_axes=(0, None)), donate_argnums=0)
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

    def train(self, state: SeedState, updates: int) -> tuple[SeedState, Metrics]:
        """Makes `updates` updates; `state` must not be used any more."""
        return self._run("train", self._train, state, jnp.int32(updates))

    def evaluate(self, state: SeedState, starts: TaskState) -> Episodes:
        """Evaluates every seed: returns [S, M, E] and steps [S]."""
        return self._run("evaluate", self._evaluate, state, starts)

    def collect(self, state: SeedState, rollouts: int) -> SeedState:
        """Takes rollouts for a decoder; `state` must not be used any more."""
        return self._run("collect", self._collect, state, jnp.int32(rollouts))

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


def _choose(condition: jax.Array, yes: Any, no: Any) -> Any:
    """Chooses between two pytrees by a condition []."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def seed_slice(tree: Any, index: int) -> Any:
    """Returns one seed's part of a pytree of arrays [S, ...].

    Slices are NumPy's, or JAX would compile one for every shape; random keys are JAX's.
    """

    def cut(leaf: Any) -> Any:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf[index] if is_key else np.asarray(leaf)[index]

    return jax.tree.map(cut, tree)


def _finite_leaves(tree: Any) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): jnp.isfinite(leaf).all()
        for path, leaf in leaves
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
