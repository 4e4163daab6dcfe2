"""A single seed is computed without the axis that seeds are mapped over, and to the same values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithms.off_policy.lone_seed import without_lone_seed

Pair = dict[str, jax.Array]


def plain(pair: Pair, weight: jax.Array, keys: jax.Array) -> tuple[jax.Array, Pair]:
    """Some steps that draw, multiply and sum."""

    def step(carry: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = jax.random.normal(key, carry.shape)
        return jnp.tanh((carry + drawn) @ weight), drawn.sum()

    last, sums = jax.lax.scan(step, pair["x"], keys)
    return last, {"sums": sums, "shift": pair["y"] + 1}


def arguments(seeds: int) -> tuple[Pair, jax.Array, jax.Array]:
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(size=(seeds, 5, 3)), jnp.float32)
    y = jnp.asarray(generator.normal(size=seeds), jnp.float32)
    weight = jnp.asarray(generator.normal(size=(3, 3)), jnp.float32)
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed), 4))(jnp.arange(seeds))
    return {"x": x, "y": y}, weight, keys


@pytest.mark.parametrize("seeds", [1, 3])
def test_values_are_those_of_each_seed_by_itself(seeds: int) -> None:
    pair, weight, keys = arguments(seeds)
    mapped = jax.jit(jax.vmap(without_lone_seed(plain), in_axes=(0, None, 0)))
    last, others = mapped(pair, weight, keys)
    for seed in range(seeds):
        alone = plain(jax.tree.map(lambda leaf, at=seed: leaf[at], pair), weight, keys[seed])
        np.testing.assert_allclose(last[seed], alone[0], rtol=1e-5, atol=1e-6)
        for name in ("sums", "shift"):
            np.testing.assert_allclose(others[name][seed], alone[1][name], rtol=1e-5, atol=1e-6)


def test_the_program_of_one_seed_has_no_axis_of_seeds() -> None:
    def shapes(function: Callable[..., Any]) -> str:
        pair, weight, keys = arguments(1)
        return str(jax.make_jaxpr(jax.vmap(function, in_axes=(0, None, 0)))(pair, weight, keys))

    assert "f32[1,5,3] = dot_general" in shapes(plain)
    told = shapes(without_lone_seed(plain))
    assert "f32[5,3] = dot_general" in told and "f32[1,5,3] = dot_general" not in told
