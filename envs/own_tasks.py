"""Tasks that Playground does not have: of a user's file, or of an installed package.

Cheap to import, and cheap to list: no JAX, no MuJoCo, and a package is imported only when its task
is loaded.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envs.api import EnvError
from envs.names import PLAYGROUND, TASK_SETS, is_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "gorl_suite.tasks"
"""The group of entry points by which an installed package offers tasks: `TaskName =
"package.module:Class"`, where the class extends Playground's `MjxEnv`."""


class OwnTask(NamedTuple):
    """A task and where it is from.

    Attributes:
        name: also the name of the folder that its runs are stored in.
        source: for people, such as `./my_env.py:MyEnv` or `my-package 1.0`.
        load: returns the class.
        digest: SHA-256 of the file that the class is in, hexadecimal; None where it is to be
            read off the loaded class.
        file: that file, if it is the user's.
    """

    name: str
    source: str
    load: Callable[[], type]
    digest: str | None = None
    file: Path | None = None


_registered: dict[str, OwnTask] = {}


def register(task: OwnTask) -> None:
    """Makes a task known by its name, in this process.

    Raises:
        EnvError: another task has the name, or it is no name.
    """
    if not is_name(task.name):
        raise EnvError(f"{task.source}: {task.name!r} is no task name; use letters, digits and _")
    if task.name in TASK_SETS or task.name in PLAYGROUND:
        raise EnvError(f"{task.source}: {task.name} is the name of one of Playground's tasks")
    other = own_tasks().get(task.name)
    if other is not None and (other.source, other.digest) != (task.source, task.digest):
        raise EnvError(f"{task.source}: {task.name} is the name of another task, {other.source}")
    _registered[task.name] = task


def own_tasks() -> Mapping[str, OwnTask]:
    """Returns the registered tasks and those of installed packages, by name."""
    return {**_installed()[0], **_registered}


def left_out() -> tuple[str, ...]:
    """Returns why an installed package's task is not among `own_tasks`, a line for each."""
    return _installed()[1]


def told(name: str) -> str:
    """Returns what messages call a task: by its place, if it is in a user's file."""
    task = _registered.get(name)
    return task.source if task and task.file else f"task {name}"


@functools.cache
def _installed() -> tuple[Mapping[str, OwnTask], tuple[str, ...]]:
    from importlib import metadata

    found: dict[str, OwnTask] = {}
    refused: list[str] = []
    for point in metadata.entry_points(group=ENTRY_POINTS):
        source = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        if not is_name(point.name):
            refused.append(f"{source}: {point.name!r} is no task name; use letters, digits and _")
        elif point.name in PLAYGROUND or point.name in TASK_SETS:
            refused.append(f"{source}: {point.name} is the name of one of Playground's tasks")
        elif point.name in found:
            refused.append(f"{source}: {found[point.name].source} has a task {point.name} too")
        else:
            found[point.name] = OwnTask(point.name, source, functools.partial(_import, point))
    return found, tuple(refused)


def _import(point: EntryPoint) -> type:
    try:
        loaded = point.load()
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise EnvError(f"task {point.name}: {point.value} does not import: {what}") from error
    if not inspect.isclass(loaded):
        raise EnvError(f"task {point.name}: {point.value} is no class")
    return loaded
