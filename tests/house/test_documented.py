"""Every public name says what it is; every room says what it is for; the picture is true."""

from __future__ import annotations

import ast

from house import ROOT, Function, house_members, parse, relative, sources

from docs import architecture
from docs.import_graph import PACKAGES

MAX_PURPOSE = 60  # characters


def test_every_room_says_what_it_is_for() -> None:
    purposes = {
        relative(path): (ast.get_docstring(parse(path)) or "").partition("\n")[0]
        for path in sources(*PACKAGES)
        if path.name == "__init__.py"
    }
    assert {path.parent for path in sources(*PACKAGES)} == {
        ROOT / name.removesuffix("/__init__.py") for name in purposes
    }
    assert not {name: line for name, line in purposes.items() if not 0 < len(line) <= MAX_PURPOSE}


def test_the_picture_of_the_rooms_is_current() -> None:
    stored = architecture.PICTURE.read_text(encoding="utf-8")
    assert stored == architecture.draw(), "write it again: python -m docs.architecture"


def base_names(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]


def is_property(node: Function | ast.ClassDef) -> bool:
    """A property's name and type may say everything."""
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_public_names_have_docstrings() -> None:
    members = house_members()
    documented = {name for _, name, node in members if ast.get_docstring(node)}
    bases = {
        node.name: base_names(node) for _, _, node in members if isinstance(node, ast.ClassDef)
    }

    def inherits_docstring(name: str) -> bool:
        owner, _, method = name.rpartition(".")
        inherited = [f"{base}.{method}" for base in bases.get(owner, [])]
        return any(item in documented or inherits_docstring(item) for item in inherited)

    missing = [
        f"{relative(path)} {name}"
        for path, name, node in members
        if not (ast.get_docstring(node) or is_property(node) or inherits_docstring(name))
    ]
    assert members
    assert not missing


def untyped_parts(function: Function, is_method: bool) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    static = any(ast.unparse(item) == "staticmethod" for item in function.decorator_list)
    named = named[1:] if is_method and not static else named
    rest = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    untyped = [a.arg for a in (*named, *arguments.kwonlyargs, *rest) if a.annotation is None]
    return untyped if function.returns else [*untyped, "return"]


def test_public_functions_are_typed() -> None:
    untyped = {
        f"{relative(path)} {name}": untyped_parts(node, is_method="." in name)
        for path, name, node in house_members()
        if isinstance(node, Function)
    }
    assert not {name: parts for name, parts in untyped.items() if parts}
