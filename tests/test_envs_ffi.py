"""NumPy functions as XLA custom calls: values, batching, errors, the stored cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.ffi import call_cpu_function, register_cpu_function

ROOT = Path(__file__).resolve().parents[1]


def double_and_sum(x: np.ndarray, counts: np.ndarray, twice: np.ndarray, sums: np.ndarray) -> None:
    """Works on [..., 3] float32 and [...] int32; gives [..., 3] and [...] int32."""
    twice[...] = 2 * x
    sums[...] = x.astype(np.int32).sum(axis=-1) + counts


def call_double_and_sum(x: jax.Array, counts: jax.Array) -> tuple[jax.Array, ...]:
    register_cpu_function("test_double_and_sum", double_and_sum)
    results = (jax.ShapeDtypeStruct((3,), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32))
    return call_cpu_function("test_double_and_sum", results, x, counts)


def test_values_and_types() -> None:
    twice, total = jax.jit(call_double_and_sum)(jnp.array([1.0, 2.0, 3.0]), jnp.int32(10))
    np.testing.assert_array_equal(twice, [2.0, 4.0, 6.0])
    assert total == 16 and total.dtype == jnp.int32


def test_one_call_serves_all_batch_axes() -> None:
    x = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    calls = []

    def counted(*arrays: np.ndarray) -> None:
        calls.append(arrays[0].shape)
        double_and_sum(*arrays)

    batched = jax.jit(jax.vmap(jax.vmap(call_double_and_sum, in_axes=(0, None)), in_axes=(0, 0)))
    compiled = batched.lower(x, jnp.array([0, 100], jnp.int32)).compile()
    register_cpu_function("test_double_and_sum", counted)
    twice, total = compiled(x, jnp.array([0, 100], jnp.int32))
    np.testing.assert_array_equal(twice, 2 * x)
    np.testing.assert_array_equal(total, x.sum(-1) + [[0], [100]])
    assert calls == [(2, 5, 3)]


def test_empty_buffers() -> None:
    register_cpu_function("test_empty", lambda x, y: None)
    result = (jax.ShapeDtypeStruct((0,), jnp.float32),)
    (y,) = jax.jit(lambda x: call_cpu_function("test_empty", result, x))(jnp.zeros((0,)))
    assert y.shape == (0,)


def test_exceptions_fail_the_program() -> None:
    def fail(x: np.ndarray, y: np.ndarray) -> None:
        raise ValueError("seventeen is not even")

    register_cpu_function("test_fail", fail)
    result = (jax.ShapeDtypeStruct((2,), jnp.float32),)
    with pytest.raises(jax.errors.JaxRuntimeError, match="ValueError: seventeen is not even"):
        jax.block_until_ready(
            jax.jit(lambda x: call_cpu_function("test_fail", result, x))(jnp.ones(2))
        )


def test_arguments_are_read_only() -> None:
    def write_to_argument(x: np.ndarray, y: np.ndarray) -> None:
        x[...] = 0

    register_cpu_function("test_read_only", write_to_argument)
    result = (jax.ShapeDtypeStruct((2,), jnp.float32),)
    with pytest.raises(jax.errors.JaxRuntimeError, match="read-only"):
        jax.block_until_ready(
            jax.jit(lambda x: call_cpu_function("test_read_only", result, x))(jnp.ones(2))
        )


CACHED_ROLLOUT = """
import jax, jax.numpy as jnp
from jax._src import monitoring
from envs.engines import load_task
from envs.vector import VectorEnv

events = []
monitoring.register_event_listener(lambda event, **_: events.append(event))
env = VectorEnv(load_task("FingerSpin", "native"), 8, bank_size=8)

@jax.jit
def rollout(key):
    def body(state, key):
        return env.step(state, jnp.ones((8, 2)), key)
    return jax.lax.scan(body, env.reset(key), jax.random.split(key, 20))[0].task.obs.sum()

total = rollout(jax.random.key(0))
events.clear()
rollout.clear_cache()
total = rollout(jax.random.key(0))
print(float(total).hex(), events.count("/jax/compilation_cache/cache_hits"))
"""


def run_cached_rollout(cache: Path) -> tuple[list[str], set[str]]:
    """Returns what the program printed, and the files that the cache then holds."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        [sys.executable, "-c", CACHED_ROLLOUT],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return output.split(), {file.name for file in cache.iterdir() if file.suffix != ".tmp"}


@pytest.mark.slow
def test_a_later_process_finds_the_compiled_rollout(tmp_path: Path) -> None:
    first, stored = run_cached_rollout(tmp_path)
    second, stored_after = run_cached_rollout(tmp_path)
    assert any("jit_rollout" in name for name in stored)
    cached = {name for name in stored if name.endswith("-cache")}
    assert cached == {name for name in stored_after if name.endswith("-cache")}
    assert first[0] == second[0]
