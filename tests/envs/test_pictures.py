"""Pictures of states: where a known box is in them, and what is said where nothing draws."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from counting import ActionTask, Slider

from envs.api import EnvError
from envs.engines import pictures
from envs.engines.pictures import Draw, drawable, drawing

SIZE = 48


@pytest.fixture(scope="module")
def draw() -> Iterator[Draw]:
    """What draws here; where nothing does, the tests are skipped that need it."""
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(drawing(Slider(), SIZE))
        except EnvError as error:
            pytest.skip(str(error))
        yield opened


@pytest.mark.parametrize("place", [-0.7, 0.0, 0.4])
def test_a_box_is_where_its_state_says(draw: Draw, place: float) -> None:
    red = draw(np.array([place]))[..., 0].astype(float)
    columns, rows = red.sum(axis=0), red.sum(axis=1)
    pixel = 2.4 / SIZE
    centers = (np.arange(SIZE) + 0.5) * pixel - 1.2
    assert np.average(centers, weights=columns) == pytest.approx(place, abs=pixel / 2)
    assert np.average(centers, weights=rows) == pytest.approx(0.0, abs=pixel / 2)
    assert np.count_nonzero(columns) * pixel == pytest.approx(0.2, abs=2 * pixel)


def test_a_state_has_one_picture_whatever_was_drawn_before(draw: Draw) -> None:
    first = draw(np.array([0.3])).copy()
    draw(np.array([-0.9]))
    np.testing.assert_array_equal(draw(np.array([0.3])), first)
    assert (first.shape, first.dtype) == ((SIZE, SIZE, 3), np.dtype(np.uint8))


def test_a_task_without_a_model_is_named() -> None:
    with pytest.raises(EnvError, match="CheetahRun cannot be drawn: it has no model"):
        drawable(ActionTask())


Program = Callable[[str], None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    """Puts another program in the place of the one that draws."""

    def put(text: str) -> None:
        start = "import json, os, sys\ntaken, given = sys.stdin.buffer, sys.stdout.buffer\n"
        start += "facts = json.loads(taken.readline())\ntaken.read(facts['model'])\n"
        (tmp_path / "program.py").write_text(start + text)
        monkeypatch.setattr(pictures, "PROGRAM", tmp_path / "program.py")

    return put


GRAY = """
given.write(b"ready\\n")
given.flush()
while taken.read(4 * facts["row"]):
    given.write(bytes([100]) * facts["size"] ** 2 * 3)
    given.flush()
"""
ONLY = "if os.environ['MUJOCO_GL'] != {!r}: sys.exit('no {} \\x1b[2J here')\n"


@pytest.mark.parametrize("library", ["egl", "osmesa"])
@pytest.mark.parametrize("chosen", [None, "disable"])
def test_the_first_that_works_draws(program: Program, library: str, chosen: str | None) -> None:
    program(ONLY.format(library, library) + GRAY)
    with drawing(Slider(), 8, chosen) as draw:
        np.testing.assert_array_equal(draw(np.zeros(1)), np.full((8, 8, 3), 100))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, r"neither with EGL nor with OSMesa here; install one of the two .*libosmesa6\) "),
        ("osmesa", r"MUJOCO_GL=osmesa: no glfw .* here; unset it, and egl and osmesa are tried$"),
    ],
)
def test_where_nothing_draws_one_line_says_what_to_do(
    program: Program, chosen: str | None, expected: str
) -> None:
    program(ONLY.format("glfw", "glfw") + GRAY)
    with pytest.raises(EnvError, match=expected) as told, drawing(Slider(), 8, chosen):
        pass
    assert str(told.value).isprintable()


def test_a_program_that_ends_by_a_signal_is_not_waited_for(program: Program) -> None:
    program(GRAY.replace("while", "os.abort()\nwhile"))
    with drawing(Slider(), 8) as draw, pytest.raises(EnvError, match=r"stopped drawing: .*-6"):
        draw(np.zeros(1))
