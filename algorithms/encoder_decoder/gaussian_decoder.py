"""A Gaussian for a decoder: GoRL's control without a generative model (ALGORITHMS 8.2)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from algorithms.parts.distributions import gaussian, standard_normal_bias
from algorithms.parts.networks import MLP, Params, constant_output


@dataclasses.dataclass(frozen=True)
class GaussianDecoder:
    """g(s, z) = mu(s) + sigma(s) z, so that z ~ N(0, I) makes actions N(mu(s), diag sigma(s)^2).

    Fitted by maximum likelihood, with the steps and batches of the other decoders.
    Observations are normalized by the caller.

    Attributes:
        obs_size: O.
        action_size: A.
        hidden: widths of the network's hidden layers.
    """

    obs_size: int
    action_size: int
    hidden: tuple[int, ...]

    @property
    def network(self) -> MLP:
        return MLP(self.hidden, 2 * self.action_size)

    @property
    def evaluations(self) -> int:
        """Network evaluations per action."""
        return 1

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters."""
        return self.network.create(key, self.obs_size)

    def schedule(self) -> jax.Array:
        """Returns no constants, [0]: one evaluation decodes."""
        return jnp.zeros(0)

    def identity(self, key: jax.Array) -> tuple[Params, jax.Array]:
        """Parameters and schedule of N(0, I), whose `decode` returns its latent."""
        bias = standard_normal_bias(self.action_size)
        return constant_output(self.init(key), bias), self.schedule()

    def decode(
        self, params: Params, schedule: jax.Array, obs: jax.Array, latent: jax.Array
    ) -> jax.Array:
        """Actions [N, A] for latents [N, A]."""
        del schedule
        policy = gaussian(self.network.forward(params, obs))
        decoded: jax.Array = policy.mean() + policy.stddev() * latent
        return decoded

    def loss(
        self,
        params: Params,
        obs: jax.Array,
        action: jax.Array,
        draws: int,
        key: jax.Array,
        latent: jax.Array | None = None,
    ) -> jax.Array:
        """Negative log-likelihood [] of actions [B, A], mean over dimensions.

        With latents [B, A] that the actions came from, the mean squared error of what they are
        decoded to. There is nothing to draw either way.
        """
        del draws, key
        if latent is not None:
            decoded = self.decode(params, self.schedule(), obs, latent)
            return jnp.mean(jnp.square(action - decoded))
        likelihood: jax.Array = gaussian(self.network.forward(params, obs)).log_prob(action)
        return -jnp.mean(likelihood) / self.action_size
