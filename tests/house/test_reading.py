"""Files that a stranger may have made are opened by suite/common/reading.py, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from house import parse, relative, sources

GUARD = "suite/common/reading.py"

OPENING = {
    *("open", "io.open", "os.open", "os.fdopen", "codecs.open"),
    *("json.load", "tomllib.load", "np.load", "np.loadtxt", "np.genfromtxt", "np.fromfile"),
    *("zipfile.ZipFile", "shutil.copyfile", "shutil.copy", "shutil.copytree", "np.memmap"),
}
"""Functions that open a file by its path."""

METHODS = {"read_text", "read_bytes", "open", "read_csv", "read_parquet", "read_json"}
"""Methods of paths and of pandas that do."""

ELSEWHERE: Mapping[str, set[str]] = {
    "suite/cli.py": {"open"},  # the file of a traceback, which it has just made
    "suite/common/terminal.py": {"open", "os.open"},  # the device that holds nothing
    "suite/methods/new_method.py": {"open", "read_text"},  # a new file; the template
    "suite/methods/sources.py": {"read_text"},  # modules that are installed or already loaded
    "suite/cluster/sending.py": {"zipfile.ZipFile", "open"},  # of bytes in memory; their members
    "suite/cluster/trainer.py": {"os.fdopen"},  # its own standard output
    "suite/reproduction/results_files.py": {"read_bytes"},  # what it has just made itself
    "suite/storage/archives.py": {"zipfile.ZipFile", "open"},  # of an open file; its members
    "suite/common/files.py": {"open", "os.open", "shutil.copyfile"},  # writes; a run's own file
    "suite/leases/locks.py": {"open"},  # to append
    "suite/leases/signs_of_life.py": {"read_text"},  # what the system tells
    "suite/storage/provenance.py": {"read_text"},  # what the system tells of itself
    "suite/training/resources.py": {"read_text"},  # likewise
    "suite/catalog/deviations.py": {"read_text"},  # files of the package, as those that follow
    "suite/configuration/protocol.py": {"read_text"},
    "suite/configuration/recipe.py": {"read_text"},
    "reports/page/page.py": {"read_text"},
    "reports/references/cards.py": {"read_text"},
}
"""Who else opens something, which is not what a stranger's directory holds."""

OWN = {"RunDirectory.open", "cls.open"}
"""Called so, and no file is opened by it."""


def openings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the line and the name of every call that opens a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in OPENING:
                yield node.lineno, name
            elif method in METHODS and name not in OWN:
                yield node.lineno, method


def found(*packages: str) -> dict[str, list[tuple[int, str]]]:
    """Returns the openings of every file that has some, but for the guard's."""
    listed = {relative(path): list(openings(parse(path))) for path in sources(*packages)}
    return {path: each for path, each in listed.items() if each and path != GUARD}


def test_stored_files_are_opened_by_the_guard_alone() -> None:
    wrong = [
        f"{path}:{line} {name}: open it by {GUARD}, or say here why not"
        for path, each in found("suite", "reports").items()
        for line, name in each
        if name not in ELSEWHERE.get(path, set())
    ]
    assert not wrong


def test_nobody_is_excused_who_opens_nothing() -> None:
    there = {path: {name for _, name in each} for path, each in found("suite", "reports").items()}
    assert {path: there.get(path) for path in ELSEWHERE} == dict(ELSEWHERE)


@pytest.mark.parametrize(
    "line",
    [
        "Path('a').read_text()",
        "open(path, 'rb')",
        "np.load(path, allow_pickle=False)",
        "pd.read_csv(path)",
        "path.open()",
    ],
)
def test_what_opens_a_file_is_seen(line: str, tmp_path: Path) -> None:
    assert len(list(openings(ast.parse(line)))) == 1
