"""What a function calls and changes in Python while it is traced.

JAX runs a method's Python once, to trace it, and never again. What happens there and leaves
something behind, or comes from outside, is caught by looking at each call of Python's (clocks,
files, the house's own packages) and at the variables of the method's modules before and after.

It cannot see what a module reads while it is imported, what compiled extensions do by themselves,
or the texts of `sys.argv`.
"""

from __future__ import annotations

import builtins
import contextlib
import datetime
import gc
import io
import os
import site
import socket
import subprocess
import sys
import sysconfig
import time
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

_CLOCKS = (
    *("time", "perf_counter", "monotonic", "process_time", "localtime", "gmtime", "strftime"),
    *("time_ns", "perf_counter_ns", "monotonic_ns", "process_time_ns"),
)
_FILES = ("open", "listdir", "scandir", "stat", "lstat", "getcwd", "mkdir", "remove")

_BUILTINS: Mapping[Any, str] = {
    **{getattr(time, name): "the clock" for name in _CLOCKS},
    **{getattr(os, name): "files" for name in _FILES},
    builtins.open: "files",
    io.open_code: "files",
    sys._getframe: "who calls it",
}
"""What is called in C, and what a method would learn from it."""

_METHODS: Mapping[tuple[Any, str], str] = {
    (datetime.datetime, "now"): "the clock",
    (datetime.datetime, "utcnow"): "the clock",
    (datetime.date, "today"): "the clock",
    (datetime.datetime, "today"): "the clock",
}

_FUNCTIONS: Mapping[types.CodeType, str] = {
    socket.socket.__init__.__code__: "the network",
    subprocess.Popen.__init__.__code__: "other programs",
    type(os.environ).__getitem__.__code__: "the environment's variables",
}

_HARNESS = ("envs", "suite", "reports", "mujoco", "mujoco_playground")
"""Packages that know the task."""

_LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "distrax",
    "chex",
    "numpy",
    "tensorflow_probability",
)
_STANDARD = sysconfig.get_path("stdlib")
_DEPTH = 4


class Sight(NamedTuple):
    """What a method looked at.

    Attributes:
        what: the clock, files, ...
        place: `file.py:12`.
    """

    what: str
    place: str


class Watcher:
    """Looks at the calls of one thread while it is entered.

    Attributes:
        sights: what was looked at, and where from.
        printed: what was printed.
    """

    def __init__(self) -> None:
        self.sights: list[Sight] = []
        self._output = io.StringIO()

    @property
    def printed(self) -> str:
        """What was written to standard output and error."""
        return self._output.getvalue().strip()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches the body."""
        before = sys.getprofile()
        with (
            contextlib.redirect_stdout(self._output),
            contextlib.redirect_stderr(self._output),
        ):
            sys.setprofile(self._see)
            try:
                yield
            finally:
                sys.setprofile(before)

    def _see(self, frame: types.FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            what = _of_builtin(argument)
            caller: types.FrameType | None = frame
        elif event == "call":
            what = _FUNCTIONS.get(frame.f_code) or _of_harness(frame)
            caller = frame.f_back
        else:
            return
        if what and (place := _asker(caller)):
            self.sights.append(Sight(what, place))


def _of_builtin(function: Any) -> str | None:
    try:
        if what := _BUILTINS.get(function):
            return what
        owner = getattr(function, "__self__", None)
        return _METHODS.get((owner, function.__name__)) if isinstance(owner, type) else None
    except TypeError:  # bound to what cannot be hashed
        return None


def _of_harness(frame: types.FrameType) -> str | None:
    """Returns whether a function of the harness was called by another one than its own."""
    name = frame.f_globals.get("__name__", "").partition(".")[0]
    return f"the package {name}" if name in _HARNESS else None


def _asker(frame: types.FrameType | None) -> str | None:
    """Returns the place that a call comes from, None if that is a library or the harness."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith("<frozen importlib") or "importlib" in Path(path).parts:
            return None  # a module that is imported late is no file that is read
        if not _is_standard(path):
            top = frame.f_globals.get("__name__", "").partition(".")[0]
            known = top in _LIBRARIES or top in _HARNESS
            return None if known else f"{Path(path).name}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def _is_standard(path: str) -> bool:
    packages = (*site.getsitepackages(), site.getusersitepackages())
    inside = path.startswith(_STANDARD) and not path.startswith(tuple(packages))
    return inside or path.startswith("<")


def variables(cls: type, instance: object, modules: Mapping[str, object]) -> dict[str, str]:
    """Returns what the variables of a method hold, in texts that change if they do.

    Args:
        cls: its class.
        instance: of it.
        modules: names of the modules that make it what it is.
    """
    found: dict[str, str] = {}
    for name in modules:
        for variable, value in vars(sys.modules[name]).items() if name in sys.modules else ():
            if not variable.startswith("__"):
                found[f"{name}.{variable}"] = _text(value)
    for base in cls.__mro__:
        for variable, value in vars(base).items():
            if not variable.startswith(("__", "_abc_")):
                found[f"{base.__name__}.{variable}"] = _text(value)
            if isinstance(value, types.FunctionType):
                found.update(_inside(f"{base.__name__}.{variable}", value))
    for variable, value in vars(instance).items():
        found[f"self.{variable}"] = _text(value)
    return found


def _inside(name: str, function: types.FunctionType) -> Iterator[tuple[str, str]]:
    """Yields what a function remembers: variables that it closes over, defaults, attributes."""
    for variable, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=True
    ):
        with contextlib.suppress(ValueError):  # nothing in it yet
            yield f"{name}: {variable}", _text(cell.cell_contents)
    yield f"{name}: defaults", _text(function.__defaults__)
    yield f"{name}: attributes", _text(vars(function))


def _text(value: Any, depth: int = 0) -> str:
    """Returns a text that changes if a value does, as far as that can be told cheaply."""
    if isinstance(value, bool | int | float | complex | str | bytes | types.NoneType):
        return repr(value)
    if isinstance(value, np.ndarray):
        return f"{value.shape} {hash(value.tobytes())}"
    if isinstance(value, jax.core.Tracer):
        return f"a tracer {id(value)}"
    if depth < _DEPTH and isinstance(value, dict):
        parts = [f"{_text(a, depth + 1)}: {_text(b, depth + 1)}" for a, b in list(value.items())]
        return f"{{{', '.join(parts)}}}"
    if depth < _DEPTH and isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_text(each, depth + 1) for each in list(value))}]"
    return f"{type(value).__name__} {id(value)}"


def watched(function: Callable[[], object]) -> Watcher:
    """Calls a function under a watcher, and returns that.

    Without collecting garbage meanwhile, which would call what others have asked to be told of it.
    """
    watcher, collecting = Watcher(), gc.isenabled()
    gc.disable()
    try:
        with watcher.watching():
            function()
    finally:
        if collecting:
            gc.enable()
    return watcher
