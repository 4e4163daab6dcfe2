"""What every task offers, whichever engine steps its physics.

Shapes use one notation: N environments, O observation size, A action size, B start
states in a bank. A task is one environment; `envs.vector.VectorEnv` batches it.
"""

from __future__ import annotations

import abc
import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jax


class EnvError(ValueError):
    """A user's mistake, told in one line: what, where and how to mend it."""


class TaskState(NamedTuple):
    """One environment between two steps; a leading axis is added where it is batched.

    Attributes:
        physics: a pytree that holds all that the next step depends on.
        obs: [O] float32.
        reward: [] float32, of the step that led here.
        done: [] float32, 1.0 where that step ended the episode for good.
    """

    physics: Any
    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class Task(abc.ABC):
    """One environment as pure functions that may be jitted and vmapped.

    Attributes:
        name: as in `envs.tasks`.
        engine: what steps the physics.
        obs_size: O.
        action_size: A.
        episode_length: control steps after which a time limit cuts the episode.
        model_hash: SHA-256 of what is simulated, hexadecimal, for audits.
        return_bounds: the least and the greatest undiscounted return of an episode, from which
            reports make scores; None where they are not known, so that there are only returns.
    """

    name: str
    engine: str
    obs_size: int
    action_size: int
    episode_length: int
    model_hash: str
    return_bounds: tuple[float, float] | None = None

    @abc.abstractmethod
    def reset(self, key: jax.Array) -> TaskState:
        """Draws a start state."""

    @abc.abstractmethod
    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Takes one control step with `action` [A] in [-1, 1]."""

    def on_cpu(self) -> Task:
        """Returns the same task, with states of the same form, as a CPU can step it."""
        return self


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Returns the choice nearest to `name`, whatever its case; None if none is near."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[close[0]] if close else None


def suggestion(name: str, choices: Iterable[str]) -> str:
    """Returns " (did you mean 'x'?)" for the choice nearest to `name`, or ""."""
    meant = nearest(name, choices)
    return "" if meant is None else f" (did you mean {meant!r}?)"
