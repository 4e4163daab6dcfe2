"""GoRL with an encoder that warms up: its own latents, its own buffer, and no refit after it."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import PIPELINE, SETTINGS, SPEC, compiled, init, roll_out

from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, Stage, emptied
from algorithms.gorl import EncoderDecoder
from algorithms.parts import replay
from algorithms.parts.replay import Replay
from suite.contract.wiring import check_method

CAPACITY = 300


class Warm(NamedTuple):
    """Latents and rewards that were seen, the mean of the rewarded ones [A], and the stage []."""

    buffer: Replay[Any]
    mean: jax.Array
    stage_index: jax.Array


@dataclasses.dataclass(frozen=True)
class WarmEncoder:
    """Notes latents in a buffer, from the warm-up on, and moves to the mean of the best."""

    size: int
    evaluations_per_action: int = 0
    rollout_length: int = PIPELINE.rollout_length // 2
    gradient_steps: int | None = 1

    def init(self, key: jax.Array) -> Warm:
        """Begins at zero."""
        slot = {"latent": jnp.zeros(self.size), "reward": jnp.float32(0.0)}
        return Warm(replay.empty(slot, CAPACITY), jnp.zeros(self.size), jnp.int32(0))

    def draw(
        self, state: Warm, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """The mean, with noise in mode `sample`."""
        mean = jnp.broadcast_to(state.mean, (obs.shape[0], self.size))
        if mode == "deterministic":
            return mean, {}
        latent = mean + 0.1 * jax.random.normal(key, mean.shape)
        return latent, {"latent": latent}

    def draw_first(self, state: Warm, obs: jax.Array, key: jax.Array) -> tuple[jax.Array, Extras]:
        """From the prior."""
        latent = jax.random.normal(key, (obs.shape[0], self.size))
        return latent, {"latent": latent}

    def record(self, state: Warm, rollout: Rollout) -> Warm:
        """Notes a rollout."""
        seen = {"latent": rollout.extras["latent"], "reward": rollout.reward}
        return state._replace(buffer=state.buffer.add(seen))

    def update(self, state: Warm, rollout: Rollout, key: jax.Array) -> tuple[Warm, Metrics]:
        """Notes a rollout, and takes the mean of what was rewarded above average."""
        state = self.record(state, rollout)
        batch = state.buffer.sample(key, 64)
        good = (batch["reward"] > batch["reward"].mean()).astype(jnp.float32)
        mean = good @ batch["latent"] / jnp.maximum(good.sum(), 1.0)
        return state._replace(mean=mean), {"size": state.buffer.size}

    def stages(self) -> tuple[Stage, ...]:
        """A warm-up, and two stages of learning."""
        return Stage(1, warm_up=True), Stage(3), Stage(2)

    def stage(self, state: Warm) -> jax.Array:
        """Its own count."""
        return state.stage_index

    def advance(self, state: Warm, key: jax.Array) -> Warm:
        """Keeps what the warm-up gave; a new decoder means other latents."""
        fresh = self.init(key)
        buffer = jax.tree.map(
            lambda old, new: jnp.where(state.stage_index == 0, old, new), state.buffer, fresh.buffer
        )
        return Warm(buffer, fresh.mean, state.stage_index + 1)

    def policy(self, state: Warm) -> Warm:
        """All but the buffer."""
        return state._replace(buffer=emptied(state.buffer))

    def parameters(self, state: Warm) -> jax.Array:
        """The mean."""
        return state.mean

    def candidate(self, state: Warm) -> jax.Array:
        """The mean."""
        return state.mean

    def reinstate(self, state: Warm, candidate: jax.Array) -> Warm:
        """Puts the mean back."""
        return state._replace(mean=candidate)


@dataclasses.dataclass(frozen=True)
class WarmGoRL(EncoderDecoder[Warm]):
    """GoRL with `WarmEncoder`."""

    @property
    def encoder(self) -> WarmEncoder:
        """Of the actions' size."""
        return WarmEncoder(self.env.action_size)


def make(**changes: Any) -> WarmGoRL:
    names = {field.name for field in dataclasses.fields(WarmGoRL)}
    small = {name: value for name, value in SETTINGS.items() if name in names}
    return WarmGoRL(env=SPEC, pipeline=PIPELINE, **{**small, **changes})


@compiled
def warm_rollout(algorithm: Algorithm[Any], state: Any, key: jax.Array) -> Rollout:
    """A rollout of `explore`, on the observations of `roll_out`."""
    rollout = roll_out(algorithm, state, key)
    keys = jax.random.split(key, len(rollout.obs))
    _, extras = jax.vmap(lambda obs, key: algorithm.explore(state, obs, key))(rollout.obs, keys)
    return rollout._replace(extras=extras)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(1, 0, True), (3, 0, False), (2, 0, False)]),
        ({"decoder_data": "extra"}, [(1, 0, True), (3, 2, False), (2, 0, False)]),
        ({"refits": False}, [(1, 0, True), (5, 0, False)]),
    ],
)
def test_a_warm_up_is_a_part_of_the_budget_without_decoder_data(
    changes: dict[str, Any], expected: list[tuple[int, int, bool]]
) -> None:
    stages = make(**changes).stages()
    assert [(each.updates, each.extra_rollouts, each.warm_up) for each in stages] == expected


def test_the_wiring_of_a_warm_encoder_holds() -> None:
    check_method("warm", make())


def test_a_warm_up_fills_the_encoders_buffer_and_no_fit_follows_it() -> None:
    algorithm = make()
    state = init(algorithm, jax.random.key(0))
    rollout = warm_rollout(algorithm, state, jax.random.key(1))
    latents = np.asarray(rollout.extras["latent"])
    assert latents.std() == pytest.approx(1.0, abs=0.15)  # the prior, and not draw's .1
    np.testing.assert_array_equal(rollout.extras["pre_tanh"], latents)  # of the identity
    recorded = algorithm.record(state, rollout)
    count = latents[..., 0].size
    assert int(recorded.learner.buffer.size) == count
    np.testing.assert_array_equal(
        recorded.learner.buffer.ring["latent"][:count], latents.reshape(count, -1)
    )
    assert int(recorded.experience.written) == 0

    entered = compiled(WarmGoRL.advance)(algorithm, recorded, jax.random.key(2))
    assert int(entered.learner.stage_index) == 1
    assert int(entered.learner.buffer.size) == count
    for old, new in zip(
        jax.tree.leaves(state.decoder), jax.tree.leaves(entered.decoder), strict=True
    ):
        np.testing.assert_array_equal(old, new)

    learned, metrics = algorithm.update(entered, rollout, jax.random.key(3))
    assert int(metrics["size"]) == 2 * count
    assert int(learned.experience.written) == 1
    after = compiled(WarmGoRL.advance)(algorithm, learned, jax.random.key(4))
    assert int(after.learner.stage_index) == 2
    assert float(after.decoder.validation_loss) > 0.0
    assert not np.any(after.experience.obs)


@pytest.mark.slow
def test_seeds_leave_the_warm_up_together() -> None:
    """As one alone: a condition on a batch computes both sides."""
    algorithm = make()
    keys = jax.random.split(jax.random.key(0), 2)
    states = [
        algorithm.record(state := init(algorithm, key), warm_rollout(algorithm, state, key))
        for key in keys
    ]
    single = [
        compiled(WarmGoRL.advance)(algorithm, *each) for each in zip(states, keys, strict=True)
    ]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    together = compiled(lambda a, s, k: jax.vmap(a.advance)(s, k))(algorithm, both, keys)
    for seed, one in enumerate(single):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(together), strict=True):
            np.testing.assert_array_equal(a, b[seed])


def test_without_refits_an_adopted_decoder_is_kept_through_the_warm_up() -> None:
    algorithm = make(refits=False)
    state = init(algorithm, jax.random.key(0))
    other = state.decoder._replace(mean=state.decoder.mean + 1.0)
    adopted = algorithm.adopt(state, state._replace(decoder=other), jax.random.key(1))
    assert int(adopted.learner.stage_index) == 0
    entered = algorithm.advance(adopted, jax.random.key(2))
    assert int(entered.learner.stage_index) == 1
    np.testing.assert_array_equal(entered.decoder.mean, other.mean)
