"""Classes out of a user's own Python file, `PATH.py` or `PATH.py:CLASS`; the one place that loads.

A file is imported once, under a name of its own, so that it hides no module and none hides it.
It stands alone: a run keeps that file and no other, so it may import what is installed, and not its
neighbours. Whatever goes wrong is told in one line with the place in the file.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

from suite.common.errors import UserError, unknown
from suite.common.jax_settings import changed_setting
from suite.common.reading import MAX_SOURCE_BYTES, read_bounded
from suite.common.shadowing import NAMES, say_what_is_hidden

T = TypeVar("T")

_contents: dict[str, bytes] = {}
"""Of every file that was imported, by the name of its module."""

ENDING = ".py"


class UserFile(NamedTuple):
    """A file, and the class of it that is meant.

    Attributes:
        path: as it was given.
        class_name: "" where the file holds one alone.
    """

    path: Path
    class_name: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.class_name}" if self.class_name else str(self.path)


def is_user_file(spec: str) -> bool:
    """Returns whether a name on the command line means a file: `PATH.py` or `PATH.py:CLASS`."""
    return spec.endswith(ENDING) or f"{ENDING}:" in spec


def parse_user_file(spec: str) -> UserFile:
    """Returns the two parts of `PATH.py:CLASS`.

    Raises:
        UserError: it is not of that form.
    """
    path, colon, name = spec.rpartition(":") if f"{ENDING}:" in spec else (spec, "", "")
    if not path.endswith(ENDING) or (colon and not name.isidentifier()):
        raise UserError(f"{spec}: give a file of your own as PATH.py or PATH.py:CLASS")
    return UserFile(Path(path).expanduser(), name)


def load_class(file: UserFile, base: type[T], what: str) -> type[T]:
    """Imports a file, which executes it, and returns the class that is meant.

    Args:
        file: which.
        base: what the class has to extend.
        what: it is, for messages: `method`, say.

    Raises:
        UserError: the file cannot be imported, or the class is not there, or is not the only one.
            What the file itself raised is the error's cause.
    """
    module = load_module(file.path)
    found = {
        name: each
        for name, each in vars(module).items()
        if inspect.isclass(each) and issubclass(each, base) and each.__module__ == module.__name__
    }
    if file.class_name:
        return _named(file, module, found, base)
    if not found:
        raise UserError(f"{file.path}: holds no {what}, a class that extends {base.__name__}")
    # A method's own base class is no method: what others in the file extend is not meant.
    last = [each for each in found.values() if not _is_extended(each, found.values())]
    if len(last) > 1:
        names = ", ".join(each.__name__ for each in last)
        raise UserError(
            f"{file.path}: holds {len(last)} {what}s, {names}; name one, "
            f"{file.path}:{last[0].__name__}"
        )
    return last[0]


def load_module(path: Path) -> ModuleType:
    """Imports a file by its path, once however often it is asked for.

    Raises:
        UserError: it is missing, no Python, or fails while it is imported.
    """
    source = _read(path)
    name = _module_name(path, source)
    say_what_is_hidden(path.resolve().parent)
    known = sys.modules.get(name)
    if known is not None:
        return known
    _check_alone(path, source)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    _contents[name] = source
    try:
        exec(compile(source, str(path.resolve()), "exec"), vars(module))
    except (Exception, SystemExit) as error:  # it is the user's code: it may fail in any way
        del sys.modules[name]
        raise UserError(f"{place_in(path, error)}: cannot be imported: {reason(error)}") from error
    if changed := changed_setting():
        raise UserError(f"{path}: {changed}; the file sets it for all methods, so take that out")
    return module


def content_of(cls: type) -> bytes:
    """Returns what was executed of the file that a class was loaded out of.

    Raises:
        KeyError: it came out of no user's file.
    """
    return _contents[cls.__module__]


def place_of(file: UserFile, cls: type) -> str:
    """Returns `FILE:LINE` of the class in its file, `FILE` alone if it stands elsewhere."""
    tree = ast.parse(_contents.get(cls.__module__, b""))
    lines = [n.lineno for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
    return f"{file.path}:{lines[-1]}" if lines else str(file.path)


def place_in(path: Path, error: BaseException) -> str:
    """Returns `FILE:LINE`, the innermost line of a file that an error came through.

    `FILE` alone, if it came through none.
    """
    if isinstance(error, SyntaxError) and error.filename == str(path.resolve()):
        return f"{path}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path.resolve())]
    return f"{path}:{lines[-1]}" if lines else str(path)


def reason(error: BaseException) -> str:
    """Returns an error's type and text in one line of bounded length."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    text = text if len(text) <= 200 else f"{text[:200]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _read(path: Path) -> bytes:
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise UserError(f"{path}: this is no file; give one that ends in {ENDING}")
    try:
        content = read_bounded(path, MAX_SOURCE_BYTES, links=True)
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if b"\0" in content:
        raise UserError(f"{path}: holds a zero byte; it is no Python")
    return content


def _check_alone(path: Path, source: bytes) -> None:
    """Refuses a file that imports its neighbours, which no run would keep."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # importing it says that better
    for line, name in _imports(tree):
        if name.startswith(".") or _is_neighbour(path, name.partition(".")[0]):
            raise UserError(
                f"{path}:{line}: imports its neighbour {name}, which a run would not keep; put all "
                "into the one file, or make it a package with an entry point (CONTRIBUTING.md)"
            )


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the line and the name of every module that is imported; with a dot if relative."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def _is_neighbour(path: Path, name: str) -> bool:
    if name in NAMES:  # this program's own, also where the file lies in its checkout
        return False
    folder = path.resolve().parent
    if not any((folder / each).exists() for each in (f"{name}.py", name)):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return True
    if spec is None:
        return True
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
    return any(Path(place).parent == folder for place in places)


def _module_name(path: Path, source: bytes) -> str:
    """Returns the name of a file's module: that of another file in its place is another."""
    digest = hashlib.sha256(bytes(path.resolve()) + source).hexdigest()
    stem = "".join(each if each.isalnum() else "_" for each in path.stem)
    return f"user_file_{stem}_{digest[:8]}"


def _named(file: UserFile, module: ModuleType, found: dict[str, type[T]], base: type[T]) -> type[T]:
    if file.class_name in found:
        return found[file.class_name]
    there = getattr(module, file.class_name, None)
    if inspect.isclass(there) and issubclass(there, base):
        return there  # imported by the file, and asked for by name
    if there is not None:
        raise UserError(f"{file}: does not extend {base.__name__}")
    if not found:
        raise UserError(f"{file}: there is no such class, nor any that extends {base.__name__}")
    raise UserError(f"{file.path}: {unknown('class', file.class_name, found)}")


def _is_extended(cls: type, others: Iterable[type]) -> bool:
    return any(cls in other.__mro__[1:] for other in others)
