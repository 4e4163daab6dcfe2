"""The import graph and the picture that is drawn of it, on graphs with known answers."""

from __future__ import annotations

import re
from graphlib import CycleError
from pathlib import Path

import pytest

from docs import architecture
from docs.import_graph import circle, essential, levels, module_graph, room_graph
from docs.layered import Links, crossings, place

DIAMOND = {
    "top": frozenset({"left", "right", "bottom"}),
    "left": frozenset({"bottom"}),
    "right": frozenset({"bottom"}),
    "bottom": frozenset[str](),
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house with every way to import, and one to name a module without importing it."""
    write(
        tmp_path,
        {
            "suite/__init__.py": '"""The `suite`."""',
            "suite/cli.py": "NAME = 'suite.inner.work'\ndef f():\n    from suite.inner import work",
            "suite/inner/__init__.py": '"""Works."""',
            "suite/inner/work.py": "import envs.api\nimport os\nfrom suite.inner import help as h",
            "suite/inner/help.py": "from envs.api import Task",
            "envs/__init__.py": '"""Where."""',
            "envs/api.py": '"""What is promised."""',
        },
    )
    return tmp_path


def test_imports_within_functions_count_and_names_in_texts_do_not(house: Path) -> None:
    graph = module_graph(house)
    assert graph["suite.cli"] == {"suite.inner.work"}
    assert graph["suite.inner.work"] == {"envs.api", "suite.inner.help"}
    assert graph["suite.inner.help"] == {"envs.api"}


def test_a_room_is_a_folder_or_a_contract(house: Path) -> None:
    assert room_graph(house) == {
        "suite": {"suite/inner"},
        "suite/inner": {"envs/api"},
        "envs": frozenset(),
        "envs/api": frozenset(),
    }


def test_circles_are_found_also_through_functions(house: Path) -> None:
    assert circle(module_graph(house)) == []
    (house / "suite/inner/help.py").write_text("def f():\n    import suite.cli")
    found = circle(module_graph(house))
    assert set(found) == {"suite.cli", "suite.inner.work", "suite.inner.help"}
    assert set(circle(room_graph(house))) == {"suite", "suite/inner"}
    with pytest.raises(CycleError):
        levels(room_graph(house))


def test_an_arrow_that_a_longer_way_replaces_is_left_out() -> None:
    assert levels(DIAMOND) == {"top": 2, "left": 1, "right": 1, "bottom": 0}
    assert essential(DIAMOND) == {**DIAMOND, "top": {"left", "right"}}


def test_rows_are_ordered_without_needless_crossings_and_nothing_overlaps() -> None:
    straight = {
        "a": frozenset({"z"}),
        "b": frozenset({"y"}),
        "c": frozenset({"x"}),
        **{name: frozenset[str]() for name in "xyz"},
    }
    down: Links = {name: sorted(below) for name, below in straight.items() if below}
    assert crossings([["x", "y", "z"], ["a", "b", "c"]], down) == 3
    rows, x = place(straight, (10.0, 2.0))
    assert crossings(rows, down) == 0
    assert all(x[name] == pytest.approx(x[below]) for name, (below,) in down.items())
    for row in rows:
        assert sorted(x[node] for node in row) == pytest.approx([5.0, 15.0, 25.0])


def test_an_arrow_that_passes_a_row_bends_around_its_boxes() -> None:
    rows, x = place(DIAMOND, (10.0, 2.0))
    bend = ("top", "bottom", 1)
    assert set(rows[1]) == {"left", "right", bend}
    assert all(abs(x[bend] - x[name]) >= 6.0 - 1e-9 for name in ("left", "right"))


def test_the_picture_names_every_room_and_its_purpose(house: Path) -> None:
    picture = architecture.draw(house)
    texts = re.findall(r">([^<>\n]+)</text>", picture)
    assert set(texts) == {
        *("suite/", "suite/inner/", "envs/", "envs/api.py"),
        *("The suite", "Works", "Where", "What is promised"),
    }
    assert picture.count("marker-end") == 2
