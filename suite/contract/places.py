"""Where in its file a method's class has what an error is about."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import sys
import textwrap
import traceback
from pathlib import Path
from types import CodeType


@functools.cache
def place_of(cls: type, member: str = "") -> str:
    """Returns `FILE:LINE` of a class's function, property or field, "" if no source is there.

    Args:
        cls: the class.
        member: its name. What the class has from another file is not looked up there: a user can
            mend only the own one. It is the class's line then.
    """
    file = _file_of(cls)
    if file is None:
        return ""
    bases = [base for base in cls.__mro__ if _file_of(base) == file]
    lines = [_line(base, member, file) for base in bases] if member else []
    line = next(filter(None, lines), None) or _class_lines(cls)[1]
    return f"{Path(file).name}:{line}" if line else Path(file).name


def innermost(error: BaseException, cls: type) -> str:
    """Returns `FILE:LINE`, the innermost line of a class's own file that an error came through.

    If it came through none, the innermost line of the files of the classes that it extends, or
    else of any, and the class's own line.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == _file_of(cls)]
    files = {_file_of(base) for base in cls.__mro__}
    last = [*frames[-1:], *(frame for frame in frames if frame.filename in files), *own][-1:]
    found = "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in last)
    return found if own else f"{found}, for {cls.__name__}, {place_of(cls)}"


def _file_of(cls: type) -> str | None:
    file: str | None = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file


def _line(cls: type, member: str, file: str) -> int | None:
    """Returns where a class's own body defines a member, None if it does not."""
    code = _code(vars(cls).get(member))
    if code is not None:
        return code.co_firstlineno if code.co_filename == file else None
    source, first = _class_lines(cls)
    body = next((n.body for n in ast.parse(source).body if isinstance(n, ast.ClassDef)), [])
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == member for each in targets):
            return first + node.lineno - 1
    return None


def _code(value: object) -> CodeType | None:
    """Returns the code of a function, also of one that a decorator has wrapped."""
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, functools.cached_property):
        value = value.func
    function = inspect.unwrap(getattr(value, "__func__", value))  # type: ignore[arg-type]
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _class_lines(cls: type) -> tuple[str, int]:
    """Returns the source of a class and its first line; "" and 0 of one that no text defines."""
    with contextlib.suppress(OSError, TypeError, SyntaxError):
        lines, first = inspect.getsourcelines(cls)
        return textwrap.dedent("".join(lines)), first
    return "", 0
