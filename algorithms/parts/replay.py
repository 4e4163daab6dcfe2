"""A replay buffer: a ring of the newest transitions, which a method keeps in its state.

As part of the state it is in every checkpoint, and `suite plan` says how much memory it takes.
`Algorithm.policy` and `Algorithm.candidate` should leave it out (`algorithms.api.emptied`), or
it is written with every policy that is kept.

A transition is a pytree of arrays, whichever a method needs: the observation, the action, the
reward, the observation after it. Shapes: C transitions fit in, B are added or drawn at once.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, cast

import jax
import jax.numpy as jnp

from algorithms.api import PyTree, Tree


class Replay(NamedTuple, Generic[Tree]):
    """A ring of transitions; `empty` makes one.

    Attributes:
        ring: a transition's arrays, [C, ...] each.
        position: [] int32 where the next one goes.
        size: [] int32 how many there are, at most C.
    """

    ring: Tree
    position: jax.Array
    size: jax.Array

    def add(self, transitions: Tree) -> Replay[Tree]:
        """Writes transitions over the oldest; of more than C the last C stay.

        Args:
            transitions: [B, ...], the oldest first, or [T, N, ...] as rollouts have them.

        Raises:
            ValueError: an array is not one of as many transitions as the others, or of others.
        """
        capacity = _length(self.ring)
        newest = jax.tree.map(
            lambda ring, new: _flat(ring, new)[-capacity:], self.ring, transitions
        )
        count = _length(newest)
        slots = (self.position + jnp.arange(count)) % capacity
        return Replay(
            jax.tree.map(lambda ring, new: ring.at[slots].set(new), self.ring, newest),
            (self.position + count) % capacity,
            jnp.minimum(self.size + count, capacity),
        )

    def sample(self, key: jax.Array, count: int) -> Tree:
        """Draws transitions uniformly and with replacement.

        Returns:
            [B, ...] of `count` transitions; NaN, where numbers have one, as long as there are none.
        """
        drawn = jax.random.randint(key, (count,), 0, self.size)

        def pick(ring: jax.Array) -> jax.Array:
            picked = ring[drawn]
            if not jnp.issubdtype(ring.dtype, jnp.inexact):
                return picked
            return jnp.where(self.size > 0, picked, jnp.nan)

        return cast(Tree, jax.tree.map(pick, self.ring))


def empty(transition: Tree, capacity: int) -> Replay[Tree]:
    """Returns a buffer for `capacity` transitions, with nothing in it.

    Args:
        transition: one, of any numbers: only its arrays' shapes and types matter.
        capacity: C, at least 1.
    """
    ring = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), transition)
    return Replay(ring, jnp.int32(0), jnp.int32(0))


def replay_bytes(state: PyTree) -> int:
    """Returns the bytes that buffers take within a state, given as arrays or as their shapes."""
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, Replay))
    rings = [node.ring for node in nodes if isinstance(node, Replay)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(rings))


def _flat(ring: jax.Array, new: jax.Array) -> jax.Array:
    """Returns new transitions as [B, ...], where the ring's are [C, ...]."""
    each = ring.shape[1:]
    if new.ndim < ring.ndim or new.shape[new.ndim - len(each) :] != each:
        raise ValueError(f"replay: got {list(new.shape)} for transitions of {list(each)}")
    return new.reshape(-1, *each)


def _length(tree: PyTree) -> int:
    """Returns the length of the first axis, which all arrays share."""
    lengths = {leaf.shape[0] for leaf in jax.tree.leaves(tree)}
    if len(lengths) != 1:
        raise ValueError(f"replay: got {sorted(lengths)} transitions at once, not as many of each")
    return int(lengths.pop())
