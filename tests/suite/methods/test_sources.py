"""The digest of a method's source changes with what defines the method, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from algorithms import registry
from algorithms.api import Algorithm
from suite.methods.method_record import method_facts
from suite.methods.sources import combined, essence, source_digests

METHOD = '''"""A method."""
from algorithms.fpo import FPO
from algorithms.registry import Entry
from . import nets
from .deep.inner import depth

class Mine(FPO):
    """Flow."""

ENTRY = Entry("mine", Mine, "flows")
'''
FILES = {
    "__init__.py": "",
    "method.py": METHOD,
    "nets.py": "import json\n\ndef width():\n    return 64\n",
    "deep/__init__.py": "",
    "deep/inner.py": "depth = 3\n",
    "aside.py": "unrelated = True\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's own method."""
    root = tmp_path / "lab_methods"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return root


def imported(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports the package anew."""
    for name in [each for each in sys.modules if each.startswith("lab_methods")]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module("lab_methods.method")


def digests(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return source_digests(imported(monkeypatch).Mine, Algorithm, without=("algorithms.registry",))


def test_what_the_class_reaches_by_imports_counts(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(monkeypatch)
    own = {name for name in before if name.startswith("lab")}
    assert own == {f"lab_methods.{each}" for each in ("method", "nets", "deep.inner")}
    # What FPO is made of, and neither PPO nor GoRL.
    ours = {name.partition(".")[2] for name in before} - {each.partition(".")[2] for each in own}
    parts = {"flow", "networks", "normalizer", "on_policy", "returns"}
    assert {"api", "fpo", *(f"parts.{each}" for each in parts)} <= ours
    assert not {"ppo", "gorl", "registry"} & ours
    (package / "aside.py").write_text("unrelated = False\n")
    assert digests(monkeypatch) == before
    (package / "deep" / "inner.py").write_text("depth = 4\n")
    after = digests(monkeypatch)
    assert {name for name in after if after[name] != before[name]} == {"lab_methods.deep.inner"}
    assert combined(after) != combined(before)
    assert combined(before, "Mine") != combined(before, "Other")


def test_a_package_with_computed_imports_counts_as_a_whole(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "nets.py").write_text("import importlib\n")
    assert "lab_methods.aside" in digests(monkeypatch)


def test_comments_docstrings_and_blank_lines_do_not_count() -> None:
    commented = (
        '"""Doc."""\n# why\n\ndef f(x):  # what\n    """Doc\n\n    more."""\n\n    return x\n'
    )
    assert (
        essence(commented) == essence("def f(x):\r\n    return x\r\n") == "def f(x):\n    return x"
    )
    assert essence("x = 1") != essence("x = 2")
    assert essence("x = '# no comment'") == "x = '# no comment'"
    assert essence("x = '''a\n\nb'''") != essence("x = '''a\nb'''")
    assert essence("no python (") == "no python ("


def test_what_a_run_records_of_its_method(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = imported(monkeypatch).ENTRY
    monkeypatch.setattr(registry, "lookup", lambda name: entry)
    facts: Any = method_facts("mine")
    assert (facts["name"], facts["description"]) == ("mine", "flows")
    assert facts["distribution"] == "gorl-suite"
    assert facts["version"] and facts["summary"]
    assert len(facts["source"]) == 16
    assert "lab_methods.nets" in facts["modules"]
    assert "algorithms.registry" not in facts["modules"]


def test_a_class_without_source_has_no_digest() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    cls = type("Typed", (), {"__module__": "nowhere", **namespace})
    assert combined(source_digests(cls)) is None
