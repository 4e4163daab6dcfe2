"""What the harness relies on, for every algorithm: see `algorithms/api.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from tiny import PIPELINE, SPEC, compiled, init, make, roll_out

from algorithms.api import MODES, Algorithm, Metrics, Mode, PyTree, State
from algorithms.names import NAMES

SEEDS = 3


class Outcome(NamedTuple):
    """What became of S seeds; every leaf is [S, ...].

    Attributes:
        learned: after two updates.
        end: after the change of stage that follows.
        metrics: of each update, [S, 2].
        actions: of `end` on the same observations under two keys, [S, 2, N, A].
        kept_actions: the same of `Algorithm.policy(end)`.
    """

    learned: PyTree
    end: PyTree
    metrics: Metrics
    actions: Mapping[Mode, jax.Array]
    kept_actions: Mapping[Mode, jax.Array]


@compiled
def train(algorithm: Algorithm[State], states: State, keys: jax.Array) -> Outcome:
    """Trains every seed for two updates, changes the stage and acts."""

    def update(state: State, key: jax.Array) -> tuple[State, Metrics]:
        play_key, update_key = jax.random.split(key)
        return algorithm.update(state, roll_out(algorithm, state, play_key), update_key)

    def one(state: State, key: jax.Array) -> Outcome:
        update_key, advance_key, act_key = jax.random.split(key, 3)
        learned, metrics = jax.lax.scan(update, state, jax.random.split(update_key))
        end = algorithm.advance(learned, advance_key)
        obs = jax.random.normal(act_key, (PIPELINE.num_envs, SPEC.obs_size))

        def act(state: State, mode: Mode) -> jax.Array:
            keys = jax.random.split(act_key)
            return jax.vmap(lambda key: algorithm.act(state, obs, key, mode)[0])(keys)

        actions = {mode: act(end, mode) for mode in MODES}
        kept = {mode: act(algorithm.policy(end), mode) for mode in MODES}
        return Outcome(learned, end, metrics, actions, kept)

    return jax.vmap(one)(states, keys)


class Case(NamedTuple):
    """An algorithm, its state before training and the outcome of it."""

    algorithm: Algorithm[Any]
    start: PyTree
    outcome: Outcome


KEYS = jax.random.split(jax.random.key(1), SEEDS)


# The first is the encoder of gorl-sac-fm with the decoder of gorl-diff; the others compile long.
SLOW = ("gorl-sac-diff", "rldt", "rldt-warm")
CASES = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in NAMES]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    algorithm = make(request.param)
    states = [init(algorithm, key) for key in jax.random.split(jax.random.key(0), SEEDS)]
    start = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    return Case(algorithm, start, train(algorithm, start, KEYS))


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_metrics_are_finite_scalars(case: Case) -> None:
    metrics = case.outcome.metrics
    assert {"policy_loss", "value_loss"} <= set(metrics)
    assert ("clip_fraction" in metrics) == hasattr(case.algorithm, "clip")
    for value in metrics.values():
        assert value.shape == (SEEDS, 2)
        assert np.isfinite(value).all()


def test_state_keeps_its_structure(case: Case) -> None:
    def describe(tree: Any) -> Any:
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    for state in (case.outcome.learned, case.outcome.end):
        assert describe(state) == describe(case.start)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_every_layer_learned(case: Case) -> None:
    def trained(state: Any) -> list[np.ndarray]:
        learner = state.learner if hasattr(state, "learner") else state
        return jax.tree.leaves(learner.networks)

    for old, new in zip(trained(case.start), trained(case.outcome.learned), strict=True):
        assert np.any((old != new).reshape(SEEDS, -1), axis=1).all()


def test_same_key_same_bits(case: Case) -> None:
    again = train(case.algorithm, case.start, KEYS)
    assert bits(again) == bits(case.outcome)
    other = train(case.algorithm, case.start, KEYS[::-1])
    parameters = case.algorithm.parameters
    assert bits(parameters(other.learned)) != bits(parameters(case.outcome.learned))


def test_a_broken_seed_leaves_the_others_untouched(case: Case) -> None:
    """NaN in every number of seed 0; the rest is the same to the bit."""

    def poison(leaf: np.ndarray) -> np.ndarray:
        if not np.issubdtype(leaf.dtype, np.floating):
            return leaf
        return np.concatenate([np.full_like(leaf[:1], np.nan), leaf[1:]])

    outcome = train(case.algorithm, jax.tree.map(poison, case.start), KEYS)
    assert np.isnan(outcome.metrics["policy_loss"][0]).all()
    others, expected = (
        jax.tree.map(lambda leaf: leaf[1:], tree) for tree in (outcome, case.outcome)
    )
    assert bits(others) == bits(expected)


def test_actions_and_modes(case: Case) -> None:
    """`sample` depends on the key, `deterministic` does not; both stay in bounds."""
    actions = {mode: np.asarray(case.outcome.actions[mode]) for mode in MODES}
    for action in actions.values():
        assert action.shape == (SEEDS, 2, PIPELINE.num_envs, SPEC.action_size)
        assert np.all(np.abs(action) <= 1.0)
    np.testing.assert_array_equal(*actions["deterministic"].swapaxes(0, 1))
    differ = actions["sample"][:, 0] != actions["sample"][:, 1]
    assert np.any(differ, axis=(1, 2)).all()


def test_the_policy_alone_acts_as_the_whole_state(case: Case) -> None:
    for mode in MODES:
        whole, alone = case.outcome.actions[mode], case.outcome.kept_actions[mode]
        np.testing.assert_array_equal(alone, whole)


def only_for_learning(state: Any) -> list[str]:
    """Returns where a state has arrays of a critic or an optimizer, by whatever kind of names."""
    paths = (jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state))
    return [path for path in paths if {"critic", "optimizer"} & set(re.findall(r"\w+", path))]


def test_the_policy_leaves_out_what_only_learning_needs(case: Case) -> None:
    """No critic, no optimizer and no experience: at most the policy networks' own size."""
    state = case.outcome.end
    kept = case.algorithm.policy(state)
    assert not only_for_learning(kept)
    assert {"critic", "optimizer"} <= set(re.findall(r"\w+", " ".join(only_for_learning(state))))
    networks = sum(leaf.size for leaf in jax.tree.leaves(case.algorithm.parameters(state)))
    statistics = 6 * SEEDS * SPEC.obs_size
    assert sum(leaf.size for leaf in jax.tree.leaves(kept)) < networks + statistics
