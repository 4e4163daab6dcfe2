"""The smallest settings at which every algorithm still does all that it does."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from compiling import quickly

from algorithms.api import Algorithm, EnvSpec, Metrics, Pipeline, PyTree, Rollout, State
from algorithms.encoder_decoder.decoder import Decoder
from algorithms.gorl import GoRLState
from algorithms.registry import lookup

SPEC = EnvSpec(obs_size=5, action_size=3, discount=0.97)
PIPELINE = Pipeline(
    updates=6,
    num_envs=8,
    rollout_length=12,
    chunk_length=6,
    num_minibatches=2,
    num_epochs=2,
)
ONE_STEP = dataclasses.replace(PIPELINE, num_minibatches=1, num_epochs=1)
"""One gradient step an update, on the whole rollout."""

SETTINGS: dict[str, Any] = {
    "actor_hidden": (6, 6),
    "critic_hidden": (6, 6),
    "decoder_hidden": (6, 6),
    "decoder_epochs": 2,
    "decoder_batch_size": 32,
    "decoder_draws": 2,
    "decoder_rollouts": 2,
    "batch_size": 16,
    "learning_starts": 8,
    "actor_states": 6,
    "particles": 3,
    "ppo_critic_hidden": (6, 6),
    "fit_epochs": 2,
    "fit_batch_size": 32,
    "critic_steps": 3,
}


def make(name: str, pipeline: Pipeline = PIPELINE, **changes: Any) -> Any:
    """Builds the algorithm called `name` with tiny networks and the given changes."""
    entry = lookup(name)
    fields = {field.name for field in dataclasses.fields(entry.cls)}
    small = {key: value for key, value in SETTINGS.items() if key in fields}
    return entry.cls(env=SPEC, pipeline=pipeline, **{**entry.defaults, **small, **changes})


# Not `quickly`: XLA's older code generator rounds two programs of the same sum differently, and
# tests compare such programs bit for bit.
compiled = functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)
"""`jax.jit` without optimization, for functions of an algorithm."""


@compiled
def init(algorithm: Algorithm[State], key: jax.Array) -> State:
    """`algorithm.init`, compiled."""
    return algorithm.init(key)


@compiled
def update(
    algorithm: Algorithm[State], state: State, rollout: Rollout, key: jax.Array
) -> tuple[State, Metrics]:
    """`algorithm.update`, compiled."""
    return algorithm.update(state, rollout, key)


def roll_out(
    algorithm: Algorithm[State], state: State, key: jax.Array, shift: jax.typing.ArrayLike = 0.0
) -> Rollout:
    """A rollout of the sampled policy in a made-up environment.

    Observations are noise around `shift`, rewards depend on the action; some episodes
    end for good, and each environment meets its time limit once.
    """
    spec = algorithm.env
    steps, envs = algorithm.rollout_length, algorithm.pipeline.num_envs
    obs_key, end_key, act_key = jax.random.split(key, 3)
    everything = shift + jax.random.normal(obs_key, (2, steps, envs, spec.obs_size))
    obs, after_end = everything[0], everything[1]
    terminated = jax.random.bernoulli(end_key, 0.1, (steps, envs)).astype(jnp.float32)
    limit = (jnp.arange(envs) * 5) % steps
    truncated = (jnp.arange(steps)[:, None] == limit).astype(jnp.float32)
    ended = jnp.maximum(terminated, truncated).at[-1].set(1.0)
    following = jnp.concatenate([obs[1:], obs[-1:]])
    next_obs = jnp.where(ended[..., None] > 0, after_end, following)
    action, extras = jax.vmap(lambda o, k: algorithm.act(state, o, k, "sample"))(
        obs, jax.random.split(act_key, steps)
    )
    reward = jnp.mean(action, axis=-1) + 0.5 * obs[..., 0]
    return Rollout(obs, extras, reward, terminated, truncated, next_obs)


play = compiled(roll_out)
"""`roll_out`, compiled."""


class Sampled(NamedTuple):
    """An agent and its sampled actions [N, A] on obs [N, O]."""

    algorithm: Any
    state: PyTree
    obs: jax.Array
    action: jax.Array
    extras: dict[str, jax.Array]


def sample(name: str, count: int) -> Sampled:
    """Lets a fresh agent act on `count` standard normal observations."""
    algorithm = make(name)
    state = init(algorithm, jax.random.key(0))
    obs = jax.random.normal(jax.random.key(1), (count, SPEC.obs_size))
    act = quickly(lambda o, k: algorithm.act(state, o, k, "sample"))
    action, extras = act(obs, jax.random.key(2))
    return Sampled(algorithm, state, obs, action, dict(extras))


def assert_same(a: Any, b: Any) -> None:
    """Two pytrees have the same numbers, to the bit."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def with_random_decoder(algorithm: Any, state: GoRLState[Any]) -> GoRLState[Any]:
    """Replaces the identity by a random decoder."""
    decoder = Decoder(
        algorithm.decoder_model.init(jax.random.key(8)),
        algorithm.decoder_model.schedule(),
        jnp.full(SPEC.obs_size, 0.5),
        jnp.full(SPEC.obs_size, 2.0),
        jnp.zeros(()),
    )
    return state._replace(decoder=decoder)
