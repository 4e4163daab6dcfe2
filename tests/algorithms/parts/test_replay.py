"""The replay buffer against a deque."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithms.parts import replay
from algorithms.parts.replay import Replay

SLOT: dict[str, Any] = {"obs": jnp.zeros(2), "step": jnp.int32(0)}
add = jax.jit(Replay.add)
sample = jax.jit(Replay.sample, static_argnums=2)


def transitions(first: int, *shape: int) -> dict[str, jax.Array]:
    """Transitions that tell which they are: numbers from `first` on, 0 is none of them."""
    step = jnp.arange(first, first + np.prod(shape), dtype=jnp.int32).reshape(shape)
    return {"obs": jnp.stack([step, -step], axis=-1).astype(jnp.float32), "step": step}


def content(buffer: Replay[Any]) -> list[int]:
    """What it holds, the oldest first; both arrays must tell the same."""
    size, position, ring = int(buffer.size), int(buffer.position), np.asarray(buffer.ring["step"])
    slots = (position - size + np.arange(size)) % len(ring)
    obs = np.asarray(buffer.ring["obs"])[slots]
    np.testing.assert_array_equal(obs, np.stack([ring[slots], -ring[slots]], axis=-1))
    return ring[slots].tolist()


@pytest.mark.parametrize("capacity", [1, 5, 12])
def test_it_holds_what_a_deque_holds(capacity: int) -> None:
    """Of any number at once: one, as many as fit, more, and across the end of the ring."""
    sizes, seen = random.Random(capacity), 0
    buffer, slow = replay.empty(SLOT, capacity), deque[int](maxlen=capacity)
    for _ in range(12):
        count = sizes.choice((1, 3, 14))
        buffer = add(buffer, transitions(seen + 1, count))
        slow.extend(range(seen + 1, seen + 1 + count))
        seen += count
        assert content(buffer) == list(slow)
        drawn = sample(buffer, jax.random.key(seen), 40)
        assert set(drawn["step"].tolist()) <= set(slow)
        np.testing.assert_array_equal(drawn["obs"][:, 0], drawn["step"])


def test_rollouts_go_in_with_their_oldest_steps_first() -> None:
    buffer = add(replay.empty(SLOT, 7), transitions(1, 3, 4))
    assert content(buffer) == list(range(6, 13))


def test_draws_are_uniform_over_what_is_in_it() -> None:
    """By chi-square, with the ring half full and then wrapped; 37.7 is its 99.9% point at 15."""
    buffer = add(replay.empty(SLOT, 32), transitions(1, 16))
    for kept in (16, 32):
        drawn = np.asarray(sample(buffer, jax.random.key(kept), 6400)["step"])
        counts = np.unique(drawn, return_counts=True)[1]
        assert len(counts) == kept
        expected = len(drawn) / kept
        statistic = float(np.sum((counts - expected) ** 2) / expected)
        assert statistic < {16: 37.7, 32: 61.1}[kept]
        buffer = add(buffer, transitions(17, 37))


def test_an_empty_one_gives_nan_and_not_zeros() -> None:
    drawn = sample(replay.empty(SLOT, 5), jax.random.key(0), 40)
    assert np.isnan(drawn["obs"]).all()


def test_seeds_side_by_side_have_buffers_of_their_own() -> None:
    both = jax.vmap(lambda first: replay.empty(SLOT, 4).add(_numbered(first)))(jnp.array([1, 11]))
    for index, first in enumerate((1, 11)):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], both)
        assert content(one) == [first, first + 1]


def _numbered(first: jax.Array) -> dict[str, jax.Array]:
    step = first + jnp.arange(2, dtype=jnp.int32)
    return {"obs": jnp.stack([step, -step], axis=-1).astype(jnp.float32), "step": step}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"obs": jnp.zeros((6, 1))}, r"got \[6, 1\] for transitions of \[2\]"),
        ({"obs": jnp.zeros(2)}, r"got \[2\] for transitions of \[2\]"),
        ({"obs": jnp.zeros((2, 2))}, r"got \[2, 3\] transitions at once"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, jax.Array], expected: str) -> None:
    """A reshape or a broadcast would take it in silence."""
    with pytest.raises(ValueError, match=expected):
        replay.empty(SLOT, 8).add({**transitions(1, 3), **wrong})


def test_its_bytes_are_found_in_any_state() -> None:
    buffer = replay.empty(SLOT, 100)
    state = {"a": (buffer, jnp.zeros(1000)), "b": [replay.empty(jnp.zeros(5, jnp.bfloat16), 10)]}
    assert replay.replay_bytes(jax.eval_shape(lambda: state)) == 100 * (8 + 4) + 10 * 5 * 2
    assert replay.replay_bytes(jnp.zeros(3)) == 0
