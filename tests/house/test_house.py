"""The rules of the house that no linter knows (CONTRIBUTING.md lists them)."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("algorithms", "envs", "suite", "reports")
MAX_FUNCTION_LINES = 60
MAX_ALGORITHM_LINES = 300

# What each package may not import, and the one file that may all the same.
FORBIDDEN_IMPORTS = {
    "algorithms": {"envs", "suite", "reports", "benchmarks", "mujoco", "mujoco_playground"},
    "envs": {"algorithms", "suite", "reports", "benchmarks", "optax"},
    "suite": {"reports", "benchmarks", "mujoco", "mujoco_playground"},
    "reports": {"algorithms", "envs", "benchmarks", "mujoco", "mujoco_playground"},
}
EXCEPTIONS = {("suite/cli.py", "reports")}  # the command line names every room
REPORTS_MAY_IMPORT = (
    "suite.configuration.recipe.",
    "suite.storage.",
    "suite.configuration.protocol.",
    "suite.common.errors.",
    "suite.storage.action_samples.",
    "suite.common.formatting.",
    "suite.common.claim_floor.",  # arithmetic for the plan before training and the report after it
    # Imports nothing of the algorithms before a preset's value is looked up.
    "suite.catalog.deviations.",
    "suite.catalog.names.",
)

# Libraries that break often, each with the one file that imports it.
SOLE_IMPORTERS = {
    "flax": "algorithms/parts/networks.py",
    "distrax": "algorithms/parts/distributions.py",
    "tensorflow_probability": "algorithms/parts/distributions.py",
}

MACHINE_PATH = re.compile(r"(?<![\w.~}/-])/(?:work|tmp|root)\b(?!-)")
# In pieces, so that this file names none either.
REGISTRIES = (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", ""), ("debian", "org"))
REGISTRY_HOST = re.compile("|".join([*map(r"\.".join, REGISTRIES), "--(?:extra-)?index-url"]))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources(*directories: str) -> list[Path]:
    return sorted(path for name in directories for path in (ROOT / name).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yields full names: `from envs import vector` gives `envs` and `envs.vector`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_room(name: str) -> bool:
    """`from suite.common import formatting` names the room too."""
    return (ROOT / Path(*name.split("."))).is_dir()


def imported_packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_modules(parse(path))}


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(parse(path)) if isinstance(node, Function)]


def repository_files() -> list[Path]:
    """Lists what git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def text_lines(path: Path) -> list[str]:
    """Returns a file's lines, none for a binary file."""
    content = path.read_bytes()
    return [] if b"\0" in content else content.decode("utf-8", errors="replace").splitlines()


def matching_lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in repository_files()
        for number, line in enumerate(text_lines(path), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources(package)
        for name in sorted(imported_packages(path) & FORBIDDEN_IMPORTS[package])
        if (relative(path), name) not in EXCEPTIONS
    ]
    assert not wrong


def test_no_relative_imports() -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in sources(*PACKAGES)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong


def test_reports_read_only_the_store() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources("reports")
        if relative(path) != "reports/commands.py"  # with suite/commands, the top of the house
        for name in imported_modules(parse(path))
        if name.startswith("suite.") and not is_room(name)
        if not f"{name}.".startswith(REPORTS_MAY_IMPORT)
    ]
    assert not wrong


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_fragile_libraries_have_one_importer(library: str) -> None:
    importers = {
        relative(path) for path in sources(*PACKAGES) if library in imported_packages(path)
    }
    assert importers <= {SOLE_IMPORTERS[library]}


def line_count(function: Function) -> int:
    """Counts from `def` to the last line, docstring included, decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_functions_are_short() -> None:
    lengths = {
        f"{relative(path)}:{function.lineno} {function.name}": line_count(function)
        for path in sources(*PACKAGES, "benchmarks", "tests")
        for function in functions(path)
    }
    assert lengths
    assert not {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES}


def defines_an_algorithm(path: Path) -> bool:
    return any(function.name == "act" for function in functions(path))


def test_algorithm_files_are_short() -> None:
    files = [path for path in sources("algorithms") if defines_an_algorithm(path)]
    lengths = {relative(path): len(text_lines(path)) for path in files}
    assert lengths
    assert not {name: length for name, length in lengths.items() if length > MAX_ALGORITHM_LINES}


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["path", "registry"])
def test_no_file_names_a_machine(pattern: re.Pattern[str]) -> None:
    assert not matching_lines(pattern)


def test_the_pattern_of_registries_finds_them() -> None:
    assert all(REGISTRY_HOST.search(f"see {'.'.join(each)}") for each in REGISTRIES)


def test_git_converts_no_line_ends_of_results() -> None:
    """Digests are of bytes; `core.autocrlf` would have every stored file look edited."""
    names = [relative(path) for path in repository_files()]
    command = ["git", "check-attr", "-z", "--stdin", "text", "eol"]
    told = subprocess.run(
        command, cwd=ROOT, input="\0".join(names), capture_output=True, text=True, check=True
    )
    found = told.stdout.split("\0")[:-1]
    values = {(file, name): value for file, name, value in zip(*[iter(found)] * 3, strict=True)}
    results = {name for name in names if name.startswith("results/")}
    assert results
    assert {values[name, "text"] for name in results} == {"unset"}
    assert {values[name, "eol"] for name in names if name not in results} == {"lf"}


def test_constraints_are_exact_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    exact = re.compile(r"[a-z0-9-]+==[0-9][\w.]*( ; [^/@]+)?")
    assert pins
    assert not [pin for pin in pins if not exact.fullmatch(pin)]


def public_members(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Yields (qualified name, node) of a module's public functions, classes and methods."""
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, Function) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member


def base_names(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]


def is_property(node: Function | ast.ClassDef) -> bool:
    """A property's name and type may say everything."""
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def house_members() -> list[tuple[Path, str, Function | ast.ClassDef]]:
    return [
        (path, name, node)
        for path in sources(*PACKAGES, "benchmarks")
        for name, node in public_members(parse(path))
    ]


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
