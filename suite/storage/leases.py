"""Leases: which of the processes that share a run directory may write a cell.

    RUN_DIR/.workers/TOKEN.json       sign of life of a process: a counter that grows
                     TOKEN.lock       held through the system for as long as the process lives
    CELL/.lease-000003                the cell's third owner, a process or nobody
    CELL/.lock                        held through the system while the cell is saved or taken

An owner is never overwritten, only succeeded: who wants a cell creates the file of the next
number, in which of several processes exactly one succeeds. A cell may be taken once its
owner has let go of it or is dead. A process is dead when the system has dropped its lock, if
it ran on this machine, or when its counter has stood still for long enough by the clock of
the one who watches; no two clocks are ever compared.

An owner that was only suspended finds a higher number before its next save, and stops.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from suite.common.errors import UserError
from suite.common.reading import opened, parse_json, read_bounded
from suite.storage.files import (
    atomic_write,
    check_inside,
    exclusive_write,
    json_bytes,
    make_directory,
    remove_leftovers,
)

DEFAULT_SECONDS = 60.0
"""Of silence after which a process counts as dead; a laptop's network rarely stalls as long."""

_BEATS = 6
"""Signs of life within those seconds, so that a few lost ones do no harm."""

_SHORTEST, _LONGEST = 0.5, 86_400.0
"""Bounds on the seconds that a process may ask for; a damaged sign may hold any number."""

_LONGEST_NAME = 80
_MUTEX_ATTEMPTS = 20
_MUTEX_PAUSE = 0.02
_STALE_ATTEMPTS = 5
_KEPT_CLAIMS = 4
_MAX_BYTES = 1 << 16
_NUMBER = re.compile("[0-9]{1,18}")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What flock fails with on file systems without locks; leases then rest on the counter."""


class Held(UserError):
    """A cell is not to be had now: a process that is not known to be dead owns it."""


class Regrouped(UserError):
    """A cell belongs to another group of seeds than was thought."""


class LeaseLost(UserError):
    """Another process has taken a cell over, because this one showed no sign of life."""


class _Claim(NamedTuple):
    """One of a cell's successive owners.

    Attributes:
        number: 1 for the first; 0 stands for a cell that was never owned.
        owner: a process's token, None for nobody.
    """

    number: int
    owner: str | None


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
        self._directory = run_path / ".workers"
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
        self._lock = open(_lock_path(self._directory, self.token), "ab")
        _lock(self._lock)
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
        sign = {"counter": self._counter, "seconds": self.seconds, "machine": _machine()}
        if self._name:
            sign["name"] = self._name
        atomic_write(_sign_path(self._directory, self.token), json_bytes(sign))

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
        if _has_left(self._directory, token):
            return True
        sign = _read_sign(_sign_path(self._directory, token))
        allowed = _allowed_silence(sign)
        return self._watch.silence(token, sign, allowed / 4) >= allowed

    def _claim(self, cell: Path) -> int:
        """Becomes the owner of a cell; returns the number of the claim."""
        for _ in range(_STALE_ATTEMPTS):
            # A network's file system may remember a directory as it was before others wrote there.
            with contextlib.suppress(FileNotFoundError):
                return self._try_claim(cell)
            time.sleep(_MUTEX_PAUSE)
        return self._try_claim(cell)

    def _try_claim(self, cell: Path) -> int:
        make_directory(cell)
        self._check_free(cell)  # without its lock, which its owner may need now
        with _mutex(cell):
            claim = _Claim(self._check_free(cell) + 1, self.token)
            content = json_bytes({"owner": self.token})
            if not exclusive_write(_claim_path(cell, claim.number), content):
                raise _held(cell)
            # Old claims are deleted, so a process that fell far behind can create one of them.
            if _newest_claim(cell) != claim:
                raise _held(cell)
            for file in _claims(cell)[:-_KEPT_CLAIMS]:
                file.unlink(missing_ok=True)
            return claim.number

    def _check_free(self, cell: Path) -> int:
        """Returns the number of the newest claim; raises Held if its owner may be alive."""
        number, owner = _newest_claim(cell)
        if owner is not None and owner != self.token and not self.is_dead(owner):
            raise _held(cell)
        return number

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self.seconds / _BEATS):
            # A disk that is full now may not be at the next beat; training itself tells the user.
            with contextlib.suppress(OSError):
                self.beat()

    def _remove_dead(self) -> None:
        """Deletes what processes that died on this machine left behind."""
        for path in self._directory.glob("*.json"):
            if _has_left(self._directory, path.stem):
                with contextlib.suppress(OSError):
                    remove_leftovers(self._directory, path.name)
                    path.unlink(missing_ok=True)
                    _lock_path(self._directory, path.stem).unlink(missing_ok=True)

    def _leave(self) -> None:
        for path_of in (_sign_path, _lock_path):
            with contextlib.suppress(OSError):
                path_of(self._directory, self.token).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


class Lease:
    """Cells that this process may write until it lets go of them or is taken for dead.

    Args:
        token: of the process.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self._claims: dict[Path, int] = {}

    def add(self, cell: Path, number: int) -> None:
        """Enters a cell that the process has become the owner of, as its `number`-th."""
        self._claims[cell] = number

    def forget(self, cell: Path) -> None:
        """Leaves out a cell whose directory, with all claims, has got another name."""
        self._claims.pop(cell, None)

    def check(self) -> None:
        """Raises LeaseLost unless every cell is still this process's."""
        for cell, number in self._claims.items():
            if _newest_claim(cell) != (number, self.token):
                raise LeaseLost(
                    f"{cell} was taken over by another process, after this one had shown no "
                    "sign of life; nothing more was written"
                )

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Keeps all cells from being taken over while its body writes them.

        Where the file system has no locks, a process that is suspended inside the body for
        longer than its lease can still write once after it.

        Raises:
            LeaseLost: one has been taken over; the body is not run.
        """
        with contextlib.ExitStack() as stack:
            for cell in self._claims:
                stack.enter_context(_mutex(cell, attempts=None))
            self.check()
            yield

    def release(self) -> None:
        """Makes nobody the owner of every cell that is still this process's."""
        for cell, number in self._claims.items():
            # A full disk must not hide why the process ends; once it has, it is known to be dead.
            with contextlib.suppress(OSError):
                exclusive_write(_claim_path(cell, number + 1), json_bytes({"owner": None}))
        self._claims.clear()


def is_owned(run_path: Path, cell: Path) -> bool:
    """Returns whether a cell has an owner that is not known to be dead.

    One that died on another machine counts until it is taken over.
    """
    if _is_locked(cell / ".lock"):
        return True
    owner = _newest_claim(cell).owner
    return owner is not None and not _has_left(run_path / ".workers", owner)


def owner_name(run_path: Path, cell: Path) -> str:
    """Returns what the owner of a cell calls itself; "" if it has none, or none is known."""
    owner = _newest_claim(cell).owner
    sign = _read_sign(_sign_path(run_path / ".workers", owner)) if owner else None
    name = sign.get("name") if sign else None
    return name[:_LONGEST_NAME] if isinstance(name, str) and name.isprintable() else ""


@contextlib.contextmanager
def _mutex(cell: Path, attempts: int | None = _MUTEX_ATTEMPTS) -> Iterator[None]:
    """Holds a cell's lock; waits for it, or raises Held after some attempts."""
    with _open_lock(cell / ".lock") as lock:
        left = attempts
        while not _lock(lock, wait=attempts is None):
            left = (left or 0) - 1
            if left <= 0:
                raise _held(cell)
            time.sleep(_MUTEX_PAUSE)
        yield


def _open_lock(path: Path) -> BinaryIO:
    # Opening a pipe would wait for its reader, and opening a link write where it leads.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is no regular file; delete it")
    return open(path, "ab")


def _lock(file: BinaryIO, wait: bool = False) -> bool:
    """Locks a file through the system; returns whether that worked, or there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_locked(path: Path) -> bool | None:
    """Returns whether some process holds the lock of a file; None where that cannot be told."""
    try:
        with opened(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return None
    return False


def _held(cell: Path) -> Held:
    return Held(f"{cell} is being trained by another process; wait for it, or choose other cells")


def _newest_claim(cell: Path) -> _Claim:
    claims = _claims(cell)
    if not claims:
        return _Claim(0, None)
    return _Claim(_number(claims[-1]), _owner(claims[-1]))


def _claims(cell: Path) -> list[Path]:
    files = (path for path in cell.glob(".lease-*") if _NUMBER.fullmatch(path.name[7:]))
    return sorted(files, key=_number)


def _number(claim: Path) -> int:
    return int(claim.name.removeprefix(".lease-"))


def _owner(claim: Path) -> str | None:
    """Returns the owner; one that cannot be read counts as a process that nobody knows."""
    try:
        owner = parse_json(read_bounded(claim, _MAX_BYTES))["owner"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
    return owner if owner is None or (isinstance(owner, str) and owner.isalnum()) else "unknown"


def _read_sign(path: Path) -> dict[str, object] | None:
    """Returns a process's sign of life, None where it cannot be read."""
    try:
        sign = parse_json(read_bounded(path, _MAX_BYTES))
    except (OSError, ValueError):
        return None
    return sign if isinstance(sign, dict) else None


def _allowed_silence(sign: Mapping[str, object] | None) -> float:
    """Returns the seconds that the process itself asked for, so that all judge it alike."""
    seconds = sign.get("seconds") if sign else None
    if isinstance(seconds, int | float) and _SHORTEST <= seconds <= _LONGEST:
        return float(seconds)
    return DEFAULT_SECONDS


def _has_left(directory: Path, token: str) -> bool:
    """Returns whether a process has ended in order, or died on this machine, told by its lock."""
    if not _sign_path(directory, token).exists():
        return True
    sign = _read_sign(_sign_path(directory, token))
    if not sign or sign.get("machine") is None or sign.get("machine") != _machine():
        return False
    return _is_locked(_lock_path(directory, token)) is False


def _machine() -> str | None:
    """Returns a random number that Linux draws at every start, None on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _claim_path(cell: Path, number: int) -> Path:
    return cell / f".lease-{number:06d}"


def _sign_path(directory: Path, token: str) -> Path:
    return directory / f"{token}.json"


def _lock_path(directory: Path, token: str) -> Path:
    return directory / f"{token}.lock"
