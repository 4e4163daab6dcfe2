"""Which workers are there, which of them see the run directory, and which could take a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from distributed import Client

from suite.cluster.opening import Pool
from suite.cluster.workers import greet, versions
from suite.common.errors import UserError

_REST_SECONDS = 30.0
"""After which a worker that was told to stop, and is still there, may train again."""

_LOOK_SECONDS = 0.5
"""Between two questions to the scheduler, which cost a core of a small machine some of its time."""

_LONELY_SECONDS = 60.0
"""Without any worker, after which that is said."""


class Roster:
    """The workers of a pool.

    Args:
        pool: whose.
        run_path: the run directory.
        probe: a file in it that is there while the command runs.
        say: shows a message that was not shown before.

    Attributes:
        names: of the workers that are there, by address.
        sees: whether each that has answered sees the run directory.
    """

    def __init__(self, pool: Pool, run_path: Path, probe: Path, say: Callable[[str], None]) -> None:
        self.names: dict[str, str] = {}
        self.sees: dict[str, bool] = {}
        self._pool = pool
        self._client: Client = pool.client
        self._run_path = run_path
        self._probe = probe
        self._say = say
        self._greetings: dict[str, Any] = {}
        self._abandoned: dict[str, Any] = {}
        self._resting: dict[str, float] = {}
        self._last = time.monotonic()
        self._look_at = 0.0

    def look(self) -> None:
        """Sees who has come and who is gone.

        Raises:
            UserError: the scheduler is gone, or a worker lacks this package.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._ask()
        for address, future in list(self._greetings.items()):
            if address not in self.sees and future.done():
                self._welcome(address, future)

    def _ask(self) -> None:
        try:
            self.names = self._pool.workers()
            self._pool.keep_up()
        except (OSError, TimeoutError):
            raise UserError(
                "the Dask scheduler is gone; what was trained is stored, and the same command "
                "goes on from there"
            ) from None
        self._notice_solitude()
        for known in (self._greetings, self.sees, self._abandoned, self._resting):
            for address in known.keys() - self.names.keys():
                del known[address]
        for address in self.names.keys() - self._greetings.keys():
            self._greetings[address] = self._client.submit(
                greet, str(self._probe), workers=[address], pure=False
            )

    def name(self, address: str) -> str:
        """Returns what a worker is called."""
        return self.names.get(address, address)

    def abandon(self, address: str, future: Any) -> None:
        """Gives a worker nothing until what it was given last has ended."""
        self._abandoned[address] = future

    def rest(self, address: str) -> None:
        """Gives a worker nothing for a while, if there are others: it was told to stop."""
        self._resting[address] = time.monotonic() + _REST_SECONDS

    def answering(self) -> list[str]:
        """Returns the workers that are not known to hang."""
        return [each for each in self.names if each not in self._abandoned]

    def free(self, taken: Collection[str]) -> list[str]:
        """Returns workers that could take a job; those at rest only if there are no others.

        Args:
            taken: those that have one.
        """
        now = time.monotonic()
        for address, future in list(self._abandoned.items()):
            if future.done():
                del self._abandoned[address]
        free = [each for each in self.sees if each not in taken and each not in self._abandoned]
        rested = [each for each in free if self._resting.get(each, 0.0) <= now]
        return rested or ([] if taken else free)

    def _welcome(self, address: str, future: Any) -> None:
        """Takes in what a new worker says of itself."""
        error = future.exception()
        check_installed(self.name(address), error)
        if error is not None:
            del self._greetings[address]  # it is gone, or is asked again
            return
        greeting = future.result()
        self.sees[address] = greeting["shared"]
        if not greeting["shared"]:
            self._say(
                f"{self.name(address)} does not see {self._run_path}; its results are sent back"
            )
        mine, theirs = versions(), greeting["versions"]
        differing = [f"{k} {theirs[k]} (here {mine[k]})" for k in mine if mine[k] != theirs[k]]
        if differing:
            listed = ", ".join(differing)
            self._say(f"a worker has {listed}; last digits may differ between cells")

    def _notice_solitude(self) -> None:
        now = time.monotonic()
        if self.names:
            self._last = now
        elif now - self._last > _LONELY_SECONDS:
            self._say(
                f"no worker has come in for {_LONELY_SECONDS:.0f} s; if workers are on other "
                "machines, the scheduler must listen on an address that they reach "
                "(docs/clusters.md)"
            )


def check_installed(worker: str, error: BaseException | None) -> None:
    """Raises UserError if a worker failed because it cannot import this package."""
    if isinstance(error, ImportError):
        raise UserError(f"the worker {worker} has no gorl-suite installed ({error})")
