"""The same command on every core of a CPU: `suite ablate` and `suite tune`.

What they train next depends on what is stored, so nobody hands out their jobs: each process looks
for itself what is left, as several that were started by hand do (suite/leases). A companion ends
when nothing is left, when the process that started it is done, or when that is gone, which it
learns from the end of its standard input; it saves first.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from suite.cluster.places import WORTH_SECONDS, Slot, local_slots, parse_place, usable_cores
from suite.common import interrupt
from suite.common.errors import UserError

AUTO, HERE, BESIDE = "auto", "here", "beside"
"""Where such a command trains: on every core if that pays, alone, or as a companion."""

_AS_COMPANION = ("--on", BESIDE)
_STOP_SECONDS = 600.0
"""That a companion may take to save: a decoder's fit and an evaluation are finished first."""

_ASK_SECONDS = 0.2
_ENDS_WELL = (0, 1, 130)
"""Exit codes of a companion that says nothing which this process does not find out itself."""


def slots_of(where: str, engine: str, seconds: float | None) -> list[Slot]:
    """Returns what each process may use, this one first; nothing if it trains alone.

    Args:
        where: what `--on` says.
        engine: what steps the physics.
        seconds: of training, where that is known.

    Raises:
        UserError: it is none of `auto`, `here`, `beside`, `local` and `local:N`, or the engine
            computes on devices, which processes would have to divide.
    """
    if where in (HERE, BESIDE):
        return []
    if where == AUTO:
        pays = engine == "native" and (seconds or 0.0) >= WORTH_SECONDS
        where = f"local:{len(usable_cores())}" if pays else "local:1"
    place = parse_place(where)
    if place.kind != "local":
        raise UserError(
            f"--on {where}: this command divides its work among processes of one machine; start "
            "it on each of several that share the directory, with --on local or here"
        )
    if engine != "native" and place.workers != 1:
        raise UserError(
            f"--on {where} is for the engine native; with {engine} start the command once for "
            "each device, with CUDA_VISIBLE_DEVICES"
        )
    slots = local_slots(place, (), engine)
    return slots if len(slots) > 1 else []


@contextlib.contextmanager
def companions(slots: Sequence[Slot], where: str = HERE) -> Iterator[None]:
    """Has the command that is running run on all cores while the body, the command itself, does.

    Args:
        slots: of each process, this one first; none for this process alone.
        where: `beside` if this process is a companion itself.
    """
    if where == BESIDE:
        sys.argv = sys.argv[: -len(_AS_COMPANION)]  # which the records of the run are to name
        threading.Thread(target=_stop_with_input, daemon=True).start()
    before = usable_cores()
    started = [_Companion(slot) for slot in slots[1:]]
    if slots:
        _confine(slots[0].cores)
    try:
        yield
    finally:
        for each in started:
            each.release()
        for each in started:
            each.wait()
        if slots:
            _confine(before)


class _Companion:
    """A process that runs the command of this one on cores of its own."""

    def __init__(self, slot: Slot) -> None:
        _confine(slot.cores)  # which the new process inherits
        self._last = ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "suite", *sys.argv[1:], *_AS_COMPANION],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for this process, whose end ends the others
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def release(self) -> None:
        """Lets the process end; it saves first if it trains."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self) -> None:
        """Waits for the end; says so if it was a bad one."""
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        if code not in _ENDS_WELL:
            print(
                f"suite: a process beside this one ended with exit code {code}: {self._last}",
                file=sys.stderr,
            )

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last = line.strip() or self._last


def _stop_with_input() -> None:
    """Asks to save and stop when standard input ends, again and again: loops forget it."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdin.read()
    while True:
        interrupt.request()
        time.sleep(_ASK_SECONDS)


def _confine(cores: Sequence[int]) -> None:
    """Leaves this thread, and what it starts, only some cores."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
