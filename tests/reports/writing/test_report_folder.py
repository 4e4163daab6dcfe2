"""A report's directory holds one report, whole, and a user's own files are left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from reports.writing import report_folder
from reports.writing.report_folder import REQUEST, UNFINISHED, replace_report

OLD = {"report.html": b"old", "tables/a.csv": b"old a", "tables/b.csv": b"b", "figures/c.svg": b"c"}
NEW = {"report.html": b"new", "tables/a.csv": b"new a"}


def contents(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != REQUEST]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def stored(directory: Path) -> Mapping[str, object]:
    request = json.loads((directory / REQUEST).read_bytes())
    assert isinstance(request, dict)
    return request


def test_a_report_replaces_the_whole_of_an_older_one(tmp_path: Path) -> None:
    replace_report(tmp_path, OLD, {"seed": 0})
    written = replace_report(tmp_path, NEW, {"seed": 1})
    assert contents(tmp_path) == NEW
    assert not (tmp_path / "figures").exists()
    assert written.others == ()
    assert {path.name for path in written.files} == {"report.html", "a.csv", REQUEST}
    assert stored(tmp_path)["seed"] == 1 and UNFINISHED not in stored(tmp_path)


def test_a_users_own_files_stay(tmp_path: Path) -> None:
    replace_report(tmp_path, OLD, {})
    own = {"notes.txt": b"mine", "tables/mine.csv": b"mine", "tables/b.csv": b"b, corrected"}
    for name, content in own.items():
        (tmp_path / name).write_bytes(content)
    written = replace_report(tmp_path, NEW, {})
    assert contents(tmp_path) == {**NEW, **own}
    assert written.others == ("tables/b.csv", "tables/mine.csv")


@pytest.mark.parametrize("broken", range(8))
def test_a_report_that_was_cut_off_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    replace_report(tmp_path, NEW, {})
    write = report_folder.atomic_write
    left = broken

    def failing(path: Path, content: bytes) -> None:
        nonlocal left
        if left == 0:
            raise OSError("cut off")
        left -= 1
        write(path, content)

    monkeypatch.setattr(report_folder, "atomic_write", failing)
    if broken < 6:  # the list, four files, the list again
        with pytest.raises(OSError, match="cut off"):
            replace_report(tmp_path, OLD, {})
        assert (UNFINISHED in stored(tmp_path)) == (broken > 0)
    else:
        replace_report(tmp_path, OLD, {})
    monkeypatch.undo()
    for name in ("tables/.a.csv.0123abcd.tmp", ".report.html.0123abcd.tmp"):
        (tmp_path / "tables").mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    other = {"tables/d.csv": b"d"}
    assert replace_report(tmp_path, other, {}).others == ()
    assert contents(tmp_path) == other


KILLED = """
import os, sys
from pathlib import Path
from reports.writing.report_folder import REQUEST, UNFINISHED, present_files, replace_report

OLD, NEW = ({f"tables/{name}.csv": name.encode() * size for name in "abc"} for size in (1, 2))

def dying(call):
    def counted(*arguments):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*arguments)
    return counted

def report(out, contents, moment):
    global left
    left = moment
    os.replace, os.fsync = dying(os.replace), dying(os.fsync)
    replace_report(out, contents, {})
    os._exit(0)

moment, code = 0, 1
while code:
    out = Path(sys.argv[1]) / str(moment)
    replace_report(out, OLD, {})
    if not (child := os.fork()):
        report(out, NEW, moment)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if UNFINISHED.encode() not in (out / REQUEST).read_bytes():
        told = {name: path.read_bytes() for name, path in present_files(out).items()}
        assert told in (OLD, NEW), (moment, told)
    replace_report(out, NEW, {})
    left_over = [path.name for path in out.rglob(".*")]
    assert present_files(out).keys() == NEW.keys() and not left_over, (moment, left_over)
    moment += 1
print(moment)
"""


def test_a_killed_report_leaves_nothing_behind_the_next_one(tmp_path: Path) -> None:
    """Killed at every write and every rename, some with a temporary file beside a whole report."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


@pytest.mark.parametrize(
    "name", ["../own.txt", "tables/../../own.txt", "own.txt", "tables/.own", "/own.txt", "tables"]
)
def test_a_strangers_list_deletes_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    out = tmp_path / "report"
    replace_report(out, OLD, {})
    for path in (tmp_path / "own.txt", out / "own.txt", out / "tables" / ".own"):
        path.write_bytes(b"mine")
    request = json.loads((out / REQUEST).read_bytes())
    digest = report_folder._digest(b"mine")
    (out / REQUEST).write_text(json.dumps({**request, "files": {name: digest}}))
    replace_report(out, NEW, {})
    assert (tmp_path / "own.txt").exists()
    assert (out / "own.txt").exists() and (out / "tables" / ".own").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"files": 3}', '{"files": {"a": 1}, "replaces": 2}']
)
def test_a_damaged_list_deletes_nothing(tmp_path: Path, content: str) -> None:
    replace_report(tmp_path, OLD, {})
    (tmp_path / REQUEST).write_text(content)
    assert set(replace_report(tmp_path, NEW, {}).others) == OLD.keys() - NEW.keys()
