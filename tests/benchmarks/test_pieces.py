"""Operations of matrix products are counted as they are by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks.speed.pieces import matrix_flops


def test_products_count_twice_their_output_times_what_is_summed() -> None:
    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.tanh(a @ b)

    assert matrix_flops(jax.vmap(product), jnp.ones((5, 3, 4)), jnp.ones((5, 4, 7))) == (
        2 * 5 * 3 * 4 * 7
    )


def test_a_scan_counts_every_turn_and_a_function_within_counts_too() -> None:
    def body(carry: jax.Array, _: jax.Array) -> tuple[jax.Array, None]:
        return jax.jit(jnp.dot)(carry, carry), None

    def chain(a: jax.Array) -> jax.Array:
        return jax.lax.scan(body, a, jnp.arange(6))[0]

    assert matrix_flops(chain, jnp.ones((3, 3))) == 6 * 2 * 27
