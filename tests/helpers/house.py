"""The house's own source, as the tests of its rules read it."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from docs.import_graph import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
EVERYWHERE = (*PACKAGES, "benchmarks", "docs", "tests")
"""The folders that hold Python."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    """Returns a path as messages name it, from the root of the checkout."""
    return path.relative_to(ROOT).as_posix()


def sources(*directories: str) -> list[Path]:
    """Returns the Python files below some folders of the checkout."""
    return sorted(path for name in directories for path in (ROOT / name).rglob("*.py"))


@functools.cache
def parse(path: Path) -> ast.Module:
    """Returns the tree of a file, read once for all tests; nobody may change it."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yields full names: `from envs import vector` gives `envs` and `envs.vector`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(path: Path) -> set[str]:
    """Returns the first parts of all that a file imports."""
    return {name.partition(".")[0] for name in imported_modules(parse(path))}


def functions(path: Path) -> list[Function]:
    """Returns all functions of a file, methods and inner ones included."""
    return [node for node in ast.walk(parse(path)) if isinstance(node, Function)]


def line_count(function: Function) -> int:
    """Counts from `def` to the last line, docstring included, decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def function_lengths(*directories: str) -> dict[str, int]:
    """Returns the lines of every function below some folders, by its place."""
    return {
        f"{relative(path)}:{function.lineno} {function.name}": line_count(function)
        for path in sources(*directories)
        for function in functions(path)
    }


def method_counts(*directories: str) -> dict[str, int]:
    """Returns how many methods every class below some folders defines, by its place."""
    return {
        f"{relative(path)} {node.name}": sum(isinstance(each, Function) for each in node.body)
        for path in sources(*directories)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef)
    }


def public_members(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Yields (qualified name, node) of a module's public functions, classes and methods."""
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, Function) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member


def house_members() -> list[tuple[Path, str, Function | ast.ClassDef]]:
    """Returns every public member with its file and its name."""
    return [
        (path, name, node)
        for path in sources(*PACKAGES, "benchmarks", "docs")
        for name, node in public_members(parse(path))
    ]


@functools.cache
def repository_files() -> tuple[Path, ...]:
    """Lists what git tracks or would track; skips the test outside of a checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


@functools.cache
def texts() -> Mapping[str, str]:
    """Returns the content of every text file of the repository, by its path."""
    contents = {relative(path): path.read_bytes() for path in repository_files()}
    return {
        name: content.decode("utf-8", errors="replace")
        for name, content in contents.items()
        if b"\0" not in content
    }


def matching_lines(pattern: re.Pattern[str]) -> list[str]:
    """Returns every line of the repository that a pattern is found in, with its place."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts().items()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
