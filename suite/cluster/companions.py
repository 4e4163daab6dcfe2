"""The same command on every core of a CPU: `suite ablate` and `suite tune`.

What they train next depends on what is stored, so nobody hands out their jobs: each process looks
for itself what is left, as several that were started by hand do (suite/leases). A companion ends
when nothing is left, when the process that started it stops, or when that is gone, which it learns
from the end of its standard input; it saves first.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from suite.cluster.places import (
    AUTO,
    HERE,
    WORTH_SECONDS,
    Slot,
    local_slots,
    parse_place,
    usable_cores,
)
from suite.common import interrupt
from suite.common.errors import UserError

_MARK = "SUITE_COMPANION"
"""Variable of a companion's environment, which tells it apart: its command is what was typed."""

_STOP_SECONDS = 600.0
"""That companions may take to save: a decoder's fit and an evaluation are finished first."""

_LOOK_SECONDS = 0.2
_DONE, _STOPPED = (0, 1), 130
"""Exit codes of a companion that came to the end, with diverged seeds or not, or was stopped."""


def check_place(where: str) -> None:
    """Refuses what does not name processes of this machine.

    Raises:
        UserError: it is none of `auto`, `here`, `local` and `local:N`.
    """
    if where not in (AUTO, HERE) and parse_place(where).kind != "local":
        raise UserError(
            f"--on {where}: this command divides its work among processes of one machine; start "
            "it once on each of several that share the directory"
        )


def slots_of(where: str, engine: str, jobs: int, seconds: float | None) -> list[Slot]:
    """Returns what each process may use, this one first; nothing if it trains alone.

    Args:
        where: what `--on` says.
        engine: what steps the physics.
        jobs: that are left, of which a process trains one at a time.
        seconds: of training that are left, where that is known.

    Raises:
        UserError: see `check_place`; or the engine computes on devices, which processes would
            have to divide.
    """
    check_place(where)
    if where == HERE or _MARK in os.environ:
        return []
    if where == AUTO:
        pays = engine == "native" and (seconds or 0.0) >= WORTH_SECONDS
        where = f"local:{len(usable_cores())}" if pays else "local:1"
    place = parse_place(where)
    if engine != "native" and place.workers != 1:
        raise UserError(
            f"--on {where} is for the engine native; with {engine} start the command once for "
            "each device, with CUDA_VISIBLE_DEVICES and --on here"
        )
    slots = local_slots(place, (), engine)[:jobs]
    return slots if len(slots) > 1 else []


@contextlib.contextmanager
def companions(slots: Sequence[Slot]) -> Iterator[None]:
    """Has the command that is running run on all cores while the body, the command itself, does.

    Args:
        slots: of each process, this one first; none for this process alone.
    """
    if _MARK in os.environ:
        threading.Thread(target=_stop_with_input, daemon=True).start()
    if not slots:
        yield
        return
    before, started = usable_cores(), list[_Companion]()
    done = threading.Event()
    try:
        for slot in slots[1:]:
            started.append(_Companion(slot))
        _confine_all(slots[0].cores)
        threading.Thread(target=_pass_on, args=(started, done), daemon=True).start()
        yield
    finally:
        done.set()
        _end(started)
        _confine_all(before)


class _Companion:
    """A process that runs the command of this one on cores of its own."""

    def __init__(self, slot: Slot) -> None:
        if slot.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, slot.cores)  # of this thread, from which the process has it
        self._released = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "suite", *sys.argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, _MARK: "1"},
            start_new_session=True,  # Ctrl-C is for this process, which passes it on once
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def release(self) -> None:
        """Lets the process end; it saves first if it trains."""
        self._released = True
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self, until: float) -> None:
        """Waits for the end, which comes by force at a time of the clock that never runs back."""
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join()

    def _read(self) -> None:
        """Reads what it prints to the end, and tells at once of a bad one."""
        assert self._process.stderr is not None
        last = ""
        for line in self._process.stderr:
            last = line.strip().removeprefix("suite: ") or last
        code = self._process.wait()
        if code not in _DONE and not (self._released and code == _STOPPED):
            print(
                f"suite: a process beside this one ended with exit code {code}: {last}",
                file=sys.stderr,
            )


def _pass_on(started: Sequence[_Companion], done: threading.Event) -> None:
    """Has companions save and stop as soon as this process is asked to."""
    while not done.wait(_LOOK_SECONDS):
        if interrupt.requested():
            for each in started:
                each.release()
            return


def _end(started: Sequence[_Companion]) -> None:
    for each in started:
        each.release()
    until = time.monotonic() + _STOP_SECONDS
    for each in started:
        each.wait(until)


def _stop_with_input() -> None:
    """Asks to save and stop when standard input ends."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdin.read()
    interrupt.request_for_good()


def _confine_all(cores: Sequence[int]) -> None:
    """Leaves all threads of this process, JAX's included, only some cores."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread), cores)
