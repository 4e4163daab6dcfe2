"""What several commands print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from suite.commands.exit_codes import EXIT_DIVERGED, EXIT_INTERRUPTED


def note(message: str) -> None:
    """Says something beside the result, on standard error."""
    click.echo(f"suite: {message}", err=True)


def to_json(value: object) -> str:
    """Returns plain data as every command's `--json` prints it."""
    return json.dumps(value, indent=1)


def warning_lines(shortage: str | None) -> list[str]:
    """Returns the line of a plan from which no claim can come out, none otherwise."""
    return [f"warning: {shortage}"] if shortage else []


def say_how_it_ended(interrupted: bool, diverged: Sequence[object], out: Path) -> int:
    """Says how training ended, and returns the exit code."""
    if interrupted:
        note("stopped and saved; the same command goes on from here")
        return EXIT_INTERRUPTED
    if diverged:
        cells = ", ".join(map(str, diverged))
        note(f"diverged: {cells}; everything else is done")
        return EXIT_DIVERGED
    note(f"all done, in {out}")
    return 0
