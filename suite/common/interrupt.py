"""Ctrl-C and the signals of terminals and schedulers that are about to end a run: ask the loop to
save and stop; a second one stops at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""That ask for it: of the user, the system, the terminal and the scheduler."""

_NOTICE = b"\nsuite: saving after this update, then stopping; interrupt again to stop at once\n"
_requested = False
_for_good = False


def requested() -> bool:
    """Returns whether the user asked the run to stop."""
    return _requested or _for_good


def request_for_good() -> None:
    """Asks every loop of this process to save and stop, those that come later too."""
    global _for_good
    _for_good = True


def request() -> None:
    """Asks the loop to save and stop, as the first signal does; from any thread."""
    global _requested
    _requested = True


@contextlib.contextmanager
def handling() -> Iterator[None]:
    """Turns the first interrupt into `requested()`, and restores the handlers at the end.

    In another thread than the main one it leaves all as it is: Python lets only the main thread
    handle signals, so it is the caller's to say what they do.
    """
    global _requested
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requested = False
    # Who ignores the end of the terminal, as nohup does, wants the run to outlive it.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    handled = [each for each in SIGNALS if not (ignored and each is signal.SIGHUP)]
    before = {number: signal.signal(number, _on_first) for number in handled}
    try:
        yield
    finally:
        _requested = False
        for number, handler in before.items():
            # A handler that was not set from Python is not told, and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _on_first(number: int, frame: FrameType | None) -> None:
    del number, frame
    global _requested
    _requested = True
    # The default action ends the process even while it is deep inside compiled code, where an
    # exception would have to wait; files are safe because every write is atomic.
    for each in SIGNALS:
        if signal.getsignal(each) is _on_first:
            signal.signal(each, signal.SIG_DFL)
    # print() may not be called again while it is running, and it may be. A terminal that is gone
    # is one of the reasons to be here.
    with contextlib.suppress(OSError):
        os.write(2, _NOTICE)
