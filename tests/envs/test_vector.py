"""Batched environments: starts, phases, time limits, counts, seeds and bad numbers."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly

from envs.api import EnvError, Task, TaskState
from envs.engines.choice import load_task
from envs.names import TASK_SETS
from envs.vector import EnvState, Transition, VectorEnv


class Counter(Task):
    """Counts its steps; the observation is (start, steps), the reward steps / 100.

    An action above 0.9 makes the reward NaN, one below -0.9 the physics, and one in
    (0.4, 0.6) ends the episode.
    """

    name = "Counter"
    engine = "test"
    obs_size = 2
    action_size = 1
    episode_length = 7
    model_hash = ""

    def reset(self, key: jax.Array) -> TaskState:
        start = jax.random.uniform(key)
        zero = jnp.zeros(())
        return TaskState({"start": start, "steps": zero}, jnp.stack([start, zero]), zero, zero)

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        start = state.physics["start"]
        steps = state.physics["steps"] + 1.0
        a = action[0]
        return TaskState(
            physics={"start": jnp.where(a < -0.9, jnp.nan, start), "steps": steps},
            obs=jnp.stack([start, steps]),
            reward=jnp.where(a > 0.9, jnp.nan, steps / 100),
            done=((a > 0.4) & (a < 0.6)).astype(jnp.float32),
        )


def run(
    env: VectorEnv, steps: int, seed: int = 0, actions: np.ndarray | None = None
) -> tuple[EnvState, EnvState, Transition, np.ndarray]:
    """Returns first and last state, and transitions and observations, [T, N, ...]."""
    first = quickly(env.reset)(jax.random.key(seed))
    if actions is None:
        actions = np.zeros((steps, env.num_envs, env.task.action_size), np.float32)

    def body(state: EnvState, inputs: tuple) -> tuple[EnvState, tuple]:
        next_state, transition = env.step(state, *inputs)
        return next_state, (transition, state.obs)

    keys = jax.random.split(jax.random.key(seed + 1), steps)
    last, (transitions, obs) = quickly(lambda s: jax.lax.scan(body, s, (actions, keys)))(first)
    return first, last, jax.tree.map(np.asarray, transitions), np.asarray(obs)


def test_episodes_are_cut_at_exactly_the_limit() -> None:
    env = VectorEnv(Counter(), 3, random_phase=False, bank_size=5)
    _, _, transitions, obs = run(env, 22)
    ends = np.flatnonzero(transitions.truncated[:, 0]) + 1
    np.testing.assert_array_equal(ends, [7, 14, 21])
    np.testing.assert_array_equal(transitions.truncated.T, [transitions.truncated[:, 0]] * 3)
    assert not transitions.terminated.any()
    np.testing.assert_array_equal(obs[:, 0, 1], np.arange(22) % 7)


def test_without_time_limits_only_bad_numbers_end_an_episode() -> None:
    env = VectorEnv(Counter(), 3, random_phase=False, bank_size=5, time_limits=False)
    actions = np.zeros((22, 3, 1), np.float32)
    actions[9, 1] = -1.0
    _, last, transitions, obs = run(env, 22, actions=actions)
    assert not transitions.truncated.any()
    np.testing.assert_array_equal(np.argwhere(transitions.terminated), [[9, 1]])
    np.testing.assert_array_equal(obs[:, 0, 1], np.arange(22))
    np.testing.assert_array_equal(obs[:, 1, 1], [*range(10), *range(12)])
    assert int(last.steps) == 3 * 22


def test_final_observation_is_kept_and_the_next_one_is_a_start() -> None:
    env = VectorEnv(Counter(), 3, random_phase=False, bank_size=5)
    first, _, transitions, obs = run(env, 8)
    np.testing.assert_array_equal(transitions.next_obs[6, :, 0], obs[6, :, 0])
    np.testing.assert_array_equal(transitions.next_obs[6, :, 1], 7.0)
    assert np.isin(obs[7, :, 0], np.asarray(first.bank.obs[:, 0])).all()
    np.testing.assert_array_equal(transitions.next_obs[:6], obs[1:7])


def test_own_starts_return_to_the_first_state_of_each_environment() -> None:
    first, _, _, obs = run(VectorEnv(Counter(), 4, starts="own", random_phase=False), 30)
    assert len(set(obs[0, :, 0])) == 4
    np.testing.assert_array_equal(obs[:, :, 0], np.tile(obs[0, :, 0], (30, 1)))
    np.testing.assert_array_equal(first.bank.obs, first.obs)


def test_bank_starts_are_uniform_over_the_bank() -> None:
    env = VectorEnv(Counter(), 500, random_phase=False, bank_size=4)
    first, _, _, obs = run(env, 71)
    bank = np.asarray(first.bank.obs[:, 0])
    counts = (obs[::7, :, 0, None] == bank).sum(axis=(0, 1))
    assert counts.sum() == 11 * 500
    # Six standard deviations of a binomial count around 1375.
    assert np.abs(counts - 1375).max() < 6 * np.sqrt(5500 * 0.25 * 0.75)


def test_random_phases_are_uniform_and_shorten_only_first_episodes() -> None:
    env = VectorEnv(Counter(), 700, bank_size=4)
    first, _, transitions, _ = run(env, 14)
    counts = np.bincount(first.phase, minlength=7)
    assert len(counts) == 7
    assert np.abs(counts - 100).max() < 6 * np.sqrt(700 / 7 * 6 / 7)
    end = np.argmax(transitions.truncated, axis=0)
    np.testing.assert_array_equal(end, 6 - np.asarray(first.phase))
    np.testing.assert_array_equal(transitions.truncated.sum(axis=0), 2)
    assert (env.reset(jax.random.key(9)).phase != first.phase).any()


def test_steps_are_counted_where_they_are_taken() -> None:
    env = VectorEnv(Counter(), 3)
    _, last, _, _ = run(env, 22)
    count, emptied = env.take_count(last)
    assert count == 66 and count.dtype == jnp.int32
    assert emptied.steps == 0
    after, _ = env.step(emptied, jnp.zeros((3, 1)), jax.random.key(0))
    assert after.steps == 3


@pytest.mark.parametrize("bad", [1.0, -1.0], ids=["reward", "physics"])
def test_bad_numbers_end_one_episode_and_touch_no_other(bad: float) -> None:
    env = VectorEnv(Counter(), 4, starts="own", random_phase=False)
    actions = np.zeros((10, 4, 1), np.float32)
    _, _, clean, clean_obs = run(env, 10, actions=actions)
    actions[2, 1] = bad
    _, last, hurt, hurt_obs = run(env, 10, actions=actions)
    others = [0, 2, 3]
    jax.tree.map(
        lambda good, now: np.testing.assert_array_equal(good[:, others], now[:, others]),
        (clean, clean_obs),
        (hurt, hurt_obs),
    )
    assert hurt.reward[2, 1] == 0 and hurt.terminated[2, 1] == 1
    assert hurt.terminated.sum() == 1
    np.testing.assert_array_equal(hurt.next_obs[2, 1], hurt_obs[2, 1])
    np.testing.assert_array_equal(hurt_obs[3:, 1, 1], np.arange(7))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((hurt, last)))


def test_termination_by_the_task_keeps_its_reward_and_observation() -> None:
    env = VectorEnv(Counter(), 2, starts="own", random_phase=False)
    actions = np.zeros((8, 2, 1), np.float32)
    actions[2, 0] = 0.5
    actions[6, 1] = 0.5  # at the time limit: termination wins
    _, _, transitions, obs = run(env, 8, actions=actions)
    np.testing.assert_array_equal(np.argwhere(transitions.terminated), [[2, 0], [6, 1]])
    assert not transitions.truncated.any()
    assert transitions.reward[2, 0] == np.float32(0.03)
    assert transitions.next_obs[2, 0, 1] == 3 and obs[3, 0, 1] == 0


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(EnvError, match="one of bank, own"):
        VectorEnv(Counter(), 2, starts="banks")  # type: ignore[arg-type]
    with pytest.raises(EnvError, match="num_envs"):
        VectorEnv(Counter(), 0)
    with pytest.raises(EnvError, match="bank_size"):
        VectorEnv(Counter(), 1, bank_size=0)


@functools.cache
def native_rollout(name: str) -> tuple[Transition, np.ndarray]:
    """Sixty steps of 64 environments under random actions."""
    env = VectorEnv(load_task(name, "native"), 64, bank_size=64)
    shape = (60, 64, env.task.action_size)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    _, _, transitions, obs = run(env, 60, actions=actions)
    return transitions, obs


@pytest.mark.parametrize("name", TASK_SETS["dmc6"])
def test_rewards_lie_between_0_and_1(name: str) -> None:
    transitions, obs = native_rollout(name)
    assert transitions.reward.min() >= 0 and transitions.reward.max() <= 1
    assert np.isfinite(transitions.next_obs).all() and np.isfinite(obs).all()
    assert not transitions.terminated.any()


@pytest.mark.usefixtures("optimized")
def test_seeds_under_vmap_equal_separate_runs() -> None:
    env = VectorEnv(load_task("HopperStand", "native"), 8, bank_size=8)

    def rollout(key: jax.Array) -> tuple[EnvState, Transition]:
        def body(state: EnvState, key: jax.Array) -> tuple[EnvState, Transition]:
            return env.step(state, jax.random.uniform(key, (8, 4), minval=-1.0), key)

        return jax.lax.scan(body, env.reset(key), jax.random.split(key, 30))

    keys = jax.random.split(jax.random.key(3), 3)
    together = jax.jit(jax.vmap(rollout))(keys)
    alone = jax.jit(rollout)
    for seed in range(3):
        jax.tree.map(
            lambda a, b, seed=seed: np.testing.assert_array_equal(a[seed], b),
            together,
            alone(keys[seed]),
        )


def test_nan_in_one_native_environment_leaves_the_others_alone() -> None:
    task = load_task("WalkerWalk", "native")
    env = VectorEnv(task, 6, bank_size=6, random_phase=False)
    state = quickly(env.reset)(jax.random.key(0))
    rows = state.task.physics.at[2, 4].set(jnp.nan)
    hurt_state = state._replace(task=state.task._replace(physics=rows))
    step = quickly(env.step)
    action, key = jnp.full((6, 6), 0.3), jax.random.key(1)
    clean, _ = step(state, action, key)
    hurt, transition = step(hurt_state, action, key)
    np.testing.assert_array_equal(transition.terminated, [0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(transition.next_obs[2], state.obs[2])
    assert (np.asarray(hurt.task.physics[2]) == np.asarray(state.bank.physics)).all(1).any()
    others = np.array([0, 1, 3, 4, 5])
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a[others], b[others]), clean.task, hurt.task
    )
