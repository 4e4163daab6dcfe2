"""Progress of the jobs: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from suite.common.formatting import count, duration, number
from suite.common.terminal import overwrite
from suite.storage.records import Job

_PASSING_SECONDS = 60.0
"""Between lines that stay, of what only passes by."""


class Progress:
    """Prints a line per job.

    Args:
        stream: where to, standard error by default, so that standard output stays clean.
        now: seconds that never run backwards.
    """

    def __init__(
        self, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()

    @contextlib.contextmanager
    def job(self, job: Job, total_steps: int) -> Iterator[JobLine]:
        """Opens the line of a job whose every seed takes `total_steps` environment steps."""
        line = JobLine(self._stream, self._live, str(job), total_steps, self._now)
        try:
            yield line
        finally:
            line.close()


class JobLine:
    """The line of one job; made by `Progress.job`."""

    def __init__(
        self,
        stream: TextIO,
        live: bool,
        title: str,
        total_steps: int,
        now: Callable[[], float],
    ) -> None:
        self._stream = stream
        self._live = live
        self._title = title
        self._total_steps = total_steps
        self._shown = False
        self._now = now
        self._due = now()

    def note(self, message: str) -> None:
        """Shows what the job is doing when there are no figures yet, as `compiling`."""
        self._show(message)

    def update(
        self,
        env_steps: int,
        steps_per_second: float,
        returns: Sequence[float | None],
        passing: bool = False,
    ) -> None:
        """Shows how far the job is.

        Args:
            env_steps: steps of each seed so far.
            steps_per_second: steps of each seed per second, by which the ETA is reckoned.
            returns: the last mean return of each seed, None before the first evaluation.
            passing: whether this is between two evaluations. Where lines stay, only one in a
                minute is then shown, and the first that can say an ETA.
        """
        if passing and not self._live and self._now() < self._due:
            return
        share = env_steps / self._total_steps if self._total_steps else 1.0
        figures = [
            f"{count(env_steps)}/{count(self._total_steps)} steps ({share:.0%})",
            f"{steps_per_second:,.0f} steps/s",
            f"ETA {duration(self._remaining(env_steps, steps_per_second))}",
            "return " + " ".join(number(each) for each in returns),
        ]
        self._show("  ".join(figures))
        if self._remaining(env_steps, steps_per_second) is not None:
            self._due = self._now() + _PASSING_SECONDS

    def close(self) -> None:
        """Ends the live line, so that the next output starts on its own."""
        if self._live and self._shown:
            self._print("\n")

    def _remaining(self, env_steps: int, steps_per_second: float) -> float | None:
        if not math.isfinite(steps_per_second) or steps_per_second <= 0:
            return None
        return max(0, self._total_steps - env_steps) / steps_per_second

    def _show(self, message: str) -> None:
        line = f"{self._title}  {message}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            overwrite(self._stream, line[:width].ljust(width))
            self._stream.flush()
        else:
            self._print(line + "\n")
        self._shown = True

    def _print(self, characters: str) -> None:
        self._stream.write(characters)
        self._stream.flush()
