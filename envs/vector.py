"""Many environments of one task, with resets, time limits and a guard against NaN.

Shapes: N environments, B start states, O observation size, A action size. All
functions are pure and may be vmapped over a leading axis of seeds; the seeds do not
touch each other.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp

from envs.api import EnvError, Task, TaskState

Starts = Literal["bank", "own"]


class EnvState(NamedTuple):
    """The environments between two steps.

    Attributes:
        task: [N, ...]; `task.obs` [N, O] is what to act on next, after any reset.
        phase: [N] int32, steps that count towards each environment's time limit.
        bank: [B, ...] the start states that environments are reset to.
        steps: [] int32, environment steps since `VectorEnv.take_count`.
    """

    task: TaskState
    phase: jax.Array
    bank: TaskState
    steps: jax.Array

    @property
    def obs(self) -> jax.Array:
        """[N, O] observation to act on next."""
        return self.task.obs


class Transition(NamedTuple):
    """What one step of the environments gave.

    Attributes:
        reward: [N] as the task gives it; 0 where the step's numbers were not finite.
        terminated: [N] float32, 1.0 where the episode ended for good: by the task,
            or because a number was not finite.
        truncated: [N] float32, 1.0 where the time limit cut the episode.
        next_obs: [N, O] observation after the step and before any reset; where the
            step's numbers were not finite, the last finite one.
    """

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_obs: jax.Array


@dataclasses.dataclass(frozen=True)
class VectorEnv:
    """N environments of one task that reset themselves.

    Attributes:
        task: the task.
        num_envs: N.
        starts: with "bank" a reset goes to a random one of `bank_size` start states
            drawn beforehand; with "own" environment i always returns to its own
            first state, as Brax does it.
        bank_size: B; with "own" it is N whatever is given.
        random_phase: starts each environment's clock at a random step of its
            episode, so that time limits are spread evenly over a rollout.
        time_limits: whether episodes are cut at the time limit at all.
    """

    task: Task
    num_envs: int
    starts: Starts = "bank"
    bank_size: int = 1024
    random_phase: bool = True
    time_limits: bool = True

    def __post_init__(self) -> None:
        if self.starts not in ("bank", "own"):
            raise EnvError(f"unknown starts {self.starts!r}; one of bank, own")
        for field in ("num_envs", "bank_size"):
            if getattr(self, field) < 1:
                raise EnvError(f"{field} must be at least 1, got {getattr(self, field)}")

    def reset(self, key: jax.Array) -> EnvState:
        """Fills the bank, and starts every environment from it."""
        bank_key, start_key, phase_key = jax.random.split(key, 3)
        own = self.starts == "own"
        size = self.num_envs if own else self.bank_size
        bank = jax.vmap(self.task.reset)(jax.random.split(bank_key, size))
        limit = self.task.episode_length if self.random_phase else 1
        return EnvState(
            task=self._draw(bank, start_key),
            phase=jax.random.randint(phase_key, (self.num_envs,), 0, limit),
            bank=bank,
            steps=jnp.zeros((), jnp.int32),
        )

    def step(
        self, state: EnvState, action: jax.Array, key: jax.Array
    ) -> tuple[EnvState, Transition]:
        """Steps every environment, and resets those whose episode ended.

        Args:
            state: as returned by `reset` or `step`.
            action: [N, A] in [-1, 1].
            key: draws the start states of environments that are reset.
        """
        task = jax.vmap(self.task.step)(state.task, action)
        task, broken = _mend(task, state.task)
        phase = state.phase + 1
        terminated = broken | (task.done > 0)
        truncated = (phase >= self.task.episode_length) & ~terminated & self.time_limits
        transition = Transition(
            reward=task.reward,
            terminated=terminated.astype(jnp.float32),
            truncated=truncated.astype(jnp.float32),
            next_obs=task.obs,
        )
        over = terminated | truncated
        next_state = EnvState(
            task=select(over, self._draw(state.bank, key), task),
            phase=jnp.where(over, 0, phase),
            bank=state.bank,
            steps=state.steps + self.num_envs,
        )
        return next_state, transition

    def take_count(self, state: EnvState) -> tuple[jax.Array, EnvState]:
        """Returns the steps counted since the last call, and the state with none.

        The count is 32 bits wide: take it at least every 2e9 environment steps.
        """
        return state.steps, state._replace(steps=jnp.zeros_like(state.steps))

    def _draw(self, bank: TaskState, key: jax.Array) -> TaskState:
        """Returns a start state per environment, [N, ...]."""
        if self.starts == "own":
            return bank
        entries = jax.random.randint(key, (self.num_envs,), 0, self.bank_size)
        return cast(TaskState, jax.tree.map(lambda leaf: leaf[entries], bank))


def _mend(task: TaskState, before: TaskState) -> tuple[TaskState, jax.Array]:
    """Finds environments [N] with a number that is not finite, and hides it there.

    Their reward becomes 0 and their observation the one before the step. Their
    physics stays as it is, for they are to be reset.
    """
    broken = ~jnp.stack([_finite(leaf) for leaf in jax.tree.leaves(task)]).all(axis=0)
    return task._replace(
        obs=select(broken, before.obs, task.obs),
        reward=jnp.where(broken, 0.0, task.reward),
    ), broken


def _finite(leaf: jax.Array) -> jax.Array:
    return jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(axis=1)


def select(condition: jax.Array, yes: Any, no: Any) -> Any:
    """Chooses per environment between two pytrees of [N, ...] leaves."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
