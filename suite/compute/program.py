"""What one job computes, as pure functions of a seed's state.

Shapes: T rollout steps, N environments, M modes, E evaluation episodes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from algorithms.api import MODES, Algorithm, Extras, Metrics, PyTree, Rollout
from algorithms.parts import learning_warm_up
from envs.api import TaskState
from envs.vector import EnvState, VectorEnv
from suite.compute.evaluation import Episodes, run_episodes
from suite.contract.soundness import EXCESS, action_excess


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
        updates: [] int32 of the budget, those of a warm-up included.
        best: the best policy of the stage so far; None where no stage asks for it, so
            that it costs nothing then.
    """

    algorithm: PyTree
    envs: EnvState
    key: jax.Array
    updates: jax.Array
    best: Best | None = None


# What a key is for; folded into the seed's key.
_INIT, _ENVS, _TRAIN, _EVALUATE, _COLLECT, _ADVANCE, _RESTART, _WARM_UP = range(8)

Actor = Callable[[PyTree, jax.Array, jax.Array], tuple[jax.Array, Extras]]
"""As `Algorithm.explore`: acts by a state on observations with a key."""

Turn = Callable[[SeedState, jax.Array], tuple[SeedState, Metrics]]
"""Takes a rollout and does something with it; draws from a key."""

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

    def no_metrics(self, state: SeedState, warm_up: bool = False) -> Metrics:
        """Returns the sums of the metrics of no update at all, or of none of a warm-up."""
        shapes = jax.eval_shape(self._warm_up if warm_up else self._update, state)[1]
        return {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}

    def train(
        self, state: SeedState, sums: Metrics, summed: jax.Array, updates: jax.Array
    ) -> tuple[SeedState, Metrics, Metrics]:
        """Makes some of a chunk's updates.

        Their number is a run-time value, and sums go on where they were: one executable serves
        every piece of every chunk, and no bit depends on where chunks are cut into pieces.

        Args:
            state: of one seed.
            sums: of the metrics of the chunk's updates so far.
            summed: [] how many those were.
            updates: [] how many to make.

        Returns:
            The state after them, the sums, and the mean metrics of all of the chunk's updates.
        """
        return _repeated(self._update, state, sums, summed, updates)

    def warm_up(
        self, state: SeedState, sums: Metrics, summed: jax.Array, updates: jax.Array
    ) -> tuple[SeedState, Metrics, Metrics]:
        """Takes the steps of as many updates as `train` would make, for what warms up.

        Arguments and results are those of `train`; the only metric is the harness's own.
        """
        return _repeated(self._warm_up, state, sums, summed, updates)

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

    def collect(self, state: SeedState, first: jax.Array, rollouts: jax.Array) -> SeedState:
        """Takes rollouts for the algorithm to record, without an update.

        Args:
            state: of one seed.
            first: [] how many were taken before, after the same update.
            rollouts: [] how many to take.
        """
        limits = all(stage.time_limits for stage in self.algorithm.stages())
        envs = dataclasses.replace(self.envs, time_limits=limits)
        collecting = dataclasses.replace(self, envs=envs)

        def turn(state: SeedState, key: jax.Array) -> tuple[SeedState, Metrics]:
            envs, rollout, _ = collecting._roll_out(state, key)
            recorded = self.algorithm.record(state.algorithm, rollout)
            return state._replace(algorithm=recorded, envs=envs), {}

        def body(index: jax.Array, state: SeedState) -> SeedState:
            key = jax.random.fold_in(self._key(state, _COLLECT), index)
            return self._turns(turn, state, key)[0]

        return jax.lax.fori_loop(first, first + rollouts, body, state)

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
        def turn(state: SeedState, key: jax.Array) -> tuple[SeedState, Metrics]:
            rollout_key, update_key = jax.random.split(key)
            envs, rollout, excess = self._roll_out(state, rollout_key)
            algorithm, metrics = self.algorithm.update(state.algorithm, rollout, update_key)
            return state._replace(algorithm=algorithm, envs=envs), {**metrics, EXCESS: excess}

        return self._spent(*self._turns(turn, state, self._key(state, _TRAIN)))

    def _warm_up(self, state: SeedState) -> tuple[SeedState, Metrics]:
        algorithm, length = self.algorithm, learning_warm_up.rollout_length(self.algorithm)

        def turn(state: SeedState, key: jax.Array) -> tuple[SeedState, Metrics]:
            envs, rollout, excess = self._roll_out(state, key, algorithm.explore, length)
            after = learning_warm_up.taken_in(algorithm, state.algorithm, rollout, key)
            return state._replace(algorithm=after, envs=envs), {EXCESS: excess}

        return self._spent(*self._turns(turn, state, self._key(state, _WARM_UP), length))

    def _turns(
        self, turn: Turn, state: SeedState, key: jax.Array, length: int = 0
    ) -> tuple[SeedState, Metrics]:
        """Takes the T x N steps of an update, in turns of `length` steps or of the method's own T.

        Returns:
            The state after them, and the mean of the turns' metrics.
        """
        turns = self.algorithm.pipeline.rollout_length // (length or self.algorithm.rollout_length)
        if turns == 1:
            return turn(state, key)
        state, metrics = jax.lax.scan(turn, state, jax.random.split(key, turns))
        return state, jax.tree.map(lambda x: x.mean(axis=0), metrics)

    def _spent(self, state: SeedState, metrics: Metrics) -> tuple[SeedState, Metrics]:
        """Counts an update of the budget."""
        return self._restarted(state._replace(updates=state.updates + 1)), metrics

    def _restarted(self, state: SeedState) -> SeedState:
        """Starts the environments afresh after an update where the reset rule says so."""
        if not self.restart_interval:
            return state
        fresh = self.restart_envs(state, jnp.int32(_BY_RULE))
        due = state.updates % self.restart_interval == 0
        return state._replace(envs=_choose(due, fresh.envs, state.envs))

    def _roll_out(
        self, state: SeedState, key: jax.Array, act: Actor | None = None, length: int = 0
    ) -> tuple[EnvState, Rollout, jax.Array]:
        """Returns the environments, the method's T steps, and the `action_excess` [] of them.

        Args:
            state: of one seed.
            key: of all that is drawn.
            act: what acts; the policy in mode `sample` by default.
            length: steps, if not the method's T.
        """
        act = act or functools.partial(self.algorithm.act, mode="sample")

        def step(envs: EnvState, key: jax.Array) -> tuple[EnvState, tuple[Rollout, jax.Array]]:
            act_key, reset_key = jax.random.split(key)
            obs = envs.obs
            action, extras = act(state.algorithm, obs, act_key)
            envs, seen = self.envs.step(envs, action, reset_key)
            rollout = Rollout(
                obs, extras, seen.reward, seen.terminated, seen.truncated, seen.next_obs
            )
            return envs, (rollout, action_excess(action))

        keys = jax.random.split(key, length or self.algorithm.rollout_length)
        envs, (rollout, excess) = jax.lax.scan(step, state.envs, keys)
        return envs, rollout, excess.sum()


def _repeated(
    update: Callable[[SeedState], tuple[SeedState, Metrics]],
    state: SeedState,
    sums: Metrics,
    summed: jax.Array,
    updates: jax.Array,
) -> tuple[SeedState, Metrics, Metrics]:
    """Does an update of the budget `updates` times, see `Program.train`."""

    def body(_: jax.Array, carry: tuple[SeedState, Metrics]) -> tuple[SeedState, Metrics]:
        state, sums = carry
        state, metrics = update(state)
        return state, jax.tree.map(jnp.add, sums, dict(metrics))

    state, sums = jax.lax.fori_loop(0, updates, body, (state, sums))
    total = jnp.maximum(summed + updates, 1)
    return state, sums, jax.tree.map(lambda x: x / total, sums)


def _choose(condition: jax.Array, yes: Any, no: Any) -> Any:
    """Chooses between two pytrees by a condition []."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
