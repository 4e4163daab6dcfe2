"""What the published samplers make of a perfect model of N(2, .3^2): less than it holds.

The model is exact (the conditional expectations of a Gaussian are linear), so that all that is
left is the error of 10 Euler steps, or of 9 DDIM steps from a level that still holds signal.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithms.parts.diffusion import Diffusion
from algorithms.parts.flow import Flow
from algorithms.parts.networks import Params

MEAN, STD = 2.0, 0.3


@dataclasses.dataclass(frozen=True)
class ExactFlow(Flow):
    """The velocity E[e - a | x_t] of noise e ~ N(0, 1) and actions a ~ N(mean, std^2)."""

    mean: float = MEAN
    std: float = STD

    def velocity(self, params: Params, obs: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
        """The linear regression of e - a on x_t = t e + (1 - t) a."""
        variance = jnp.square(t) + jnp.square((1.0 - t) * self.std)
        covariance = t - (1.0 - t) * self.std**2
        return -self.mean + covariance / variance * (x - (1.0 - t) * self.mean)


@dataclasses.dataclass(frozen=True)
class ExactDiffusion(Diffusion):
    """The noise E[e | x_k] of x_k = sqrt(s) a + sqrt(1 - s) e, s the level's alpha-bar."""

    def noise(self, params: Params, obs: jax.Array, x: jax.Array, level: jax.Array) -> jax.Array:
        """The linear regression of e on x_k."""
        signal = self.schedule()[level]
        variance = signal * STD**2 + 1.0 - signal
        return jnp.sqrt(1.0 - signal) / variance * (x - jnp.sqrt(signal) * MEAN)


def decoded(model: Flow | Diffusion) -> tuple[float, float]:
    """Mean and std of what `decode` makes of N(0, 1): it is linear in its latent."""
    obs, latents = jnp.zeros((2, 1)), jnp.array([[0.0], [1.0]])
    at_zero, at_one = np.asarray(model.decode({}, model.schedule(), obs, latents), np.float64)
    return float(at_zero[0]), abs(float(at_one[0] - at_zero[0]))


def euler_std(std: float, steps: int) -> float:
    """Std after Euler steps of dx/dt = v, which shrink the deviation from the mean path."""
    factor = 1.0
    for k in range(steps, 0, -1):
        t = k / steps
        slope = (t - (1 - t) * std**2) / (t**2 + (1 - t) ** 2 * std**2)
        factor *= 1.0 - slope / steps
    return factor


def ddim_moments(levels: int) -> tuple[float, float]:
    """Mean and std after DDIM: a rotation by the angle between signal and noise a step."""

    def angle(k: int) -> float:
        def cosine(j: int) -> float:
            return math.cos((j / levels + 0.008) / 1.008 * math.pi / 2)

        return math.acos(min(1.0, cosine(k) / cosine(0)))

    mean, std = 0.0, 1.0
    for k in range(levels - 1, 0, -1):
        c, s = math.cos(angle(k)), math.sin(angle(k))
        to_c, to_s = (1.0, 0.0) if k == 1 else (math.cos(angle(k - 1)), math.sin(angle(k - 1)))
        gain = s / (c**2 * STD**2 + s**2)
        noise_slope, noise_offset = gain, -gain * c * MEAN
        slope = to_c * (1 - s * noise_slope) / c + to_s * noise_slope
        offset = -to_c * s * noise_offset / c + to_s * noise_offset
        mean, std = slope * mean + offset, slope * std
    return mean, abs(std)


def test_ten_euler_steps_lose_a_sixth_of_the_spread() -> None:
    mean, std = decoded(ExactFlow(1, 1, (), steps=10))
    assert std == pytest.approx(euler_std(STD, 10), abs=1e-5)
    assert std == pytest.approx(0.247, abs=0.001)
    assert mean == pytest.approx(MEAN, abs=1e-4)


def test_nine_ddim_steps_lose_a_fifth_of_the_spread_and_some_of_the_mean() -> None:
    mean, std = decoded(ExactDiffusion(1, 1, (), steps=10))
    expected_mean, expected_std = ddim_moments(10)
    assert mean == pytest.approx(expected_mean, abs=1e-4)
    assert std == pytest.approx(expected_std, abs=1e-4)
    assert mean == pytest.approx(1.926, abs=0.001)
    assert std == pytest.approx(0.240, abs=0.001)


def test_many_steps_lose_nothing() -> None:
    mean, std = decoded(ExactFlow(1, 1, (), steps=1000))
    assert [mean, std] == pytest.approx([MEAN, STD], abs=1e-3)


def test_perfect_refits_to_their_own_samples_halve_the_spread() -> None:
    """Three refits, as in GoRL's four stages, with nothing that widens in between."""
    stds, expected = [STD], [STD]
    for _ in range(3):
        stds.append(decoded(ExactFlow(1, 1, (), steps=10, std=stds[-1]))[1])
        expected.append(euler_std(expected[-1], 10))
    assert stds == pytest.approx(expected, abs=1e-4)
    assert stds[1:] == pytest.approx([0.247, 0.198, 0.152], abs=0.001)
