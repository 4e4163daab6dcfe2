"""The command line in a process that kills itself, as `kill -9` does, at a chosen moment.

    python tests/helpers/processes/dying.py PLACE COUNT AMOUNT run --algos ...

PLACE is one of
    half:NAME     in the middle of writing the file NAME (a pattern), after AMOUNT bytes
    before:NAME   when its new content is on the disk, and the old file still in its place
    after:NAME    when the new file is in its place, and nothing that follows was done
    during:CALL   AMOUNT seconds into a function of `Compiled`, or when it returns
and the process dies when it comes there for the COUNT-th time.
"""

from __future__ import annotations

import builtins
import fnmatch
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def die() -> None:
    """Ends the process at once; nothing is flushed, no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


class Moment:
    """Counts down to the one at which the process dies."""

    def __init__(self, pattern: str, count: int) -> None:
        self._pattern = pattern
        self._left = count

    def has_come(self, name: str) -> bool:
        """Counts one more event of this name."""
        self._left -= fnmatch.fnmatchcase(name, self._pattern)
        return self._left == 0 and fnmatch.fnmatchcase(name, self._pattern)


class HalfWritten(io.FileIO):
    """A file whose writer dies in the write that would go beyond a number of bytes."""

    limit = 0

    def write(self, data: Any) -> int:
        """Writes what still fits, then dies."""
        room = self.limit - self.tell()
        if len(data) > room:
            super().write(bytes(data)[: max(room, 0)])
            die()
        return super().write(data)


def die_half_way(moment: Moment, amount: float) -> None:
    """Arranges death in the middle of a write."""
    from suite.common import files

    def opening(path: Path, mode: str) -> Any:
        name = path.name.removeprefix(".").rsplit(".", 2)[0]
        if mode != "xb" or not moment.has_come(name):
            return builtins.open(path, mode)
        raw = HalfWritten(path, mode)
        raw.limit = int(amount)
        return io.BufferedWriter(raw)

    files.open = opening  # type: ignore[attr-defined]


def die_at_renaming(moment: Moment, after: bool) -> None:
    """Arranges death right before or after a file is replaced."""
    from suite.common import files

    replace = files.os.replace

    def replacing(source: Path, target: Path) -> None:
        doomed = moment.has_come(Path(target).name)
        if doomed and not after:
            die()
        replace(source, target)
        if doomed:
            die()

    files.os.replace = replacing  # type: ignore[assignment]


def die_in_call(moment: Moment, amount: float) -> None:
    """Arranges death while a compiled function runs."""
    from suite.compute.compiled import Compiled

    run = Compiled._run

    def running(self: Compiled, name: str, *arguments: Any) -> Any:
        if not moment.has_come(name):
            return run(self, name, *arguments)
        threading.Timer(amount, die).start()
        run(self, name, *arguments)
        return die()

    Compiled._run = running  # type: ignore[assignment, method-assign]


def main() -> None:
    """Arranges the death and runs the command line."""
    place, count, amount, *arguments = sys.argv[1:]
    kind, _, name = place.partition(":")
    moment = Moment(name, int(count))
    from suite import cli
    from suite.common import jax_settings

    jax_settings.prepare()
    if kind == "half":
        die_half_way(moment, float(amount))
    elif kind == "during":
        die_in_call(moment, float(amount))
    else:
        die_at_renaming(moment, after={"before": False, "after": True}[kind])
    cli.main(arguments)


if __name__ == "__main__":
    main()
