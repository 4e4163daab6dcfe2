"""What an environment meets in place of MJX while the native engine traces it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import mjx

from envs.engines.environments import mjx_env

Fields = dict[str, jax.Array]
Advance = Callable[[Fields, jax.Array, int], Fields]
"""Maps the state fields, the controls [U] and a number of substeps (0: only compute
the derived fields) to the next state fields and the derived fields."""


class Unsupported(AttributeError):
    """An environment asks MJX for what the native engine does not have."""


@jax.tree_util.register_pytree_with_keys_class
class NativeData:
    """Stands in for `mjx.Data`: the state, the controls and the fields a task reads."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> jax.Array:
        if name == "_fields" or name not in self._fields:
            raise Unsupported(f"the native engine does not offer mjx.Data.{name} here")
        return self._fields[name]

    def replace(self, **changes: Any) -> NativeData:
        """Returns the data with some fields changed, as `mjx.Data.replace` does."""
        for name in changes:
            getattr(self, name)  # what the engine does not have it would ignore
        return NativeData({**self._fields, **changes})

    def tree_flatten_with_keys(
        self,
    ) -> tuple[tuple[tuple[jax.tree_util.GetAttrKey, jax.Array], ...], tuple[str, ...]]:
        """Returns the values with their keys, and the names of the fields."""
        names = tuple(sorted(self._fields))
        return tuple((jax.tree_util.GetAttrKey(each), self._fields[each]) for each in names), names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Iterable[jax.Array]) -> NativeData:
        """Undoes `tree_flatten_with_keys`."""
        return cls(dict(zip(names, values, strict=True)))


class MjxFunctions:
    """What the tasks call in place of MJX.

    Args:
        env: whose functions they are.
        inputs: the names of the fields that a step starts from.
        advance: steps the physics.
        blank: derived fields that are zeros in data of which nothing is computed, as with MJX.
    """

    def __init__(
        self, env: mjx_env.MjxEnv, inputs: Iterable[str], advance: Advance, blank: Fields
    ) -> None:
        data = mujoco.MjData(env.mj_model)
        self._models = (env.mj_model, env.mjx_model)
        self._start = {f: np.asarray(getattr(data, f), np.float32) for f in inputs}
        self._start["ctrl"] = np.zeros(env.mj_model.nu, np.float32)
        self._advance = advance
        self._blank = blank

    def make_data(self, model: Any, **fields: Any) -> NativeData:
        """Returns data at the model's own positions, but for the given fields of the state."""
        del model
        values = {name: jnp.asarray(value) for name, value in self._start.items()}
        for name in values.keys() & fields.keys():
            if fields[name] is not None:
                values[name] = jnp.asarray(fields[name]).reshape(values[name].shape)
        return NativeData({**self._blank, **values})

    def forward(self, model: Any, data: NativeData) -> NativeData:
        """Computes what is derived from the state, as `mjx.forward`."""
        return self.step(model, data, data.ctrl, n_substeps=0)

    def substep(self, model: Any, data: NativeData) -> NativeData:
        """Takes one step of the physics, as `mjx.step`."""
        return self.step(model, data, data.ctrl)

    def step(
        self, model: Any, data: NativeData, action: jax.Array, n_substeps: int = 1
    ) -> NativeData:
        """Takes `n_substeps` steps of the physics, as `mjx_env.step`."""
        if not any(model is each for each in self._models):
            raise Unsupported("the native engine steps no other model than the environment's own")
        fields = self._advance({f: getattr(data, f) for f in self._start}, action, n_substeps)
        return NativeData({**self._blank, **fields, "ctrl": action})


_swap_lock = threading.RLock()


@contextlib.contextmanager
def swapped(functions: MjxFunctions) -> Iterator[None]:
    """Lets the tasks traced in this context call `functions` instead of MJX's."""
    targets = (
        (mjx_env, "make_data", functions.make_data),
        (mjx_env, "step", functions.step),
        (mjx, "make_data", functions.make_data),
        (mjx, "forward", functions.forward),
        (mjx, "step", functions.substep),
    )
    with _swap_lock:
        originals = [(module, name, getattr(module, name)) for module, name, _ in targets]
        try:
            for module, name, function in targets:
                setattr(module, name, function)
            yield
        finally:
            for module, name, original in originals:
                setattr(module, name, original)
