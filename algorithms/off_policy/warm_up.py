"""A warm-up of random actions, inside the budget."""

from __future__ import annotations

import dataclasses

import jax

from algorithms.api import Extras, PyTree, Settings, Stage
from algorithms.bounds import WholeNumber


@dataclasses.dataclass(frozen=True)
class RandomWarmUp(Settings):
    """Stages and exploration of a method that begins with random actions and then has one stage.

    Attributes:
        warm_up: updates of the budget that are spent on uniformly random actions before any
            learning; one is 15,360 steps of `lite`, Playground's SAC takes 8,192.
    """

    warm_up: WholeNumber = 1

    def stages(self) -> tuple[Stage, ...]:
        """The warm-up, and the rest.

        Raises:
            ValueError: nothing is left of the budget after the warm-up.
        """
        updates = self.pipeline.updates
        if self.warm_up >= updates:
            raise ValueError(f"warm_up = {self.warm_up}: leaves no update of {updates} to learn in")
        if not self.warm_up:
            return (Stage(updates),)
        return Stage(self.warm_up, warm_up=True), Stage(updates - self.warm_up)

    def explore(self, state: PyTree, obs: jax.Array, key: jax.Array) -> tuple[jax.Array, Extras]:
        """Draws actions [N, A] uniformly."""
        del state
        shape = (obs.shape[0], self.env.action_size)
        action = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        return action, {"action": action}
