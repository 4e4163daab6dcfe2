"""SAC: its losses, what it learns from, and when."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import (
    Array,
    float64,
    gaussian_head,
    gaussian_log_prob,
    mlp,
    numerical_gradient,
    twins,
)
from tiny import PIPELINE, SPEC, init, make, play, update

from algorithms.off_policy.learner import Held, Transition
from algorithms.parts.distributions import gaussian
from algorithms.parts.normalizer import Normalizer
from algorithms.sac import SACState, SoftActorCritic, SoftNetworks

COUNT = 10
"""Transitions B in a minibatch."""


class Noise(NamedTuple):
    """What the policy's draws in a loss are made of, [B, A]: at s and at s'."""

    now: Array
    after: Array


def a_batch() -> Transition:
    """Some ends for good, some time limits, and one that is both."""
    keys = jax.random.split(jax.random.key(5), 4)
    obs, next_obs = 1.0 + jax.random.normal(keys[0], (2, COUNT, SPEC.obs_size))
    return Transition(
        obs,
        jax.random.uniform(keys[1], (COUNT, SPEC.action_size), minval=-1.0),
        jax.random.normal(keys[2], (COUNT,)),
        (jnp.arange(COUNT) % 4 == 0).astype(jnp.float32),
        (jnp.arange(COUNT) % 3 == 0).astype(jnp.float32),
        next_obs,
    )


def the_noise(
    algorithm: SoftActorCritic, networks: SoftNetworks, held: Any, key: jax.Array
) -> Noise:
    """The standard normal numbers that `loss` draws from `key`, taken from its draws."""
    batch = a_batch()
    found = []
    for obs, each in zip((batch.next_obs, batch.obs), jax.random.split(key), strict=True):
        output = algorithm.actor.forward(networks.policy, held.normalizer(obs))
        drawn = gaussian(output).sample(seed=each)
        mean, std = gaussian_head(float64(output))
        found.append((float64(drawn) - mean) / std)
    return Noise(now=found[1], after=found[0])


def squashed(bound: float, policy: Any, obs: Array, noise: Array) -> tuple[Array, Array]:
    """c tanh((mean + std noise) / c) and its log-density, by the change of variables."""
    mean, std = gaussian_head(mlp(policy, obs))
    drawn = mean + std * noise
    action = bound * np.tanh(drawn / bound)
    slope = np.log(1.0 - (action / bound) ** 2).sum(axis=-1)
    return action, gaussian_log_prob(drawn, mean, std) - slope


def losses(
    algorithm: SoftActorCritic, networks: Any, fixed: Any, held: Any, noise: Noise
) -> dict[str, float]:
    """The three losses; `fixed` are the networks where no gradient goes."""
    batch, stats = float64(a_batch()), held.normalizer
    mean, std = float64(stats.mean), float64(stats.std)
    obs, next_obs = (batch.obs - mean) / std, (batch.next_obs - mean) / std
    bound, alpha = algorithm.bound, math.exp(float(fixed.log_temperature))
    next_action, next_log_prob = squashed(bound, fixed.policy, next_obs, noise.after)
    next_q = twins(held.target, next_obs, next_action)
    q = twins(networks.critic, obs, batch.action)
    action, log_prob = squashed(bound, networks.policy, obs, noise.now)
    q_now = twins(fixed.critic, obs, action)
    _, held_log_prob = squashed(bound, fixed.policy, obs, noise.now)
    value_loss = policy_loss = temperature_loss = 0.0
    for b in range(COUNT):
        soft = min(next_q[:, b]) - alpha * next_log_prob[b]
        target = algorithm.reward_scale * batch.reward[b]
        if not batch.terminated[b]:
            target += algorithm.env.discount * soft
        if not (algorithm.pipeline.truncation == "masked" and batch.truncated[b]):
            value_loss += sum(0.5 * (each[b] - target) ** 2 for each in q)
        policy_loss += alpha * log_prob[b] - min(q_now[:, b])
        temperature_loss += math.exp(float(networks.log_temperature)) * (
            -held_log_prob[b] - algorithm.target_entropy * SPEC.action_size
        )
    sums = {
        "value_loss": value_loss,
        "policy_loss": policy_loss,
        "temperature_loss": temperature_loss,
    }
    return {name: value / COUNT for name, value in sums.items()}


@pytest.mark.parametrize(
    ("name", "bound", "truncation"),
    [("sac", 1.0, "bootstrapped"), ("gorl-sac-fm", 3.0, "masked")],
)
def test_losses_and_gradients_match_a_loop(
    name: str, bound: float, truncation: Literal["bootstrapped", "masked"]
) -> None:
    pipeline = dataclasses.replace(PIPELINE, truncation=truncation)
    method = make(name, pipeline, actor_hidden=(4,), critic_hidden=(4,), reward_scale=3.0)
    algorithm: SoftActorCritic = method if name == "sac" else method.encoder
    assert algorithm.bound == bound
    networks = algorithm.fresh_networks(jax.random.key(0))
    networks = networks._replace(log_temperature=jnp.float32(-0.7))
    other = algorithm.fresh_networks(jax.random.key(1))
    stats = Normalizer(jnp.int32(1), jnp.full(SPEC.obs_size, 0.5), jnp.full(SPEC.obs_size, 4.0))
    held = Held(other.critic, stats, other)
    key = jax.random.key(2)
    step = quickly(jax.grad(algorithm.loss, has_aux=True))
    gradient, metrics = step(networks, held, a_batch(), key)
    noise, fixed = the_noise(algorithm, networks, held, key), float64(networks)
    expected = losses(algorithm, fixed, fixed, held, noise)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4)
    slope = numerical_gradient(
        lambda each: sum(losses(algorithm, each, fixed, held, noise).values()), networks
    )
    for found, known in zip(jax.tree.leaves(gradient), slope, strict=True):
        np.testing.assert_allclose(found, known, rtol=2e-3, atol=2e-4)


def test_targets_follow_the_critics_after_each_gradient_step() -> None:
    algorithm = make("sac", target_rate=0.3, target_entropy=-5.0)
    state = init(algorithm, jax.random.key(0))
    for seed in range(2):
        before = state
        state, _ = update(
            algorithm, state, play(algorithm, state, jax.random.key(seed)), jax.random.key(seed)
        )
    triples = zip(
        *(jax.tree.leaves(each) for each in (before.target, state.networks.critic, state.target)),
        strict=True,
    )
    for old, online, new in triples:
        np.testing.assert_allclose(new, 0.7 * old + 0.3 * online, rtol=1e-4, atol=1e-6)
    # The policy is more random than wanted.
    assert float(state.networks.log_temperature) < -1.5 * algorithm.learning_rate


def test_nothing_is_learned_from_a_buffer_that_is_too_empty() -> None:
    algorithm = make("sac", learning_starts=20, target_entropy=5.0)
    state: SACState = init(algorithm, jax.random.key(0))
    counts = []
    for seed in range(4):
        before = state
        state, _ = update(
            algorithm, state, play(algorithm, state, jax.random.key(seed)), jax.random.key(seed)
        )
        counts.append(int(jax.tree.leaves(state.optimizer)[0]))
        same = [
            np.array_equal(old, new)
            for old, new in zip(
                jax.tree.leaves((before.networks, before.target)),
                jax.tree.leaves((state.networks, state.target)),
                strict=True,
            )
        ]
        assert all(same) if seed < 2 else not any(same)
    # 8 transitions a turn: 24 after the third.
    assert counts == [0, 0, 1, 2]
    assert int(state.replay.size) == 32
    # The policy is less random than wanted.
    assert float(state.networks.log_temperature) > 1.5 * algorithm.learning_rate


@pytest.mark.parametrize(
    ("envs", "length", "ratio", "steps"),
    [(128, 1, 0.0625, 8), (256, 1, 0.0625, 16), (8, 1, 0.0625, 1), (8, 4, 20.0, 640)],
)
def test_gradient_steps_keep_the_ratio_to_data(
    envs: int, length: int, ratio: float, steps: int
) -> None:
    pipeline = dataclasses.replace(PIPELINE, num_envs=envs)
    algorithm = make("sac", pipeline, rollout_length=length, update_to_data=ratio)
    assert algorithm.gradient_steps == steps
    assert algorithm.rollouts_per_update == PIPELINE.rollout_length // length


def test_the_warm_up_is_random_and_inside_the_budget() -> None:
    algorithm = make("sac", warm_up=2)
    stages = algorithm.stages()
    assert [(each.updates, each.warm_up) for each in stages] == [(2, True), (4, False)]
    assert [each.updates for each in make("sac", warm_up=0).stages()] == [PIPELINE.updates]
    state = init(algorithm, jax.random.key(0))
    obs = jnp.zeros((4000, SPEC.obs_size))
    action, extras = algorithm.explore(state, obs, jax.random.key(1))
    np.testing.assert_array_equal(action, extras["action"])
    # Uniform: as many in each tenth, and no dimension like another.
    shares = np.histogram(action, bins=10, range=(-1.0, 1.0))[0] / action.size
    np.testing.assert_allclose(shares, 0.1, atol=0.01)
    assert np.abs(np.corrcoef(np.asarray(action).T) - np.eye(SPEC.action_size)).max() < 0.1


def test_what_is_recorded_is_what_was_seen() -> None:
    """Raw observations: statistics that come later hold for all that was stored before."""
    algorithm = make("sac", rollout_length=4, replay_capacity=1000)
    state = init(algorithm, jax.random.key(0))
    for seed in range(2):
        rollout = play(algorithm, state, jax.random.key(seed), shift=3.0)
        state = algorithm.record(state, rollout)
    # No more room than the budget has transitions.
    assert state.replay.ring.obs.shape == (6 * 96, SPEC.obs_size)
    assert int(state.replay.size) == 64 and int(state.normalizer.batches) == 2
    newest = jax.tree.map(
        lambda leaf: leaf[32:64].reshape(4, 8, *leaf.shape[1:]), state.replay.ring
    )
    np.testing.assert_array_equal(newest.obs, rollout.obs)
    np.testing.assert_array_equal(newest.action, rollout.extras["action"])
    for field in ("reward", "terminated", "truncated", "next_obs"):
        np.testing.assert_array_equal(getattr(newest, field), getattr(rollout, field))
