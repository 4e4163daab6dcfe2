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

from envs.engines.ffi import call_cpu_function, register_cpu_function

ROOT = Path(__file__).resolve().parents[2]


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
    np.testing.assert_array_equal(total, x.sum(-1) + np.array([[0], [100]]))
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


IN_FLIGHT_AT_EXIT = """
import time
import jax, jax.numpy as jnp
from envs.engines.ffi import call_cpu_function, register_cpu_function

def slow(x, y):
    time.sleep(0.01)
    y[...] = x

register_cpu_function("test_slow", slow)
result = (jax.ShapeDtypeStruct((64, 64), jnp.float32),)

@jax.jit
def program(x):  # with enough work beside the call for JAX to dispatch it and go on
    body = lambda x, _: (call_cpu_function("test_slow", result, x @ x)[0], None)
    return jax.lax.scan(body, x, length=1000)[0]

y = program(jnp.eye(64))
print(y.is_ready())
"""


def test_a_program_in_flight_does_not_crash_the_exit() -> None:
    command = [sys.executable, "-c", IN_FLIGHT_AT_EXIT]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "False\n")


CACHED_ROLLOUT = """
import jax, jax.numpy as jnp
from envs.engines.choice import load_task
from envs.vector import VectorEnv

hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
env = VectorEnv(load_task("FingerSpin", "native"), 8, bank_size=8)

def rollout(key):
    def body(state, key):
        return env.step(state, jnp.ones((8, 2)), key)
    return jax.lax.scan(body, env.reset(key), jax.random.split(key, 20))[0].obs.sum()

lowered = jax.jit(rollout).lower(jax.random.key(0))
hits.clear()
print(float(lowered.compile()(jax.random.key(0))).hex(), sum(hits))
"""


def run_cached_rollout(cache: Path) -> tuple[str, int]:
    """Runs the program in a process of its own.

    Returns:
        The result, exact to the bit, and how often compilation was spared.
    """
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", CACHED_ROLLOUT]
    output = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, check=True
    ).stdout
    result, hits = output.split()
    return result, int(hits)


@pytest.mark.slow
def test_a_later_process_finds_the_compiled_rollout(tmp_path: Path) -> None:
    first, hits = run_cached_rollout(tmp_path)
    assert hits == 0
    assert any("jit_rollout" in file.name for file in tmp_path.iterdir())
    second, hits = run_cached_rollout(tmp_path)
    assert hits == 1
    assert first == second
