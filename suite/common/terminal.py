"""Standard output and error of the command line: what is printed there commands no terminal.

A stored file may be a stranger's, and a file's name may be anything: an escape sequence in either
could wipe a line that says `failed` and write another one in its place. Every text goes through
`Harmless` on its way out, whoever prints it, so no caller has to think of that.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from typing import Any, TextIO, cast

_COMMANDS = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for the tab and the end of a line; C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of a line
    "\u2028\u2029"  # what other programs take for its end
    "]"
)


def harmless(text: str) -> str:
    r"""Returns text whose characters that command a terminal are shown as `\x1b`."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Harmless:
    """A stream that passes on what is harmless, and is the stream itself in all else.

    Args:
        stream: what it passes on to.
        fails: whether it may fail, as results must not be lost in silence. What is only said beside
            them may be: nobody's training ends because a terminal is closed or a disk is full.

    Attributes:
        stream: as given.
    """

    buffer = None
    """Bytes would go past it."""

    def __init__(self, stream: TextIO, fails: bool = True) -> None:
        self.stream = stream
        self._expected = () if fails else (OSError, ValueError)

    def write(self, text: str) -> int:
        """Writes text as `io.TextIOBase.write` does."""
        if not isinstance(text, str):
            raise TypeError(f"a text is needed, not {type(text).__name__}")
        self._pass_on(harmless(text))
        return len(text)

    def overwrite(self, line: str) -> None:
        """Writes a line over the one that the cursor is in."""
        self._pass_on(f"\r{harmless(line)}")

    def flush(self) -> None:
        """Flushes the stream."""
        with contextlib.suppress(*self._expected):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _pass_on(self, text: str) -> None:
        with contextlib.suppress(*self._expected):
            self.stream.write(text)


def overwrite(stream: TextIO, line: str) -> None:
    """Writes a line over the one that a terminal's cursor is in."""
    own = getattr(stream, "overwrite", None)
    if own is not None:
        own(line)
    else:
        stream.write(f"\r{harmless(line)}")


def make_output_harmless() -> None:
    """Makes standard output and error harmless, for as long as the process lives.

    One that is closed swallows what it gets.
    """
    _fill_closed_handles()
    sys.stdout = cast(TextIO, Harmless(_showing_all(sys.stdout)))
    sys.stderr = cast(TextIO, Harmless(_showing_all(sys.stderr), fails=False))


def _showing_all(stream: TextIO | None) -> TextIO:
    """Returns a standard stream that fails at no character; Python has none for a closed handle."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        # Names of files may hold what the terminal's encoding, or any, cannot show.
        stream.reconfigure(errors="backslashreplace")
    return stream


def _fill_closed_handles() -> None:
    """Puts nothing in the place of standard handles that are closed.

    The next file that is opened would else get such a handle, and in it whatever a library says.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
