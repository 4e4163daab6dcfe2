"""What the gradient steps of a turn have in common, by a learner that always goes one way."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from tiny import PIPELINE, SPEC

from algorithms.api import Metrics, Rollout
from algorithms.off_policy.learner import Held, OffPolicy, Transition

STEPS, RATE = 4, 0.01


class Numbers(NamedTuple):
    """A number for a policy and one for critics."""

    policy: jax.Array
    critic: jax.Array


@dataclasses.dataclass(frozen=True)
class Marching(OffPolicy[Numbers]):
    """Both numbers fall by Adam's learning rate at each step, as their slope is always 1."""

    def fresh_networks(self, key: jax.Array) -> Numbers:
        return Numbers(jnp.float32(5.0), jnp.float32(7.0))

    def loss(
        self, networks: Numbers, held: Held[Numbers], batch: Transition, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        told = {
            "moved": held.before.policy - networks.policy,
            "behind": held.target - networks.critic,
            "statistics": held.normalizer.mean[0],
        }
        return networks.policy + networks.critic, told


def a_rollout(obs: float) -> Rollout:
    shape = (1, PIPELINE.num_envs)
    each, number = jnp.full((*shape, SPEC.obs_size), obs), jnp.zeros(shape)
    action = jnp.zeros((*shape, SPEC.action_size))
    return Rollout(each, {"action": action}, number, number, number, each)


@pytest.mark.parametrize("timing", ["before", "after"])
def test_losses_see_the_turns_beginning_and_the_targets_after_each_step(
    timing: Literal["before", "after"],
) -> None:
    pipeline = dataclasses.replace(PIPELINE, normalizer_timing=timing)
    learner = Marching(
        env=SPEC, pipeline=pipeline, update_to_data=0.5, learning_starts=1,
        learning_rate=RATE, target_rate=0.25,
    )  # fmt: skip
    state = learner.init(jax.random.key(0))
    update, target, means = quickly(learner.update), 7.0, [0.0, 3.0, 2.0]
    for turn in range(2):
        state, told = update(state, a_rollout((3.0, 1.0)[turn]), jax.random.key(turn))
        done = STEPS * turn
        behind = []
        for step in range(done, done + STEPS):
            behind.append(target - (7.0 - RATE * step))
            target += 0.25 * (7.0 - RATE * (step + 1) - target)
        np.testing.assert_allclose(told["behind"], np.mean(behind), rtol=1e-3)
        # 0, 1, 2 and 3 steps away from where the turn, not the run or the step, began.
        np.testing.assert_allclose(told["moved"], RATE * 1.5, rtol=1e-3)
        known = means[turn + 1] if timing == "before" else means[turn]
        np.testing.assert_allclose(told["statistics"], known, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.networks, (5.0 - 8 * RATE, 7.0 - 8 * RATE), rtol=1e-5)
    np.testing.assert_allclose(state.target, target, rtol=1e-5)
