"""What the harness relies on, for every algorithm: see `algorithms/api.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import PIPELINE, SPEC, compiled, init, make, roll_out

from algorithms.api import Algorithm, Metrics, State
from algorithms.names import NAMES

SEEDS = 3


@compiled
def train(algorithm: Algorithm, state: State, keys: jax.Array) -> tuple[State, Metrics]:
    """Two updates and a change of stage for every seed: states and keys are [S, ...]."""

    def one(state: State, key: jax.Array) -> tuple[State, Metrics]:
        def step(state: State, key: jax.Array) -> tuple[State, Metrics]:
            play_key, update_key = jax.random.split(key)
            return algorithm.update(state, roll_out(algorithm, state, play_key), update_key)

        *keys, advance_key = jax.random.split(key, 3)
        state, metrics = jax.lax.scan(step, state, jnp.stack(keys))
        return algorithm.advance(state, advance_key), metrics

    return jax.vmap(one)(state, keys)


class Outcome(NamedTuple):
    algorithm: Any
    start: State
    end: State
    metrics: Metrics


KEYS = jax.random.split(jax.random.key(1), SEEDS)


@pytest.fixture(scope="module", params=NAMES)
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """What training made of three seeds."""
    algorithm = make(request.param)
    start = jax.vmap(lambda key: init(algorithm, key))(jax.random.split(jax.random.key(0), SEEDS))
    return Outcome(algorithm, start, *train(algorithm, start, KEYS))


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_metrics_are_finite_scalars(outcome: Outcome) -> None:
    assert {"policy_loss", "value_loss", "clip_fraction"} <= set(outcome.metrics)
    for value in outcome.metrics.values():
        assert value.shape == (SEEDS, 2)
        assert np.isfinite(value).all()


def test_state_keeps_its_structure(outcome: Outcome) -> None:
    def describe(tree: Any) -> Any:
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)

    assert describe(outcome.start) == describe(outcome.end)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outcome.end))


def test_every_network_learned(outcome: Outcome) -> None:
    before, after = (outcome.algorithm.parameters(s) for s in (outcome.start, outcome.end))
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        changed = np.any(np.asarray(old != new).reshape(SEEDS, -1), axis=1)
        assert changed.all()


def test_same_key_same_bits(outcome: Outcome) -> None:
    again, metrics = train(outcome.algorithm, outcome.start, KEYS)
    assert bits(again) == bits(outcome.end)
    assert bits(metrics) == bits(outcome.metrics)
    other, _ = train(outcome.algorithm, outcome.start, KEYS[::-1])
    assert bits(outcome.algorithm.parameters(other)) != bits(
        outcome.algorithm.parameters(outcome.end)
    )


def test_a_broken_seed_leaves_the_others_untouched(outcome: Outcome) -> None:
    """NaN in every number of seed 0; the rest is the same to the bit."""

    def poison(leaf: jax.Array) -> jax.Array:
        return leaf.at[0].set(jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    end, metrics = train(outcome.algorithm, jax.tree.map(poison, outcome.start), KEYS)
    assert np.isnan(metrics["policy_loss"][0]).all()
    for got, expected in ((end, outcome.end), (metrics, outcome.metrics)):
        others = jax.tree.map(lambda leaf: leaf[1:], got)
        assert bits(others) == bits(jax.tree.map(lambda leaf: leaf[1:], expected))


def test_actions_and_modes(outcome: Outcome) -> None:
    """`sample` depends on the key, `deterministic` does not; both stay in bounds."""
    state = jax.tree.map(lambda leaf: leaf[0], outcome.end)
    obs = 3.0 * jax.random.normal(jax.random.key(2), (PIPELINE.num_envs, SPEC.obs_size))
    actions = {}
    for mode in ("deterministic", "sample"):
        act = jax.jit(lambda key, mode=mode: outcome.algorithm.act(state, obs, key, mode)[0])
        actions[mode] = [np.asarray(act(jax.random.key(seed))) for seed in range(2)]
        for action in actions[mode]:
            assert action.shape == (PIPELINE.num_envs, SPEC.action_size)
            assert np.all(np.abs(action) <= 1.0)
    first, second = actions["deterministic"]
    assert np.array_equal(first, second)
    first, second = actions["sample"]
    assert np.all(first != second)
