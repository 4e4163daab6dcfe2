"""A task that rewards its action and a method that counts: every number is known beforehand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco

from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, Stage
from envs.api import Task, TaskState
from envs.engines.playground import PlaygroundTask, RowLayout
from suite.configuration.protocol import Protocol
from suite.planning.run_request import RunRequest
from suite.storage.records import Job

EPISODE = 10


class ActionTask(Task):
    """Rewards the first action, scaled to [0, 1]; observes the clock."""

    name = "CheetahRun"
    engine = "native"
    obs_size = 2
    action_size = 1
    episode_length = EPISODE
    model_hash = "none"

    def reset(self, key: jax.Array) -> TaskState:
        """Starts at a random clock."""
        clock = jax.random.uniform(key)
        return TaskState(clock, jnp.stack([clock, 1.0]), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Advances the clock."""
        clock = (state.physics + 0.1) % 1.0
        reward = (action[0] + 1.0) / 2.0
        return TaskState(clock, jnp.stack([clock, 1.0]), reward, jnp.zeros(()))


class Slider(PlaygroundTask):
    """A box that its action slides to the right by 0 to 0.1 a step, and rewards as `ActionTask`.

    A picture of `size` pixels shows x from -1.2 to 1.2, the box of red is 0.2 wide, and all else is
    black. The episode is over where x is 0.8 or more; a reward is NaN where the action is.
    """

    MODEL = """
    <mujoco>
      <option timestep="0.05"/>
      <worldbody>
        <camera pos="0 -3 0" xyaxes="1 0 0 0 0 1" projection="orthographic" fovy="2.4"/>
        <body>
          <joint type="slide" axis="1 0 0"/>
          <geom type="box" size=".1 .1 .1" rgba="1 0 0 1"/>
        </body>
      </worldbody>
    </mujoco>"""

    model = mujoco.MjModel.from_xml_string(MODEL)
    substeps = 2

    def __init__(self) -> None:
        """Loads nothing."""
        self.name, self.engine, self.model_hash = "CheetahRun", "native", "none"
        self.obs_size, self.action_size, self.episode_length = 2, 1, EPISODE
        self.layout = RowLayout(mujoco.MjData(self.model), ("qpos",))

    def reset(self, key: jax.Array) -> TaskState:
        """Starts between -0.5 and 0."""
        place = jax.random.uniform(key, (1,), minval=-0.5, maxval=0.0)
        return TaskState(place, jnp.append(place, 1.0), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Slides the box."""
        reward = (action[0] + 1.0) / 2.0
        place = state.physics + 0.1 * reward
        over = (place[0] >= 0.8).astype(jnp.float32)
        return TaskState(place, jnp.append(place, 1.0), reward, over)


class CounterState(NamedTuple):
    """Updates and refits made, and a weight that can be poisoned."""

    updates: jax.Array
    refits: jax.Array
    recorded: jax.Array
    weight: jax.Array


@dataclasses.dataclass(frozen=True)
class Counter(Algorithm[CounterState]):
    """Acts by how often it was updated: its evaluation return tells which policy was evaluated.

    Attributes:
        poison_at: the update in which some seeds' weight becomes NaN; -1 is never.
        extra: rollouts taken after the first stage.
    """

    poison_at: int = -1
    extra: int = 0

    def init(self, key: jax.Array) -> CounterState:
        """Starts at nothing."""
        zero = jnp.zeros((), jnp.float32)
        return CounterState(zero, zero, zero, jax.random.uniform(key))

    def parameters(self, state: CounterState) -> Any:
        """Returns the weight."""
        return state.weight

    def act(
        self, state: CounterState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Acts so that the reward is updates / 100, or half of it in `sample` mode."""
        reward = state.updates / 100.0 * (1.0 if mode == "deterministic" else 0.5)
        action = jnp.broadcast_to(2.0 * reward - 1.0, (obs.shape[0], self.env.action_size))
        return action, {"noise": jax.random.normal(key, (obs.shape[0],))}

    def update(
        self, state: CounterState, rollout: Rollout, key: jax.Array
    ) -> tuple[CounterState, Metrics]:
        """Counts, and mixes all that it was given into the weight."""
        seen = jnp.mean(rollout.extras["noise"]) + jnp.mean(rollout.obs) + jnp.mean(rollout.reward)
        weight = state.weight + 0.01 * (seen + jax.random.normal(key))
        # Only seeds whose weight started in the upper half are poisoned.
        poisoned = (state.updates == self.poison_at) & (state.weight > 0.5)
        weight = jnp.where(poisoned, jnp.nan, weight)
        return state._replace(updates=state.updates + 1, weight=weight), {"weight": weight}

    def stages(self) -> tuple[Stage, ...]:
        """Two stages, 3 updates and the rest."""
        return Stage(3, self.extra), Stage(self.pipeline.updates - 3)

    def record(self, state: CounterState, rollout: Rollout) -> CounterState:
        """Counts the rollout."""
        return state._replace(recorded=state.recorded + 1)

    def advance(self, state: CounterState, key: jax.Array) -> CounterState:
        """Counts the refit."""
        return state._replace(refits=state.refits + 1, weight=state.weight + jax.random.normal(key))


def request_of(
    job: Job, protocol: Protocol, out: Path, hyperparameters: Mapping[str, Any]
) -> RunRequest:
    """Returns a request for one job, of a method that need not be known."""
    values = {job.algorithm: hyperparameters}
    return RunRequest(protocol, out, "native", (job.task,), job.seeds, values, algorithms={})
