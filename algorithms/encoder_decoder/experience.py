"""What a decoder is fitted to: the newest rollouts, split for training and validation."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

VALIDATION_SHARE = 0.1


class Experience(NamedTuple):
    """A ring of whole rollouts: R slots of P = T x N transitions.

    Attributes:
        obs: [R, P, O].
        action: [R, P, A] pre-tanh.
        written: [] int32 rollouts ever written.
        latent: [R, P, A] what the actions came from; None where it is not kept.
    """

    obs: jax.Array
    action: jax.Array
    written: jax.Array
    latent: jax.Array | None = None

    def add(
        self,
        obs: jax.Array,
        action: jax.Array,
        keep: jax.Array | bool = True,
        latent: jax.Array | None = None,
    ) -> Experience:
        """Writes a rollout, obs [T, N, O] and action [T, N, A], over the oldest slot.

        Args:
            obs: what was observed.
            action: pre-tanh.
            keep: [] if it is false, nothing changes.
            latent: [T, N, A], where it is kept.
        """
        slot = self.written % self.obs.shape[0]

        # Only a slot is chosen between: a choice between rings would copy the whole of one.
        def write(ring: jax.Array, new: jax.Array) -> jax.Array:
            return ring.at[slot].set(jnp.where(keep, new.reshape(ring.shape[1:]), ring[slot]))

        return Experience(
            write(self.obs, obs),
            write(self.action, action),
            self.written + keep,
            None if self.latent is None or latent is None else write(self.latent, latent),
        )

    @property
    def filled(self) -> jax.Array:
        """[] int32 slots that hold data."""
        return jnp.minimum(self.written, self.obs.shape[0])


class Split(NamedTuple):
    """Transitions of one kind: positions [n] inside every filled slot of `source`."""

    source: Experience
    positions: jax.Array

    def draw(self, key: jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        """Uniform draws with replacement: obs [size, O], actions [size, A], latents likewise."""
        slot_key, position_key = jax.random.split(key)
        slot = jax.random.randint(slot_key, (size,), 0, self.source.filled)
        index = jax.random.randint(position_key, (size,), 0, self.positions.shape[0])
        position = self.positions[index]
        latent = self.source.latent
        return (
            self.source.obs[slot, position],
            self.source.action[slot, position],
            None if latent is None else latent[slot, position],
        )

    def statistics(self) -> tuple[jax.Array, jax.Array]:
        """Mean and std [O] of the observations."""
        slots, size = self.source.obs.shape[:2]
        chosen = jnp.zeros(size).at[self.positions].set(1.0)
        weight = chosen * (jnp.arange(slots) < self.source.filled)[:, None]
        weight = (weight / weight.sum())[..., None]
        mean = jnp.sum(weight * self.source.obs, axis=(0, 1))
        variance = jnp.sum(weight * jnp.square(self.source.obs - mean), axis=(0, 1))
        return mean, jnp.sqrt(variance)


def split(data: Experience, key: jax.Array) -> tuple[Split, Split]:
    """Random disjoint transitions for training (90%) and validation (10%).

    The same positions are taken in every slot, so the split holds however many slots
    are filled.
    """
    size = data.obs.shape[1]
    order = jax.random.permutation(key, size)
    held_out = max(1, int(size * VALIDATION_SHARE))
    return Split(data, order[held_out:]), Split(data, order[:held_out])
