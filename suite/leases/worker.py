"""This process among those that share a run directory."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from suite.common.files import check_inside, make_directory, remove_leftovers
from suite.leases.claims import (
    PAUSE,
    Claim,
    claim_lock,
    delete_old_claims,
    held,
    newest_claim,
    write_claim,
)
from suite.leases.lease import Lease
from suite.leases.locks import lock, open_lock
from suite.leases.signs_of_life import (
    BEATS,
    DEFAULT_SECONDS,
    Watch,
    allowed_silence,
    has_left,
    life_lock_path,
    read_sign,
    sign_path,
    workers_directory,
    write_sign,
)

_STALE_ATTEMPTS = 5


class Worker:
    """This process among those that share a run directory; a context manager.

    Args:
        run_path: the run directory.
        seconds: of silence after which others may take over what this process owns.
        clock: by which this process watches others.
        name: what people call it, shown by `suite status` while it trains.

    Attributes:
        token: names the process in the records of the run directory.
        seconds: as given.
    """

    def __init__(
        self,
        run_path: Path,
        seconds: float = DEFAULT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        name: str = "",
    ) -> None:
        self.token = secrets.token_hex(8)
        self.seconds = seconds
        self._name = name
        self._run_path = run_path
        self._directory = workers_directory(run_path)
        self._watch = Watch(clock)
        self._counter = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, daemon=True)
        self._lock: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Shows the first sign of life.

        Raises:
            UserError: links lead out of the run directory.
            OSError: the run directory cannot be written.
        """
        check_inside(self._directory, self._run_path)
        make_directory(self._directory)
        # Locked before others can see the counter, or they would take this process for dead.
        self._lock = open_lock(life_lock_path(self._directory, self.token))
        lock(self._lock)
        try:
            self.beat()
        except BaseException:
            self._leave()
            raise
        self._remove_dead()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Takes this process out of the directory."""
        self._stop.set()
        self._thread.join()
        self._leave()

    def beat(self) -> None:
        """Shows a sign of life.

        Raises:
            OSError: it cannot be written.
        """
        self._counter += 1
        write_sign(self._directory, self.token, self._counter, self.seconds, self._name)

    def acquire(self, cells: Sequence[Path]) -> Lease:
        """Takes all of `cells`, directories that are made where they are missing, or none.

        Raises:
            Held: another process owns one of them, and is not known to be dead.
            UserError: one of them leads out of the run directory.
            OSError: a cell cannot be written.
        """
        for cell in cells:
            check_inside(cell, self._run_path)
        lease = Lease(self.token)
        try:
            # One order for all: of two that want overlapping cells, one gets all of its own.
            for cell in sorted(cells):
                lease.add(cell, self._claim(cell))
        except BaseException:
            lease.release()
            raise
        return lease

    def is_dead(self, token: str) -> bool:
        """Returns whether another process has died, or been silent for so long that it counts as.

        Silence is what this process has seen of it: who looks once never finds any.
        """
        if has_left(self._directory, token):
            return True
        sign = read_sign(self._directory, token)
        allowed = allowed_silence(sign)
        return self._watch.silence(token, sign, allowed / 4) >= allowed

    def _claim(self, cell: Path) -> int:
        """Becomes the owner of a cell; returns the number of the claim."""
        for _ in range(_STALE_ATTEMPTS):
            # A network's file system may remember a directory as it was before others wrote there.
            with contextlib.suppress(FileNotFoundError):
                return self._try_claim(cell)
            time.sleep(PAUSE)
        return self._try_claim(cell)

    def _try_claim(self, cell: Path) -> int:
        make_directory(cell)
        self._check_free(cell)  # without its lock, which its owner may need now
        with claim_lock(cell):
            claim = Claim(self._check_free(cell) + 1, self.token)
            if not write_claim(cell, claim):
                raise held(cell)
            # Old claims are deleted, so a process that fell far behind can create one of them.
            if newest_claim(cell) != claim:
                raise held(cell)
            delete_old_claims(cell)
            return claim.number

    def _check_free(self, cell: Path) -> int:
        """Returns the number of the newest claim; raises Held if its owner may be alive."""
        number, owner = newest_claim(cell)
        if owner is not None and owner != self.token and not self.is_dead(owner):
            raise held(cell)
        return number

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self.seconds / BEATS):
            # A disk that is full now may not be at the next beat; training itself tells the user.
            with contextlib.suppress(OSError):
                self.beat()

    def _remove_dead(self) -> None:
        """Deletes what processes that died on this machine left behind."""
        for path in self._directory.glob("*.json"):
            if has_left(self._directory, path.stem):
                with contextlib.suppress(OSError):
                    remove_leftovers(self._directory, path.name)
                    path.unlink(missing_ok=True)
                    life_lock_path(self._directory, path.stem).unlink(missing_ok=True)

    def _leave(self) -> None:
        for path_of in (sign_path, life_lock_path):
            with contextlib.suppress(OSError):
                path_of(self._directory, self.token).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
