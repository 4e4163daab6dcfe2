"""The probes' closed forms against brute force over actions and steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.api import TaskState
from envs.probes import PROBES, Probe
from envs.vector import VectorEnv


def play(probe: Probe, state: TaskState, discount: float) -> float:
    """Returns the discounted return of the optimal actions, step by step."""
    total, weight = 0.0, 1.0
    for _ in range(10):
        state = probe.step(state, probe.optimal_action(state.obs))
        total += weight * float(state.reward)
        weight *= discount
        if state.done:
            return total
    raise AssertionError("the episode does not end")


@pytest.mark.parametrize("name", PROBES)
def test_optimal_value_is_what_optimal_actions_earn(name: str) -> None:
    probe = PROBES[name]
    for seed in range(4):
        state = probe.reset(jax.random.key(seed))
        assert float(probe.optimal_value(state.obs, 0.9)) == pytest.approx(play(probe, state, 0.9))


@pytest.mark.parametrize("name", PROBES)
def test_no_action_beats_the_optimal_one(name: str) -> None:
    probe = PROBES[name]
    grid = np.linspace(-1, 1, 41, dtype=np.float32)
    actions = np.stack(np.meshgrid(*[grid] * probe.action_size), -1).reshape(-1, probe.action_size)
    for seed in range(4):
        obs = probe.reset(jax.random.key(seed)).obs
        rewards = np.asarray(jax.vmap(lambda a, obs=obs: probe.reward(obs, a))(actions))
        best = probe.optimal_action(obs)
        assert np.abs(best).max() <= 1
        assert rewards.max() <= float(probe.reward(obs, best)) + 1e-6
        assert rewards.min() >= 0 and rewards.max() <= 1


def test_only_the_last_two_probes_depend_on_the_action() -> None:
    for name, probe in PROBES.items():
        obs = probe.reset(jax.random.key(0)).obs
        low, high = (probe.reward(obs, jnp.full(probe.action_size, a)) for a in (-1.0, 0.3))
        assert (low != high) == (name in ("ActionReward", "ObsActionReward"))


@pytest.mark.parametrize("name", PROBES)
def test_probes_run_as_vector_environments(name: str) -> None:
    probe = PROBES[name]
    env = VectorEnv(probe, 5, bank_size=16, random_phase=False)
    state = env.reset(jax.random.key(0))
    for step in range(4):
        action = jnp.zeros((5, probe.action_size))
        state, transition = jax.jit(env.step)(state, action, jax.random.key(step))
        ends = (step + 1) % probe.steps_per_episode == 0
        np.testing.assert_array_equal(transition.terminated, float(ends))
        assert transition.next_obs.shape == (5, probe.obs_size)
