"""Slow float64 NumPy versions of what `algorithms` computes, written from its equations."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def float64(tree: Any) -> Any:
    """Copies a pytree of arrays to NumPy float64."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def layers(params: Any) -> list[tuple[Array, Array]]:
    """Kernels and biases of an MLP's parameters, in order."""
    named = float64(params["params"])
    count = sum(name.startswith("Dense_") for name in named)
    ordered = [named[f"Dense_{index}"] for index in range(count)]
    return [(layer["kernel"], layer["bias"]) for layer in ordered]


def mlp(params: Any, x: Array) -> Array:
    """An MLP with SiLU, and layer normalization if it has some: [..., in] to [..., out]."""
    *hidden, (kernel, bias) = layers(params)
    for index, (hidden_kernel, hidden_bias) in enumerate(hidden):
        x = silu(x @ hidden_kernel + hidden_bias)
        if norm := params["params"].get(f"LayerNorm_{index}"):
            x = x - x.mean(axis=-1, keepdims=True)
            x = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)
            x = x * float64(norm["scale"]) + float64(norm["bias"])
    return x @ kernel + bias


def twins(params: Any, obs: Array, action: Array) -> Array:
    """Q of every critic, whose parameters are [K, ...]: [K, B]."""
    inputs = np.concatenate([obs, action], axis=-1)
    count = len(jax.tree.leaves(params)[0])
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in range(count)]
    return np.stack([mlp(one, inputs)[..., 0] for one in each])


def conditional_mlp(params: Any, obs: Array, x: Array, t: float) -> Array:
    """A network of (obs [O], x [A], time) at one point: [A]."""
    frequencies = [1.0, 2.0, 4.0, 8.0]
    embedded = [math.cos(f * t) for f in frequencies] + [math.sin(f * t) for f in frequencies]
    return mlp(params, np.concatenate([obs, x, embedded]))


def gaussian_head(output: Array) -> tuple[Array, Array]:
    """Mean and std [..., A] from a network's output [..., 2A]."""
    size = output.shape[-1] // 2
    return output[..., :size], np.clip(softplus(output[..., size:]) + 1e-3, 1e-3, 10.0)


def gaussian_log_prob(x: Array, mean: Array, std: Array) -> Array:
    """Log-density of a diagonal Gaussian, summed over the last axis."""
    terms = -0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2.0 * math.pi)
    return terms.sum(axis=-1)


def gaussian_entropy(std: Array) -> Array:
    """Entropy of a diagonal Gaussian, summed over the last axis."""
    return np.sum(0.5 * math.log(2.0 * math.pi * math.e) + np.log(std), axis=-1)


def slow_field(points: Array, particles: Array, gradient: Array, temperature: float) -> Array:
    """SVGD of one state's points [I, A], one pair after another (Liu & Wang 2016)."""
    moved = np.zeros_like(points)
    for i, x in enumerate(points):
        squared = sorted(float(np.sum((x - a) ** 2)) for a in particles)
        # The lower of two middle ones.
        width = squared[(len(particles) - 1) // 2] / (2.0 * math.log(len(particles) + 1))
        for a, slope in zip(particles, gradient, strict=True):
            kernel = math.exp(-np.sum((x - a) ** 2) / (2.0 * width))
            # The gradient of the kernel with respect to the particle.
            repulsion = kernel * (x - a) / width
            moved[i] += kernel * slope + temperature * repulsion
        moved[i] /= len(particles)
    return moved


def clipped_surrogate(ratio: Array, advantage: Array, clip: float) -> float:
    """PPO's loss over arrays of one shape, element by element."""
    terms = [
        min(r * a, min(max(r, 1.0 - clip), 1.0 + clip) * a)
        for r, a in zip(ratio.ravel(), advantage.ravel(), strict=True)
    ]
    return -sum(terms) / len(terms)


def chunk_returns(
    reward: Array,
    terminated: Array,
    truncated: Array,
    values: Array,
    next_values: Array,
    discount: float,
    gae_lambda: float,
    masked: bool,
) -> tuple[Array, Array, Array]:
    """Value targets, advantages and weights of one chunk, all [L], step by step.

    `next_values` are those of the observations after each step and before any reset.
    """
    length = len(reward)
    target, advantage, weight = np.zeros(length), np.zeros(length), np.ones(length)
    for t in reversed(range(length)):
        ended = bool(terminated[t]) or bool(truncated[t])
        g = 0.0 if terminated[t] else discount
        # How much better than its value the rest of this episode turned out.
        surplus = 0.0 if ended or t + 1 == length else target[t + 1] - values[t + 1]
        target[t] = reward[t] + g * (next_values[t] + gae_lambda * surplus)
        advantage[t] = reward[t] + g * (next_values[t] + surplus) - values[t]
        if masked and truncated[t]:
            target[t], advantage[t], weight[t] = values[t], 0.0, 0.0
    return target, advantage, weight


def numerical_gradient(loss: Any, params: Any, step: float = 1e-5) -> list[Array]:
    """Central differences of `loss(params)` with respect to each leaf, in float64."""
    leaves, structure = jax.tree.flatten(float64(params))
    gradient = []
    for leaf in leaves:
        slope = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            kept = leaf[index]
            leaf[index] = kept + step
            above = loss(jax.tree.unflatten(structure, leaves))
            leaf[index] = kept - step
            below = loss(jax.tree.unflatten(structure, leaves))
            leaf[index] = kept
            slope[index] = (above - below) / (2.0 * step)
        gradient.append(slope)
    return gradient
