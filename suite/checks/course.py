"""Training on all probe environments at once, a seed on each, with the harness's own program.

Shapes: S seeds, N environments, O observation size, A action size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm, Metrics, Mode
from envs.api import Task, TaskState
from envs.probes import PROBES, Probe
from envs.vector import VectorEnv
from suite.compute.program import Program, SeedState
from suite.contract.compiling import compiled

OBS_SIZE, ACTION_SIZE, DISCOUNT = 1, 2, 0.9
PROBE_NAMES = tuple(PROBES)


class AnyProbe(Task):
    """One of the probe environments, with actions of one size; which one is a run-time value.

    Args:
        index: [] of `PROBE_NAMES`.
    """

    name = "Probe"
    engine = "probe"
    obs_size = OBS_SIZE
    action_size = ACTION_SIZE
    episode_length = Probe.episode_length
    model_hash = "none"

    def __init__(self, index: jax.Array) -> None:
        self._index = index

    def reset(self, key: jax.Array) -> TaskState:
        """Draws a start state."""
        return self._state([probe.reset(key) for probe in PROBES.values()])

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Takes a step."""
        return self._state([probe.step(state, action) for probe in PROBES.values()])

    def shortfall(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Returns the reward [] that an action [A] on obs [O] falls short of the best."""
        rewards = []
        for probe in PROBES.values():
            best = jnp.broadcast_to(probe.optimal_action(obs), action.shape)
            rewards.append(probe.reward(obs, best) - probe.reward(obs, action))
        shortfall: jax.Array = self._chosen(rewards)
        return shortfall

    def _state(self, each: list[TaskState]) -> TaskState:
        return cast(TaskState, self._chosen(each))

    def _chosen(self, each: list[Any]) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[self._index], *each)


class Seeds(NamedTuple):
    """Seeds in training.

    Attributes:
        states: [S, ...].
        probes: [S] which probe environment each is in.
        stage: the stage that they are in.
        left: updates that are left of it.
    """

    states: SeedState
    probes: jax.Array
    stage: int
    left: int


class Course:
    """A method in training on the probe environments; each function is compiled once for each S.

    Attributes:
        algorithm: the method.
        traced: how often an update was traced, to be compiled, for any S.

    Args:
        algorithm: for observations and actions of `OBS_SIZE` and `ACTION_SIZE`.
    """

    def __init__(self, algorithm: Algorithm[Any]) -> None:
        self.algorithm = algorithm
        self.traced = 0
        self._compiled: dict[tuple[str, int], Callable[..., Any]] = {}

    def start(self, probes: tuple[str, ...] = PROBE_NAMES) -> Seeds:
        """Returns seeds before any step: seed 0 in the first probe environment, and so on."""
        index = jnp.asarray([PROBE_NAMES.index(name) for name in probes], jnp.int32)
        states = self._run(self._start, index.astype(jnp.uint32), index)
        return Seeds(states, index, 0, self.algorithm.stages()[0].updates)

    def train(self, seeds: Seeds, updates: int) -> tuple[Seeds, Metrics]:
        """Makes updates of the stage that seeds are in; also returns their mean metrics, [S]."""
        warm_up = self.algorithm.stages()[seeds.stage].warm_up
        work = self._warm_up if warm_up else self._train
        states, metrics = self._run(work, seeds.states, seeds.probes, jnp.int32(updates))
        return seeds._replace(states=states, left=seeds.left - updates), metrics

    def advance(self, seeds: Seeds) -> Seeds:
        """Takes seeds into the next stage, as the harness does it."""
        stages = self.algorithm.stages()
        stage = stages[seeds.stage]
        states = seeds.states
        if stage.select_by:
            states = self._run(self._remembered, states, seeds.probes)
        if stage.extra_rollouts:
            states = self._run(self._collect, states, seeds.probes, jnp.int32(stage.extra_rollouts))
        states = self._run(self._advance, states, seeds.probes)
        return Seeds(states, seeds.probes, seeds.stage + 1, stages[seeds.stage + 1].updates)

    def ready(self, seeds: Seeds) -> Seeds:
        """Takes seeds through the warm-up, if there is one, to where they learn."""
        if self.algorithm.stages()[0].warm_up:
            seeds, _ = self.train(seeds, seeds.left)
            seeds = self.advance(seeds)
        return seeds

    @functools.cached_property
    def single(self) -> Seeds:
        """The last of `start`'s seeds alone: in the environment that needs everything."""
        return self.start(PROBE_NAMES[-1:])

    @functools.cached_property
    def single_learned(self) -> tuple[Seeds, Metrics]:
        """It after the first update that learns, and the metrics of that."""
        return self.train(self.ready(self.single), 1)

    @functools.cached_property
    def whole(self) -> list[tuple[Seeds, Metrics]]:
        """A seed in each environment after each tenth of every stage, with the metrics."""
        seeds, found = self.start(), []
        for index, stage in enumerate(self.algorithm.stages()):
            while seeds.left:
                seeds, metrics = self.train(seeds, min(seeds.left, max(1, stage.updates // 10)))
                found.append((seeds, metrics))
            if index + 1 < len(self.algorithm.stages()):
                seeds = self.advance(seeds)
        return found

    def shortfalls(self, seeds: Seeds) -> np.ndarray:
        """Returns by how much the mean reward of each policy falls short of the best, [S, M]."""
        return np.asarray(self._run(self._shortfall, seeds.states, seeds.probes))

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of one seed for all seeds; a number is an argument that they share."""
        probes = arguments[1]
        name = function.__name__, len(probes)
        if name not in self._compiled:
            axes = tuple(None if jnp.ndim(each) == 0 else 0 for each in arguments[1:])
            whole = jax.vmap(function, in_axes=(0, *axes))
            self._compiled[name] = compiled(whole, long=len(probes) > 1)
        return self._compiled[name](*arguments)

    def _program(self, probe: jax.Array) -> Program:
        envs = VectorEnv(
            AnyProbe(probe), self.algorithm.pipeline.num_envs, bank_size=64, random_phase=False
        )
        return Program(self.algorithm, envs)

    def _start(self, seed: jax.Array, probe: jax.Array) -> SeedState:
        return self._program(probe).start(seed)

    def _train(
        self, state: SeedState, probe: jax.Array, updates: jax.Array
    ) -> tuple[SeedState, Metrics]:
        self.traced += 1
        program = self._program(probe)
        sums = program.no_metrics(state)
        state, _, means = program.train(state, sums, jnp.int32(0), updates)
        return state, means

    def _warm_up(
        self, state: SeedState, probe: jax.Array, updates: jax.Array
    ) -> tuple[SeedState, Metrics]:
        program = self._program(probe)
        sums = program.no_metrics(state, warm_up=True)
        state, _, means = program.warm_up(state, sums, jnp.int32(0), updates)
        return state, means

    def _collect(self, state: SeedState, probe: jax.Array, rollouts: jax.Array) -> SeedState:
        return self._program(probe).collect(state, jnp.int32(0), rollouts)

    def _remembered(self, state: SeedState, probe: jax.Array) -> SeedState:
        program = self._program(probe)
        return program.reinstate(program.remember(state, jnp.float32(0.0)))

    def _advance(self, state: SeedState, probe: jax.Array) -> SeedState:
        return self._program(probe).advance(state)

    def _shortfall(self, state: SeedState, probe: jax.Array) -> jax.Array:
        obs = state.envs.bank.obs

        def loss(mode: Mode) -> jax.Array:
            action, _ = self.algorithm.act(state.algorithm, obs, jax.random.key(7), mode)
            return jax.vmap(AnyProbe(probe).shortfall)(obs, action).mean()

        return jnp.stack([loss(mode) for mode in MODES])
