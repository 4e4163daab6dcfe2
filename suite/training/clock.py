"""What a job's time goes into, and how much of its work is asked of the device at once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@dataclasses.dataclass
class Clock:
    """Seconds spent on a job so far, over all its runs; pauses between runs do not count."""

    wall: float = 0.0
    compile: float = 0.0
    train: float = 0.0
    evaluate: float = 0.0


@dataclasses.dataclass(frozen=True)
class Pace:
    """How often the training loop comes up for air. No result depends on any of it.

    Attributes:
        piece_seconds: updates are made in pieces of as many as fit into this time, or of one,
            so that a piece ends soon after the user asks to stop, and waiting for it costs
            nothing beside it.
        save_seconds: after which a piece is followed by a checkpoint.
        now: seconds that never run backwards.
    """

    piece_seconds: float = 1.0
    save_seconds: float = 180.0
    now: Callable[[], float] = time.perf_counter


class Pieces:
    """Cuts work of one kind into pieces, by how long the last one took.

    Args:
        seconds: that a piece may take.
        working: seconds worked so far.
    """

    def __init__(self, seconds: float, working: Callable[[], float]) -> None:
        self._seconds = seconds
        self._working = working
        self._each: float | None = None

    @contextmanager
    def cut(self, left: int) -> Iterator[int]:
        """Yields how much of what is left to do in its body, and times the body."""
        count = self._size(left)
        began = self._working()
        yield count
        self._each = max(0.0, self._working() - began) / count

    def _size(self, left: int) -> int:
        if self._each is None:
            return 1
        if left * self._each <= self._seconds:
            return left
        return max(1, int(self._seconds / self._each))


class Stopwatch:
    """Measures what a run spends on its job.

    Args:
        compiling: seconds spent compiling so far.
        now: seconds that never run backwards.

    Attributes:
        spent: on the job, earlier runs included; `wall` and `compile` as of the last `tick`.
        compiling: as given.
    """

    def __init__(self, compiling: Callable[[], float], now: Callable[[], float]) -> None:
        self.spent = Clock()
        self._earlier = Clock()
        self.compiling = compiling
        self._now = now
        self._began = now()

    def go_on_from(self, earlier: Clock) -> None:
        """Adds what earlier runs spent."""
        self._earlier = earlier
        self.spent = dataclasses.replace(earlier)

    def tick(self) -> None:
        """Brings the totals up to now."""
        self.spent.wall = self._earlier.wall + self.elapsed()
        self.spent.compile = self._earlier.compile + self.compiling()

    def elapsed(self) -> float:
        """Returns the seconds since this run began."""
        return self._now() - self._began

    def working(self) -> float:
        """Returns the seconds since this run began, less those spent compiling."""
        return self.elapsed() - self.compiling()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Counts the time of its body, less compilation, as training."""
        began = self.working()
        yield
        self.spent.train += self.working() - began

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Counts the time of its body, less compilation, as evaluation."""
        began = self.working()
        yield
        self.spent.evaluate += self.working() - began
