"""The write path: whole files, durable, or nothing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from suite.common import files


def leftovers(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith(".")]


def test_replaces_content_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.atomic_write(path, b"one")
    files.atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_new_files_get_the_permissions_the_user_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.atomic_write(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failure_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "a"
    files.atomic_write(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError) as caught:
        files.atomic_write(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"
    assert not leftovers(tmp_path)


def test_a_real_failing_write_keeps_the_old_file(tmp_path: Path) -> None:
    """A limit on file sizes makes write() itself fail half way, as a full disk does."""
    (tmp_path / "a").write_bytes(b"old")
    program = (
        "import resource, signal, sys, pathlib; from suite.common.files import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: atomic_write(pathlib.Path(sys.argv[1]), bytes(100_000))\n"
        "except OSError as error: print(error.filename)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not leftovers(tmp_path)


def test_an_exception_in_the_body_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), files.atomic_writer(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_of_many_exclusive_writers_one_wins(tmp_path: Path) -> None:
    path, won, barrier = tmp_path / "a", [], threading.Barrier(8)

    def write(index: int) -> None:
        barrier.wait()
        if files.exclusive_write(path, str(index).encode()):
            won.append(index)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert path.read_text() == str(won[0])
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("hard_links", [True, False])
def test_previous_content_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    if not hard_links:

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    path, previous = tmp_path / "a", tmp_path / "b"
    for content in (b"one", b"two", b"three"):
        with files.atomic_writer(path, previous) as file:
            file.write(content)
    assert (path.read_bytes(), previous.read_bytes()) == (b"three", b"two")
    assert files.exclusive_write(tmp_path / "c", b"c") is True
    assert (tmp_path / "c").read_bytes() == b"c"


def test_json_has_no_numbers_that_json_lacks() -> None:
    value = {"a": [float("nan"), 1.5], "b": {"c": float("-inf")}, "d": (1, True, None)}
    assert json.loads(files.json_bytes(value)) == {
        "a": [None, 1.5],
        "b": {"c": None},
        "d": [1, True, None],
    }
