"""Every network of the suite, and the only module that imports flax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

Params = Any
"""A pytree of network parameters."""

TIME_FREQUENCIES = 4


class MLP(nn.Module):
    """Multi-layer perceptron with SiLU, LeCun-uniform kernels and zero biases (ALGORITHMS 2).

    Attributes:
        hidden: widths of the hidden layers.
        out: width of the linear output layer.
        layer_norm: whether each hidden layer's SiLU is followed by layer normalization, as in
            Brax's Q-networks.
    """

    hidden: Sequence[int]
    out: int
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., in] to [..., out]."""
        for width in self.hidden:
            x = nn.silu(nn.Dense(width, kernel_init=nn.initializers.lecun_uniform())(x))
            if self.layer_norm:
                x = nn.LayerNorm()(x)
        return nn.Dense(self.out, kernel_init=nn.initializers.lecun_uniform())(x)

    def forward(self, params: Params, x: jax.Array) -> jax.Array:
        """Maps [..., in] to [..., out] with the given parameters."""
        return cast(jax.Array, self.apply(params, x))

    def create(self, key: jax.Array, in_size: int) -> Params:
        """Returns fresh parameters for inputs of width `in_size`."""
        return self.init(key, jnp.zeros((1, in_size)))


def time_embedding(t: jax.Array) -> jax.Array:
    """Embeds times [..., 1] in [0, 1] as [cos(t 2^j), sin(t 2^j)], j = 0..3: [..., 8]."""
    angles = t * 2.0 ** jnp.arange(TIME_FREQUENCIES)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def conditional_input(obs: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
    """Concatenates obs [..., O], a noisy vector x [..., A] and embedded time t [..., 1].

    Leading axes broadcast, so obs [N, 1, O] serves x [N, K, A].
    """
    embedded = time_embedding(t)
    lead = jnp.broadcast_shapes(obs.shape[:-1], x.shape[:-1], embedded.shape[:-1])
    parts = [jnp.broadcast_to(part, (*lead, part.shape[-1])) for part in (obs, x, embedded)]
    return jnp.concatenate(parts, axis=-1)


def conditional_size(obs_size: int, action_size: int) -> int:
    """Width of `conditional_input`."""
    return obs_size + action_size + 2 * TIME_FREQUENCIES


def path_noise(
    key: jax.Array, action: jax.Array, draws: int, latent: jax.Array | None
) -> jax.Array:
    """The noise ends [..., n, A] of paths to actions [..., A], n = `draws`.

    Args:
        key: randomness.
        action: what they lead to.
        draws: paths per action.
        latent: [..., A] where all of them begin; None draws them from N(0, I).
    """
    shape = (*action.shape[:-1], draws, action.shape[-1])
    if latent is None:
        return jax.random.normal(key, shape)
    return jnp.broadcast_to(latent[..., None, :], shape)


def output_bias(params: Params) -> jax.Array:
    """The last layer's bias [out]."""
    layers = params["params"]
    return cast(jax.Array, layers[f"Dense_{len(layers) - 1}"]["bias"])


def constant_output(params: Params, bias: jax.Array) -> Params:
    """Returns `params` with the last layer's kernel zero and its bias as given, [out]."""
    layers = dict(params["params"])
    last = f"Dense_{len(layers) - 1}"
    layers[last] = {"kernel": jnp.zeros_like(layers[last]["kernel"]), "bias": bias}
    return {"params": layers}


def parameter_count(params: Params) -> int:
    """Number of scalars in a parameter pytree."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
