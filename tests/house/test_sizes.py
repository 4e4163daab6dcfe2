"""How large a folder, a file, a class and a function may be, and how loosely typed."""

from __future__ import annotations

import ast
import statistics
from collections import Counter
from collections.abc import Mapping

from house import EVERYWHERE, function_lengths, functions, method_counts, parse, relative, sources

from docs.import_graph import PACKAGES

MAX_FILES = 13  # in a folder, not counting __init__.py
MAX_FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 15
MAX_ALGORITHM_LINES = 300
MAX_METHODS = 20
MAX_ANY = 10  # in 1,000 lines of suite/

LARGE_CLASSES: Mapping[str, str] = {}
"""Classes of the four packages with more methods, each with the reason."""


def test_folders_hold_few_files() -> None:
    files = [path for path in sources(*EVERYWHERE) if path.name != "__init__.py"]
    counts = Counter(relative(path.parent) for path in files)
    assert not {folder: count for folder, count in counts.items() if count > MAX_FILES}


def test_functions_are_short() -> None:
    lengths = function_lengths(*EVERYWHERE)
    median = statistics.median(function_lengths(*PACKAGES).values())
    told = f"the median of the four packages is {median:g} lines"
    assert not {k: count for k, count in lengths.items() if count > MAX_FUNCTION_LINES}, told
    assert median < MEDIAN_FUNCTION_LINES, told


def test_algorithm_files_are_short() -> None:
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("algorithms")
        if any(function.name == "act" for function in functions(path))
    }
    assert lengths
    assert not {name: length for name, length in lengths.items() if length > MAX_ALGORITHM_LINES}


def test_classes_have_few_methods() -> None:
    counts = method_counts(*PACKAGES)
    large = {name: count for name, count in counts.items() if count > MAX_METHODS}
    assert not {name: count for name, count in large.items() if name not in LARGE_CLASSES}
    assert not LARGE_CLASSES.keys() - large.keys(), "a reason that nothing needs any more"


def test_plain_data_of_the_suite_has_types() -> None:
    """`Any` is for what is truly anything, such as a method's own state."""
    paths = sources("suite")
    found = {relative(path): count for path in paths if (count := mentions_of_any(parse(path)))}
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
    share = 1000 * sum(found.values()) / lines
    most = Counter(found).most_common(8)
    assert share < MAX_ANY, f"{share:.1f} in 1,000 lines, most of them in {most}"


def mentions_of_any(tree: ast.Module) -> int:
    """Counts every use of the name, in annotations, type aliases and casts."""
    return sum(
        (isinstance(node, ast.Name) and node.id == "Any")
        or (isinstance(node, ast.Attribute) and ast.unparse(node) == "typing.Any")
        for node in ast.walk(tree)
    )
