"""Who of the processes that share a run directory is alive.

Each has a file with a counter that grows, and another that it holds locked for as long as it
lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from suite.common.files import atomic_write, json_bytes
from suite.common.reading import parse_json, read_bounded
from suite.leases.locks import is_locked

DEFAULT_SECONDS = 60.0
"""Of silence after which a process counts as dead; a laptop's network rarely stalls as long."""

BEATS = 6
"""Signs of life within that silence, so that a few lost ones do no harm."""

LOOKS = 12
"""At a job that is taken, within the silence after which its owner counts as dead."""

_SHORTEST, _LONGEST = 0.5, 86_400.0
"""Bounds on the seconds that a process may ask for; a damaged sign may hold any number."""

_LONGEST_NAME = 80
_MAX_BYTES = 1 << 16


class _Seen(NamedTuple):
    sign: object
    at: float
    silence: float


class Watch:
    """Reckons by one clock how long others have shown no sign of life.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def silence(self, token: str, sign: object, longest_step: float) -> float:
        """Returns for how many seconds `sign` has been the same.

        Args:
            token: whose sign.
            sign: what was read just now.
            longest_step: no look adds more seconds than this, so that a clock that leaps
                ahead kills nobody.
        """
        now = self._clock()
        before = self._seen.get(token)
        if before is None or before.sign != sign:
            silence = 0.0
        else:
            silence = before.silence + min(max(0.0, now - before.at), longest_step)
        self._seen[token] = _Seen(sign, now, silence)
        return silence


def workers_directory(run_path: Path) -> Path:
    """Returns where the processes that share a run directory show themselves."""
    return run_path / ".workers"


def sign_path(directory: Path, token: str) -> Path:
    """Returns where a process's counter is."""
    return directory / f"{token}.json"


def life_lock_path(directory: Path, token: str) -> Path:
    """Returns the file that a process holds locked while it lives."""
    return directory / f"{token}.lock"


def write_sign(directory: Path, token: str, counter: int, seconds: float, name: str = "") -> None:
    """Shows that a process lives.

    Args:
        directory: of the processes.
        token: the process's own.
        counter: another than last time.
        seconds: of silence after which it is to count as dead.
        name: what people call it.

    Raises:
        OSError: it cannot be written.
    """
    sign: dict[str, object] = {"counter": counter, "seconds": seconds, "machine": _machine()}
    if name:
        sign["name"] = name
    atomic_write(sign_path(directory, token), json_bytes(sign))


def read_sign(directory: Path, token: str) -> dict[str, object] | None:
    """Returns a process's sign of life, None where it cannot be read."""
    try:
        sign = parse_json(read_bounded(sign_path(directory, token), _MAX_BYTES))
    except (OSError, ValueError):
        return None
    return sign if isinstance(sign, dict) else None


def allowed_silence(sign: Mapping[str, object] | None) -> float:
    """Returns the seconds that the process itself asked for, so that all judge it alike."""
    seconds = sign.get("seconds") if sign else None
    if isinstance(seconds, int | float) and _SHORTEST <= seconds <= _LONGEST:
        return float(seconds)
    return DEFAULT_SECONDS


def name_of(sign: Mapping[str, object] | None) -> str:
    """Returns what a process calls itself, "" where that is not known."""
    name = sign.get("name") if sign else None
    return name[:_LONGEST_NAME] if isinstance(name, str) and name.isprintable() else ""


def has_left(directory: Path, token: str) -> bool:
    """Returns whether a process has ended in order, or died on this machine, told by its lock."""
    if not sign_path(directory, token).exists():
        return True
    sign = read_sign(directory, token)
    if not sign or sign.get("machine") is None or sign.get("machine") != _machine():
        return False
    return is_locked(life_lock_path(directory, token)) is False


def _machine() -> str | None:
    """Returns a random number that Linux draws at every start, None on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
