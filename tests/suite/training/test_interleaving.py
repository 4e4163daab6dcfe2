"""Rollouts shorter than the protocol's, a warm-up and a replay buffer: the steps are the same."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import EPISODE, request_of
from processes import killing
from replaying import EXPLORED, BestOfN, ClockTask, Notes, Noting, Warming, features
from tiny import PIPELINE, SPEC, make

import suite.compute.build
import suite.training.job
from algorithms import registry
from algorithms.api import Algorithm, Metrics
from envs.api import TaskState
from envs.vector import VectorEnv
from suite.compute.compiled import Compiled
from suite.compute.program import _TRAIN, Program, SeedState
from suite.configuration.protocol import load_protocol
from suite.contract.soundness import EXCESS
from suite.contract.wiring import check_method
from suite.storage import checkpoint
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory
from suite.training.clock import Pace
from suite.training.context import RunContext
from suite.training.job import Training, run_job
from suite.training.progress import Progress

ENVS, STEPS, UPDATES = 4, 6, 7
WARM_UP, LENGTH = 2, 2
POINTS = (0, 2, 4, 6, 7)

Prepare = Callable[..., tuple[Job, RunContext]]


@pytest.fixture(scope="module")
def compiled() -> Callable[[Program], Compiled]:
    """Compiles once for all runs of an algorithm."""
    known: dict[Algorithm[Any], Compiled] = {}
    return lambda program: known.setdefault(program.algorithm, Compiled(program))


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, compiled: Callable[[Program], Compiled]) -> Prepare:
    """Returns a function that sets up a job: 7 updates of 4 x 6 steps, in phase."""
    monkeypatch.setattr(suite.training.job, "load_task", lambda *_, **__: ClockTask())
    monkeypatch.setattr(suite.training.job, "Compiled", compiled)
    monkeypatch.setattr(suite.training.job, "provenance", dict)  # asks git
    monkeypatch.setattr(os, "fsync", lambda _: None)

    def make_job(path: Path, cls: type[Algorithm[Any]] = Noting) -> tuple[Job, RunContext]:
        entry = registry.Entry("ppo", cls, "has a buffer")
        monkeypatch.setattr(registry, "lookup", lambda _: entry)
        protocol = dataclasses.replace(
            load_protocol("smoke"),
            total_steps=UPDATES * ENVS * STEPS,
            num_envs=ENVS,
            rollout_length=STEPS,
            chunk_length=STEPS,
            num_minibatches=1,
            random_phase=False,
            eval_interval=2,
            eval_episodes=3,
            algorithms={},
        )
        run = RunDirectory.create(path, protocol)
        job = Job("ppo", "CheetahRun", (0, 1))
        request = request_of(job, protocol, path, {})
        return job, RunContext(request, run, Progress(io.StringIO()))

    return make_job


def slow_loop(capacity: int) -> tuple[list[tuple[float, float]], list[int], list[float]]:
    """Plays and learns step by step, as `Noting` should have been called.

    Returns:
        Tenths of the episode and reward of the transitions that are kept; transitions in the
        buffer after each call of `update`; and the reward of the policy after each update.
    """
    kept = deque[tuple[float, float]](maxlen=capacity)
    filled: list[int] = []
    clock, calls, rewards = 0, 0, [0.0]
    for update in range(UPDATES):
        for step in range(STEPS):
            reward = EXPLORED if update < WARM_UP else calls / 100
            kept.extend([(clock / EPISODE, reward)] * ENVS)
            clock = (clock + 1) % EPISODE
            if update >= WARM_UP and step % LENGTH == LENGTH - 1:
                calls += 1
                filled.append(len(kept))
        rewards.append(calls / 100)
    return list(kept), filled, rewards


def final_state(job: Job, context: RunContext) -> Notes:
    template = Training(job, context).program.abstract_start(job.seeds)
    state, _ = checkpoint.load(context.run.checkpoint_path(job), template)
    return jax.tree.map(np.asarray, state.algorithm)


def test_a_method_is_shown_what_a_slow_loop_shows_it(tmp_path: Path, prepare: Prepare) -> None:
    job, context = prepare(tmp_path)
    run_job(job, context)
    kept, filled, rewards = slow_loop(capacity=150)
    state = final_state(job, context)
    assert state.recorded.tolist() == [WARM_UP * STEPS / LENGTH] * 2
    assert state.updates.tolist() == [len(filled)] * 2
    for seed, cell in enumerate(job.cells):
        buffer = jax.tree.map(lambda leaf, seed=seed: leaf[seed], state.buffer)
        assert buffer.size == len(kept)
        slots = (buffer.position - buffer.size + np.arange(buffer.size)) % len(kept)
        found = np.stack([buffer.ring["obs"][slots, 0], buffer.ring["reward"][slots]], axis=-1)
        np.testing.assert_allclose(found, kept, atol=1e-6)
        rows = [row for row in context.run.files(cell).read_curve() if row.mode == "sample"]
        assert [(row.updates, row.env_steps) for row in rows] == [
            (point, point * ENVS * STEPS) for point in POINTS
        ]
        returns = [row.return_mean for row in rows]
        np.testing.assert_allclose(returns, [EPISODE * rewards[u] for u in POINTS], rtol=1e-5)
        # Metrics are means over the calls of each chunk; the first chunk is the warm-up.
        metrics = context.run.files(cell).read_metrics()
        calls = [STEPS // LENGTH * (u - WARM_UP) for u in POINTS[1:]]
        assert [row["env_steps"] for row in metrics] == [u * ENVS * STEPS for u in POINTS[2:]]
        means = [np.mean(filled[i:j]) for i, j in itertools.pairwise(calls)]
        np.testing.assert_allclose([row["filled"] for row in metrics], means, rtol=1e-6)


def test_the_ledger_counts_a_warm_up_inside_the_budget(tmp_path: Path, prepare: Prepare) -> None:
    job, context = prepare(tmp_path)
    run_job(job, context)
    for cell in job.cells:
        status = context.run.files(cell).read_status()
        assert status is not None and status.state == "done"
        ledger = status.ledger
        assert ledger.warmup_steps == WARM_UP * ENVS * STEPS
        assert ledger.train_steps == (UPDATES - WARM_UP) * ENVS * STEPS
        assert ledger.env_steps == context.request.protocol.total_steps
        rows = context.run.files(cell).read_curve()
        warm = [min(row.updates, WARM_UP) * ENVS * STEPS for row in rows]
        assert [row.warmup_steps for row in rows] == warm
        record = context.run.files(cell).read_run()
        assert record is not None
        assert record.provenance[-1]["gradient_steps"] == 3 * STEPS // LENGTH
        # The policy alone is kept, and a warm-up leaves one behind as any stage does.
        kept = [context.run.files(cell).policy_path(stage) for stage in (0, 1)]
        sizes = [path.stat().st_size for path in kept]
        assert max(sizes) < context.run.checkpoint_path(job).stat().st_size / 2


def test_a_warm_up_that_learns_has_rollouts_and_keys_of_its_own(
    tmp_path: Path, prepare: Prepare
) -> None:
    """Once an update here, of 6 steps; its steps are counted as a warm-up's all the same."""
    job, context = prepare(tmp_path, Warming)
    with context.run.locked(job):
        training = Training(job, context)
    state = training.program.start(job.seeds)
    state, _ = training.program.train(state, WARM_UP, None, warm_up=True)
    assert state.envs.steps.tolist() == [WARM_UP * STEPS * ENVS] * 2
    assert state.algorithm.recorded.tolist() == [WARM_UP] * 2
    assert state.algorithm.buffer.size.tolist() == [WARM_UP * STEPS * ENVS] * 2
    *drawn, count = np.asarray(state.algorithm.weights).T
    assert len(np.unique(np.stack(drawn))) == 4  # two updates of two seeds
    assert count.tolist() == [STEPS * ENVS] * 2
    run_job(job, context)
    status = context.run.files(job.cells[0]).read_status()
    assert status is not None and status.state == "done"
    assert status.ledger.warmup_steps == WARM_UP * STEPS * ENVS
    assert status.ledger.train_steps == (UPDATES - WARM_UP) * STEPS * ENVS


def test_no_bit_depends_on_where_it_was_stopped(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every update, those of the warm-up included, and with its buffer half filled."""
    job, whole = prepare(tmp_path / "whole")
    run_job(job, whole)
    job, parts = prepare(tmp_path / "parts")
    parts = dataclasses.replace(parts, pace=Pace(0.0, 0.0))
    calls = itertools.count()
    monkeypatch.setattr(suite.training.job.interrupt, "requested", lambda: next(calls) % 2 == 1)
    stops = []
    while run_job(job, parts).interrupted:
        status = parts.run.files(job.cells[0]).read_status()
        assert status is not None
        stops.append((status.updates, status.ledger.warmup_steps))
    assert (1, ENVS * STEPS) in stops
    assert {updates for updates, _ in stops} == set(range(UPDATES + 1))
    assert killing.results(tmp_path / "parts") == killing.results(tmp_path / "whole")


def test_one_executable_serves_every_piece(tmp_path: Path, prepare: Prepare) -> None:
    job, context = prepare(tmp_path)
    with context.run.locked(job):
        training = Training(job, context)
        with context.reporter.job(job, 1) as line:
            training.run(line)
    used = training.program._executables.keys()
    assert used >= {"warm up", "train", "evaluate", "advance"}
    assert training.program.compilations == len(used)


def test_a_policy_that_needs_its_critic_learns_from_the_buffer() -> None:
    """By random actions alone, then by its own; it takes the best action of all in the end."""
    method = BestOfN(SPEC, PIPELINE)
    check_method("best-of-n", method)
    program = Program(method, VectorEnv(WideTask(), num_envs=PIPELINE.num_envs, bank_size=4))

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def trained() -> tuple[jax.Array, Notes]:
        state = program.start(jnp.uint32(0))
        for work in (program.warm_up, program.train):
            sums = program.no_metrics(state, warm_up=work == program.warm_up)
            state, _, _ = work(state, sums, jnp.int32(0), jnp.int32(3))
        starts = jax.vmap(program.envs.task.reset)(jax.random.split(jax.random.key(1), 2))
        return program.evaluate(state, starts).returns, state.algorithm

    returns, state = trained()
    np.testing.assert_allclose(returns[0], EPISODE, rtol=1e-6)
    assert np.all(returns[1] > 0.8 * EPISODE)
    np.testing.assert_allclose(features(jnp.float32(0.2)) @ state.weights, 0.6, atol=0.02)


def test_sac_learns_after_each_of_its_own_rollouts() -> None:
    """An update of random actions, then two in which it learns four times each, once a turn."""
    method = make("sac", rollout_length=3)
    program = Program(method, VectorEnv(WideTask(), num_envs=PIPELINE.num_envs, bank_size=4))

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def trained() -> tuple[SeedState, Any]:
        state = program.start(jnp.uint32(0))
        state, _, _ = program.warm_up(
            state, program.no_metrics(state, warm_up=True), jnp.int32(0), jnp.int32(1)
        )
        warm = state.algorithm
        state, _, _ = program.train(state, program.no_metrics(state), jnp.int32(0), jnp.int32(2))
        return state, (warm.replay.ring.action, warm.networks)

    state, (explored, untrained) = trained()
    steps = PIPELINE.steps_per_update
    learner = state.algorithm
    assert int(learner.replay.size) == int(state.envs.steps) == 3 * steps
    assert int(learner.normalizer.batches) == 3 * 4
    assert method.gradient_steps == 2  # a sixteenth of 24 transitions, rounded
    assert int(learner.optimizer[0].count) == 2 * 4 * 2
    # Of the warm-up are random actions, and the networks as they began.
    assert np.abs(explored[:steps]).max() > 0.95 and not np.any(explored[steps:])
    begun = jax.jit(lambda: program.start(jnp.uint32(0)).algorithm.networks)()
    for fresh, kept in zip(jax.tree.leaves(begun), jax.tree.leaves(untrained), strict=True):
        np.testing.assert_allclose(kept, fresh, rtol=1e-6)


class Before(Program):
    """The update as it was when the contract knew no interleaving."""

    def _update(self, state: SeedState) -> tuple[SeedState, Metrics]:
        rollout_key, update_key = jax.random.split(self._key(state, _TRAIN))
        envs, rollout, excess = self._roll_out(state, rollout_key)
        algorithm, metrics = self.algorithm.update(state.algorithm, rollout, update_key)
        updated = state._replace(algorithm=algorithm, envs=envs, updates=state.updates + 1)
        return self._restarted(updated), {**metrics, EXCESS: excess}


class WideTask(ClockTask):
    """Has the sizes of `tiny`."""

    obs_size = SPEC.obs_size
    action_size = SPEC.action_size

    def reset(self, key: jax.Array) -> TaskState:
        """Starts at zero."""
        return _widened(super().reset(key))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Advances the clock."""
        return _widened(super().step(state, action))


def _widened(state: TaskState) -> TaskState:
    return state._replace(obs=jnp.resize(state.obs, (SPEC.obs_size,)))


def test_a_method_that_asks_for_nothing_gets_the_program_it_had() -> None:
    """PPO's, to the last character of what is handed to the compiler."""
    envs = VectorEnv(WideTask(), num_envs=PIPELINE.num_envs, bank_size=4)
    texts = []
    for kind in (Before, Program):
        program = kind(make("ppo"), envs, restart_interval=2)
        state = jax.eval_shape(program.start, jnp.uint32(0))
        sums = jax.eval_shape(program.no_metrics, state)
        texts.append(
            jax.jit(program.train).lower(state, sums, jnp.int32(0), jnp.int32(1)).as_text()
        )
    assert texts[0] == texts[1]
