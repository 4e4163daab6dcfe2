"""Digests of the source that makes a method what it is.

A method's source is the module of its class and every module that this one reaches by imports,
within the method's own package and those of the classes that it extends. So a change of FPO says
nothing of PPO's runs, but a change of what both import does. Comments, docstrings and blank lines
do not count, nor do line endings. What is imported by a computed name cannot be followed: a
package that does so counts as a whole.
"""

from __future__ import annotations

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

_DYNAMIC = ("importlib", "pkgutil", "runpy")
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def source_digests(
    cls: type, bases: type = object, without: Collection[str] = ()
) -> dict[str, str]:
    """Returns 12 hex digits of the source of each module that defines a class.

    Args:
        cls: the class.
        bases: only classes that extend this one bring the modules of their packages in.
        without: modules that are neither counted nor followed.

    Returns:
        By module name, in alphabetical order; without those whose source cannot be read.
    """
    owners = [base.__module__ for base in cls.__mro__ if issubclass(base, bases)]
    owners = [owner for owner in owners if owner not in sys.stdlib_module_names]
    roots = {top: _root(top) for top in {owner.partition(".")[0] for owner in owners}}
    texts: dict[str, str] = {}
    queue = list(owners)
    while queue:
        module = queue.pop()
        path = _file_of(module, roots)
        if module in texts or module in without or path is None:
            continue
        texts[module] = _read(path)
        queue += _reached(module, texts[module], path, roots)
    found = {module: _digest(essence(text)) for module, text in texts.items() if text}
    return dict(sorted(found.items()))


def combined(digests: Mapping[str, str], name: str = "") -> str | None:
    """Returns 16 hex digits of all digests and a name together; None of no digests."""
    text = "\n".join([name, *(f"{module} {each}" for module, each in sorted(digests.items()))])
    return _digest(text, 16) if digests else None


def essence(text: str) -> str:
    """Returns Python source without comments, docstrings and blank lines; any other text whole."""
    try:
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return text
    lines = text.splitlines()
    inside = {row for token in tokens for row in range(token.start[0], token.end[0])}
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    dropped = set(_docstring_rows(tree))
    kept = [
        line
        for row, line in enumerate(lines, start=1)
        if row not in dropped and (line.strip() or row in inside)
    ]
    return "\n".join(kept)


def _docstring_rows(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            statement = node.body[0]
            yield from range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)


def _reached(module: str, text: str, path: Path, roots: Mapping[str, Path | None]) -> Iterator[str]:
    """Yields the modules that a module may import, some of which do not exist."""
    parts = module.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))
    package = parts if path.name == "__init__.py" else parts[:-1]
    imported = set(_imported(text, package))
    yield from imported
    root = roots[parts[0]]
    if root is not None and root.is_dir() and not imported.isdisjoint(_DYNAMIC):
        for each in root.rglob("*.py"):
            yield ".".join([parts[0], *each.relative_to(root).with_suffix("").parts])


def _imported(text: str, package: list[str]) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _root(top: str) -> Path | None:
    """Returns the directory of a package, or the file of a module, that is imported."""
    module = sys.modules.get(top)
    places: Iterable[str] = getattr(module, "__path__", None) or ()
    file = next(iter(places), None) or getattr(module, "__file__", None)
    return Path(file) if file else None


def _file_of(module: str, roots: Mapping[str, Path | None]) -> Path | None:
    top, *rest = module.split(".")
    root = roots.get(top)
    if root is None or (rest and not root.is_dir()):
        return None
    if not root.is_dir():
        return root
    path = root.joinpath(*rest)
    candidates = [path / "__init__.py", *([path.with_name(f"{rest[-1]}.py")] if rest else [])]
    return next((each for each in candidates if each.is_file()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _digest(text: str, length: int = 12) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:length]
