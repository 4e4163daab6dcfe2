"""Chunks, advantages, minibatches and the update that all methods share."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import (
    chunk_returns,
    clipped_surrogate,
    float64,
    gaussian_entropy,
    gaussian_head,
    gaussian_log_prob,
    mlp,
    numerical_gradient,
)
from tiny import ONE_STEP, PIPELINE, SPEC, init, make, play, update

from algorithms.api import Rollout
from algorithms.parts import on_policy
from algorithms.parts import returns as returns_module
from algorithms.parts.on_policy import (
    Learner,
    Networks,
    limit_norm,
    minibatch_indices,
)
from algorithms.parts.returns import cut_into_chunks

TRUNCATIONS: tuple[Literal["bootstrapped", "masked"], ...] = ("bootstrapped", "masked")


def numbered_rollout(steps: int, envs: int) -> Rollout:
    """Every number tells its step and environment: 100 * environment + step."""
    number = jnp.arange(steps)[:, None] + 100.0 * jnp.arange(envs)[None]
    return Rollout(
        obs=jnp.stack([number, -number], axis=-1),
        extras={"wide": jnp.broadcast_to(number[..., None, None], (steps, envs, 2, 3))},
        reward=number,
        terminated=jnp.zeros((steps, envs)),
        truncated=jnp.zeros((steps, envs)).at[5, 1].set(1.0).at[2, 0].set(1.0),
        next_obs=jnp.stack([number + 0.5, -number], axis=-1),
    )


def test_chunks_keep_steps_in_order() -> None:
    chunks = cut_into_chunks(numbered_rollout(steps=8, envs=3), 4)
    expected = [
        [100 * env + 4 * part + step for step in range(4)] for part, env in np.ndindex(2, 3)
    ]
    np.testing.assert_array_equal(chunks.reward, expected)
    np.testing.assert_array_equal(chunks.obs[..., 0], expected)
    np.testing.assert_array_equal(chunks.obs[..., 1], -np.array(expected))
    np.testing.assert_array_equal(chunks.extras["wide"][..., 1, 2], expected)
    np.testing.assert_array_equal(chunks.last_obs[:, 0], np.array(expected)[:, -1] + 0.5)


def test_final_obs_is_where_the_time_limit_fell() -> None:
    chunks = cut_into_chunks(numbered_rollout(steps=8, envs=3), 4)
    cut = np.asarray(chunks.truncated.max(axis=1) > 0)
    assert cut.tolist() == [True, False, False, False, True, False]
    np.testing.assert_array_equal(chunks.final_obs[cut][:, 0], [2.5, 105.5])


def test_minibatches_hold_every_chunk_once_an_epoch() -> None:
    pipeline = dataclasses.replace(PIPELINE, num_epochs=3, num_minibatches=4)
    order = np.asarray(minibatch_indices(jax.random.key(0), 20, pipeline))
    assert order.shape == (12, 5)
    epochs = order.reshape(3, 20)
    for epoch in epochs:
        assert sorted(epoch) == list(range(20))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], np.arange(20))


def random_chunks(count: int, length: int) -> dict[str, Any]:
    """Chunks with mixed endings, at most one time limit each, float32."""
    random = np.random.default_rng(3)
    truncated = np.zeros((count, length))
    truncated[np.arange(count), random.integers(0, length, count)] = random.random(count) < 0.7
    values = 20.0 * random.normal(size=(count, length))
    return {
        "reward": 10.0 * random.random((count, length)).astype(np.float32),
        "terminated": (random.random((count, length)) < 0.2).astype(np.float32),
        "truncated": truncated.astype(np.float32),
        "values": values.astype(np.float32),
        "last_value": (20.0 * random.normal(size=count)).astype(np.float32),
        "final_value": (20.0 * random.normal(size=count)).astype(np.float32),
    }


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("gae_lambda", [0.0, 0.6, 0.95, 1.0])
def test_returns_match_a_loop(
    truncation: Literal["bootstrapped", "masked"], gae_lambda: float
) -> None:
    chunks = random_chunks(count=64, length=9)
    # Some chunks end with a step that both terminates and is cut.
    assert np.any(chunks["terminated"] * chunks["truncated"])
    returns = returns_module.chunk_returns(
        **{name: jnp.asarray(x) for name, x in chunks.items()},
        discount=0.9,
        gae_lambda=gae_lambda,
        truncation=truncation,
    )
    wide = float64(chunks)
    for c in range(64):
        following = np.append(wide["values"][c, 1:], wide["last_value"][c])
        following = np.where(wide["truncated"][c] > 0, wide["final_value"][c], following)
        target, advantage, weight = chunk_returns(
            wide["reward"][c],
            wide["terminated"][c],
            wide["truncated"][c],
            wide["values"][c],
            following,
            0.9,
            gae_lambda,
            masked=truncation == "masked",
        )
        np.testing.assert_allclose(returns.advantage[c], advantage, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(returns.weight[c], weight)
        # A masked step's target has no effect; its weight is zero.
        shown = weight > 0
        np.testing.assert_allclose(returns.target[c][shown], target[shown], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("truncation", "targets", "advantages"),
    [
        # gamma = lambda = 1/2; rewards 1, 2, 4; values 8, 4, 2; cut after step 1 at value 6.
        # Step 2: 4 + 1/2 * 10 = 9. Step 1: 2 + 1/2 * 6 = 5 (no trace across the cut).
        # Step 0: delta = 1 + 2 - 8 = -5, trace 1/2 * 1/2 * (5 - 4), look-ahead 1/2 * 1.
        ("bootstrapped", [3.25, 5.0, 9.0], [-4.5, 1.0, 7.0]),
        # The cut step teaches nothing, so step 0 sees only its own delta.
        ("masked", [3.0, None, 9.0], [-5.0, 0.0, 7.0]),
    ],
)
def test_returns_by_hand(
    truncation: Literal["bootstrapped", "masked"],
    targets: list[float | None],
    advantages: list[float],
) -> None:
    returns = returns_module.chunk_returns(
        jnp.array([[1.0, 2.0, 4.0]]),
        jnp.zeros((1, 3)),
        jnp.array([[0.0, 1.0, 0.0]]),
        jnp.array([[8.0, 4.0, 2.0]]),
        jnp.array([10.0]),
        jnp.array([6.0]),
        discount=0.5,
        gae_lambda=0.5,
        truncation=truncation,
    )
    np.testing.assert_allclose(returns.advantage[0], advantages)
    for got, expected in zip(returns.target[0].tolist(), targets, strict=True):
        assert expected is None or got == expected


def test_standardize() -> None:
    x = np.random.default_rng(0).normal(3.0, 7.0, size=(6, 5)).astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean()) / wide.std()
    np.testing.assert_allclose(on_policy.standardize(jnp.asarray(x)), expected, atol=1e-5)
    assert not np.any(on_policy.standardize(jnp.full((3, 3), 5.0)))


def test_clipped_surrogate() -> None:
    random = np.random.default_rng(0)
    ratio = np.exp(0.5 * random.normal(size=(7, 5, 3))).astype(np.float32)
    advantage = random.normal(size=(7, 5, 1)).astype(np.float32)
    loss = on_policy.clipped_surrogate(jnp.asarray(ratio), jnp.asarray(advantage), jnp.float32(0.2))
    everywhere = np.broadcast_to(float64(advantage), ratio.shape)
    np.testing.assert_allclose(loss, clipped_surrogate(float64(ratio), everywhere, 0.2), rtol=1e-5)


def test_surrogate_has_no_gradient_where_the_clip_binds() -> None:
    clip = jnp.float32(0.2)

    def slope(ratio: float, advantage: float) -> float:
        loss = jax.grad(lambda r: on_policy.clipped_surrogate(r, jnp.array([advantage]), clip))
        return float(loss(jnp.array([ratio]))[0])

    assert slope(1.3, 2.0) == 0.0
    assert slope(0.7, -2.0) == 0.0
    assert slope(0.7, 2.0) == -2.0  # a bad move is always undone
    assert slope(1.3, -2.0) == 2.0
    assert slope(1.1, 2.0) == -2.0


def test_clip_fraction() -> None:
    ratio = jnp.array([0.5, 0.85, 1.0, 1.15, 1.25])
    np.testing.assert_allclose(on_policy.clip_fraction(ratio, jnp.float32(0.2)), 0.4)


def test_limit_norm() -> None:
    gradient = Networks(policy=jnp.array([3.0, 0.0]), critic={"w": jnp.array([[4.0]])})
    for maximum, scale in ((0.0, 1.0), (10.0, 1.0), (2.5, 0.5)):
        limited, norm = limit_norm(gradient, jnp.float32(maximum))
        assert float(norm) == 5.0
        np.testing.assert_allclose(limited.policy, [3.0 * scale, 0.0], rtol=1e-6)
        np.testing.assert_allclose(limited.critic["w"], [[4.0 * scale]], rtol=1e-6)


def reference_update(
    algorithm: Any, networks: Any, old_critic: Any, stats: tuple[Any, Any], rollout: Rollout
) -> dict[str, float]:
    """Losses of PPO on a whole rollout, one environment and chunk after another."""
    mean, std = stats
    pipeline, discount = algorithm.pipeline, algorithm.env.discount
    data = float64(rollout)
    obs, next_obs = (data.obs - mean) / std, (data.next_obs - mean) / std
    fixed, following = mlp(old_critic, obs)[..., 0], mlp(old_critic, next_obs)[..., 0]
    values = mlp(networks.critic, obs)[..., 0]
    advantage, errors = np.zeros_like(values), np.zeros_like(values)
    for env in range(pipeline.num_envs):
        for start in range(0, pipeline.rollout_length, pipeline.chunk_length):
            part = (slice(start, start + pipeline.chunk_length), env)
            target, advantage[part], weight = chunk_returns(
                algorithm.reward_scale * data.reward[part],
                data.terminated[part],
                data.truncated[part],
                fixed[part],
                following[part],
                discount,
                algorithm.gae_lambda,
                masked=pipeline.truncation == "masked",
            )
            errors[part] = (target - values[part]) * weight
    advantage = (advantage - advantage.mean()) / advantage.std()
    policy_mean, policy_std = gaussian_head(mlp(networks.policy, obs))
    log_prob = gaussian_log_prob(data.extras["drawn"], policy_mean, policy_std)
    ratio = np.exp(log_prob - data.extras["log_prob"])
    penalty = np.mean(policy_mean**2) + np.mean(policy_std**2)
    policy_loss = (
        clipped_surrogate(ratio, advantage, algorithm.clip)
        - algorithm.entropy_cost * gaussian_entropy(policy_std).mean()
        + algorithm.latent_penalty * penalty
    )
    value_loss = algorithm.value_cost * float(np.mean(errors**2))
    return {"policy_loss": policy_loss, "value_loss": value_loss}


@pytest.mark.parametrize(
    ("truncation", "timing"), [("bootstrapped", "after"), ("masked", "before")]
)
def test_one_gradient_step_matches_a_loop(
    truncation: Literal["bootstrapped", "masked"], timing: Literal["before", "after"]
) -> None:
    """Losses and the gradient's norm, with targets and advantages held fixed."""
    pipeline = dataclasses.replace(ONE_STEP, truncation=truncation, normalizer_timing=timing)
    algorithm = make("ppo-matched", pipeline, actor_hidden=(4,), critic_hidden=(4,))
    state: Learner = init(algorithm, jax.random.key(0))
    for seed in range(2):  # statistics that are not the identity
        rollout = play(algorithm, state, jax.random.key(seed), shift=0.5)
        before = state
        state, metrics = update(algorithm, state, rollout, jax.random.key(seed))

    stats = state.normalizer if timing == "before" else before.normalizer
    held = (float64(stats.mean), float64(stats.std))
    networks, old_critic = before.networks, float64(before.networks.critic)

    def loss(networks: Any) -> dict[str, float]:
        return reference_update(algorithm, networks, old_critic, held, rollout)

    expected = loss(float64(networks))
    gradient = numerical_gradient(lambda n: sum(loss(n).values()), networks)
    norm = np.sqrt(sum(np.sum(leaf**2) for leaf in gradient))
    np.testing.assert_allclose(metrics["policy_loss"], expected["policy_loss"], atol=1e-5)
    np.testing.assert_allclose(metrics["value_loss"], expected["value_loss"], rtol=1e-4)
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-3)


def test_gradient_limit_is_in_force() -> None:
    """Adam's first step is the learning rate unless the gradient is far below its 1e-8."""
    algorithm = make("ppo", ONE_STEP, max_grad_norm=1e-12)
    state = init(algorithm, jax.random.key(0))
    rollout = play(algorithm, state, jax.random.key(1))
    after, metrics = update(algorithm, state, rollout, jax.random.key(2))
    assert metrics["gradient_norm"] > 1e-3
    for new, old in zip(
        jax.tree.leaves(after.networks), jax.tree.leaves(state.networks), strict=True
    ):
        assert np.abs(new - old).max() < 1e-3 * algorithm.learning_rate


@pytest.mark.parametrize(
    ("name", "timing"),
    [("ppo", "before"), *((name, "after") for name in ("ppo", "fpo", "dppo", "gorl-fm"))],
)
def test_first_ratio_is_one_only_if_statistics_wait(
    name: str, timing: Literal["before", "after"]
) -> None:
    """Old densities were taken with the statistics of the rollout (ALGORITHMS 1.4)."""
    pipeline = dataclasses.replace(ONE_STEP, normalizer_timing=timing)
    # Small steps, so that only the statistics can move the ratio.
    algorithm = make(name, pipeline, clip=1e-3, learning_rate=1e-6)
    state = init(algorithm, jax.random.key(0))
    for seed in range(4):
        rollout = play(algorithm, state, jax.random.key(seed), float(seed))
        state, metrics = update(algorithm, state, rollout, jax.random.key(seed))
        if timing == "after":
            assert metrics["clip_fraction"] == 0.0
        else:
            assert metrics["clip_fraction"] > 0.2


@pytest.mark.parametrize(("kind", "timing"), [("cumulative", "after"), ("legacy", "before")])
def test_statistics_take_in_every_rollout_once(
    kind: Literal["cumulative", "legacy"], timing: Literal["before", "after"]
) -> None:
    pipeline = dataclasses.replace(PIPELINE, normalizer=kind, normalizer_timing=timing)
    algorithm = make("ppo", pipeline)
    state, seen = init(algorithm, jax.random.key(0)), []
    for seed in range(3):
        rollout = play(algorithm, state, jax.random.key(seed), shift=float(seed))
        seen.append(float64(rollout.obs).reshape(-1, SPEC.obs_size))
        state, _ = update(algorithm, state, rollout, jax.random.key(seed))
    everything = np.concatenate(seen)
    assert int(state.normalizer.batches) == 3
    np.testing.assert_allclose(state.normalizer.mean, everything.mean(axis=0), atol=1e-5)
    if kind == "cumulative":
        np.testing.assert_allclose(state.normalizer.std, everything.std(axis=0), rtol=1e-5)
    else:
        assert np.all(np.asarray(state.normalizer.std) < everything.std(axis=0))
