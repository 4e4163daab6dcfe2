"""A conditional diffusion model with deterministic DDIM decoding (ALGORITHMS 2.6)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from algorithms.parts.networks import (
    MLP,
    Params,
    conditional_input,
    conditional_size,
    path_noise,
)

LINEAR_BETA_RANGE = (1e-4, 2e-2)
COSINE_OFFSET = 0.008


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """A noise-prediction network over K noise levels and its DDIM decoder.

    A schedule is the array alpha-bar [K]: the share of signal at each level.
    Observations are normalized by the caller.

    Attributes:
        obs_size: O.
        action_size: A.
        hidden: widths of the network's hidden layers.
        steps: noise levels K; decoding takes K - 1 steps.
    """

    obs_size: int
    action_size: int
    hidden: tuple[int, ...]
    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 2:  # level 0 is clean data: alone it leaves nothing to decode
            raise ValueError(f"{self.steps} noise level: a diffusion needs at least 2")

    @property
    def network(self) -> MLP:
        return MLP(self.hidden, self.action_size)

    @property
    def evaluations(self) -> int:
        """Network evaluations per action."""
        return self.steps - 1

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters."""
        return self.network.create(key, conditional_size(self.obs_size, self.action_size))

    def schedule(self) -> jax.Array:
        """Cosine alpha-bar [K]; level 0 is clean (Nichol and Dhariwal 2021, Eq. 17)."""
        level = jnp.arange(self.steps) / self.steps
        angle = (level + COSINE_OFFSET) / (1.0 + COSINE_OFFSET) * jnp.pi / 2.0
        signal = jnp.square(jnp.cos(angle))
        return signal / signal[0]

    def linear_schedule(self) -> jax.Array:
        """alpha-bar [K] of linearly growing betas."""
        return jnp.cumprod(1.0 - jnp.linspace(*LINEAR_BETA_RANGE, self.steps))

    def identity(self, key: jax.Array) -> tuple[Params, jax.Array]:
        """Parameters and schedule whose `decode` nearly returns its latent.

        Zero predicted noise makes every step a rescaling, in all 1/sqrt(alpha-bar) of
        the noisiest level: 1.052 with the linear schedule, which is why stage 0 does
        not use the cosine one (6.44).
        """
        return jax.tree.map(jnp.zeros_like, self.init(key)), self.linear_schedule()

    def noise(self, params: Params, obs: jax.Array, x: jax.Array, level: jax.Array) -> jax.Array:
        """Predicted noise [..., A] at integer levels [..., 1]; leading axes broadcast."""
        t = level.astype(jnp.float32) / self.steps
        return self.network.forward(params, conditional_input(obs, x, t))

    def decode(
        self, params: Params, schedule: jax.Array, obs: jax.Array, latent: jax.Array
    ) -> jax.Array:
        """DDIM from latent [N, A], taken as the noisiest level, to actions [N, A].

        The last target is clean data whatever the schedule says of level 0.
        """
        targets = schedule.at[0].set(1.0)

        def ddim(x: jax.Array, level: jax.Array) -> tuple[jax.Array, None]:
            signal, target = schedule[level], targets[level - 1]
            noise = self.noise(params, obs, x, level[None])
            clean = (x - jnp.sqrt(1.0 - signal) * noise) / jnp.sqrt(signal)
            return jnp.sqrt(target) * clean + jnp.sqrt(1.0 - target) * noise, None

        return jax.lax.scan(ddim, latent, jnp.arange(self.steps - 1, 0, -1))[0]

    def loss(
        self,
        params: Params,
        obs: jax.Array,
        action: jax.Array,
        draws: int,
        key: jax.Array,
        latent: jax.Array | None = None,
    ) -> jax.Array:
        """Noise-prediction loss [] with `draws` independent (noise, level) per action [B, A].

        Level 0 is drawn too, as in the reference: its noise cannot be predicted and
        decoding never asks for it. With latents [B, A] that the actions came from, those are
        the noise of every draw.
        """
        noise_key, level_key = jax.random.split(key)
        noise = path_noise(noise_key, action, draws, latent)
        level = jax.random.randint(level_key, (*noise.shape[:-1], 1), 0, self.steps)
        signal = self.schedule()[level]
        x = jnp.sqrt(signal) * action[..., None, :] + jnp.sqrt(1.0 - signal) * noise
        return jnp.mean(jnp.square(noise - self.noise(params, obs[..., None, :], x, level)))
