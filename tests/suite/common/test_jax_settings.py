"""Numbers must not depend on how many cores there happen to be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection

import pytest

from suite.common.jax_settings import THREADS

PROGRAM = """
import hashlib, os, sys
os.sched_setaffinity(0, [int(core) for core in sys.argv[2].split(",")])
from suite.common import jax_settings
jax_settings.prepare(cache=False, engine=sys.argv[1])
import jax, jax.numpy as jnp, numpy as np
left, right = jax.random.normal(jax.random.key(0), (2, 15_360, 128))
gradient = jax.jit(lambda a, b: a.T @ b)(left, right)  # as of a layer's weights
print(hashlib.sha256(np.asarray(gradient).tobytes()).hexdigest())
"""


def bits(engine: str, cores: Collection[int]) -> str:
    """Returns what a large product comes to in a process that has some cores."""
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    command = [sys.executable, "-c", PROGRAM, engine, ",".join(map(str, cores))]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return found.stdout


def test_with_native_a_product_is_the_same_on_any_number_of_cores() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("this machine has a single core")
    alone = bits("native", cores[:1])
    if bits("jax", cores) == alone:
        pytest.skip("XLA's threads do not show in such a product here")
    assert bits("native", cores) == alone


@pytest.mark.parametrize(("engine", "threads"), [("native", "1"), ("auto", "1"), ("jax", "")])
def test_xla_has_one_thread_unless_it_steps_the_physics(engine: str, threads: str) -> None:
    program = (
        "import os, sys; from suite.common import jax_settings\n"
        "jax_settings.prepare(engine=sys.argv[1])\n"
        f"print(os.environ.get('{THREADS}', ''))"
    )
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    for given, expected in (({}, threads), ({THREADS: "3"}, "3")):
        command = [sys.executable, "-c", program, engine]
        both = {**environment, **given}
        found = subprocess.run(command, env=both, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == expected
