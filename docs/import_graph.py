"""The import graph of the house, read off its source: modules, rooms, circles and arrows.

A room is a folder of one of the four packages; a contract, `api.py`, is a room of its own, for
all the others of its package build on it. Imports inside functions count like any other;
those under `if TYPE_CHECKING:` count too, for a reader follows them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("algorithms", "envs", "suite", "reports")

Graph = Mapping[str, frozenset[str]]
"""What each name imports."""


def module_graph(root: Path) -> dict[str, frozenset[str]]:
    """Returns what every module of the house imports of the house.

    Args:
        root: of the checkout.
    """
    paths = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }
    return {name: frozenset(_imported(path, paths.keys() - {name})) for name, path in paths.items()}


def room_of(module: str, root: Path) -> str:
    """Returns the folder that a module lies in, or the module if it is a contract, with slashes."""
    parts = module.split(".")
    if parts[-1] == "api" or parts == ["algorithms", "bounds"]:
        return "/".join(parts)
    folder = Path(*parts)
    return "/".join(parts if (root / folder).is_dir() else parts[:-1])


def room_graph(root: Path) -> dict[str, frozenset[str]]:
    """Returns what the modules of every room import of other rooms."""
    rooms: dict[str, set[str]] = {}
    for module, imported in module_graph(root).items():
        here = room_of(module, root)
        there = {room_of(name, root) for name in imported}
        rooms.setdefault(here, set()).update(there - {here})
    return {room: frozenset(others) for room, others in rooms.items()}


def circle(graph: Graph) -> list[str]:
    """Returns the names along one circle of a graph, none where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def levels(graph: Graph) -> dict[str, int]:
    """Returns how many arrows lie below each name: 0 for what imports nothing.

    Raises:
        CycleError: the graph has a circle.
    """
    depth: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        depth[name] = 1 + max((depth[below] for below in graph[name]), default=-1)
    return depth


def essential(graph: Graph) -> dict[str, frozenset[str]]:
    """Returns a graph without the arrows that a longer way replaces."""
    reached = {name: _reachable(graph, name) for name in graph}
    return {
        name: frozenset(
            below
            for below in others
            if not any(below in reached[between] for between in others - {below})
        )
        for name, others in graph.items()
    }


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _imported(path: Path, known: set[str]) -> Iterator[str]:
    """Yields the modules that a file imports; a package only where none of its modules is meant."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found = full if full in known else node.module
                if found in known:
                    yield found
