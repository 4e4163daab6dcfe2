"""The table of every registered method: its code, its tests, what it was asked, what it does.

    python -m benchmarks.methods_table [--runs DIR,DIR] > docs/methods-table.md

Lines, imports and tests are read off the source, answers off the record of
benchmarks/check_algo.py, gradient steps off the methods as they run under `lite`, returns and
speeds off run directories, those of `RUNS` unless named; runs of a smaller budget get a table of
their own. A cell is blank where there is nothing to read it from. Nothing is trained.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from algorithms.api import EnvSpec
from algorithms.names import NAMES
from algorithms.registry import lookup
from benchmarks import check_algo
from benchmarks.publishing.final_returns import Measured, by_budget
from docs.import_graph import module_graph
from suite.checks.subject import of_protocol
from suite.common.errors import UserError
from suite.configuration.protocol import load_protocol
from suite.methods.build_method import build

ROOT = Path(__file__).resolve().parents[1]
RUNS = (
    "results/lite",
    "results/lite-methods",
    "results/lite-cartpole",
    "results/lite-off-policy",
)
TASKS = ("CheetahRun", "CartpoleSwingup")
PROTOCOL = "lite"

_CONTRACT = ("algorithms.api", "algorithms.bounds", "algorithms.registry", "algorithms.names")
"""What every method rests on, so that it tells nothing of one; nor do its tests."""

_OF_ALL = ("test_contract", "test_noise_free")
"""Files of tests that ask all methods alike."""

Cells = Sequence[str]


@dataclasses.dataclass(frozen=True)
class EquationTests:
    """A file of tests.

    Attributes:
        path: within tests/algorithms.
        about: modules of `algorithms` that it tests: the one that it is named after and lies as,
            or else all that it imports.
        count: test functions in it.
    """

    path: str
    about: frozenset[str]
    count: int


@dataclasses.dataclass(frozen=True)
class Code:
    """What the source says of a method.

    Attributes:
        path: its file, from the root of the checkout.
        lines: of that file.
        direct: modules that the file imports, without the contract.
        parts: those, and what they import in turn.
        own: files of tests about its module.
        shared: other files of tests about one of its parts.
    """

    path: str
    lines: int
    direct: tuple[str, ...]
    parts: tuple[str, ...]
    own: tuple[EquationTests, ...]
    shared: tuple[EquationTests, ...]


def reached(module: str, graph: Mapping[str, Iterable[str]]) -> set[str]:
    """Returns the modules of `algorithms` that one imports, in however many steps."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = _parts(graph[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def _parts(modules: Iterable[str]) -> set[str]:
    return {each for each in modules if each.startswith("algorithms.") and each not in _CONTRACT}


def equation_tests(root: Path) -> list[EquationTests]:
    """Returns the files of tests/algorithms that are about a method or a part of one."""
    known, folder = module_graph(root).keys(), root / "tests/algorithms"
    found = [_test_file(path, folder, known) for path in sorted(folder.rglob("test_*.py"))]
    return [each for each in found if each.about]


def _test_file(path: Path, folder: Path, known: Iterable[str]) -> EquationTests:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    tests = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    place = path.relative_to(folder)
    named = ".".join(("algorithms", *place.parts[:-1], place.stem.removeprefix("test_")))
    about = {named} if named in known else set(_imported(nodes)) & set(known)
    if place.stem in _OF_ALL:
        about = set()
    return EquationTests(place.as_posix(), frozenset(_parts(about)), len(tests))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def codes(root: Path) -> dict[str, Code]:
    """Returns what the source says of every method, by its name."""
    graph, tests = module_graph(root), equation_tests(root)
    return {name: _code(name, root, graph, tests) for name in NAMES}


def _code(
    name: str, root: Path, graph: Mapping[str, Iterable[str]], tests: Sequence[EquationTests]
) -> Code:
    cls = lookup(name).cls
    module, path = cls.__module__, Path(inspect.getfile(cls))
    parts = reached(module, graph)
    own = [each for each in tests if module in each.about]
    shared = [each for each in tests if each not in own and each.about & parts]
    return Code(
        path.relative_to(root).as_posix(),
        len(path.read_text(encoding="utf-8").splitlines()),
        tuple(sorted(_parts(graph[module]))),
        tuple(sorted(parts)),
        tuple(own),
        tuple(shared),
    )


def update_to_data(name: str) -> float | None:
    """Returns the gradient steps per environment step of a method under `PROTOCOL`.

    Those of a warm-up and of a change of stage are not among them; None where a method does not
    tell.
    """
    protocol, entry = load_protocol(PROTOCOL), lookup(name)
    pipeline = protocol.pipeline()
    # Neither size matters for it.
    algorithm = build(name, entry.cls, EnvSpec(17, 6), pipeline, of_protocol(entry, protocol))
    if algorithm.gradient_steps is None:
        return None
    steps: int = algorithm.gradient_steps * algorithm.rollouts_per_update
    return steps / pipeline.steps_per_update


def page(directories: Sequence[str], root: Path = ROOT) -> str:
    """Returns docs/methods-table.md.

    Args:
        directories: with runs, from the root of the checkout.
        root: of the checkout.

    Raises:
        UserError: see `by_budget`.
    """
    record = json.loads(check_algo.RECORD.read_text(encoding="utf-8"))["methods"]
    (steps, found), *smaller = by_budget([root / each for each in directories]).items()
    known = codes(root)
    first = [[*_code_cells(n, known[n]), *_result_cells(n, record.get(n), found)] for n in NAMES]
    command = f"python -m benchmarks.methods_table --runs {','.join(directories)}"
    head = _HEAD.format(command=command, runs=", ".join(directories), steps=steps)
    files = {code.path: code for code in known.values()}
    last = [_import_cells(code) for code in files.values()]
    between = [line for budget in smaller for line in _smaller_budget(*budget)]
    lines = [head, *_lines(_HEADER, first), *between, _PARTS, *_lines(_PARTS_HEADER, last), ""]
    return "\n".join(lines)


def _code_cells(name: str, code: Code) -> Cells:
    counts = [sum(each.count for each in files) for files in (code.own, code.shared)]
    return [f"`{name}`", code.path, str(code.lines), str(len(code.parts)), *map(str, counts)]


def _result_cells(name: str, row: check_algo.Row | None, found: Measured) -> Cells:
    states = row["states"] if row else {}
    answers = list(states.values())
    told = [f"{answers.count(each)} {each}" for each in ("ok", "FAIL", "skipped")]
    checks = ", ".join(each for each in told if not each.startswith("0 "))
    ratio = update_to_data(name)
    return [
        checks,
        states.get("probes", ""),
        *_measured_cells(name, found),
        "" if ratio is None else f"{ratio:.3g}",
    ]


def _measured_cells(name: str, found: Measured) -> Cells:
    returns = [found.return_text(name, task) for task in TASKS]
    return [*returns, found.speed_text(name, TASKS[0])]


def _smaller_budget(steps: int, found: Measured) -> list[str]:
    """Returns the table of the methods that were trained for fewer steps."""
    cells = {name: _measured_cells(name, found) for name in NAMES}
    rows = [[f"`{name}`", *row] for name, row in cells.items() if any(row)]
    return [_SMALLER.format(steps=steps), *_lines(("method", *_MEASURED), rows)]


def _import_cells(code: Code) -> Cells:
    short = [each.removeprefix("algorithms.") for each in code.direct]
    further = [each.removeprefix("algorithms.") for each in code.parts if each not in code.direct]
    tests = [", ".join(each.path for each in files) for files in (code.own, code.shared)]
    return [code.path, ", ".join(short), ", ".join(further), *tests]


def _lines(header: Cells, rows: Sequence[Cells]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


_MEASURED = (*TASKS, "steps/s")
_HEADER = (
    "method", "file", "lines", "shared parts", "own tests", "tests of its parts", "check-algo",
    "probes", *_MEASURED, "update-to-data",
)  # fmt: skip
_PARTS_HEADER = ("file", "imports", "and through these", "own tests", "tests of its parts")

_HEAD = """# The methods, one a line

Written by `{command}`; a test holds the page to that.

- file, lines: where the method is. Methods in one file differ in their settings.
- shared parts: other modules of algorithms/ that it rests on, named in the second table.
- own tests: test functions about its module in tests/algorithms; tests of its parts: about one of
  its parts. Some are run for several cases. What is asked of all methods alike is not counted.
- check-algo, probes: answers to `suite check-algo`, from results/benchmarks/check-algo.json;
  [the checks](reference/checks.md) tells why one fails.
- CheetahRun, CartpoleSwingup: return of the last evaluation without noise, mean ± standard
  deviation (seeds), of the finished runs of {steps:,} environment steps in {runs};
  a seed that diverged counts as 0. Blank: no such run there. A directory is what one `suite run`
  trained, so rows of one table can be of several. The settings of `lite` were searched for the
  first five alone; the others have those of their classes.
- steps/s: environment steps of all seeds together in a second of training on CheetahRun, the median
  of those runs that did not diverge, with whatever else the machine did.
- update-to-data: gradient steps per environment step under `lite`, without those of a warm-up and
  of a change of stage. A minibatch has each method's own size.
"""

_SMALLER = """
## After {steps:,} environment steps

The same columns of runs that had this budget, of which a method's stages are shares. They compare
with each other and not with the table above.
"""

_PARTS = """
## What they share

Modules within algorithms/, without the contract (api, bounds); test files within tests/algorithms.
"""


def main() -> None:
    """Prints docs/methods-table.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--runs", default=",".join(RUNS), help="run directories, with commas")
    options = parser.parse_args()
    try:
        text = page([os.path.normpath(each) for each in options.runs.split(",")])
    except UserError as error:
        sys.exit(f"error: {error}")
    print(text, end="")


if __name__ == "__main__":
    main()
