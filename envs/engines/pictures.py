"""Pictures of a task's states, drawn off-screen by MuJoCo in a process of its own.

Which OpenGL MuJoCo draws with is settled once in a process, when it is imported, and a broken
driver may end the process; so `drawing_process.py` draws in another one, and here EGL is tried
first, then OSMesa.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import jax
import mujoco
import numpy as np

from envs.api import EnvError, Task
from envs.engines.playground import PlaygroundTask

LIBRARIES: tuple[str, ...] = ("egl", "osmesa")
"""What draws without a screen, by the names that the variable MUJOCO_GL takes, best first."""

UNSET = ("", "disable", "disabled", "off", "false", "0")
"""Values of MUJOCO_GL by which MuJoCo draws nothing. The command line sets one of them, so they
do not say what its user wants."""

ADVICE = (
    "install one of the two (on Debian and Ubuntu the packages libegl1 and libgl1-mesa-dri, or"
    " libosmesa6)"
)

Draw = Callable[[np.ndarray], np.ndarray]
"""Takes a row [K] of `state_row`, returns a picture [size, size, 3] of uint8."""

PROGRAM = Path(__file__).with_name("drawing_process.py")

_READY = b"ready\n"
_REASON_BYTES = 4000


def drawable(task: Task) -> PlaygroundTask:
    """Returns the task, if its states can be drawn.

    Raises:
        EnvError: it has no model of MuJoCo's.
    """
    if not isinstance(task, PlaygroundTask):
        raise EnvError(f"{task.name} cannot be drawn: it has no model of MuJoCo's")
    return task


def state_row(physics: Any) -> jax.Array:
    """Returns the numbers [..., K] that a picture shows, of a drawable task's physics."""
    row: jax.Array = physics["row"] if isinstance(physics, dict) else physics
    return row


def step_seconds(task: PlaygroundTask) -> float:
    """Returns the simulated seconds of one control step."""
    return float(task.substeps * task.model.opt.timestep)


@contextlib.contextmanager
def drawing(task: PlaygroundTask, size: int, library: str | None = None) -> Iterator[Draw]:
    """Starts the process that draws, with the first of `LIBRARIES` that works here.

    Args:
        task: whose states.
        size: of a picture, pixels.
        library: the user's MUJOCO_GL, which is then the only one that is tried.

    Yields:
        What draws a state, as the model's first camera sees it, or a free one if it has none.

    Raises:
        EnvError: nothing draws here, or not any more.
    """
    given = (library or "").strip().lower()
    wanted = LIBRARIES if given in UNSET else (given,)
    reasons = {}
    with contextlib.ExitStack() as stack:
        for name in wanted:
            try:
                drawer = stack.enter_context(_started(task, size, name))
                break
            except _Failed as failed:
                reasons[name] = str(failed)
        else:
            raise EnvError(_nothing_draws(reasons, by_choice=given not in UNSET))
        yield drawer.draw


def _nothing_draws(reasons: dict[str, str], by_choice: bool) -> str:
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    if by_choice:
        return f"MUJOCO_GL={told}; unset it, and {' and '.join(LIBRARIES)} are tried"
    return f"MuJoCo can draw neither with EGL nor with OSMesa here; {ADVICE} ({told})"


class _Failed(Exception):
    """One library does not draw here, and why."""


class _Drawer:
    """The process that draws, from this side."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes], size: int) -> None:
        self._process = process
        self._said = said
        self._size = size

    def prepare(self, task: PlaygroundTask) -> None:
        """Sends it the model; raises _Failed if it cannot draw that."""
        model = np.zeros(mujoco.mj_sizeModel(task.model), np.uint8)
        mujoco.mj_saveModel(task.model, None, model)
        fields = {name: (part.start, part.stop) for name, part in task.layout.slices.items()}
        facts = {"model": model.size, "size": self._size, "row": task.layout.size, "fields": fields}
        if self._ask(json.dumps(facts).encode() + b"\n" + model.tobytes(), len(_READY)) != _READY:
            raise _Failed(self._reason())

    def draw(self, row: np.ndarray) -> np.ndarray:
        """Returns the picture [size, size, 3] of a row [K]."""
        expected = self._size * self._size * 3
        pixels = self._ask(np.asarray(row, np.float32).tobytes(), expected)
        if len(pixels) < expected:
            raise EnvError(f"MuJoCo stopped drawing: {self._reason()}")
        return np.frombuffer(pixels, np.uint8).reshape(self._size, self._size, 3)

    def _ask(self, message: bytes, answer: int) -> bytes:
        """Sends a message, and returns up to `answer` bytes; fewer if the process has ended."""
        given, taken = self._process.stdin, self._process.stdout
        assert given is not None and taken is not None
        with contextlib.suppress(BrokenPipeError):
            given.write(message)
            given.flush()
        return taken.read(answer)

    def _reason(self) -> str:
        """Returns the last line that the process said, or by what it ended."""
        code = self._process.wait()
        end = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, end - _REASON_BYTES))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        text = lines[-1].strip() if lines else f"it ended with {code}"
        return "".join(each if each.isprintable() else " " for each in text)[:200]


@contextlib.contextmanager
def _started(task: PlaygroundTask, size: int, library: str) -> Iterator[_Drawer]:
    """Starts `PROGRAM`; raises _Failed if it cannot draw."""
    environment = {**os.environ, "MUJOCO_GL": library}
    # MuJoCo sets it by the library, and refuses one that is set otherwise.
    environment.pop("PYOPENGL_PLATFORM", None)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM)],  # -P: nothing is imported from its own folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
        )
        try:
            drawer = _Drawer(process, said, size)
            drawer.prepare(task)
            yield drawer
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # it holds nothing that could be lost
    for pipe in (process.stdin, process.stdout):
        # What was not sent before it ended is of no use to anybody.
        with contextlib.suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()
    process.wait()
