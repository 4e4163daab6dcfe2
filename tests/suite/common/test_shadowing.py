"""Folders with the name of one of the suite's packages are told of in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.common import shadowing
from suite.common.errors import UserError
from suite.common.user_file import load_module

ROOT = Path(__file__).resolve().parents[3]


def suite(cwd: Path, *search: Path) -> subprocess.CompletedProcess[str]:
    """Lists the tasks, with folders first on the search path."""
    path = os.pathsep.join(map(str, [*search, ROOT]))
    return subprocess.run(
        [sys.executable, "-m", "suite", "list", "tasks"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ["envs", "algorithms", "reports"])
@pytest.mark.parametrize("of_path", [True, False], ids=["search path", "working directory"])
def test_a_package_that_hides_ours(tmp_path: Path, name: str, of_path: bool) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('was executed')")
    done = suite(ROOT, tmp_path) if of_path else suite(tmp_path)
    if of_path:  # the working directory stands first, and that is ours
        assert done.returncode == 0
        done = suite(tmp_path.parent, tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"suite: error: Python finds {tmp_path / name} for this program's own package {name}; "
        "rename it, or take the directory that it is in off PYTHONPATH, or work in another one\n"
    )


def test_a_module_that_hides_ours(tmp_path: Path) -> None:
    (tmp_path / "envs.py").write_text("")
    assert f"Python finds {tmp_path / 'envs.py'} for" in suite(tmp_path).stderr


def test_a_folder_without_code_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    assert suite(tmp_path).returncode == 0


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told yet, and what joins the search path leaves it."""
    monkeypatch.setattr(shadowing, "_told", set())
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_neighbours_of_a_users_file_that_ours_hide(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "envs" / "mine").mkdir(parents=True)
    (tmp_path / "envs" / "mine" / "maze.py").write_text("")
    (tmp_path / "suite.py").write_text("")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "figure.png").write_bytes(b"")
    (tmp_path / "one.py").write_text("from envs.mine import maze")
    (tmp_path / "two.py").write_text("import envs.api, envs.tasks")
    with pytest.raises(UserError, match=r"one\.py:1: cannot be imported: ModuleNotFoundError"):
        load_module(tmp_path / "one.py")
    load_module(tmp_path / "two.py")
    assert caplog.messages == [
        f"{tmp_path / name} cannot be imported: the suite has a package {package} itself; rename "
        "yours if anything is to import it"
        for name, package in (("envs", "envs"), ("suite.py", "suite"))
    ]


def test_a_users_file_in_the_checkout_itself(caplog: pytest.LogCaptureFixture) -> None:
    shadowing.say_what_is_hidden(ROOT)
    assert not caplog.messages
