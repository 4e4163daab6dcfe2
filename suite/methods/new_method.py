"""The file that `suite new-algo` writes: the template, with a name of its own."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from importlib import resources
from pathlib import Path

from algorithms.registering.registration import name_fault
from algorithms.registry import entries
from suite.common.errors import UserError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*")

_FILE, _CLASS, _METHOD = "my_method", "MyMethod", "my-method"
"""What the template (suite/methods/template.py) is called."""


def write_method(name: str, folder: Path) -> Path:
    """Writes a small method that works, and returns its path, `folder/NAME.py`.

    Args:
        name: of the file, `my_method`, or of the method, `my-method`.
        folder: made if it is not there.

    Raises:
        UserError: the name cannot be one or is taken, or the file exists.
        OSError: it cannot be written.
    """
    text = method_text(name)
    path = folder / f"{_file_name(name)}.py"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{path} exists; choose another name, or a directory with --out") from None
    return path


def method_text(name: str) -> str:
    """Returns the template with names made of `name`: `my_method`, `my-method` and `MyMethod`.

    Raises:
        UserError: see `write_method`.
    """
    file = _file_name(name)
    method = file.replace("_", "-").lower()
    if not NAME.fullmatch(file):
        raise UserError(
            f"{name!r} is no name for a method; use letters, digits and single '_' or '-', as in "
            f"{_FILE}, and --out for the directory"
        )
    if fault := name_fault(method, entries()):
        raise UserError(f"{name}: {fault}; choose another")
    text = (resources.files("suite.methods") / "template.py").read_text(encoding="utf-8")
    text = text.replace(_CLASS, _class_name(file, text))
    return text.replace(_FILE, file).replace(_METHOD, method)


def _file_name(name: str) -> str:
    return name.removesuffix(".py").replace("-", "_")


def _class_name(file: str, text: str) -> str:
    """Returns `my_method` as MyMethod, made longer if the template means something else by it."""
    name = "".join(part[0].upper() + part[1:] for part in file.split("_"))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    used = {token.string for token in tokens if token.type == tokenize.NAME} - {_CLASS}
    return f"{name}Method" if name in used or keyword.iskeyword(name) else name
