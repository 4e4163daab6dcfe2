"""Folders that have the name of one of this program's own packages: `envs` is a common one.

Python takes the first of a name on its search path. Where that is a stranger, nothing of this
program works; where it is this program's, it is the stranger that cannot be imported.
"""

from __future__ import annotations

import importlib
import logging
import os
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("algorithms", "envs", "reports", "suite")
"""Of this program's packages, folders of `ROOT`."""

_log = logging.getLogger(__name__)
_told: set[Path] = set()


def hidden() -> str:
    """Returns one line on what Python finds in place of one of this program's packages, or "".

    Those that it finds are imported, so that nothing which joins the search path later can hide
    them.
    """
    for name in NAMES:
        spec = find_spec(name)
        places = _places(spec)
        if not any(_is_ours(place, name) for place in places):
            found = places[0] if places else "nothing"
            return (
                f"Python finds {found} for this program's own package {name}; rename it, or take "
                "the directory that it is in off PYTHONPATH, or work in another one"
            )
        importlib.import_module(name)
    return ""


def say_what_is_hidden(folder: Path) -> None:
    """Warns of modules in a folder that this program's own packages hide, once for each."""
    for name in NAMES:
        for place in (folder / name, folder / f"{name}.py"):
            if place not in _told and _holds_code(place) and not _is_ours(place, name):
                _told.add(place)
                _log.warning(
                    "%s cannot be imported: the suite has a package %s itself; rename yours if "
                    "anything is to import it",
                    place,
                    name,
                )


def _places(spec: ModuleSpec | None) -> list[Path]:
    if spec is None:
        return []
    folders = spec.submodule_search_locations or [spec.origin or ""]
    return [Path(each) for each in folders]


def _is_ours(place: Path, name: str) -> bool:
    return place.exists() and os.path.samefile(place, ROOT / name)


def _holds_code(place: Path) -> bool:
    """Returns whether it could be meant as a module; a folder of pictures, say, is not."""
    if not place.is_dir():
        return place.is_file()
    return any(True for pattern in ("*.py", "*/*.py") for _ in place.glob(pattern))
