"""Environments of Playground, of installed packages and of users' files, made by name.

All are instances of Playground's `MjxEnv`. What one must offer besides that class is checked
here, each with what a user is told who wrote one that does not.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import jax
import mujoco
import numpy as np

from envs.api import EnvError
from envs.names import SUITES
from envs.own_tasks import own_tasks, told

# Playground reports at import on standard output what optional parts it lacks.
with open(os.devnull, "w") as _devnull, contextlib.redirect_stdout(_devnull):
    from mujoco_playground._src import dm_control_suite
    from mujoco_playground._src import mjx_env as mjx_env  # for the engines too

Result = TypeVar("Result")

BASE = mjx_env.MjxEnv
"""What every environment extends."""

POLICY_OBS = "state"
"""What policies see of observations that are a dict: Playground's own `policy_obs_key`. The
`privileged_state` beside it, which Playground shows to the critic alone, is shown to nobody."""

_MENAGERIE_COMMAND = (
    "python -c 'from mujoco_playground._src import mjx_env; mjx_env.ensure_menagerie_exists()'"
)


def load_environment(name: str, impl: str) -> mjx_env.MjxEnv:
    """Makes the environment of a task.

    Args:
        name: as `envs.tasks.resolve_tasks` returns it.
        impl: MJX's own name of the engine, `jax` or `warp`.

    Raises:
        EnvError: it cannot be made, or lacks what an environment needs.
    """
    with _quiet_compiler():
        own = own_tasks().get(name)
        if own is None:
            return _of_playground(name, impl)
        cls = own.load()
        check_class(name, cls)
        env: mjx_env.MjxEnv = attempt(name, "__init__", cls, lambda: _construct(name, cls, impl))
        _check_instance(name, env, impl)
        return env


def check_class(name: str, cls: type) -> None:
    """Raises EnvError unless a class extends `MjxEnv` and defines all that it asks for."""
    if not issubclass(cls, BASE):
        raise EnvError(
            f"{told(name)}: {cls.__name__} does not extend mujoco_playground's MjxEnv "
            "(from mujoco_playground import MjxEnv)"
        )
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise EnvError(
            f"{told(name)}: {cls.__name__} lacks {', '.join(missing)}; MjxEnv asks for each of them"
        )


def source_digest(name: str) -> str | None:
    """Returns the SHA-256 of the file with a task's class; None for Playground's own tasks."""
    own = own_tasks().get(name)
    if own is None or own.digest is not None:
        return own.digest if own else None
    file = inspect.getsourcefile(own.load())
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None


def attempt(name: str, place: str, cls: type, action: Callable[[], Result]) -> Result:
    """Returns what a call of an environment's own code does.

    Raises:
        EnvError: the code failed; the message says where.
    """
    try:
        return action()
    except EnvError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        where = _line_of(error, cls)
        raise EnvError(f"{told(name)}: {place} fails with {what}{where}") from error


def observed(name: str, obs: object) -> jax.Array:
    """Returns what policies see [O] of an observation.

    Raises:
        EnvError: it is neither a vector of floats nor a dict with one called `state`.
    """
    if isinstance(obs, Mapping):
        if POLICY_OBS not in obs:
            raise EnvError(
                f"{told(name)}: its observations are a dict of {', '.join(map(str, obs))} without "
                f"{POLICY_OBS!r}, which policies would see"
            )
        obs = obs[POLICY_OBS]
    if not isinstance(obs, jax.Array | jax.ShapeDtypeStruct):
        raise EnvError(f"{told(name)}: its observation is a {type(obs).__name__}, not a JAX array")
    if len(obs.shape) != 1 or not obs.shape[0]:
        raise EnvError(
            f"{told(name)}: its observation has shape {list(obs.shape)}; policies see a vector, [O]"
        )
    if not np.issubdtype(obs.dtype, np.floating):
        raise EnvError(
            f"{told(name)}: its observation is {obs.dtype}; return float32, "
            "such as obs.astype(jnp.float32)"
        )
    return obs  # type: ignore[return-value]  # or its shape, where it is traced


def _of_playground(name: str, impl: str) -> mjx_env.MjxEnv:
    suite = next((each for each in SUITES if name in _suite(each).ALL_ENVS), None)
    if suite is None:
        raise EnvError(f"{told(name)} is not in the version of Playground installed here")
    if suite != dm_control_suite.__name__.rpartition(".")[2]:
        _check_menagerie(name)
    module = _suite(suite)
    overrides = {"impl": impl} if "impl" in module.get_default_config(name) else {}
    return module.load(name, config_overrides=overrides)


def _suite(name: str) -> Any:
    return import_module(f"mujoco_playground._src.{name}")


def _check_menagerie(name: str) -> None:
    """Playground would start a download of half a gigabyte, which waits where there is no net."""
    if not mjx_env.MENAGERIE_PATH.exists():
        raise EnvError(
            f"{told(name)} needs the robot models of the MuJoCo Menagerie, which are not on this "
            f"machine; with a network, download them once: {_MENAGERIE_COMMAND}"
        )


def _construct(name: str, cls: type, impl: str) -> Any:
    """Makes an environment with its default configuration, on the wanted implementation."""
    parameters = inspect.signature(cls).parameters
    asked = [
        each.name
        for each in parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if asked:
        raise EnvError(
            f"{told(name)}: {cls.__name__}() needs {', '.join(asked)}; give every argument of "
            "__init__ a default, as Playground does: config=default_config()"
        )
    if "config" not in parameters:
        return cls()
    config = parameters["config"].default
    if config is None:
        make = getattr(sys.modules.get(cls.__module__), "default_config", None)
        config = make() if make else None
    if config is None or "impl" not in config:
        return cls()
    # A default is one object for all instances, which this one would change.
    config = copy.deepcopy(config)
    config["impl"] = impl
    return cls(config=config)


def _check_instance(name: str, env: mjx_env.MjxEnv, impl: str) -> None:
    config = getattr(env, "_config", None)
    if config is None:
        raise EnvError(f"{told(name)}: __init__ does not call super().__init__(config, ...)")
    length = config.get("episode_length")
    if not isinstance(length, int) or length < 1:
        raise EnvError(
            f"{told(name)}: its configuration says episode_length = {length}; "
            "write how many control steps an episode has"
        )
    if config.get("action_repeat", 1) != 1:
        raise EnvError(
            f"{told(name)}: its configuration says action_repeat = {config.action_repeat}, and no "
            "action is repeated here; make ctrl_dt longer instead"
        )
    size = attempt(name, "action_size", type(env), lambda: env.action_size)
    if not isinstance(size, int | np.integer) or size < 1:
        raise EnvError(f"{told(name)}: action_size is {size!r}; there is nothing to act with")
    model = attempt(name, "mj_model", type(env), lambda: env.mj_model)
    if not isinstance(model, mujoco.MjModel):
        raise EnvError(f"{told(name)}: mj_model is a {type(model).__name__}, not a mujoco.MjModel")
    runs_on = attempt(name, "mjx_model", type(env), lambda: env.mjx_model.impl.value)
    if runs_on != impl:
        raise EnvError(
            f"{told(name)}: its model is one for {runs_on} where {impl} is wanted; let the "
            "configuration have an entry impl, and call mjx.put_model(model, impl=config.impl)"
        )


def reward_range(name: str, env: mjx_env.MjxEnv) -> tuple[float, float] | None:
    """Returns the least and the greatest reward of a control step, as an environment tells it.

    Raises:
        EnvError: its `reward_range` is not two finite numbers in ascending order.
    """
    given = getattr(env, "reward_range", None)
    if given is None:
        return None
    try:
        low, high = (float(each) for each in given)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise EnvError(
            f"{told(name)}: reward_range = {given!r}; write the least and the greatest reward of a "
            "control step, such as (0.0, 1.0), or leave it out, and there are returns but no scores"
        )
    return low, high


def _line_of(error: BaseException, cls: type) -> str:
    """Returns ` (my_env.py:12)`, the last line of the class's own file that was under way."""
    file = inspect.getsourcefile(cls)
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


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
