"""What each method does when it is evaluated without noise, against float64 references.

What a decoder makes of a latent is its own; tests of its model hold that to references.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from references import Array, conditional_mlp, float64, gaussian_head, mlp
from tiny import SPEC, make, with_random_decoder

from algorithms.names import NAMES
from algorithms.parts.normalizer import Normalizer
from algorithms.registry import entries

COUNT = 4
MEAN, STD = -0.4, 1.6
"""Of the statistics that policies go by; those of decoders are others."""

OF_THEIR_OWN = ("dppo-ren", "rldt-warm")
"""Methods whose references are in their own tests."""


def with_statistics(state: Any) -> Any:
    """Returns a state whose observations were not standard normal."""
    size = SPEC.obs_size
    known = Normalizer(jnp.int32(1), jnp.full(size, MEAN), jnp.full(size, STD**2))

    def is_stats(node: Any) -> bool:
        return isinstance(node, Normalizer)

    return jax.tree.map(lambda x: known if is_stats(x) else x, state, is_leaf=is_stats)


def walked(algorithm: Any, velocity: Any, obs: Array) -> Array:
    """Euler steps of a flow [A] from zero at time 1 to time 0."""
    x, steps = np.zeros(SPEC.action_size), algorithm.flow_steps
    for k in range(steps):
        slope = algorithm.flow.output_scale * conditional_mlp(velocity, obs, x, 1 - k / steps)
        x = x - slope / steps
    return x


def gaussian_mean(policy: Any, obs: Array) -> Array:
    return gaussian_head(mlp(policy, obs))[0]


def decoded(algorithm: Any, state: Any, raw: Array, latent: Array) -> Array:
    """What the frozen decoder, which has statistics of its own, makes of a latent."""
    model, normalized = algorithm.decoder_model, (raw - 0.5) / 2.0
    pre_tanh = model.decode(state.decoder.params, model.schedule(), normalized, latent)
    return np.tanh(float64(pre_tanh))


def of_gorl(algorithm: Any, state: Any, obs: Array, raw: Array) -> Array:
    return decoded(algorithm, state, raw, gaussian_mean(state.learner.networks.policy, obs))


def of_gorl_sac(algorithm: Any, state: Any, obs: Array, raw: Array) -> Array:
    mean, bound = gaussian_mean(state.learner.networks.policy, obs), algorithm.latent_bound
    return decoded(algorithm, state, raw, bound * np.tanh(mean / bound))


def of_gaussian(algorithm: Any, state: Any, obs: Array, raw: Array) -> Array:
    return np.tanh(gaussian_mean(state.networks.policy, obs))


def of_flow(algorithm: Any, state: Any, obs: Array, raw: Array) -> Array:
    return np.tanh(walked(algorithm, state.networks.policy, obs))


def of_reinflow(algorithm: Any, state: Any, obs: Array, raw: Array) -> Array:
    return np.tanh(walked(algorithm, state.networks.policy.velocity, obs))


def of_rldt(algorithm: Any, state: Any, obs: Array, raw: Array) -> Array:
    return np.clip(walked(algorithm, state.networks.policy, obs), -1.0, 1.0)


# Action [A] of an algorithm, its state, a normalized and the raw observation [O].
EXPECTED: Mapping[str, Callable[[Any, Any, Array, Array], Array]] = {
    "ppo": of_gaussian,
    "fpo": of_flow,
    "dppo": of_flow,
    "gorl-fm": of_gorl,
    "gorl-diff": of_gorl,
    "gorl-gauss": of_gorl,
    "sac": of_gaussian,
    "gorl-sac-diff": of_gorl_sac,
    "rldt": of_rldt,
    "fpo-plus-plus": of_flow,
    "reinflow": of_reinflow,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_without_noise(name: str) -> None:
    flow = "output_scale" in {field.name for field in dataclasses.fields(entries()[name].cls)}
    # Actions so large that tanh, a cut and nothing are told apart.
    wide: dict[str, Any] = {"output_scale": 6.0} if flow else {}
    algorithm = make(name, **wide)
    keys = jax.random.split(jax.random.key(4), 2)
    state = with_statistics(quickly(algorithm.init)(keys[0]))
    if hasattr(state, "decoder"):
        state = with_random_decoder(algorithm, state)
    obs = 1.0 + jax.random.normal(keys[1], (COUNT, SPEC.obs_size))
    action, extras = quickly(lambda: algorithm.act(state, obs, keys[0], "deterministic"))()
    assert not extras
    for n, raw in enumerate(float64(obs)):
        expected = EXPECTED[name](algorithm, state, (raw - MEAN) / STD, raw)
        np.testing.assert_allclose(action[n], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(action).max() > 0.3


def test_every_method_has_a_reference() -> None:
    ways = {entries()[name].cls.act for name in (*EXPECTED, *OF_THEIR_OWN)}
    encoders = {make(name).encoder.draw for name in NAMES if hasattr(make(name), "encoder")}
    assert {entries()[name].cls.act for name in NAMES} == ways
    assert {each.__func__ for each in encoders} == {
        make(name).encoder.draw.__func__ for name in ("gorl-fm", "gorl-sac-diff")
    }
