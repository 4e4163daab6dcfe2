"""A conditional flow: time 1 is noise, time 0 an action (ALGORITHMS 2.2 and 2.5)."""

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


@dataclasses.dataclass(frozen=True)
class Flow:
    """A velocity network v(obs, x, t) and what is done with it.

    The path between an action a and noise e is x_t = t e + (1 - t) a; its velocity is
    e - a. Observations are normalized by the caller.

    Attributes:
        obs_size: O.
        action_size: A.
        hidden: widths of the network's hidden layers.
        steps: Euler steps K from time 1 to time 0.
        output_scale: factor on the network's output.
    """

    obs_size: int
    action_size: int
    hidden: tuple[int, ...]
    steps: int = 10
    output_scale: float = 1.0

    @property
    def network(self) -> MLP:
        return MLP(self.hidden, self.action_size)

    @property
    def evaluations(self) -> int:
        """Network evaluations per action."""
        return self.steps

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters."""
        return self.network.create(key, conditional_size(self.obs_size, self.action_size))

    def schedule(self) -> jax.Array:
        """Times [K] at which the Euler steps start: 1, ..., 1/K."""
        return jnp.arange(self.steps, 0, -1) / self.steps

    def identity(self, key: jax.Array) -> tuple[Params, jax.Array]:
        """Parameters and schedule whose `decode` returns its latent unchanged."""
        return jax.tree.map(jnp.zeros_like, self.init(key)), self.schedule()

    def velocity(self, params: Params, obs: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
        """v [..., A] at obs [..., O], x [..., A] and t [..., 1]; leading axes broadcast."""
        return self.output_scale * self.network.forward(params, conditional_input(obs, x, t))

    def decode(
        self, params: Params, schedule: jax.Array, obs: jax.Array, noise: jax.Array
    ) -> jax.Array:
        """Integrates from noise [N, A] to actions [N, A], without further noise."""

        def euler(x: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
            return x - self.velocity(params, obs, x, t[None]) / self.steps, None

        return jax.lax.scan(euler, noise, schedule)[0]

    def noisy_path(
        self, params: Params, obs: jax.Array, start: jax.Array, kicks: jax.Array
    ) -> jax.Array:
        """Euler steps with `kicks` [K, N, A] added to each: states [N, K + 1, A]."""

        def euler(x: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            t, kick = step
            x = x - self.velocity(params, obs, x, t[None]) / self.steps + kick
            return x, x

        _, states = jax.lax.scan(euler, start, (self.schedule(), kicks))
        return jnp.moveaxis(jnp.concatenate([start[None], states]), 0, -2)

    def step_means(self, params: Params, obs: jax.Array, path: jax.Array) -> jax.Array:
        """Where each Euler step from path [..., K + 1, A] would land without noise: [..., K, A]."""
        start = path[..., :-1, :]
        times = self.schedule()[:, None]
        return start - self.velocity(params, obs[..., None, :], start, times) / self.steps

    def noise_errors(
        self, params: Params, obs: jax.Array, action: jax.Array, noise: jax.Array, t: jax.Array
    ) -> jax.Array:
        """Squared error of the noise that the velocity implies, mean over dimensions.

        With obs [..., O], action [..., A], noise [..., n, A] and t [..., n, 1] this is
        mean_d (e - (x_t + (1 - t) v))^2 = (1 - t)^2 mean_d (e - a - v)^2, [..., n]: FPO's
        loss, which weighs t = 1 with zero (ALGORITHMS 2.2).
        """
        x = t * noise + (1.0 - t) * action[..., None, :]
        velocity = self.velocity(params, obs[..., None, :], x, t)
        return jnp.mean(jnp.square(noise - (x + (1.0 - t) * velocity)), axis=-1)

    def loss(
        self,
        params: Params,
        obs: jax.Array,
        action: jax.Array,
        draws: int,
        key: jax.Array,
        latent: jax.Array | None = None,
    ) -> jax.Array:
        """Flow-matching loss [] with `draws` independent (noise, t) per action [B, A].

        With latents [B, A] that the actions came from, those are the noise of every draw.
        """
        noise_key, time_key = jax.random.split(key)
        noise = path_noise(noise_key, action, draws, latent)
        t = jax.random.uniform(time_key, (*noise.shape[:-1], 1))
        clean = action[..., None, :]
        velocity = self.velocity(params, obs[..., None, :], t * noise + (1.0 - t) * clean, t)
        return jnp.mean(jnp.square(noise - clean - velocity))
