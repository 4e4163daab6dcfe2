"""Tasks of MuJoCo Playground stepped by MJX, in JAX or on NVIDIA Warp.

The task classes are used as they are. Between two steps only the state of the
physics is kept, as one row of floats with the same layout in every engine: what is
derived from it is computed anew by each step, and `mjx.Data` is rebuilt around it.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.api import Task, TaskState

# Playground reports at import on standard output what optional parts it lacks.
with open(os.devnull, "w") as _devnull, contextlib.redirect_stdout(_devnull):
    from mujoco_playground._src import dm_control_suite
    from mujoco_playground._src import mjx_env as mjx_env  # for envs.native too

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
    one task may be exchanged between engines.
    """

    def __init__(self, name: str, engine: str, impl: str | None = None) -> None:
        """Loads the task `name`; `impl` is MJX's own name of the engine if another."""
        self.name = name
        self.engine = engine
        self._env = _load_environment(name, impl or engine)
        self._config = self._env._config
        self.action_size = self._env.action_size
        self.episode_length = self._config.episode_length // self._config.action_repeat
        # Every task of the dm_control suite pays a reward in [0, 1] a control step.
        self.return_bounds = (0.0, float(self.episode_length))
        self.model_hash = _hash_model(self.model)
        self.layout = RowLayout(mujoco.MjData(self.model), _STATE_FIELDS)
        self.obs_size = jax.eval_shape(self.reset, jax.random.key(0)).obs.shape[-1]

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
        return self._task_state(self._env.reset(key))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Takes one control step with `action` [A] in [-1, 1]."""
        before = mjx_env.State(
            data=self._data(state.physics),
            obs=state.obs,
            reward=state.reward,
            done=state.done,
            metrics={},  # the tasks only write them
            info={},  # the tasks only pass it on
        )
        return self._task_state(self._env.step(before, action))

    def _data(self, row: jax.Array) -> Any:
        data = mjx_env.make_data(
            self.model,
            impl=self._env.mjx_model.impl.value,
            naconmax=self._config.naconmax,
            njmax=self._config.njmax,
        )
        return data.replace(**self.layout.unpack(row))

    def _task_state(self, state: mjx_env.State) -> TaskState:
        fields = {field: getattr(state.data, field) for field in self.layout.shapes}
        return TaskState(
            physics=self.layout.pack(fields),
            obs=state.obs.astype(jnp.float32),
            reward=jnp.asarray(state.reward, jnp.float32),
            done=jnp.asarray(state.done, jnp.float32),
        )


def _load_environment(name: str, impl: str) -> mjx_env.MjxEnv:
    with _quiet_compiler():
        return dm_control_suite.load(name, config_overrides={"impl": impl})


@contextlib.contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Hides the model compiler's remarks about Playground's own files.

    MuJoCo prints them and appends them to a log file in the working directory.
    """
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(handler)


def _hash_model(model: mujoco.MjModel) -> str:
    compiled = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, compiled)
    return hashlib.sha256(compiled.tobytes()).hexdigest()
