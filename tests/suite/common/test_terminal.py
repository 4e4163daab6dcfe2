"""What is printed commands no terminal, whoever prints it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.common.terminal import Harmless, harmless, overwrite

ALLOWED = "\n\t"


@given(st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "L"])))
def test_nothing_is_left_that_commands_a_terminal(text: str) -> None:
    shown = harmless(text)
    forbidden = {*map(chr, range(32)), *map(chr, range(127, 160)), *"\u202e\u2066\u2028"}
    assert not (forbidden - {*ALLOWED}) & {*shown}


@given(
    st.text(st.characters(categories=["L", "N", "P", "S", "M", "Zs"], include_characters=ALLOWED))
)
def test_plain_texts_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


def test_print_click_and_the_rest_of_a_stream() -> None:
    terminal = io.StringIO()
    stream = cast(Any, Harmless(terminal))
    print("one\x1b[2J", file=stream)
    click.echo("two\rthree\x9b", file=stream)
    overwrite(stream, "four\r")
    assert terminal.getvalue() == "one\\x1b[2J\ntwo\\rthree\\x9b\n\rfour\\r"
    assert not stream.isatty() and stream.seekable()
    with pytest.raises(TypeError):
        stream.write(b"\x1b")


class Full(io.StringIO):
    """A disk without room."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_only_what_is_said_beside_may_be_lost() -> None:
    beside = Harmless(Full(), fails=False)
    beside.write("lost")
    beside.flush()
    with pytest.raises(OSError, match="No space"):
        Harmless(Full()).write("a result")


PROGRAM = """
import os, sys
from suite.common.terminal import make_output_harmless
make_output_harmless()
print("said", file=sys.stderr)
print("result\\x1b[31m")
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(2, b"from a library")
assert file > 2
"""


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
def test_closed_and_full_handles(tmp_path: Path, closing: str) -> None:
    command = f'"$0" -c "$1" "$2" {closing} || exit 9'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, PROGRAM, str(tmp_path / "file")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout == "result\\x1b[31m\n"
    assert (tmp_path / "file").read_bytes() == b""
    if "full" not in closing:
        assert done.returncode == 0
