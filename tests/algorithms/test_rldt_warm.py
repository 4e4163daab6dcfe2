"""RLDT from PPO: the flow's fit, what the warm-up leaves behind, and the critics that follow."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, float64, gaussian_head, mlp, twins
from scipy.stats import norm
from tiny import PIPELINE, SPEC, assert_same, compiled, init, make, roll_out, update

from algorithms.api import Rollout
from algorithms.parts.networks import constant_output
from algorithms.parts.replay import Replay
from algorithms.rldt_warm import RLDTWarm, WarmState

KEY = jax.random.key(3)
MEAN, STD = np.array([0.8, -0.5, 0.0]), np.array([0.3, 0.7, 1.5])


@compiled
def explored(algorithm: Any, state: WarmState, key: jax.Array) -> Rollout:
    """A rollout of the warm-up, on the observations of `roll_out` that is as long."""
    longer = algorithm.warm_up_rollout_length
    rollout = roll_out(dataclasses.replace(algorithm, rollout_length=longer), state, key)
    keys = jax.random.split(key, len(rollout.obs))
    _, extras = jax.vmap(lambda obs, key: algorithm.explore(state, obs, key))(rollout.obs, keys)
    return rollout._replace(extras=extras)


def small(**changes: Any) -> Any:
    """Rollouts of 3 steps after a warm-up of rollouts of 12."""
    return make("rldt-warm", rollout_length=3, **changes)


def with_teacher(algorithm: RLDTWarm, state: WarmState, mean: Array, std: Array) -> WarmState:
    """Gives PPO a Gaussian whose mean depends on the first observation, and its std on none."""
    raw = np.log(np.expm1(std - 1e-3))
    bias = jnp.asarray(np.concatenate([mean, raw]), jnp.float32)
    policy = constant_output(state.teacher.networks.policy, bias)
    last = policy["params"][f"Dense_{len(algorithm.ppo.actor_hidden)}"]
    hidden = last["kernel"].shape[0]
    slope = jnp.zeros((hidden, 2 * SPEC.action_size)).at[:, 0].set(0.3)
    last["kernel"] = slope
    networks = state.teacher.networks._replace(policy=policy)
    return state._replace(teacher=state.teacher._replace(networks=networks))


def filled(algorithm: RLDTWarm, state: WarmState, obs: jax.Array) -> WarmState:
    """Puts observations [B, O] into the buffer, and nothing else."""
    replay: Replay[Any] = state.learner.replay
    slots = jax.tree.map(
        lambda leaf: jnp.zeros((len(obs), *leaf.shape[1:]), leaf.dtype), replay.ring
    )
    learner = state.learner._replace(replay=replay.add(slots._replace(obs=obs)))
    return state._replace(learner=learner)


def squashed_moments(mean: Array, std: Array) -> tuple[Array, Array]:
    """Mean and std of tanh of Gaussians [..., A], by Gauss-Hermite quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    values = np.tanh(mean[..., None] + std[..., None] * points)
    first = (values * weights).sum(axis=-1)
    return first, np.sqrt((values**2 * weights).sum(axis=-1) - first**2)


def euler_std(mean: float, std: float, steps: int) -> float:
    """Std at the end of Euler steps from N(0, 1) along the exact velocity to tanh of N(m, s^2).

    The velocity E[e - a | x_t] where x_t = t e + (1 - t) a, by quadrature over a.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(256)
    ends = np.tanh(mean + std * points)
    x = norm.ppf((np.arange(2000) + 0.5) / 2000)[:, None]
    for t in np.arange(steps, 0, -1) / steps:
        logs = -0.5 * ((x - (1 - t) * ends) / t) ** 2 + np.log(np.maximum(weights, 1e-300))
        shares = np.exp(logs - logs.max(axis=-1, keepdims=True))
        a = (shares * ends).sum(axis=-1, keepdims=True) / shares.sum(axis=-1, keepdims=True)
        x = x - ((x - (1 - t) * a) / t - a) / steps
    return float(x.std())


def test_the_fitted_flow_draws_what_tanh_of_a_known_gaussian_draws() -> None:
    algorithm: RLDTWarm = small(
        actor_hidden=(32, 32),
        flow_steps=20,
        fit_batch_size=512,
        fit_epochs=10_000,
        fit_learning_rate=1e-3,
    )
    obs = jax.random.normal(KEY, (256, SPEC.obs_size))
    state = with_teacher(algorithm, init(algorithm, KEY), MEAN, STD)
    state = filled(algorithm, state, obs)

    @quickly
    def drawn() -> jax.Array:
        flow = algorithm.rldt.flow
        start = state.learner.networks.policy
        fitted = algorithm.fitted_flow(start, state.learner.replay, state.teacher, KEY)
        noise = jax.random.normal(jax.random.key(8), (2000, 4, SPEC.action_size))
        return flow.decode(fitted, flow.schedule(), obs[None, :4].repeat(2000, axis=0), noise)

    action = np.asarray(drawn())
    known_mean, known_std = gaussian_head(mlp(state.teacher.networks.policy, float64(obs[:4])))
    np.testing.assert_allclose(known_std, np.broadcast_to(STD, known_std.shape), atol=1e-5)
    assert np.ptp(known_mean[:, 0]) > 0.1
    each = zip(known_mean.ravel(), known_std.ravel(), strict=True)
    exact = [euler_std(mean, std, algorithm.flow_steps) for mean, std in each]
    known_mean, known_std = squashed_moments(known_mean, known_std)
    np.testing.assert_allclose(action.mean(axis=0), known_mean, atol=0.1)
    np.testing.assert_allclose(action.std(axis=0), known_std, rtol=0.15)
    np.testing.assert_allclose(action.std(axis=0).ravel(), exact, rtol=0.1)


class Course(NamedTuple):
    """A warm-up of one rollout, and what comes of it."""

    algorithm: RLDTWarm
    start: WarmState
    rollout: Rollout
    warmed: WarmState
    entered: WarmState


@pytest.fixture(scope="module")
def course() -> Course:
    algorithm: RLDTWarm = small()
    start = init(algorithm, KEY)
    rollout = explored(algorithm, start, KEY)
    warmed = compiled(RLDTWarm.warm_up_update)(algorithm, start, rollout, KEY)
    entered = compiled(RLDTWarm.advance)(algorithm, warmed, KEY)
    return Course(algorithm, start, rollout, warmed, entered)


def test_the_warm_up_is_ppo_and_fills_the_buffer(course: Course) -> None:
    algorithm, start, rollout, warmed, _ = course
    assert rollout.reward.shape == (PIPELINE.rollout_length, PIPELINE.num_envs)
    alone, _ = update(algorithm.ppo, start.teacher, rollout, KEY)
    for ours, known in zip(jax.tree.leaves(warmed.teacher), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours, known, rtol=1e-4, atol=1e-6)
    count, kept = rollout.reward.size, warmed.learner.replay
    assert int(kept.size) == count
    for ring, seen in (kept.ring.obs, rollout.obs), (kept.ring.action, rollout.extras["action"]):
        np.testing.assert_array_equal(ring[:count], seen.reshape(count, -1))
    action, drawn = rollout.extras["action"], rollout.extras["drawn"]
    np.testing.assert_allclose(action, np.tanh(drawn), rtol=1e-5)
    assert_same(warmed.learner.networks, start.learner.networks)


def test_statistics_go_on_as_if_all_rollouts_had_been_short(course: Course) -> None:
    """Of a rollout of 12 steps in the warm-up and one of 3 after it: weights 4 and 1."""
    first = course.rollout
    second = jax.tree.map(lambda leaf: leaf[:3], first)._replace(obs=2.0 * first.obs[:3] + 1.0)
    stats = course.algorithm.rldt.record(course.entered.learner, second).normalizer
    seen = np.concatenate(
        [float64(each.obs).reshape(-1, SPEC.obs_size) for each in (first, second)]
    )
    np.testing.assert_allclose(stats.mean, seen.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stats.std, seen.std(axis=0), rtol=1e-5)
    assert int(stats.batches) == 5


def test_ppo_acts_in_the_warm_up_and_the_flow_after_it(course: Course) -> None:
    algorithm, start, _, _, entered = course
    obs = jax.random.normal(KEY, (7, SPEC.obs_size))
    act = compiled(lambda a, s: a.act(s, obs, KEY, "deterministic")[0])
    mean, _ = gaussian_head(mlp(start.teacher.networks.policy, float64(obs)))
    np.testing.assert_allclose(act(algorithm, start), np.tanh(mean), rtol=1e-4, atol=1e-5)
    flow = act(algorithm.rldt, entered.learner)
    np.testing.assert_array_equal(act(algorithm, entered), flow)
    assert np.abs(flow - act(algorithm.ppo, entered.teacher)).max() > 1e-3
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(entered.learner.optimizer))


def test_critics_learn_alone(course: Course) -> None:
    """With a discount of 0 and one reward for all, their values come to be that reward."""
    algorithm = small(critic_hidden=(16,), critic_steps=1500, learning_rate=3e-3, target_rate=0.02)
    algorithm = dataclasses.replace(algorithm, env=dataclasses.replace(SPEC, discount=0.0))
    rollout = course.rollout._replace(reward=jnp.full_like(course.rollout.reward, 0.7))
    before = algorithm.rldt.record(algorithm.rldt.init(KEY), rollout)
    after = compiled(RLDTWarm.with_critics)(algorithm, before, KEY)
    obs = after.normalizer(rollout.obs[0])
    for params in after.networks.critic, after.target:
        q = twins(params, float64(obs), float64(rollout.extras["action"][0]))
        np.testing.assert_allclose(q, 0.7, atol=0.07)
    assert_same(after.networks.policy, before.networks.policy)
    alone = dataclasses.replace(algorithm, critic_steps=0).with_critics(before, KEY)
    assert_same(alone.networks, before.networks)


@pytest.mark.parametrize(
    ("share", "updates", "warm_up"), [(0.1, 183, 18), (0.1, 6, 1), (0.5, 6, 3), (0.0, 6, 1)]
)
def test_the_warm_up_is_a_share_of_the_budget(share: float, updates: int, warm_up: int) -> None:
    pipeline = dataclasses.replace(PIPELINE, updates=updates)
    stages = make("rldt-warm", pipeline, warm_up_share=share).stages()
    assert [(each.updates, each.warm_up) for each in stages] == [
        (warm_up, True),
        (updates - warm_up, False),
    ]


def test_a_warm_up_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="warm_up_share = 1: leaves no update of 6"):
        make("rldt-warm", warm_up_share=1.0).stages()
