"""Which tasks there are, by name. Cheap to import: no JAX, no MuJoCo."""

from __future__ import annotations

import sys

from envs.api import EnvError, suggestion
from envs.names import CANNOT_RUN, PLAYGROUND, SUITES, TASK_SETS
from envs.own_tasks import own_tasks


def resolve_tasks(spec: str) -> tuple[str, ...]:
    """Expands a comma-separated list of tasks and task sets.

    Args:
        spec: such as "dmc6" or "CheetahRun,dmc6"; spaces around names are ignored.

    Returns:
        Task names in the order given, each once.

    Raises:
        EnvError: for an unknown name, or when there is none.
    """
    names = [name for name in (part.strip() for part in spec.split(",")) if name]
    if not names:
        raise EnvError(f"no task in {spec!r}; name tasks or sets, such as CheetahRun,dmc6")
    return tuple(dict.fromkeys(task for name in names for task in _expand(name)))


def registered_with_playground() -> tuple[str, ...]:
    """Returns the names that this process has added to Playground's own registries.

    Nobody can have done so unless Playground is imported already.
    """
    modules = (sys.modules.get(f"mujoco_playground._src.{suite}") for suite in SUITES)
    names = (name for module in modules if module for name in module.ALL_ENVS)
    return tuple(name for name in names if name not in PLAYGROUND)


def _expand(name: str) -> tuple[str, ...]:
    if name in TASK_SETS:
        return TASK_SETS[name]
    if name in CANNOT_RUN:
        raise EnvError(f"task {name} cannot be run here: {CANNOT_RUN[name]}")
    if name in PLAYGROUND or name in own_tasks() or name in registered_with_playground():
        return (name,)
    hint = suggestion(name, (*TASK_SETS, *PLAYGROUND, *own_tasks()))
    raise EnvError(
        f"unknown task {name!r}{hint}; `suite list tasks` shows all, and a task of your own is "
        "given as ./FILE.py:CLASS"
    )
