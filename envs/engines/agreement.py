"""Whether a task that is new here runs as its author wrote it.

The dm_control suite is held to MuJoCo by tests. What comes from elsewhere is run for a few steps,
once, before anything is trained on it: its numbers must be finite, and the native engine, which
puts MuJoCo in place of MJX under the environment's own code, must give what MJX gives.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.api import EnvError, Task
from envs.engines.environments import load_environment, observed
from envs.own_tasks import told

STARTS = 16
STEPS = 5
TOLERANCE = 1e-3
"""Of an observation, relative to 1 + its size, and of a reward likewise."""

SHARE = 0.75
"""Of the starts that must agree. Where a contact begins or ends within a step MuJoCo and MJX may
part, as both stop after a few iterations of their solvers."""

_Numbers = dict[str, np.ndarray]


def check_task(task: Task) -> None:
    """Runs a task for a few steps.

    Raises:
        EnvError: a number is not finite, or the native engine does not agree with MJX.
    """
    controls = np.random.default_rng(0).uniform(-1, 1, (STEPS, STARTS, task.action_size))
    states = _rollout(
        task.reset, task.step, _keys(), controls if _is_native(task) else controls[:1]
    )
    for index, state in enumerate(states):
        _check_finite(task.name, "step" if index else "reset", state)
    if _is_native(task):
        _compare(task.name, _seen(task.name, states), _mjx(task.name, controls))


def _is_native(task: Task) -> bool:
    return task.engine == "native"


def _mjx(name: str, controls: np.ndarray) -> _Numbers:
    """Returns what the environment itself gives, without anything of ours in between."""
    env = load_environment(name, "jax")
    return _seen(name, _rollout(env.reset, env.step, jax.random.key_data(_keys()), controls))


def _compare(name: str, native: _Numbers, mjx: _Numbers) -> None:
    for what, ours in native.items():
        difference = np.abs(ours - mjx[what]) / (1 + np.abs(mjx[what]))
        worst = difference.reshape(STEPS + 1, STARTS, -1).max(axis=(0, 2))
        if not np.mean(worst <= TOLERANCE) >= SHARE:
            raise EnvError(
                f"{told(name)}: on the native engine its {what} differs by up to {worst.max():.2g} "
                f"(median {np.median(worst):.2g}) from MJX's within {STEPS} steps; use --engine jax"
            )


def _rollout(reset: Any, step: Any, keys: jax.Array, controls: np.ndarray) -> list[Any]:
    """Returns the states [STARTS, ...] at the start and after each step."""
    advance = _quickly(jax.vmap(step))
    states = [_quickly(jax.vmap(reset))(keys)]
    for control in controls:
        states.append(advance(states[-1], jnp.asarray(control, jnp.float32)))
    return states


def _seen(name: str, states: list[Any]) -> _Numbers:
    """Returns what policies see, [STEPS + 1, STARTS, ...] each."""
    observe = jax.vmap(functools.partial(observed, name))
    seen = {
        "observation": [observe(each.obs) for each in states],
        "reward": [each.reward for each in states],
        "done": [each.done for each in states],
    }
    return {
        what: np.stack([np.asarray(step) for step in steps]).astype(np.float64)
        for what, steps in seen.items()
    }


def _keys() -> jax.Array:
    return jax.random.split(jax.random.key(0), STARTS)


def _quickly(function: Any) -> Any:
    """Compiles what runs a few times; on a CPU most of the time would go into optimizing it."""
    return jax.jit(function, compiler_options=_options())


@functools.cache
def _options() -> dict[str, Any]:
    if jax.default_backend() != "cpu":
        return {}
    plain = {"xla_backend_optimization_level": 0}
    older = {**plain, "xla_cpu_use_fusion_emitters": False}  # half the time, where XLA has it yet
    try:
        jax.jit(lambda: 0, compiler_options=older).lower().compile()
    except jax.errors.JaxRuntimeError:
        return plain
    return older


def _check_finite(name: str, function: str, state: Any) -> None:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    for path, leaf in leaves:
        if not np.isfinite(np.asarray(leaf)).all():
            place = getattr(path[-1], "name", None) or str(getattr(path[-1], "key", ""))
            what = "the physics" if place in ("row", "physics") else place.removeprefix(".")
            raise EnvError(
                f"{told(name)}: {function} gives a number that is not finite, in {what}; every "
                "episode would end there"
            )
