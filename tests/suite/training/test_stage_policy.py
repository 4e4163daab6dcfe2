"""Which policy of a stage goes on: its last, or the best by evaluation; and where to.

A scripted algorithm acts by a table, so that it is known which of its policies is best.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import request_of

import suite.training.job
from algorithms import registry
from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, Stage
from envs.api import Task, TaskState
from suite.compute.compiled import Compiled
from suite.configuration.protocol import load_protocol
from suite.storage import checkpoint
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.job import Training, run_job
from suite.training.progress import Progress

EPISODE = 10
STEPS = 4 * 6
"""Of an update: 4 environments, 6 steps."""

REWARDS = (0.7, 0.4, 0.6, 0.2, 0.9, 0.3, 0.8, 0.5)
"""Reward of the policy after so many updates, in both modes.

Evaluations at 0, 2, 4, 6, 7; the stages end after 3 and 6 updates, the best evaluated
policies are then those after 2 (the untrained one is no candidate) and after 4.
"""


class ClockTask(Task):
    """Rewards the first action, scaled to [0, 1]; observes the steps since its start."""

    name = "CheetahRun"
    engine = "native"
    obs_size = 1
    action_size = 1
    episode_length = EPISODE
    model_hash = "none"

    def reset(self, key: jax.Array) -> TaskState:
        """Starts at zero."""
        clock = jnp.zeros(())
        return TaskState(clock, clock[None], jnp.zeros(()), jnp.zeros(()))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Advances the clock."""
        clock = state.physics + 1.0
        return TaskState(clock, clock[None], (action[0] + 1.0) / 2.0, jnp.zeros(()))


class Script(NamedTuple):
    """Updates behind the policy, and what the last decoder would have been fitted on."""

    policy: jax.Array
    refitted_from: jax.Array
    recorded_from: jax.Array
    longest: jax.Array


@dataclasses.dataclass(frozen=True)
class Scripted(Algorithm[Script]):
    """Acts by `REWARDS`.

    Attributes:
        stage_policy: `best` or `last`.
        time_limits: of the two extra rollouts.
    """

    stage_policy: Literal["last", "best"] = "last"
    time_limits: bool = True

    def init(self, key: jax.Array) -> Script:
        """Starts with the first policy."""
        nothing = jnp.full((2,), -1.0)
        return Script(jnp.zeros(()), nothing, nothing, jnp.zeros(()))

    def parameters(self, state: Script) -> Any:
        """Returns the policy."""
        return state.policy

    def act(
        self, state: Script, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Acts so that the reward is the script's."""
        reward = jnp.asarray(REWARDS)[state.policy.astype(jnp.int32)]
        return jnp.full((obs.shape[0], 1), 2.0 * reward - 1.0), {}

    def update(self, state: Script, rollout: Rollout, key: jax.Array) -> tuple[Script, Metrics]:
        """Goes on to the next policy."""
        return state._replace(policy=state.policy + 1.0), {}

    def stages(self) -> tuple[Stage, ...]:
        """Three stages."""
        by: Mode | None = "deterministic" if self.stage_policy == "best" else None
        between = Stage(3, 2, time_limits=self.time_limits, select_by=by)
        return between, between, Stage(1)

    def record(self, state: Script, rollout: Rollout) -> Script:
        """Notes whose rewards these are, and how old the oldest episode is."""
        return state._replace(
            recorded_from=state.recorded_from.at[self._stage(state)].set(rollout.reward.mean()),
            longest=jnp.maximum(state.longest, rollout.next_obs.max()),
        )

    def advance(self, state: Script, key: jax.Array) -> Script:
        """Notes which policy it was, and counts on as if nothing had been put back."""
        stage = self._stage(state)
        refitted = state.refitted_from.at[stage].set(state.policy)
        return state._replace(refitted_from=refitted, policy=3.0 * (stage + 1.0))

    @staticmethod
    def _stage(state: Script) -> jax.Array:
        return jnp.sum(state.refitted_from >= 0)


Prepare = Callable[..., tuple[Job, RunContext]]


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Returns a function that sets up a job of the scripted algorithm."""
    protocol = dataclasses.replace(
        load_protocol("smoke"),
        total_steps=7 * STEPS,
        num_envs=4,
        rollout_length=6,
        chunk_length=6,
        num_minibatches=2,
        eval_interval=2,
        eval_episodes=2,
        algorithms={},
    )
    monkeypatch.setattr(suite.training.job, "load_task", lambda *_, **__: ClockTask())
    entry = registry.Entry("ppo", Scripted, "follows a script")
    monkeypatch.setattr(registry, "lookup", lambda _: entry)

    def make(path: Path, **values: Any) -> tuple[Job, RunContext]:
        run = RunDirectory.create(path, protocol)
        job = Job("ppo", "CheetahRun", (0, 1))
        request = request_of(job, protocol, path, values)
        return job, RunContext(request, run, Progress(io.StringIO()))

    return make


def final_state(job: Job, context: RunContext) -> Any:
    template = Training(job, context).program.abstract_start(job.seeds)
    return checkpoint.load(context.run.checkpoint_path(job), template)[0]


def returns(context: RunContext, job: Job) -> list[str]:
    """Returns the noise-free curve of the first seed, as stored."""
    text = (context.run.cell_path(job.cells[0]) / "curve.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    return [row["return_mean"] for row in rows if row["mode"] == "deterministic"]


@pytest.mark.parametrize(("policy", "chosen"), [("last", (3.0, 6.0)), ("best", (2.0, 4.0))])
def test_the_chosen_policy_collects_the_data_and_is_refitted_from(
    tmp_path: Path, prepare: Prepare, policy: str, chosen: tuple[float, float]
) -> None:
    job, context = prepare(tmp_path, stage_policy=policy)
    run_job(job, context)
    state = final_state(job, context).algorithm
    rewards = [REWARDS[int(updates)] for updates in chosen]
    for seed in (0, 1):
        assert state.refitted_from[seed].tolist() == list(chosen)
        np.testing.assert_allclose(state.recorded_from[seed], rewards, rtol=1e-6)
    # The curve is the same: at N it shows the policy after N steps, whatever is put back.
    expected = [EPISODE * REWARDS[updates] for updates in (0, 2, 4, 6, 7)]
    np.testing.assert_allclose([float(value) for value in returns(context, job)], expected, 1e-5)


def test_last_costs_nothing_and_best_one_candidate(tmp_path: Path, prepare: Prepare) -> None:
    sizes = {}
    for policy in ("last", "best"):
        job, context = prepare(tmp_path / policy, stage_policy=policy)
        state = Training(job, context).program.abstract_start(job.seeds)
        sizes[policy] = len(jax.tree.leaves(state))
        if policy == "last":
            assert state.best is None
    assert sizes["best"] - sizes["last"] == len(Script._fields) + 1


def test_resuming_is_exact_across_the_choice(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[Algorithm, Compiled] = {}  # compiled once for all starts
    monkeypatch.setattr(
        suite.training.job, "Compiled", lambda p: known.setdefault(p.algorithm, Compiled(p))
    )
    job, whole = prepare(tmp_path / "whole", stage_policy="best", time_limits=False)
    run_job(job, whole)
    job, broken = prepare(tmp_path / "broken", stage_policy="best", time_limits=False)
    # The loop asks before each piece of work. It is stopped after the evaluation that finds
    # the best policy, at the end of the first stage, and in the change of stage: after each
    # of its two rollouts, and at its end.
    calls = itertools.count(1)
    stopping = (5, 7, 9, 11, 13)
    monkeypatch.setattr(suite.training.job.interrupt, "requested", lambda: next(calls) in stopping)
    stops = []
    while run_job(job, broken).interrupted:
        status = broken.run.files(job.cells[0]).read_status()
        assert status is not None
        stops.append((status.updates, status.ledger.decoder_data_steps))
    assert stops == [(2, 0), (3, 0), (3, STEPS), (3, 2 * STEPS), (3, 2 * STEPS)]
    assert returns(whole, job) == returns(broken, job)
    ours, theirs = (
        jax.tree.leaves(final_state(job, context)._replace(key=None)) for context in (whole, broken)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stage_without_an_evaluation_keeps_its_last_policy(
    tmp_path: Path, prepare: Prepare
) -> None:
    job, context = prepare(tmp_path, stage_policy="best")
    sparse = dataclasses.replace(context.request.protocol, eval_interval=5)
    request = dataclasses.replace(context.request, protocol=sparse)
    context = dataclasses.replace(context, request=request)
    run_job(job, context)
    # Evaluated after 0, 5 and 7 updates, and the untrained policy is no candidate.
    assert final_state(job, context).algorithm.refitted_from[0].tolist() == [3.0, 5.0]


@pytest.mark.parametrize(("limits", "longest"), [(True, EPISODE), (False, 2 * 6)])
def test_extra_rollouts_run_past_the_time_limit_from_fresh_environments_if_asked(
    tmp_path: Path, prepare: Prepare, limits: bool, longest: int
) -> None:
    job, context = prepare(tmp_path, time_limits=limits)
    run_job(job, context)
    state = final_state(job, context)
    assert state.algorithm.longest.tolist() == [longest] * 2
    # Both ways the steps are in the ledger.
    status = context.run.files(job.cells[0]).read_status()
    assert status is not None and status.ledger.decoder_data_steps == 2 * 2 * STEPS
    assert int(state.envs.phase.max()) <= EPISODE
