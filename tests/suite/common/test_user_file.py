"""Classes out of a user's file: the right one, or one line that says what to mend where."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from suite.common import user_file
from suite.common.errors import UserError
from suite.common.shadowing import ROOT
from suite.common.user_file import is_user_file, load_class, parse_user_file

ONE = "import numbers\nclass Mine(numbers.Number):\n    def __hash__(self): return 1\n"


def load(path: Path, name: str = "") -> type:
    import numbers

    spec = f"{path}:{name}" if name else str(path)
    return load_class(parse_user_file(spec), numbers.Number, "method")  # type: ignore[type-abstract]


def written(tmp_path: Path, text: str, name: str = "my_method.py") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_what_means_a_file() -> None:
    assert is_user_file("./my.py") and is_user_file("a/my.py:Mine")
    assert not is_user_file("ppo") and not is_user_file("all")


def test_the_one_class_of_a_file_is_found_once(tmp_path: Path) -> None:
    path = written(tmp_path, ONE)
    assert load(path).__name__ == "Mine"
    assert load(path) is load(path, "Mine")


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    before = load(written(tmp_path, ONE))
    assert load(written(tmp_path, ONE + "X = 1\n")) is not before


def test_a_base_class_in_the_file_is_not_meant(tmp_path: Path) -> None:
    text = ONE + "class Better(Mine):\n    pass\n"
    assert load(written(tmp_path, text)).__name__ == "Better"


@pytest.mark.parametrize("found", [False, True])
def test_neighbours_are_refused_as_no_run_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)] if found else [*sys.path])
    written(tmp_path, "VALUE = 3\n", "a_neighbour_of_mine.py")
    path = written(tmp_path, ONE + "import a_neighbour_of_mine\n")
    with pytest.raises(UserError, match=r"my_method\.py:4: imports its neighbour a_neighbour_of"):
        load(path)


def test_a_file_in_the_checkout_may_import_the_suite() -> None:
    user_file._check_alone(ROOT / "my_method.py", b"import algorithms.api, suite")
    with pytest.raises(UserError, match="imports its neighbour benchmarks"):
        user_file._check_alone(ROOT / "my_method.py", b"import benchmarks.claims")


def test_a_folder_of_an_installed_package_s_name_is_no_neighbour(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    assert load(written(tmp_path, "import envs.api\n" + ONE)).__name__ == "Mine"


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("x = (\n", "", r"my_method\.py:1: cannot be imported: SyntaxError: '\(' was never closed"),
        ("x = 1\ny = x / 0\n", "", r"my_method\.py:2: cannot be imported: ZeroDivisionError"),
        ("import no_such_thing_here\n", "", r"my_method\.py:1: .*ModuleNotFoundError"),
        ("raise SystemExit\n", "", r"my_method\.py:1: cannot be imported: SystemExit"),
        ("x = 1\n", "", "holds no method, a class that extends Number"),
        (ONE + "class Other(numbers.Number): pass\n", "", "holds 2 methods, Mine, Other; name one"),
        (ONE, "Mien", "unknown class 'Mien'; did you mean 'Mine'"),
        ("x = 1\n", "Mine", "there is no such class"),
        ("class Mine: pass\n", "Mine", "does not extend Number"),
        ("x = '\0'\n", "", "zero byte"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load(written(tmp_path, text), name)
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "missing.py")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserError, match="this is no file"):
        load(tmp_path / "folder.py")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=re.escape("UTF-8")):
        load(tmp_path / "binary.py")
    with pytest.raises(UserError, match=re.escape("PATH.py:CLASS")):
        parse_user_file("my.py:1st")
