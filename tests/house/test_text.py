"""What is written: nothing of one machine, and no place that does not exist."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import tokenize
from collections.abc import Iterator

import pytest
from house import ROOT, matching_lines, relative, repository_files, texts

from docs.import_graph import PACKAGES
from reports.runs.names import DISPLAY_NAMES

MACHINE_PATH = re.compile(r"(?<![\w.~}/-])/(?:work|tmp|root)\b(?!-)")
# In pieces, so that this file names none either.
REGISTRIES = (("py", "pi.org"), ("python", "hosted.org"), ("npm", "js."), ("deb", "ian.org"))
HOSTS = (re.escape("".join(halves)) for halves in REGISTRIES)
REGISTRY_HOST = re.compile("|".join([*HOSTS, "--(?:extra-)?index-url"]))

FOLDERS = (*PACKAGES, "benchmarks", "docs", "results", "tests")
PLACE = re.compile(
    rf"(?<![\w./-])((?:\.\./)*(?:{'|'.join(FOLDERS)}|\.ci)/[\w./{{}},-]*\.(?:py|toml|md|csv|json))\b"
)
"""`folder/file.py`, also with `{one,other}` in it."""
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
MODULE = re.compile(rf"python -m ((?:{'|'.join((*PACKAGES, 'benchmarks', 'docs'))})[\w.]*)")
PLACEHOLDER = re.compile(r"\b[A-Z]{4,}\b")
"""`algorithms/NAME.py` stands for any name."""
HISTORY = ("CHANGELOG.md",)
"""What tells of how things were."""


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["path", "registry"])
def test_no_file_names_a_machine(pattern: re.Pattern[str]) -> None:
    assert not matching_lines(pattern)


def test_the_pattern_of_registries_finds_them() -> None:
    assert all(REGISTRY_HOST.search(f"see {''.join(each)}") for each in REGISTRIES)


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


def test_every_place_that_is_named_exists() -> None:
    """In the pages, in docstrings and in comments: whoever moves a file finds the mentions."""
    read = {name: prose(name, text) for name, text in texts().items() if is_read(name)}
    assert len(read) > 100
    missing = [
        f"{name}: {place}"
        for name, text in read.items()
        for place in places(name, text)
        if not PLACEHOLDER.search(place) and not exists(place)
    ]
    assert not missing


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see `suite/a/{b,c}.py`, or docs/d.md.", ["suite/a/b.py", "suite/a/c.py", "docs/d.md"]),
        ("a [page](decisions.md#one), https://x/suite/y.py", ["docs/decisions.md"]),
        ("`python -m suite.catalog.nothing > x`", ["suite/catalog/nothing.py"]),
        ("runs/suite/z.py and tables/one.csv", []),
    ],
)
def test_places_are_found(text: str, found: list[str]) -> None:
    assert list(places("docs/some.md", text)) == found


def test_no_table_waits_for_a_number() -> None:
    """A word of capitals alone in a cell is a number that was to be put in later."""
    names = {*DISPLAY_NAMES.values(), "FAIL", "SLURM"}
    assert not [
        f"{name}: {cell}"
        for name, text in texts().items()
        if name.endswith(".md")
        for line in text.splitlines()
        if line.startswith("|")
        for cell in map(str.strip, line.split("|"))
        if PLACEHOLDER.fullmatch(cell) and cell not in names
    ]


def is_read(name: str) -> bool:
    written = name.endswith((".md", ".py")) or name in ("pyproject.toml", ".ci/run")
    return written and name not in HISTORY and not name.startswith("results/")


def prose(name: str, text: str) -> str:
    """Returns a page as it is, and the comments and docstrings of a program."""
    if not name.endswith(".py"):
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and token.string.startswith(('"""', 'r"""')))
    )


def places(name: str, text: str) -> Iterator[str]:
    """Yields the files that a text names, from the root of the checkout."""
    for match in PLACE.finditer(text):
        parts = re.split(r"\{([^}]*)\}", match[1])
        choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
        yield from map("".join, itertools.product(*choices))
    if name.endswith(".md"):
        here = (ROOT / name).parent
        yield from (relative((here / match[1]).resolve()) for match in LINK.finditer(text))
    yield from (match[1].replace(".", "/") + ".py" for match in MODULE.finditer(text))


def exists(place: str) -> bool:
    return (ROOT / place).exists() or (ROOT / place).with_suffix("").is_dir()
