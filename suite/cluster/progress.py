"""Progress of a matrix on many workers: told by each trainer, shown in one place."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TextIO

from suite.cluster.sharing import Sharing, makespan
from suite.common.formatting import duration
from suite.storage.records import Job
from suite.training.progress import JobLine, Progress

Tell = Callable[..., None]

_SUMMARY_SECONDS = 60.0
"""Between two lines on the whole matrix, where lines stay."""

_LIVE_SECONDS = 1.0


class Telling(Progress):
    """Tells somebody else how far jobs are, instead of a reader.

    Args:
        tell: is called with the kind of an event and its facts.
    """

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    @contextlib.contextmanager
    def job(self, job: Job, total_steps: int) -> Iterator[JobLine]:
        """Opens what tells of a job."""
        yield _TellingLine(self._tell, job, total_steps)


class _TellingLine(JobLine):
    def __init__(self, tell: Tell, job: Job, total_steps: int) -> None:
        super().__init__(sys.stderr, False, str(job), total_steps, time.monotonic)
        self._tell = tell
        self._total = total_steps

    def note(self, message: str) -> None:
        self._tell("note", text=message, total=self._total)

    def update(
        self,
        env_steps: int,
        steps_per_second: float,
        returns: Sequence[float | None],
        passing: bool = False,
    ) -> None:
        finite = [None if each is None or not math.isfinite(each) else each for each in returns]
        self._tell(
            "update",
            steps=env_steps,
            total=self._total,
            speed=steps_per_second if math.isfinite(steps_per_second) else 0.0,
            returns=finite,
            passing=passing,
        )

    def close(self) -> None:
        pass


@dataclasses.dataclass
class _Shown:
    """A job that is being trained.

    Attributes:
        line: where lines stay.
        steps, total: environment steps of each seed, so far and in all.
        speed: of each seed, steps per second.
    """

    line: JobLine
    steps: int = 0
    total: int = 0
    speed: float = 0.0


class Board:
    """Shows all jobs: lines as of one process where lines stay, one live line on a terminal.

    Args:
        sharing: who trains what.
        stream: where to, standard error by default.
        now: seconds that never run backwards.
    """

    def __init__(
        self,
        sharing: Sharing,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sharing = sharing
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._now = now
        self._due = now()
        self._shown: dict[Job, _Shown] = {}
        self._width = 0
        self._last = ""
        self._told: set[str] = set()
        self.lengths: Mapping[Job, float] = {}
        self.seconds_known = True
        self.all_jobs = 0
        self.workers = 0

    def take(self, job: Job, worker: str, event: Mapping[str, object]) -> None:
        """Takes in an event of a job that is being trained."""
        if job not in self._sharing.running or event["kind"] not in ("note", "update"):
            return
        total = int(str(event.get("total", 0)))
        shown = self._shown.get(job)
        if shown is None:
            line = JobLine(self._stream, False, f"{job} on {worker}", total, self._now)
            shown = self._shown[job] = _Shown(line, total=total)
        if event["kind"] == "note" and not self._live:
            shown.line.note(str(event["text"]))
        if event["kind"] == "update":
            self._update(shown, event)

    def stopped(self, job: Job) -> None:
        """Forgets a job that is trained no more, and says how far the matrix is."""
        self._shown.pop(job, None)
        self._due = min(self._due, self._now())

    def say(self, message: str) -> None:
        """Shows a line that stays."""
        self._clear()
        print(f"suite: {message}", file=self._stream, flush=True)

    def say_once(self, message: str) -> None:
        """Shows a line that stays, unless it was shown so before."""
        if message not in self._told:
            self._told.add(message)
            self.say(message)

    def show(self) -> None:
        """Shows how far the matrix is, if it is time to."""
        if self._now() < self._due:
            return
        self._due = self._now() + (_LIVE_SECONDS if self._live else _SUMMARY_SECONDS)
        text = self.summary()
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r" + text[:width].ljust(width))
            self._stream.flush()
            self._width = width
        elif text != self._last:
            print(text, file=self._stream, flush=True)
        self._last = text

    def close(self) -> None:
        """Takes the live line away."""
        self._clear()

    def summary(self) -> str:
        """Returns one line on the whole matrix."""
        running = len(self._sharing.running)
        failed = len(self._sharing.failures)
        left = len(self._sharing.waiting) + running + len(self._sharing.held) + failed
        parts = [
            f"{max(0, self.all_jobs - left)}/{self.all_jobs} jobs done",
            f"{running} training on {self.workers} workers",
            f"{self._rate():,.0f} steps/s",
            f"ETA {duration(self._remaining())}",
        ]
        return "  ".join([*parts, *([f"{failed} failed"] if failed else [])])

    def _update(self, shown: _Shown, event: Mapping[str, object]) -> None:
        returns = event["returns"]
        assert isinstance(returns, list | tuple)
        shown.steps = int(str(event["steps"]))
        shown.speed = float(str(event["speed"]))
        if not self._live:
            shown.line.update(shown.steps, shown.speed, returns, passing=bool(event["passing"]))

    def _rate(self) -> float:
        """Returns environment steps per second of all seeds that are being trained."""
        return sum(len(job.seeds) * shown.speed for job, shown in self._shown.items())

    def _remaining(self) -> float | None:
        """Returns the seconds until everything is done, None where nothing is known yet."""
        busy = [self._left_of(job) for job in self._sharing.running]
        waiting = [self._seconds(job) for job in [*self._sharing.waiting, *self._sharing.held]]
        known = [each for each in (*busy, *waiting) if each is not None]
        if len(known) < len(busy) + len(waiting):
            return None
        return makespan(
            [each or 0.0 for each in waiting], self.workers, [each or 0.0 for each in busy]
        )

    def _left_of(self, job: Job) -> float | None:
        shown = self._shown.get(job)
        if shown is None or shown.speed <= 0:
            return self._seconds(job)
        return max(0, shown.total - shown.steps) / shown.speed

    def _seconds(self, job: Job) -> float | None:
        """Returns what a job may take, by the plan or by what the others do in a second."""
        length = self.lengths.get(job)
        if length is None or self.seconds_known:
            return length
        rates = [len(each.seeds) * s.speed for each, s in self._shown.items() if s.speed > 0]
        return length * len(rates) / sum(rates) if rates else None

    def _clear(self) -> None:
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0
