"""Methods that a run keeps the file of: executed only where the user says that they are trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from algorithms.registry import entries
from suite.common.errors import UserError
from suite.common.reading import MAX_SOURCE_BYTES, read_bounded
from suite.common.user_file import UserFile
from suite.methods.select_methods import add_method
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory


def trust_methods(run: RunDirectory, cells: Sequence[Cell]) -> None:
    """Executes the files that cells keep of methods which are not known here.

    Raises:
        UserError: a file is not the one that was trained, cells of one method keep different
            ones, or see `add_method`.
    """
    known = entries()
    added: dict[str, tuple[Cell, str]] = {}
    for cell in cells:
        path = run.files(cell).method_path()
        if path is None or cell.algorithm in known:
            continue
        file, digest = _recorded(run, cell, path)
        first, other = added.setdefault(cell.algorithm, (cell, digest))
        if other != digest:
            raise UserError(
                f"{run.path}: {first} and {cell} keep different files of {cell.algorithm}; choose "
                "the seeds of one of them"
            )
        if first == cell:
            add_method(file, cell.algorithm)


def how_to_trust(run: RunDirectory, cell: Cell) -> str:
    """Returns how a method that is not known here can be had, "" if the cell keeps no file."""
    path = run.files(cell).method_path()
    return f"it is kept in {path}; read that, then --trust executes it" if path else ""


def _recorded(run: RunDirectory, cell: Cell, path: Path) -> tuple[UserFile, str]:
    """Returns the file with the class in it, and its digest, as run.json tells them."""
    record = run.files(cell).read_run()
    methods = [start.get("method") for start in (record.provenance if record else ())]
    newest = methods[-1] if methods else None
    told = newest.get("file") if isinstance(newest, Mapping) else None
    name, recorded = (
        (told.get("class"), told.get("sha256")) if isinstance(told, Mapping) else ("", "")
    )
    try:
        digest = hashlib.sha256(read_bounded(path, MAX_SOURCE_BYTES)).hexdigest()
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); restore it") from None
    if digest != recorded or not isinstance(name, str) or not name.isidentifier():
        raise UserError(f"{path} is not the file that run.json names; restore both")
    return UserFile(path, name), digest
