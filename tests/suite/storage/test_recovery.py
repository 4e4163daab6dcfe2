"""What a run recovers from. Every write fails, in every way: nothing half-written is ever seen,
one line says what failed, and the same command ends as if nothing had happened.

The run is a small one in this process, with a seed that diverges, so that every kind of file
is written; the disk that fills up and the one that is sealed are real.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import errno
import fnmatch
import functools
import io
import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from counting import ActionTask, Counter
from processes import killing

import suite.commands.run
import suite.training.job
import suite.training.launch
from algorithms import registry
from algorithms.api import EnvSpec
from suite import cli
from suite.common import files
from suite.compute.compiled import Compiled
from suite.configuration.protocol import Protocol, load_protocol
from suite.planning.run_request import RunRequest
from suite.training.clock import Pace
from suite.training.context import RunContext

HYPERPARAMETERS = {"poison_at": 3, "extra": 1}
SEEDS = (1, 2)

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    """Four updates of 2 x 4 steps; the algorithm changes stage after the third."""
    return dataclasses.replace(
        load_protocol("smoke"),
        total_steps=4 * 8,
        num_envs=2,
        rollout_length=4,
        chunk_length=4,
        num_minibatches=2,
        eval_interval=2,
        eval_episodes=2,
        algorithms={},
    )


@pytest.fixture(scope="module")
def compiled() -> Callable[[Any], Compiled]:
    """Compiles once for all runs of this module."""
    known: dict[Any, Compiled] = {}

    def get(program: Any) -> Compiled:
        return known.setdefault("the one", Compiled(program))

    return get


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    protocol: Protocol,
    compiled: Callable[[Any], Compiled],
) -> Command:
    """Returns a function that runs `suite run` on a directory: exit code, standard error."""
    monkeypatch.setattr(suite.training.job, "load_task", lambda *_, **__: ActionTask())
    entry = registry.Entry("ppo", Counter, "counts")
    monkeypatch.setattr(registry, "lookup", lambda _: entry)
    monkeypatch.setattr(suite.training.job, "Compiled", compiled)
    monkeypatch.setattr(suite.training.job, "provenance", dict)  # asks git, which is slow
    monkeypatch.setattr(os, "fsync", lambda _: None)
    algorithm = Counter(EnvSpec(2, 1, 0.99), protocol.pipeline(), **HYPERPARAMETERS)

    def run(out: Path, *options: str) -> tuple[int, str]:
        request = RunRequest(
            protocol=protocol,
            out=out,
            engine="native",
            tasks=("CheetahRun",),
            seeds=SEEDS,
            hyperparameters={"ppo": HYPERPARAMETERS},
            algorithms={"ppo": algorithm},
        )
        monkeypatch.setattr(suite.commands.run, "prepare", lambda *_, **__: request)
        code = cli.run_command(["run", *options])
        return code, capsys.readouterr().err

    return run


class Fault:
    """Makes one write of a file fail.

    Args:
        name: pattern of the file's name.
        count: which of its writes, from 1.
        phase: `open`, `half`, `flush`, `rename` or `sync`; `short` is no failure.
    """

    def __init__(self, name: str, count: int, phase: str) -> None:
        self._name = name
        self._left = count
        self._phase = phase
        self.happened = False

    def strikes(self, phase: str, name: str) -> bool:
        """Returns whether this step of a write is the one to fail."""
        if self.happened or phase != self._phase or not fnmatch.fnmatchcase(name, self._name):
            return False
        self._left -= 1
        self.happened = self._left == 0
        return self.happened


def final_name(temporary: str) -> str:
    """Returns the name of the file that a temporary one becomes."""
    return Path(temporary).name.removeprefix(".").rsplit(".", 2)[0]


class HalfWritten(io.FileIO):
    """Takes half of the first write and fails."""

    def write(self, data: Any) -> int:
        super().write(bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class ShortWrites(io.FileIO):
    """Takes at most half of what it is given, and says so, as the system may at any time."""

    def write(self, data: Any) -> int:
        return super().write(bytes(data)[: max(1, len(data) // 2)])


def patch_files(patch: pytest.MonkeyPatch, fault: Fault) -> None:
    real = {name: getattr(files.os, name) for name in ("replace", "link")}
    flush, sync, renamed = files._flush_to_disk, files._sync_directory, [""]

    def opening(path: Path, mode: str) -> Any:
        if mode == "xb" and fault.strikes("open", final_name(path.name)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if mode == "xb" and fault.strikes("half", final_name(path.name)):
            return io.BufferedWriter(HalfWritten(path, mode))
        if mode == "xb" and fault.strikes("short", final_name(path.name)):
            return io.BufferedWriter(ShortWrites(path, mode))
        return builtins.open(path, mode)

    def flushing(file: Any) -> None:
        if fault.strikes("flush", final_name(file.name)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(file)

    def renaming(kind: str) -> Callable[[Path, Path], None]:
        def rename(source: Path, target: Path) -> None:
            if fault.strikes("rename", Path(target).name):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(source), None, str(target))
            real[kind](source, target)
            renamed[0] = Path(target).name

        return rename

    def syncing(directory: Path) -> None:
        name, renamed[0] = renamed[0], ""
        if fault.strikes("sync", name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(directory)

    patch.setattr(files, "open", opening, raising=False)
    patch.setattr(files, "_flush_to_disk", flushing)
    patch.setattr(files, "_sync_directory", syncing)
    for kind in real:
        patch.setattr(files.os, kind, renaming(kind))


class History:
    """All that every file of a run that nothing happens to ever held."""

    def __init__(self) -> None:
        self.contents: dict[str, list[Any]] = defaultdict(list)

    def note(self, run: Path, file: Path) -> None:
        """Enters what a file holds now."""
        if killing.is_result(file):
            self.contents[str(file.relative_to(run))].append(killing.content(file))


@pytest.fixture(scope="module")
def history() -> History:
    return History()


@pytest.fixture
def expected(
    command: Command, history: History, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Returns what the run leaves when nothing happens to it; fills the history once."""
    if not history.contents:
        out = tmp_path_factory.mktemp("whole") / "run"
        with pytest.MonkeyPatch.context() as patch:
            for kind in ("replace", "link"):
                patch.setattr(files.os, kind, noting(getattr(files.os, kind), history, out))
            code, errors = command(out)
        assert code == cli.EXIT_DIVERGED, errors
        states = {each[-1]["state"] for name, each in history.contents.items() if "status" in name}
        assert states == {"done", "diverged"}
        assert {name: each[-1] for name, each in history.contents.items()} == killing.results(out)
    return {name: contents[-1] for name, contents in history.contents.items()}


def noting(rename: Callable[[Path, Path], None], history: History, run: Path) -> Any:
    """Wraps a function that gives a file its name."""

    def wrapped(source: Path, target: Path) -> None:
        rename(source, target)
        history.note(run, target)

    return wrapped


# The kinds of files; which write of each fails, and in how many ways.
WRITES = [
    ("protocol.json", 1),
    (".lease-000001", 2),
    ("[0-9a-f]*.json", 1),
    ("run.json", 1),
    ("run.json", 2),
    ("job-*.ckpt", 1),
    ("job-*.ckpt", 4),
    ("job-*.ckpt.digests", 3),
    ("digests.json", 2),
    ("curve.csv", 4),
    ("episodes.npz", 5),
    ("metrics.csv", 6),
    ("status.json", 1),
    ("status.json", 9),
    ("policy-0.npz", 1),
]
PHASES = ("open", "half", "flush", "rename", "sync")
COPIES = [("job-*.ckpt.prev", 2, "rename"), ("last-good.ckpt", 1, "rename")]
FAULTS = [*((name, count, phase) for name, count in WRITES for phase in PHASES), *COPIES]


def test_the_faults_speak_of_every_kind_of_file(expected: dict[str, Any]) -> None:
    kinds = {Path(name).name for name in expected}
    known = [name for name, *_ in FAULTS]
    optional = {"policy-1.npz", "states.npz"}  # written as policy-0.npz and episodes.npz are
    unknown = {kind for kind in kinds if not any(fnmatch.fnmatchcase(kind, k) for k in known)}
    assert unknown <= optional


@pytest.mark.parametrize(("name", "count", "phase"), FAULTS)
def test_a_write_that_fails_loses_nothing(
    tmp_path: Path,
    command: Command,
    expected: dict[str, Any],
    history: History,
    name: str,
    count: int,
    phase: str,
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        fault = Fault(name, count, phase)
        patch_files(patch, fault)
        code, errors = command(out)
    assert fault.happened
    assert code == cli.EXIT_USER_ERROR
    line = errors.splitlines()[-1]
    assert line.startswith("suite: error: ") and str(out) in line
    if (out / "protocol.json").exists():
        killing.assert_readable(out)
    for file, content in killing.results(out).items():
        assert content in history.contents[file], f"{file} is neither old nor new"
    assert not list(out.rglob("*.tmp"))
    code, errors = command(out)
    assert code == cli.EXIT_DIVERGED, errors
    assert killing.results(out) == expected


@pytest.mark.parametrize("phase", ["half", "rename"])
def test_a_save_within_a_chunk_that_fails_loses_nothing(
    tmp_path: Path,
    command: Command,
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
) -> None:
    often = functools.partial(RunContext, pace=Pace(0.0, 0.0))
    monkeypatch.setattr(suite.training.launch, "RunContext", often)
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch_files(patch, Fault("job-*.ckpt.part", 2, phase))
        code, errors = command(out)
    assert code == cli.EXIT_USER_ERROR and str(out) in errors.splitlines()[-1]
    killing.assert_readable(out)
    assert command(out)[0] == cli.EXIT_DIVERGED
    assert killing.results(out) == expected


@pytest.mark.parametrize("name", ["job-*.ckpt", "curve.csv", "episodes.npz", "run.json"])
def test_a_system_that_takes_little_at_a_time(
    tmp_path: Path, command: Command, expected: dict[str, Any], name: str
) -> None:
    fault = Fault(name, 2, "short")
    with pytest.MonkeyPatch.context() as patch:
        patch_files(patch, fault)
        assert command(tmp_path / "run")[0] == cli.EXIT_DIVERGED
    assert fault.happened
    assert killing.results(tmp_path / "run") == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 48 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount(place, "size=48k", "-t", "tmpfs"):
        pytest.skip("mounting a file system is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=False)


def mount(place: Path, options: str, *kind: str) -> bool:
    """Mounts a tmpfs, or changes the options of one."""
    command = ["mount", *kind, "-o", options, "tmpfs", str(place)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_disk_that_fills_up(
    small_disk: Path, command: Command, expected: dict[str, Any], history: History
) -> None:
    out = small_disk / "run"
    sizes = (64, 80, 96)
    for size in sizes:
        code, errors = command(out)
        assert code == cli.EXIT_USER_ERROR
        assert errors.splitlines()[-1].endswith(
            "the disk is full; free some space and run the same command again"
        )
        for file, content in killing.results(out).items():
            assert content in history.contents[file]
        assert mount(small_disk, f"remount,size={size}k")
    assert mount(small_disk, "remount,size=16m")
    code, errors = command(out)
    assert code == cli.EXIT_DIVERGED, errors
    assert killing.results(out) == expected


def test_a_disk_that_is_sealed(
    small_disk: Path, command: Command, expected: dict[str, Any]
) -> None:
    out = small_disk / "run"
    assert mount(small_disk, "remount,size=16m")
    with pytest.MonkeyPatch.context() as patch:
        patch_files(patch, Fault("status.json", 5, "open"))
        assert command(out)[0] == cli.EXIT_USER_ERROR
    before = killing.results(out)
    assert mount(small_disk, "remount,ro")
    code, errors = command(out)
    assert code == cli.EXIT_USER_ERROR
    assert "the file system is read-only" in errors.splitlines()[-1]
    assert killing.results(out) == before
    killing.assert_readable(out)
    assert mount(small_disk, "remount,rw")
    assert command(out)[0] == cli.EXIT_DIVERGED
    assert killing.results(out) == expected


def test_a_diverged_seed_can_start_afresh(
    tmp_path: Path,
    command: Command,
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By itself, from nothing; here it must come to the same end again, bit for bit."""
    out = tmp_path / "run"
    assert command(out)[0] == cli.EXIT_DIVERGED
    monkeypatch.setattr(suite.training.job, "Compiled", Compiled)  # for another number of seeds
    with pytest.MonkeyPatch.context() as patch:
        patch_files(patch, Fault("seed-*.diverged-1", 1, "rename"))
        assert command(out, "--retry-diverged")[0] == cli.EXIT_USER_ERROR
    assert killing.results(out) == expected
    assert command(out, "--retry-diverged")[0] == cli.EXIT_DIVERGED
    found, kept = killing.results(out), {}
    for name in list(found):
        seed, diverged, rest = name.partition(".diverged-1/")
        if diverged:
            kept[f"{seed}/{rest}"] = found.pop(name)
    assert kept
    diverged_cells = {name.rpartition("/")[0] for name in kept}
    for name, content in kept.items():
        assert content == expected[name]
        if Path(name).name not in (
            "run.json",
            "last-good.ckpt",
        ):  # they name the seeds trained with
            assert found[name] == content
    for name, content in expected.items():
        if name.rpartition("/")[0] not in diverged_cells:
            assert found[name] == content
    jobs = {seeds(found[f"{cell}/run.json"]) for cell in diverged_cells}
    assert jobs == {tuple(sorted(int(cell[-3:]) for cell in diverged_cells))}


def seeds(configuration: Any) -> tuple[int, ...]:
    return tuple(configuration["seeds_together"])


def test_no_clock_that_can_be_set_measures_anything() -> None:
    """Somebody sets the clock, or it is corrected: a duration must not notice."""
    used = {
        f"{path.name}:{node.lineno}"
        for path in (killing.ROOT / "suite").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "datetime.now")
    }
    assert not used
