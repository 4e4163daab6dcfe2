"""Tasks of MuJoCo Playground stepped by MJX, in JAX or on NVIDIA Warp.

The task classes are used as they are. Between two steps the state of the physics is
kept, as one row of floats with the same layout in every engine: what is derived from
it is computed anew by each step, and `mjx.Data` is rebuilt around it. The dm_control
suite needs no more; of any other environment, what else a step depends on is kept
beside the row (`envs.engines.carried`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.api import Task, TaskState
from envs.engines.carried import Carrier, find_carrier
from envs.engines.contacts import make_room, refuse_overflow, silence
from envs.engines.environments import (
    attempt,
    load_environment,
    mjx_env,
    observed,
    reward_range,
    source_digest,
)
from envs.names import TASKS

Result = TypeVar("Result")

_STATE_FIELDS = (
    "time",
    "qpos",
    "qvel",
    "act",
    "qacc_warmstart",
    "mocap_pos",
    "mocap_quat",
)
"""The inputs of a physics step other than the controls, which each step replaces."""

_APPLIED_FIELDS = ("qfrc_applied", "xfrc_applied")
"""Further inputs, which no task of the dm_control suite sets."""

_MATRIX_FIELDS = frozenset({"xmat", "ximat", "geom_xmat", "site_xmat", "cam_xmat"})


class RowLayout:
    """Several `mujoco.MjData` fields in one row of float32 numbers.

    Attributes:
        shapes: shape of each field, as in `mjx.Data` (matrices are [n, 3, 3]).
        slices: where each field lies in the row.
        size: length of the row.
    """

    def __init__(self, data: mujoco.MjData, fields: tuple[str, ...]) -> None:
        self.shapes = {field: _mjx_shape(data, field) for field in fields}
        self.slices: dict[str, slice] = {}
        self.size = 0
        for field, shape in self.shapes.items():
            end = self.size + math.prod(shape)
            self.slices[field] = slice(self.size, end)
            self.size = end

    def pack(self, fields: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the row, [size]; `fields` may hold more than is packed."""
        parts = [jnp.ravel(fields[field]) for field in self.shapes]
        return jnp.concatenate(parts).astype(jnp.float32)

    def unpack(self, row: jax.Array) -> dict[str, jax.Array]:
        """Returns the fields of a row [size]."""
        return {f: row[self.slices[f]].reshape(shape) for f, shape in self.shapes.items()}


def _mjx_shape(data: mujoco.MjData, field: str) -> tuple[int, ...]:
    shape = np.shape(getattr(data, field))
    return (shape[0], 3, 3) if field in _MATRIX_FIELDS else shape


class PlaygroundTask(Task):
    """A task whose physics MJX steps.

    `TaskState.physics` is one row [K] float32, laid out as `layout` says; rows of
    one task may be exchanged between engines. For tasks outside the dm_control suite it
    is a dict of that `row` and of what else is `kept`, by its place in Playground's state.
    """

    def __init__(self, name: str, engine: str, impl: str | None = None, worlds: int = 0) -> None:
        """Loads the task `name`.

        Args:
            name: of the task.
            engine: what steps it.
            impl: MJX's own name of the engine if another.
            worlds: environments that one call steps at most, all seeds together; MJX-Warp
                needs room for their contacts.

        Raises:
            EnvError: the task cannot be loaded, or is not one that the engine can step.
        """
        self.name = name
        self.engine = engine
        self._env = load_environment(name, impl or engine)
        self._config = self._env._config
        if engine == "warp":
            make_room(self._config, worlds)
            silence(self._env)
        self.action_size = int(self._env.action_size)
        self.episode_length = self._config.episode_length
        self.model_hash = _hash_model(self.model, source_digest(name))
        self._carrier: Carrier | None = None
        if name in TASKS:
            # Every task of the dm_control suite pays a reward in [0, 1] a control step.
            self.return_bounds = (0.0, float(self.episode_length))
            self.layout = RowLayout(mujoco.MjData(self.model), _STATE_FIELDS)
        else:
            self.return_bounds = _return_bounds(reward_range(name, self._env), self.episode_length)
            self.layout = RowLayout(mujoco.MjData(self.model), _STATE_FIELDS + _APPLIED_FIELDS)
            self._carrier = self._find_carrier()
        self.obs_size = jax.eval_shape(self.reset, jax.random.key(0)).obs.shape[-1]

    def on_cpu(self) -> Task:
        """Returns the task stepped by MJX in JAX, as MJX-Warp is for GPUs."""
        return PlaygroundTask(self.name, "jax") if self.engine == "warp" else self

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, for rendering and for tests."""
        return self._env.mj_model

    @property
    def substeps(self) -> int:
        """Physics steps per control step."""
        substeps: int = self._env.n_substeps
        return substeps

    def reset(self, key: jax.Array) -> TaskState:
        """Draws a start state as the task defines it."""
        if self._carrier is None:
            return self._task_state(self._env.reset(key))
        return self._task_state(self._attempt("reset", lambda: self._env.reset(_plain(key))))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Takes one control step with `action` [A] in [-1, 1]."""
        if self._carrier is None:
            return self._task_state(self._env.step(self._state(state), action))
        fields = self.layout.unpack(state.physics["row"])
        before = self._carrier.restore(fields, state.physics["kept"])
        return self._task_state(self._attempt("step", lambda: self._env.step(before, action)))

    def _find_carrier(self) -> Carrier:
        return self._attempt(
            "reset or step",
            lambda: find_carrier(
                self.name,
                self._env.reset,
                self._env.step,
                _plain(jax.random.key(0)),
                self.action_size,
                self.layout.shapes,
            ),
        )

    def _attempt(self, place: str, action: Callable[[], Result]) -> Result:
        """Calls what is the environment's own, whose faults are the user's."""
        return attempt(self.name, place, type(self._env), action)

    def _state(self, state: TaskState) -> mjx_env.State:
        return mjx_env.State(
            data=self._data(state.physics),
            obs=state.obs,
            reward=state.reward,
            done=state.done,
            metrics={},  # the tasks only write them
            info={},  # the tasks only pass it on
        )

    def _data(self, row: jax.Array) -> Any:
        data = mjx_env.make_data(
            self.model,
            impl=self._env.mjx_model.impl.value,
            naconmax=self._config.naconmax,
            njmax=self._config.njmax,
        )
        return data.replace(**self.layout.unpack(row))

    def _task_state(self, state: mjx_env.State) -> TaskState:
        row = self.layout.pack({field: getattr(state.data, field) for field in self.layout.shapes})
        if self.engine == "warp":
            row = refuse_overflow(self.name, row, state.data)
        kept = None if self._carrier is None else self._carrier.keep(state)
        return TaskState(
            physics=row if kept is None else {"row": row, "kept": kept},
            obs=observed(self.name, state.obs).astype(jnp.float32),
            reward=jnp.asarray(state.reward, jnp.float32),
            done=jnp.asarray(state.done, jnp.float32),
        )


def _plain(key: jax.Array) -> jax.Array:
    """Returns a random key as numbers, as Playground gives it to its environments."""
    return jax.random.key_data(key)


def _return_bounds(rewards: tuple[float, float] | None, steps: int) -> tuple[float, float] | None:
    """Returns what the sum of up to `steps` rewards lies between: an episode may end early."""
    if rewards is None:
        return None
    low, high = rewards
    return min(0.0, low * steps), max(0.0, high * steps)


def _hash_model(model: mujoco.MjModel, source: str | None) -> str:
    """Returns a digest of what is simulated: the model, and the source where it is known."""
    compiled = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, compiled)
    content = compiled.tobytes() + (source or "").encode()
    return hashlib.sha256(content).hexdigest()
