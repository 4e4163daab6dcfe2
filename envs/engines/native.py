"""Tasks of MuJoCo Playground stepped by MuJoCo itself, on CPU threads.

The task classes are used as they are. While their reset and step are traced, the
functions through which they reach MJX are swapped (`envs.engines.stand_in`) for ones
that put a custom call into the program (`envs.engines.ffi`): it hands a row of state
and controls per environment to `mujoco.batch.Batch` and takes back the next state and
the derived fields that the task reads. The call keeps nothing between steps, so
programs that contain it are pure functions like any other.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import math
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco.batch import Batch, SimulationError

from envs.api import EnvError, TaskState
from envs.engines.carried import Carrier
from envs.engines.cpus import available_cpus
from envs.engines.ffi import call_cpu_function, register_cpu_function
from envs.engines.playground import PlaygroundTask, Result, RowLayout
from envs.engines.stand_in import Advance, Fields, MjxFunctions, swapped
from envs.names import TASKS

_LINE_SEARCH_ITERATIONS = 50

_DERIVED_FIELDS = (
    "actuator_force",
    "cam_xmat",
    "cam_xpos",
    "cvel",
    "geom_xmat",
    "geom_xpos",
    "qacc",
    "qfrc_actuator",
    "sensordata",
    "site_xmat",
    "site_xpos",
    "subtree_com",
    "xanchor",
    "xaxis",
    "ximat",
    "xipos",
    "xmat",
    "xpos",
    "xquat",
)
"""What a task may read besides the state; computed by every step and mj_forward."""


def prepare_model(model: mujoco.MjModel) -> mujoco.MjModel:
    """Returns a copy of `model` that MuJoCo steps as MJX would.

    Bad numbers stay in sight instead of causing a reset. The line search may take
    MuJoCo's default number of iterations: Playground allows it 5 to 10, enough for
    MJX's search but not for MuJoCo's, which for instance left FingerSpin's spinner
    turning at 0.02 rad/s against a friction that holds it still in MJX.
    """
    prepared = copy.copy(model)
    prepared.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    prepared.opt.ls_iterations = max(prepared.opt.ls_iterations, _LINE_SEARCH_ITERATIONS)
    return prepared


class BatchPhysics:
    """MuJoCo's physics over rows of numbers, as a NumPy function.

    Simulations that MuJoCo fails come out as NaN, and so do those that it would
    reset by itself because their numbers have gone bad: as with MJX, it is for the
    caller to see it. All others are untouched by that.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        state: RowLayout,
        derived: RowLayout,
        substeps: int,
        threads: int,
    ) -> None:
        """Prepares `substeps` physics steps, or only mj_forward for 0."""
        self._model = prepare_model(model)
        self._state = state
        self._derived = derived
        self._substeps = substeps
        self._threads = threads
        self._batches: dict[int, _BoundBatch] = {}
        self._lock = threading.Lock()  # XLA may run two calls at once

    def __call__(
        self, state: np.ndarray, ctrl: np.ndarray, next_state: np.ndarray, derived: np.ndarray
    ) -> None:
        """Reads state [..., K] and ctrl [..., U]; writes next_state, derived [..., D]."""
        size = math.prod(state.shape[:-1])
        state, ctrl, next_state, derived = (
            rows.reshape(size, rows.shape[-1]) for rows in (state, ctrl, next_state, derived)
        )
        with self._lock:
            batch = self._batch(size)
            batch.load(state, ctrl)
            failed = batch.run(self._substeps)
            batch.store(next_state, derived)
        next_state[failed] = np.nan
        derived[failed] = np.nan

    def _batch(self, size: int) -> _BoundBatch:
        if size not in self._batches:
            batch = Batch(self._model, size, self._threads)
            self._batches[size] = _BoundBatch(batch, self._state, self._derived)
        return self._batches[size]


class _BoundBatch:
    """A batch together with its views, one per field and in the order of the rows."""

    def __init__(self, batch: Batch, state: RowLayout, derived: RowLayout) -> None:
        self._batch = batch
        self._ctrl = batch.bind("ctrl")
        self._state = self._bind(state)
        self._derived = self._bind(derived)
        batch.reset()  # the state fields that no task sets

    def _bind(self, layout: RowLayout) -> list[tuple[slice, np.ndarray]]:
        nsim = self._batch.nsim
        return [
            (columns, np.reshape(self._batch.bind(field), (nsim, -1), copy=False))
            for field, columns in layout.slices.items()
            if columns.start < columns.stop
        ]

    def load(self, state: np.ndarray, ctrl: np.ndarray) -> None:
        for columns, field in self._state:
            field[:] = state[:, columns]
        self._ctrl[:] = ctrl

    def run(self, substeps: int) -> np.ndarray | list[int]:
        """Returns the simulations in which MuJoCo raised an error."""
        try:
            if substeps:
                self._batch.step(nstep=substeps)
            else:
                self._batch.forward()
        except SimulationError as error:
            failed: np.ndarray = error.ids
            return failed
        return []

    def store(self, state: np.ndarray, derived: np.ndarray) -> None:
        for columns, field in self._state:
            state[:, columns] = field
        for columns, field in self._derived:
            derived[:, columns] = field


class NativeTask(PlaygroundTask):
    """A task whose physics MuJoCo steps on CPU threads.

    Derived fields lag one substep behind the state after a step, as with mj_step
    and MJX. Results do not depend on the number of threads.
    """

    def __init__(self, name: str, threads: int | None = None) -> None:
        """Loads the task `name`; `threads` is by default one per available CPU.

        Raises:
            EnvError: the task cannot be loaded, or asks for what only MJX has.
        """
        self._threads = threads or available_cpus()
        super().__init__(name, "native", impl="jax")

    def reset(self, key: jax.Array) -> TaskState:
        """Draws a start state as the task defines it."""
        with swapped(self._reset_functions):
            return super().reset(key)

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Takes one control step with `action` [A] in [-1, 1]."""
        with swapped(self._step_functions):
            return super().step(state, action)

    @functools.cached_property
    def _reset_functions(self) -> MjxFunctions:
        derived = self._fields_read(super().reset, jax.random.key(0))
        return self._functions(functools.partial(self._advance, derived))

    @functools.cached_property
    def _step_functions(self) -> MjxFunctions:
        start = jax.eval_shape(self.reset, jax.random.key(0))
        action = jax.ShapeDtypeStruct((self.action_size,), jnp.float32)
        derived = self._fields_read(super().step, start, action)
        return self._functions(functools.partial(self._advance, derived))

    def _functions(self, advance: Advance) -> MjxFunctions:
        blank = {} if self.name in TASKS else self._blank
        return MjxFunctions(self._env, self.layout.shapes, advance, blank)

    @functools.cached_property
    def _all_derived(self) -> RowLayout:
        return RowLayout(mujoco.MjData(self.model), _DERIVED_FIELDS)

    @property
    def _blank(self) -> Fields:
        return {f: jnp.zeros(shape) for f, shape in self._all_derived.shapes.items()}

    def _find_carrier(self) -> Carrier:
        everything = functools.partial(self._advance, self._all_derived)
        with swapped(self._functions(everything)):
            return super()._find_carrier()

    def _attempt(self, place: str, action: Callable[[], Result]) -> Result:
        try:
            return super()._attempt(place, action)
        except EnvError as error:
            if not isinstance(error.__cause__, Exception):
                raise
            raise EnvError(
                f"{error}; if it runs on the jax engine, use --engine jax"
            ) from error.__cause__

    def _fields_read(self, function: Callable[..., TaskState], *arguments: Any) -> RowLayout:
        """Finds the derived fields that `function` reads.

        It is traced with all of them as inputs; those that neither an operation of
        the traced program takes nor its results include are not read.
        """

        def traced(derived: Fields, *arguments: Any) -> TaskState:
            with swapped(self._functions(lambda state, ctrl, substeps: {**state, **derived})):
                return function(*arguments)

        shapes = self._all_derived.shapes
        inputs = {f: jax.ShapeDtypeStruct(shape, jnp.float32) for f, shape in shapes.items()}
        program = jax.make_jaxpr(traced)(inputs, *arguments).jaxpr
        operands = (variable for operation in program.eqns for variable in operation.invars)
        used = {id(variable) for variable in (*operands, *program.outvars)}
        # JAX flattens a dict in the order of its sorted keys.
        names = zip(sorted(inputs), program.invars, strict=False)
        read = tuple(f for f, variable in names if id(variable) in used)
        return RowLayout(mujoco.MjData(self.model), read)

    def _advance(self, derived: RowLayout, state: Fields, ctrl: jax.Array, substeps: int) -> Fields:
        results = (
            jax.ShapeDtypeStruct((self.layout.size,), jnp.float32),
            jax.ShapeDtypeStruct((derived.size,), jnp.float32),
        )
        name = self._register(derived, substeps)
        # MuJoCo would warn of bad controls at every step and take them for zeros; MJX lets
        # them spoil the state. Here they do the latter, in silence.
        good = jnp.isfinite(ctrl).all()
        safe = jnp.where(good, ctrl, 0.0)
        rows = call_cpu_function(name, results, self.layout.pack(state), safe)
        next_state, outputs = (jnp.where(good, row, jnp.nan) for row in rows)
        return {**self.layout.unpack(next_state), **derived.unpack(outputs)}

    def _register(self, derived: RowLayout, substeps: int) -> str:
        """Registers the custom call and returns its name, which tells what it computes."""
        computed = (
            self.model_hash,
            mujoco.__version__,
            _LINE_SEARCH_ITERATIONS,
            tuple(self.layout.shapes),
            tuple(derived.shapes),
            substeps,
        )
        name = "mujoco_" + hashlib.sha256(repr(computed).encode()).hexdigest()[:16]
        physics = BatchPhysics(self.model, self.layout, derived, substeps, self._threads)
        register_cpu_function(name, physics)
        return name
