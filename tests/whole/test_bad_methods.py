"""A user's file with each thing that can be wrong in it: one line with the place, nothing lost."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import pytest

from algorithms import registry
from suite.cli import run_command
from suite.methods.new_method import method_text

WHOLE = method_text("my_method")
FROZEN = "@dataclasses.dataclass(frozen=True)"
RETURNS = "return jnp.tanh(drawn), "
UPDATED = "return State(networks, optimizer, seen), "
DOUBLE = """\
with jax.enable_x64(True):
            return jnp.tanh(drawn).astype(jnp.float64), """


def line(text: str, part: str) -> int:
    """Returns where a part of a text first stands."""
    return text[: text.index(part)].count("\n") + 1


BROKEN: dict[str, tuple[str, str, str, str]] = {
    "no Python": ("def init(", "def init)(", "def init)(", "cannot be imported: SyntaxError: "),
    "fails": (FROZEN, "1 / 0", "1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "import": ("import optax", "import optox", "import optox", "No module named 'optox'"),
    "no method": ("Algorithm[State]", "object", "", "holds no method, a class that extends"),
    "lacks a part": ("def update", "def learn", "class MyM", "its class MyMethod lacks update"),
    "not frozen": (FROZEN, FROZEN[:22], FROZEN[:22], "cannot inherit non-frozen dataclass from"),
    "no dataclass": (FROZEN, "", "class MyM", "MyMethod lacks @dataclasses.dataclass(frozen=Tr"),
    "field": ("hidden: Widths", "hidden: dict", "class MyM", "MyMethod.hidden is of type <class"),
    "name": ('"my-method"', '"GoRL-fm"', "class MyM", "its name 'GoRL-fm' is taken"),
    "shape": (RETURNS, RETURNS.replace("drawn", "drawn.T"), "def act(", "of shape [3, 8]"),
    "bounds": (RETURNS, "return drawn * 9, ", "def act(", "outside of [-1, 1]; squash it"),
    "NaN": (RETURNS, "return drawn / 0, ", "def act(", "returns actions that are not finite"),
    "NumPy": (
        RETURNS,
        "import numpy\n        return numpy.ones(obs.shape), ",
        "def act(",
        "NumPy's",
    ),
    "float64": (
        RETURNS,
        DOUBLE,
        "def act(",
        "float64 in result[0]; everything is computed in float32",
    ),
    "structure": (UPDATED, "return (networks, seen), ", "def update", "of another structure"),
    "an error": ("networks, change)", "networks, grad)", "optax.apply", "fails: NameError: "),
}
"""Of each fault: what of a whole method is replaced and by what, on which line that is to be
named ("" for none), and what is said."""


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a test makes known, other tests do not know; all happens in an empty directory."""
    monkeypatch.setattr(registry, "_of_files", {})
    monkeypatch.chdir(tmp_path)


def refused(algos: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Returns the line that a run is refused with, for which nothing was trained."""
    arguments = ["--protocol=smoke", "--tasks=CheetahRun", "--seeds=1", "--out=out", *more]
    assert run_command(["run", f"--algos={algos}", *arguments]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert not Path("out/CheetahRun").exists()
    return told.splitlines()[-1]


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_method_is_refused_in_one_line(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, place, said = BROKEN[fault]
    text = WHOLE.replace(before, after, 1)
    assert text != WHOLE
    Path("broken.py").write_text(text)
    told = refused("ppo,./broken.py" if fault == "name" else "./broken.py", capsys)
    assert told.startswith("suite: error: ")
    assert said in told
    (named,) = set(re.findall(r"broken\.py(?::(\d+))?", told))
    assert named == (str(line(text, place)) if place else "")


def test_a_file_that_changes_jax_for_all_methods(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told of the file, not of the method that happens to be looked at first."""
    Path("broken.py").write_text(WHOLE + "\njax.config.update('jax_enable_x64', True)\n")
    try:
        told = refused("ppo,./broken.py", capsys)
    finally:
        jax.config.update("jax_enable_x64", False)
    assert told == (
        "suite: error: broken.py: jax.config.jax_enable_x64 is True, but the suite computes with "
        "False; the file sets it for all methods, so take that out"
    )


def test_a_method_s_own_traceback_is_shown_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("broken.py").write_text(WHOLE.replace("networks, change)", "networks, grad)"))
    arguments = ["run", "--algos=./broken.py", "--protocol=smoke", "--tasks=CheetahRun"]
    assert run_command([*arguments, "--traceback"]) == 2
    told = capsys.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert f'broken.py", line {line(WHOLE, "optax.apply")}, in step' in told
    assert told.splitlines()[-1].startswith("suite: error: algorithm my-method: update fails: Name")


@pytest.mark.parametrize(
    ("algos", "said"),
    [
        ("./absent.py", "absent.py: no such file; check the path"),
        ("./folder.py", "folder.py: this is no file; give one that ends in .py"),
        ("./latin.py", "latin.py: not a text file in UTF-8"),
        ("./two.py", "two.py: holds 2 methods, MyMethod, Other; name one, two.py:MyMethod"),
        ("./two.py:Mymethod", "unknown class 'Mymethod'; did you mean 'MyMethod'?"),
        ("./two.py:State", "two.py:State: does not extend Algorithm"),
        ("./two.py:", "give a file of your own as PATH.py or PATH.py:CLASS"),
    ],
)
def test_a_file_that_names_no_method(
    algos: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder.py").mkdir()
    Path("latin.py").write_bytes(b"# \xe9t\xe9\n")
    other = WHOLE[WHOLE.index(FROZEN) :].replace("MyMethod", "Other")
    Path("two.py").write_text(f"{WHOLE}\n\n{other}")
    assert said in refused(algos, capsys)
