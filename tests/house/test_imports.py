"""Who may import whom: packages, rooms, modules and fragile libraries."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest
from house import ROOT, imported_modules, imported_packages, parse, relative, sources

from docs import import_graph
from docs.import_graph import PACKAGES, module_graph, room_graph

FORBIDDEN_IMPORTS = {
    "algorithms": {"envs", "suite", "reports", "benchmarks", "mujoco", "mujoco_playground"},
    "envs": {"algorithms", "suite", "reports", "benchmarks", "optax"},
    "suite": {"reports", "benchmarks", "mujoco", "mujoco_playground"},
    "reports": {"algorithms", "envs", "benchmarks", "mujoco", "mujoco_playground"},
}
"""What each package may not import."""

FLOORS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "algorithms": (
        ("",),
        ("baselines", "off_policy", "encoder_decoder", "registering"),
        ("parts",),
        ("api",),
        ("bounds",),
    ),
    "envs": (("engines",), ("",), ("api",)),
    "suite": (
        ("",),
        ("commands",),
        ("tuning", "cluster", "reproduction", "watching"),
        ("training", "checks"),
        ("compute", "planning", "methods"),
        ("storage", "catalog", "contract"),
        ("configuration", "leases"),
        ("common",),
    ),
    "reports": (
        ("",),
        ("writing",),
        ("page", "figures", "tables", "export", "audit"),
        ("judgement",),
        ("analysis", "references"),
        ("runs",),
        ("consistency",),
    ),
}
"""The rooms of each package from top to bottom; "" are the modules of the package itself.

Rooms import downwards, or sideways as long as no circle comes of it.
"""

REPORTS_READ = {f"suite/{room}" for room in ("storage", "configuration", "catalog", "common")}
"""What the rooms of reports may import of the suite; their commands may import anything."""

SOLE_IMPORTERS = {
    "flax": "algorithms/parts/networks.py",
    "distrax": "algorithms/parts/distributions.py",
    "tensorflow_probability": "algorithms/parts/distributions.py",
}
"""Libraries that break often, each with the one file that imports it."""


def floor(room: str) -> int:
    """Returns how far down a room lies in its package: 0 at the top."""
    package, _, name = room.partition("/")
    (found,) = (level for level, names in enumerate(FLOORS[package]) if name in names)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources(package)
        for name in sorted(imported_packages(path) & FORBIDDEN_IMPORTS[package])
    ]
    assert not wrong


def test_every_room_has_its_floor() -> None:
    declared = {
        f"{package}/{name}".rstrip("/")
        for package, floors in FLOORS.items()
        for names in floors
        for name in names
    }
    assert declared == set(room_graph(ROOT))


def arrows(room: str, others: frozenset[str]) -> list[str]:
    """Returns the arrows of a room that point up in its own package."""
    package = room.partition("/")[0]
    return [
        f"{room} imports {other}, which lies above: {', '.join(examples(room, other))}"
        for other in sorted(others)
        if other.partition("/")[0] == package and floor(other) < floor(room)
    ]


def examples(room: str, other: str) -> list[str]:
    """Returns the imports that an arrow between two rooms stands for."""
    here = import_graph.module_graph(ROOT)
    return [
        f"{module} -> {name}"
        for module, imported in here.items()
        if import_graph.room_of(module, ROOT) == room
        for name in sorted(imported)
        if import_graph.room_of(name, ROOT) == other
    ]


def test_no_room_imports_from_above() -> None:
    graph = room_graph(ROOT)
    assert not [arrow for room in sorted(graph) for arrow in arrows(room, graph[room])]


def test_no_modules_import_in_a_circle() -> None:
    assert " -> ".join(import_graph.circle(module_graph(ROOT))) == ""


def test_no_rooms_import_in_a_circle() -> None:
    """Each module alone may be innocent: a -> b.one and b.two -> a."""
    assert " -> ".join(import_graph.circle(room_graph(ROOT))) == ""


def test_rooms_of_reports_read_what_is_stored_and_nothing_of_training() -> None:
    wrong = {
        f"{room} imports {other}: {', '.join(examples(room, other))}"
        for room, others in room_graph(ROOT).items()
        if room.startswith("reports/")
        for other in others
        if other.startswith("suite") and other not in REPORTS_READ
    }
    assert not wrong


def test_no_relative_imports() -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in sources(*PACKAGES)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_fragile_libraries_have_one_importer(library: str) -> None:
    importers = {
        relative(path)
        for path in sources(*PACKAGES)
        if library in {name.partition(".")[0] for name in imported_modules(parse(path))}
    }
    assert importers <= {SOLE_IMPORTERS[library]}
