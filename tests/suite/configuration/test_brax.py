"""The preset `brax`, `ppo-brax`, and environments that start afresh by rule.

Numbers are those of docs/algorithms.md, section 9, transcribed here by hand.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithms.api import Algorithm, EnvSpec, Extras, Metrics, Mode, Pipeline, Rollout
from envs.api import Task, TaskState
from envs.vector import VectorEnv
from suite.common.errors import UserError
from suite.compute.program import Program
from suite.configuration.protocol import Protocol, load_protocol
from suite.planning.run_request import make_request

PIPELINE = {
    "num_envs": 2048,
    "rollout_length": 480,  # Brax: 1024 x 32 unrolls of 30 steps from 2048 environments
    "chunk_length": 30,
    "num_minibatches": 32,
    "num_epochs": 16,
    "normalizer": "cumulative",
    "normalizer_timing": "before",
    "truncation": "masked",
    "random_phase": False,
    "restart_interval": 1,  # ten restarts between evaluations that are ten updates apart
    "eval_interval": 10,
    "eval_episodes": 128,
    "discount": 0.995,
    "task_discount": {"FingerSpin": 0.95},
}
PPO_BRAX = {
    "learning_rate": 1e-3,
    "clip": 0.3,
    "max_grad_norm": 0.0,
    "gae_lambda": 0.95,
    "reward_scale": 10.0,
    "value_cost": 0.25,
    "actor_hidden": (32, 32, 32, 32),
    "critic_hidden": (256, 256, 256, 256, 256),
    "entropy_cost": 0.01,
    "tanh_entropy": True,
    "latent_penalty": 0.0,
    "penalty_form": "code",  # of no effect without a penalty
    "std_form": "state",
}


def test_every_number_of_brax() -> None:
    protocol = load_protocol("brax")
    stored = protocol.to_dict()
    assert {name: stored[name] for name in PIPELINE} == PIPELINE
    assert (protocol.steps_per_update, protocol.updates) == (983_040, 61)
    resolved = make_request("ppo-brax", "CheetahRun", "1", "brax", "native", None, ())
    assert resolved.hyperparameters["ppo-brax"] == PPO_BRAX
    assert protocol.published_mode_of("ppo-brax") == "sample"


class StepCounter(Task):
    """Observes its start and the steps since; its episodes are longer than the test."""

    name = "CheetahRun"
    engine = "native"
    obs_size = 2
    action_size = 1
    episode_length = 1000
    model_hash = "none"

    def reset(self, key: jax.Array) -> TaskState:
        """Starts at a random number."""
        start = jax.random.uniform(key)
        return self._state(jnp.stack([start, 0.0]))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Counts."""
        return self._state(state.physics + jnp.array([0.0, 1.0]))

    def _state(self, physics: jax.Array) -> TaskState:
        return TaskState(physics, physics, jnp.zeros(()), jnp.zeros(()))


class Idle(Algorithm):
    """Learns nothing."""

    def init(self, key: jax.Array) -> jax.Array:
        """Returns a number."""
        return jnp.zeros(())

    def act(
        self, state: jax.Array, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Stands still."""
        return jnp.zeros((obs.shape[0], 1)), {}

    def update(
        self, state: jax.Array, rollout: Rollout, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Reports when the rollout began."""
        return state, {"began": rollout.obs[0, :, 1].mean()}

    def parameters(self, state: jax.Array) -> jax.Array:
        """Returns the number."""
        return state


def _observations(interval: int, updates: int, length: int = 5) -> list[np.ndarray]:
    """Returns the observations [N, O] before the first update and after each."""
    algorithm = Idle(EnvSpec(2, 1), Pipeline(updates, 3, length, length, 1, 1))
    envs = VectorEnv(StepCounter(), num_envs=3, starts="own", random_phase=False)
    program = Program(algorithm, envs, interval)
    state = program.start(jnp.uint32(0))
    seen = [np.asarray(state.envs.obs)]
    train = jax.jit(program.train)
    for _ in range(updates):
        state, _, _ = train(state, program.no_metrics(state), jnp.int32(0), jnp.int32(1))
        seen.append(np.asarray(state.envs.obs))
    assert int(state.envs.steps) == updates * 3 * length  # restarts lose no step of the ledger
    return seen


def test_environments_start_afresh_by_rule() -> None:
    never, every, second = (_observations(interval, 4) for interval in (0, 1, 2))
    assert [obs[0, 1] for obs in never] == [0, 5, 10, 15, 20]
    assert [obs[0, 1] for obs in every] == [0, 0, 0, 0, 0]
    assert [obs[0, 1] for obs in second] == [0, 5, 0, 5, 0]
    starts = np.concatenate([obs[:, 0] for obs in every])
    assert len(np.unique(starts)) == len(starts)  # new start states, not the first ones again


def test_the_fingerprint_of_older_protocols_stays_theirs() -> None:
    stored = json.loads(
        (Path(__file__).resolve().parents[3] / "results/lite-first/protocol.json").read_text(
            encoding="utf-8"
        )
    )
    lite = Protocol.from_dict(stored["protocol"], "stored")
    assert lite.fingerprint() == stored["fingerprint"]
    restarting = dataclasses.replace(lite, restart_interval=3)
    assert restarting.fingerprint() != lite.fingerprint()
    assert restarting.differences(lite) == ["restart_interval"]


def test_a_negative_interval_is_refused() -> None:
    with pytest.raises(UserError, match="restart_interval = -1"):
        Protocol.from_dict({**load_protocol("smoke").to_dict(), "restart_interval": -1}, "mine")
