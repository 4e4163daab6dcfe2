"""Evaluation's start states; tests of jobs and of replays have the rest of evaluation."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from envs.api import TaskState
from suite.compute.evaluation import SKETCHED, describe_starts
from suite.storage.origin import same_starts

SECOND_DEVICE = """
import jax, numpy as np
from envs.probes import ObsReward
from suite.compute.evaluation import start_states

first, second = jax.devices()
jax.config.update("jax_default_device", second)
drawn_on = []

class Watched(ObsReward):
    def reset(self, key):
        drawn_on.append(jax.config.jax_default_device)
        return super().reset(key)

starts = start_states(Watched(), 4, 7)
assert drawn_on == [first], drawn_on
assert all(leaf.devices() == {second} for leaf in jax.tree.leaves(starts))
assert not any(leaf.committed for leaf in jax.tree.leaves(starts))
with jax.default_device(first):
    expected = jax.vmap(ObsReward().reset)(jax.random.split(jax.random.key(7), 4))
for one, other in zip(jax.tree.leaves(starts), jax.tree.leaves(expected), strict=True):
    np.testing.assert_array_equal(one, other)
"""


def test_start_states_are_drawn_on_the_cpu_and_used_on_the_device_that_trains() -> None:
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SECOND_DEVICE]
    ended = subprocess.run(command, env=os.environ | devices, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def drawn(seed: int, episodes: int = 128) -> TaskState:
    """Start states as random as any: [E, 2] rows of physics, [E, 2] observations."""
    rows, obs = np.random.default_rng(seed).normal(size=(2, episodes, 2)).astype(np.float32)
    rest = np.zeros((2, episodes), np.float32)
    return TaskState(jnp.asarray(rows), jnp.asarray(obs), *map(jnp.asarray, rest))


def test_a_description_tells_other_states_from_other_rounding() -> None:
    starts = drawn(0)
    noise = np.random.default_rng(2).uniform(1 - 1e-3, 1 + 1e-3, size=(128, 2))
    rounded = starts._replace(obs=starts.obs * noise)
    other = jax.tree.map(lambda mine, theirs: mine.at[5].set(theirs[5]), starts, drawn(1))
    told = describe_starts(starts)
    assert told == describe_starts(drawn(0))
    assert len(told["sketch"]) == SKETCHED
    for changed, same in (
        (rounded, True),
        (other, False),
        (drawn(1), False),
        (drawn(0, 64), False),
    ):
        there = describe_starts(changed)
        assert there["sha256"] != told["sha256"]
        assert same_starts(told, there) == same


def test_a_description_leaves_out_keys_and_of_no_finite_number_is_zero() -> None:
    starts = drawn(0)._replace(obs=jnp.full((3, 2), jnp.nan), physics=jax.random.key(0))
    told = describe_starts(starts)
    assert told["projection"] == 0 and told["sketch"] == [0] * SKETCHED
