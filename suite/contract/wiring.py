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
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm, EnvSpec, Mode, PyTree, Stage
from algorithms.parts import learning_warm_up
from algorithms.parts.learning_warm_up import LearningWarmUp
from suite.common.errors import UserError
from suite.common.jax_settings import changed_setting
from suite.contract.compiling import compiled
from suite.contract.made_up import ACTION_SIZE, OBS_SIZE, floats, play, rollout_shapes
from suite.contract.places import place_of
from suite.contract.soundness import EXCESS
from suite.contract.tracing import Trace, told, trace

_DOUBLES = ("float64", "complex128")
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
    wiring = Wiring(name, algorithm)
    wiring.check_settings()
    if (name, wiring.algorithm) not in _checked:
        wiring.check_stages()
        wiring.check_numbers()
        wiring.check_shapes()
        wiring.check_noise()
        wiring.check_actions()
        wiring.check_mode()
        wiring.check_policy()
        _checked.add((name, wiring.algorithm))


def check_budget(name: str, algorithm: Algorithm[PyTree]) -> None:
    """Checks how a method divides the budget and its rollouts; nothing is traced.

    Args:
        name: for the message.
        algorithm: for some environment.

    Raises:
        UserError: a stage or a rollout does not fit; the message names the method and the place.
    """
    wiring = Wiring(name, algorithm)
    wiring.check_stages()
    wiring.check_numbers()


class Wiring:
    """A method with made-up sizes, and what is asked of it, one theme a function.

    Each of them raises UserError for the first thing that is wrong; `suite check-algo` calls them
    one by one (suite/checks/).

    Attributes:
        name: for messages.
        algorithm: the method.
        traces: what `check_shapes` traced, by place.

    Args:
        name: likewise.
        algorithm: for some environment; how large its spaces are does not matter.
    """

    def __init__(self, name: str, algorithm: Algorithm[PyTree]) -> None:
        self.name = name
        spec = EnvSpec(OBS_SIZE, ACTION_SIZE, algorithm.env.discount)
        self.algorithm = dataclasses.replace(algorithm, env=spec)
        self.traces: dict[str, Trace] = {}
        self._key = jax.random.key(0)

    def error(self, place: str, text: str) -> UserError:
        """Returns the error that `place` is at fault for, `act in mode sample`, say."""
        found = place_of(type(self.algorithm), place.partition(" ")[0])
        return UserError(f"algorithm {self.name}: {place} {text}{found and f' ({found})'}")

    def check_settings(self) -> None:
        """Asks for hyper-parameters that tell two instances apart, and for JAX as it was."""
        if changed := changed_setting():
            raise UserError(f"{changed}; a package that was imported has set it for all methods")
        try:
            hash(self.algorithm)
        except TypeError:
            raise self.error(
                "a hyper-parameter", "cannot be hashed; use a tuple in place of a list"
            ) from None

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

    def check_numbers(self) -> None:
        """Looks at how long rollouts are and what the method says of its effort."""
        places, whole = ["rollout_length"], self.algorithm.pipeline.rollout_length
        if isinstance(self.algorithm, LearningWarmUp):
            places.append("warm_up_rollout_length")
        for place in places:
            length = self.called(place, functools.partial(getattr, self.algorithm, place))
            if not _is_count(length, 1) or whole % length:
                text = f"is {length!r}, which does not divide the protocol's {whole}"
                raise self.error(place, text)
        steps = self.called("gradient_steps", lambda: self.algorithm.gradient_steps)
        if steps is not None and not _is_count(steps, 0):
            raise self.error("gradient_steps", f"is {steps!r}, not a whole number")
        cost = self.called("evaluations_per_action", lambda: self.algorithm.evaluations_per_action)
        if not _is_count(cost, 0):
            raise self.error("evaluations_per_action", f"is {cost!r}, not a whole number")

    def check_shapes(self) -> None:
        """Traces every function that training calls, and looks at what it returns."""
        algorithm, pipeline = self.algorithm, self.algorithm.pipeline
        state = self.traced("init", algorithm.init, self._key)
        if not jax.tree.leaves(self.traced("parameters", algorithm.parameters, state)):
            raise self.error("parameters", "returns none")
        rollout = rollout_shapes(algorithm, self._act(state, "sample", pipeline.num_envs))
        self._act(state, "deterministic", pipeline.num_envs + 1)  # evaluation has its own N
        update = self.traced("update", algorithm.update, state, rollout, self._key)
        updated, metrics = self._pair("update", update, "a state and metrics")
        self._same("update", state, updated)
        self._check_metrics(metrics)
        stages = algorithm.stages()
        if stages[0].warm_up:
            seen = rollout_shapes(
                algorithm,
                self._act(state, None, pipeline.num_envs),
                learning_warm_up.rollout_length(algorithm),
            )
            place = "warm_up_update" if isinstance(algorithm, LearningWarmUp) else "record"
            take_in = functools.partial(learning_warm_up.taken_in, algorithm)
            self._same(place, state, self.traced(place, take_in, state, seen, self._key))
        if any(each.extra_rollouts for each in stages):
            recorded = self.traced("record", algorithm.record, state, rollout)
            self._same("record", state, recorded)
        if len(stages) > 1:
            advanced = self.traced("advance", algorithm.advance, state, self._key)
            self._same("advance", state, advanced)
        if any(each.select_by for each in stages):
            candidate = self.traced("candidate", algorithm.candidate, state)
            put_back = self.traced("reinstate", algorithm.reinstate, state, candidate)
            self._same("reinstate", state, put_back)

    def trace_all(self) -> None:
        """Traces every function that a run calls, and asks nothing."""
        self.check_shapes()
        jax.eval_shape(functools.partial(play, self.algorithm), self._key)

    def check_noise(self) -> None:
        """Refuses random numbers that are not JAX's in what was traced."""
        for place, each in self.traces.items():
            if each.draws:
                raise self.error(
                    place,
                    "draws random numbers outside of JAX, which happens once, when it is compiled, "
                    "and then they are the same at every step; draw them with jax.random",
                )

    def check_actions(self) -> None:
        """Looks at the actions of a fresh policy, [N, A]."""
        places: dict[str, str] = {mode: f"act in mode {mode}" for mode in MODES}
        places["explore"] = "explore"
        for name in (each for each in places if each in self._played):
            action = self._played[name]
            if not np.isfinite(action).all():
                raise self.error(places[name], "returns actions that are not finite")
            if np.abs(action).max() > 1:
                raise self.error(
                    places[name],
                    f"returns the action {np.abs(action).max():g}, outside of [-1, 1]; squash it, "
                    "with jnp.tanh or jnp.clip",
                )

    def check_mode(self) -> None:
        """Asks for a deterministic mode that is one; warns of a sampled one without noise."""
        played = self._played
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

    def check_policy(self) -> None:
        """Holds what `policy` keeps to the whole state."""
        played = self._played
        if "kept" in played and not np.allclose(played["sample"], played["kept"], atol=1e-5):
            raise self.error("policy", "leaves out what act depends on: the actions change")

    def called(self, place: str, function: Callable[[], Result]) -> Result:
        """Calls a method's function, and names the place where it fails."""
        try:
            return function()
        except Exception as error:  # it is the user's code: it may fail in any way
            reason = told(error, type(self.algorithm))
            raise UserError(f"algorithm {self.name}: {place} fails: {reason}") from error

    def traced(self, place: str, function: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
        """Returns the shapes of what a function returns, and keeps its trace."""
        found = self.called(place, lambda: trace(function, *arguments))
        self.traces[place] = found
        if fault := _type_fault(found):
            raise self.error(place, fault)
        return found.shapes

    def _act(self, state: Any, mode: Mode | None, rows: int) -> Mapping[str, Any]:
        """Returns the extras, traced for `rows` observations; without a mode, of `explore`."""
        place = f"act in mode {mode}" if mode else "explore"
        obs = floats(rows, OBS_SIZE)

        def act(state: Any, obs: Any, key: Any) -> Any:
            if mode is None:
                return self.algorithm.explore(state, obs, key)
            return self.algorithm.act(state, obs, key, mode)

        action, extras = self._pair(
            place, self.traced(place, act, state, obs, self._key), "actions and extras"
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

    def _pair(self, place: str, value: PyTree, parts: str) -> tuple[PyTree, PyTree]:
        if not isinstance(value, tuple) or len(value) != 2:
            raise self.error(place, f"does not return a pair, {parts}")
        return value[0], value[1]

    def _expect(self, place: str, what: str, array: PyTree, shape: tuple[int, ...]) -> None:
        found = getattr(array, "shape", None)
        if found != shape:
            text = "no array" if found is None else f"shape {list(found)}"
            raise self.error(place, f"returns {what} of {text}, expected {list(shape)}, [N, A]")
        if array.dtype != jnp.float32:
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

    @functools.cached_property
    def _played(self) -> Mapping[str, Any]:
        """What a fresh policy does: actions [N, A] by what was asked of it."""
        played: Mapping[str, Any] = jax.device_get(
            compiled(functools.partial(play, self.algorithm))(self._key)
        )
        return played


def _type_fault(found: Trace) -> str:
    """Returns what is wrong with the types of what a function returns, "" if nothing."""
    if found.foreign:
        return (
            f"returns NumPy's {found.foreign}; it is computed once, when the function is compiled; "
            "use jax.numpy"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(found.shapes):
        if str(leaf.dtype) in _DOUBLES:
            where = jax.tree_util.keystr(path)
            return f"returns {leaf.dtype} in result{where}; everything is computed in float32"
    return ""


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
