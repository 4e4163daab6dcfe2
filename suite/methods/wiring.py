"""What the harness takes for granted of a method, checked once before anything trains.

Every function of the contract (algorithms/api.py) is traced with the run's own settings and
made-up sizes, which computes nothing, and a fresh policy acts once. A wrong shape would broadcast
in silence, a random number of NumPy's would be the same at every step, and both would train.

Shapes: T rollout steps, N environments, O observation size, A action size.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from algorithms.api import MODES, Algorithm, EnvSpec, Mode, PyTree, Rollout, Stage
from suite.common.errors import UserError
from suite.methods.soundness import EXCESS

OBS_SIZE, ACTION_SIZE = 11, 3
"""Unlike each other and 1, or a transposed or broadcast array would pass."""

_ROWS = 8
_SCALES = (0.0, 1.0, 10.0, 100.0)
"""Of the made-up observations that a fresh policy acts on."""

_RESERVED_METRICS = ("", "env_steps", EXCESS)
Result = TypeVar("Result")
_log = logging.getLogger(__name__)
_checked: set[tuple[str, Algorithm[PyTree]]] = set()


def check_method(name: str, algorithm: Algorithm[PyTree]) -> None:
    """Checks a method with its hyper-parameters; once in a process, later calls cost nothing.

    Args:
        name: for the message.
        algorithm: for some environment; how large its spaces are does not matter.

    Raises:
        UserError: it breaks the contract; the message names the method and the place.
    """
    spec = EnvSpec(OBS_SIZE, ACTION_SIZE, algorithm.env.discount)
    probe = _Probe(name, dataclasses.replace(algorithm, env=spec))
    try:
        done = (name, probe.algorithm) in _checked
    except TypeError:
        raise probe.error(
            "a hyper-parameter", "cannot be hashed; use a tuple in place of a list"
        ) from None
    if not done:
        probe.check_stages()
        probe.check_shapes()
        probe.check_actions()
        _checked.add((name, probe.algorithm))


class _Probe:
    """A method with made-up sizes.

    Args:
        name: for messages.
        algorithm: the method.
    """

    def __init__(self, name: str, algorithm: Algorithm[PyTree]) -> None:
        self.name = name
        self.algorithm = algorithm
        self.key = jax.random.key(0)

    def error(self, place: str, text: str) -> UserError:
        """Returns the error that `place` is at fault for."""
        return UserError(f"algorithm {self.name}: {place} {text}")

    def check_stages(self) -> None:
        """Holds the division of the budget to the budget."""
        stages = self.called("stages", self.algorithm.stages)
        if not isinstance(stages, tuple) or not all(isinstance(each, Stage) for each in stages):
            raise self.error("stages", "returns no tuple of Stage")
        budget = self.algorithm.pipeline.updates
        updates = [each.updates for each in stages]
        if not all(_is_count(each, 1) for each in updates):
            raise self.error("stages", f"has stages of {updates} updates; each takes at least 1")
        if not 0 < sum(updates) <= budget:
            raise self.error(
                "stages", f"takes {sum(updates)} updates where the budget has {budget}"
            )
        if not all(_is_count(each.extra_rollouts, 0) for each in stages):
            raise self.error("stages", "has a negative or broken number of extra_rollouts")
        if stages[-1].extra_rollouts:
            raise self.error("stages", "has extra_rollouts in the last stage, which end in nothing")
        if any(each.select_by not in (None, *MODES) for each in stages):
            raise self.error("stages", f"has a select_by that is none of {', '.join(MODES)}")
        if len({each.time_limits for each in stages if each.extra_rollouts}) > 1:
            raise self.error("stages", "has time_limits that differ between stages")
        if any(each.warm_up for each in stages[1:]) or stages[-1].warm_up:
            raise self.error("stages", "has a warm-up that is not the first stage, or the only one")
        if stages[0].warm_up and stages[0].select_by:
            raise self.error("stages", "has a select_by in a warm-up, which makes no policy")
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Looks at how long rollouts are and what the method says of its effort."""
        length = self.called("rollout_length", lambda: self.algorithm.rollout_length)
        whole = self.algorithm.pipeline.rollout_length
        if not _is_count(length, 1) or whole % length:
            raise self.error(
                "rollout_length", f"is {length!r}, which does not divide the protocol's {whole}"
            )
        steps = self.called("gradient_steps", lambda: self.algorithm.gradient_steps)
        if steps is not None and not _is_count(steps, 0):
            raise self.error("gradient_steps", f"is {steps!r}, not a whole number")
        cost = self.called("evaluations_per_action", lambda: self.algorithm.evaluations_per_action)
        if not _is_count(cost, 0):
            raise self.error("evaluations_per_action", f"is {cost!r}, not a whole number")

    def check_shapes(self) -> None:
        """Traces every function that training calls, and looks at what it returns."""
        algorithm, pipeline = self.algorithm, self.algorithm.pipeline
        state = self.traced("init", algorithm.init, self.key)
        if not jax.tree.leaves(self.traced("parameters", algorithm.parameters, state)):
            raise self.error("parameters", "returns none")
        rollout = self._rollout(self._act(state, "sample", pipeline.num_envs))
        self._act(state, "deterministic", pipeline.num_envs + 1)  # evaluation has its own N
        update = self.traced("update", algorithm.update, state, rollout, self.key)
        updated, metrics = self._pair("update", update, "a state and metrics")
        self._same("update", state, updated)
        self._check_metrics(metrics)
        stages = algorithm.stages()
        if stages[0].warm_up:
            extras = self._act(state, None, pipeline.num_envs)
            recorded = self.traced("record", algorithm.record, state, self._rollout(extras))
            self._same("record", state, recorded)
        if any(each.extra_rollouts for each in stages):
            recorded = self.traced("record", algorithm.record, state, rollout)
            self._same("record", state, recorded)
        if len(stages) > 1:
            advanced = self.traced("advance", algorithm.advance, state, self.key)
            self._same("advance", state, advanced)
        if any(each.select_by for each in stages):
            candidate = self.traced("candidate", algorithm.candidate, state)
            put_back = self.traced("reinstate", algorithm.reinstate, state, candidate)
            self._same("reinstate", state, put_back)

    def check_actions(self) -> None:
        """Lets a fresh policy act, and looks at its actions [N, A]."""
        # It runs once: most of the time would go into optimizing it.
        options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
        played = jax.device_get(jax.jit(self._play, compiler_options=options)(self.key))
        places: dict[str, str] = {mode: f"act in mode {mode}" for mode in MODES}
        places["explore"] = "explore"
        for name in (each for each in places if each in played):
            action = played[name]
            if not np.isfinite(action).all():
                raise self.error(places[name], "returns actions that are not finite")
            if np.abs(action).max() > 1:
                raise self.error(
                    places[name],
                    f"returns the action {np.abs(action).max():g}, outside of [-1, 1]; squash it, "
                    "with jnp.tanh or jnp.clip",
                )
        if not np.array_equal(played["deterministic"], played["other key"]):
            raise self.error(
                "act in mode deterministic",
                "depends on its key; it has to return the policy's action without noise",
            )
        if np.array_equal(played["sample"], played["other sample"]):
            # A method may explore in other ways, by noise in its state for one.
            _log.warning(
                "algorithm %s: act in mode sample does not depend on its key, so what looks like "
                "noise in it is the same at every step",
                self.name,
            )
        if "kept" in played and not np.allclose(played["sample"], played["kept"], atol=1e-5):
            raise self.error("policy", "leaves out what act depends on: the actions change")

    def called(self, place: str, function: Callable[[], Result]) -> Result:
        """Calls a method's function, and names the place where it fails."""
        try:
            return function()
        except Exception as error:  # it is the user's code: it may fail in any way
            raise self.error(place, f"fails: {self._told(error)}") from error

    def traced(self, place: str, function: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
        """Returns the shapes of what a function returns, and refuses noise that is not JAX's."""
        before = _generators()

        def trace() -> tuple[ClosedJaxpr, PyTree]:
            # A new function each time, or the second trace would come out of a cache.
            return jax.make_jaxpr(lambda *each: function(*each), return_shape=True)(*arguments)

        first, shapes = self.called(place, trace)
        second, _ = self.called(place, trace)
        if _generators() != before or list(_constants(first)) != list(_constants(second)):
            raise self.error(
                place,
                "draws random numbers outside of JAX, which happens once, when it is compiled, "
                "and then they are the same at every step; draw them with jax.random",
            )
        return shapes

    def _act(self, state: Any, mode: Mode | None, rows: int) -> Mapping[str, Any]:
        """Returns the extras, traced for `rows` observations; without a mode, of `explore`."""
        place = f"act in mode {mode}" if mode else "explore"
        obs = _floats(rows, OBS_SIZE)

        def act(state: Any, obs: Any, key: Any) -> Any:
            if mode is None:
                return self.algorithm.explore(state, obs, key)
            return self.algorithm.act(state, obs, key, mode)

        action, extras = self._pair(
            place, self.traced(place, act, state, obs, self.key), "actions and extras"
        )
        self._expect(place, "actions", action, (rows, ACTION_SIZE))
        if not isinstance(extras, Mapping):
            raise self.error(place, "returns extras that are no mapping of names to arrays")
        for path, leaf in jax.tree_util.tree_leaves_with_path(extras):
            if leaf.shape[:1] != (rows,):
                raise self.error(
                    place,
                    f"returns extras{jax.tree_util.keystr(path)} of shape {list(leaf.shape)}; the "
                    f"first axis has to be that of the {rows} observations",
                )
        if mode == "sample":
            before = self.traced("unsquashed", self.algorithm.unsquashed, action, extras)
            self._expect("unsquashed", "actions", before, (rows, ACTION_SIZE))
        return extras

    def _rollout(self, extras: Mapping[str, PyTree]) -> Rollout:
        pipeline = self.algorithm.pipeline
        lead = (self.algorithm.rollout_length, pipeline.num_envs)
        over_time = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((lead[0], *leaf.shape), leaf.dtype), extras
        )
        obs, number = _floats(*lead, OBS_SIZE), _floats(*lead)
        return Rollout(obs, over_time, number, number, number, obs)

    def _pair(self, place: str, value: PyTree, parts: str) -> tuple[PyTree, PyTree]:
        if not isinstance(value, tuple) or len(value) != 2:
            raise self.error(place, f"does not return a pair, {parts}")
        return value[0], value[1]

    def _expect(self, place: str, what: str, array: PyTree, shape: tuple[int, ...]) -> None:
        found = getattr(array, "shape", None)
        if found != shape:
            text = "no array" if found is None else f"shape {list(found)}"
            raise self.error(place, f"returns {what} of {text}, expected {list(shape)}, [N, A]")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise self.error(place, f"returns {what} of type {array.dtype}, expected float32")

    def _check_metrics(self, metrics: object) -> None:
        if not isinstance(metrics, Mapping):
            raise self.error("update", "returns metrics that are no mapping of names to scalars")
        for name, leaf in metrics.items():
            shape = getattr(leaf, "shape", None)
            if not isinstance(name, str) or not name.isprintable() or name in _RESERVED_METRICS:
                raise self.error("update", f"returns a metric called {name!r}; call it otherwise")
            if shape != ():
                text = "is no number" if shape is None else f"has shape {list(shape)}"
                raise self.error("update", f"returns a metric {name!r} that {text}, not a scalar")
            if not jnp.issubdtype(leaf.dtype, jnp.number):
                raise self.error("update", f"returns a metric {name!r} of type {leaf.dtype}")

    def _same(self, place: str, before: PyTree, after: PyTree) -> None:
        """Refuses a state unlike the one before: the same program goes on with it."""
        structures: list[object] = [jax.tree.structure(before), jax.tree.structure(after)]
        if structures[0] != structures[1]:
            raise self.error(place, "returns a state of another structure than init does")
        pairs = zip(
            jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
        )
        for (path, old), new in pairs:
            if (old.shape, old.dtype) != (new.shape, new.dtype):
                raise self.error(
                    place,
                    f"changes state{jax.tree_util.keystr(path)} from {old.dtype}{list(old.shape)} "
                    f"to {new.dtype}{list(new.shape)}",
                )

    def _told(self, error: Exception) -> str:
        """Returns an error in one line, with the innermost place in the method's own files."""
        modules = {sys.modules.get(base.__module__) for base in type(self.algorithm).__mro__}
        files = {getattr(module, "__file__", None) for module in modules}
        frames = traceback.extract_tb(error.__traceback__)
        place = [*frames[-1:], *(frame for frame in frames if frame.filename in files)][-1]
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= 200 else f"{reason[:200]}..."
        return f"{type(error).__name__}: {reason} ({Path(place.filename).name}:{place.lineno})"

    def _play(self, key: jax.Array) -> dict[str, jax.Array]:
        init_key, obs_key, first, second = jax.random.split(key, 4)
        state = self.algorithm.init(init_key)
        scale = jnp.resize(jnp.asarray(_SCALES), (_ROWS, 1))
        obs = scale * jax.random.normal(obs_key, (_ROWS, OBS_SIZE))

        def act(state: PyTree, key: jax.Array, mode: Mode) -> jax.Array:
            return self.algorithm.act(state, obs, key, mode)[0]

        played: dict[str, jax.Array] = {mode: act(state, first, mode) for mode in MODES}
        played["other key"] = act(state, second, "deterministic")
        played["other sample"] = act(state, second, "sample")
        if self.algorithm.stages()[0].warm_up:
            played["explore"] = self.algorithm.explore(state, obs, first)[0]
        if acts_alone(self.algorithm):
            played["kept"] = act(self.algorithm.policy(state), first, "sample")
        return played


@functools.lru_cache(maxsize=64)
def acts_alone(algorithm: Algorithm[PyTree]) -> bool:
    """Returns whether `act` can do with what `Algorithm.policy` leaves of a state."""

    def act(key: jax.Array) -> list[PyTree]:
        state = algorithm.policy(algorithm.init(key))
        obs = jnp.zeros((_ROWS, algorithm.env.obs_size))
        return [algorithm.act(state, obs, key, mode) for mode in MODES]

    try:
        jax.eval_shape(act, jax.random.key(0))
    except Exception:  # it is the user's code, which meets None where an array was
        return False
    return True


def _floats(*shape: int) -> PyTree:
    """Returns what stands for an array in a trace."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _generators() -> str:
    """Returns the states of the generators that every module shares."""
    of_numpy: Any = np.random.get_state()  # noqa: NPY002
    return repr((random.getstate(), of_numpy[1:]))


def _constants(jaxpr: ClosedJaxpr | Jaxpr) -> Iterator[bytes | str]:
    """Yields all values that a trace has baked in, those of inner functions too."""
    if isinstance(jaxpr, ClosedJaxpr):
        yield from map(_bits, jaxpr.consts)
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    for equation in inner.eqns:
        yield from (_bits(each.val) for each in equation.invars if isinstance(each, Literal))
        for parameter in equation.params.values():
            for part in parameter if isinstance(parameter, tuple | list) else (parameter,):
                if isinstance(part, ClosedJaxpr | Jaxpr):
                    yield from _constants(part)


def _bits(value: object) -> bytes | str:
    if isinstance(value, np.ndarray | np.generic | int | float | complex | bool):
        return np.asarray(value).tobytes()
    is_key = jnp.issubdtype(getattr(value, "dtype", np.int32), jax.dtypes.prng_key)
    return str(type(value)) if is_key else np.asarray(value).tobytes()
