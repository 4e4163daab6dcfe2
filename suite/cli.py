"""The command `suite`: which commands there are, and how each of them ends.

A command is one line of `COMMANDS`, and is imported by that name when it is called or listed.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from suite.commands.exit_codes import (
    EXIT_CLOSED_PIPE,
    EXIT_CODES,
    EXIT_DIVERGED,
    EXIT_FAULT,
    EXIT_HELD,
    EXIT_INTERRUPTED,
    EXIT_UNFAIR,
    EXIT_USER_ERROR,
)
from suite.common.errors import UserError, describe_os_error
from suite.common.shadowing import hidden
from suite.common.terminal import make_output_harmless

__all__ = [
    "COMMANDS",
    "EXIT_CLOSED_PIPE",
    "EXIT_CODES",
    "EXIT_DIVERGED",
    "EXIT_FAULT",
    "EXIT_HELD",
    "EXIT_INTERRUPTED",
    "EXIT_UNFAIR",
    "EXIT_USER_ERROR",
    "SHOW_FAULTS",
    "cli",
    "main",
    "run_command",
]

THEMES: Mapping[str, Mapping[str, str]] = {
    "Train": {
        "list": "suite.commands.look:list_",
        "plan": "suite.commands.run:plan",
        "run": "suite.commands.run:run",
        "status": "suite.commands.look:status",
        "ablate": "suite.commands.ablate:ablate",
    },
    "Read what was trained": {
        "report": "reports.commands:report",
        "audit": "reports.commands:audit",
        "power": "reports.judging:power",
        "export": "reports.commands:export",
        "eval": "suite.commands.policies:evaluate",
        "watch": "suite.commands.policies:watch",
        "actions": "reports.commands:actions",
    },
    "Add a method of your own": {
        "new-algo": "suite.commands.contribute:new_algo",
        "check-algo": "suite.commands.check_algo:check_algo",
        "tune": "suite.commands.tune:tune",
        "compare": "reports.judging:compare",
        "regress": "reports.judging:regress",
    },
}
"""Where each command is, `module:function`, by what it is for, in the order of `--help`."""

COMMANDS: Mapping[str, str] = {
    name: where for commands in THEMES.values() for name, where in commands.items()
}

TRACEBACK = "--traceback"

SHOW_FAULTS = "SUITE_TRACEBACK"
"""Environment variable: if set, a fault's traceback goes to standard error, not into a file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    make_output_harmless()
    warnings = logging.StreamHandler()
    warnings.setFormatter(logging.Formatter("suite: %(message)s"))
    logging.getLogger("suite").addHandler(warnings)
    logging.getLogger("suite").propagate = False  # libraries add handlers of their own
    os.environ["MPLBACKEND"] = "agg"  # nothing is shown in a window
    sys.exit(run_command(arguments))


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; the process's own by default.

    Returns:
        One of `EXIT_CODES`. What was wrong, with 2 or 70, is told in one line on standard error.
    """
    if fault := hidden():
        return _complain(f"suite: error: {fault}")
    from envs.api import EnvError

    output = sys.stdout
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != TRACEBACK]  # wherever it stands
    try:
        result = cli.main(words, prog_name="suite", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        return _complain(error.format_message())
    except click.ClickException as error:
        return _complain(f"suite: error: {error.format_message()}")
    except (UserError, EnvError) as error:
        if TRACEBACK in given and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        return _complain(f"suite: error: {error}")
    except (KeyboardInterrupt, click.Abort):
        return _complain("suite: interrupted; nothing that was stored is lost", EXIT_INTERRUPTED)
    except SystemExit:
        # Click ends so where a pipe is closed, and has put something else in the pipe's place.
        if sys.stdout is output:
            raise
        return EXIT_CLOSED_PIPE
    except Exception as error:
        return _judge(error)


_ONE_LINE = 62
"""Characters for what a command does, so that `--help` fits a terminal of 80."""


class _LazyGroup(click.Group):
    """A group whose commands are imported by their names in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes one list a theme, instead of one in all."""
        width = max(map(len, COMMANDS))
        for theme, names in THEMES.items():
            found = {name.ljust(width): self.get_command(ctx, name) for name in names}
            with formatter.section(theme):
                formatter.write_dl(
                    [(n, each.get_short_help_str(_ONE_LINE)) for n, each in found.items() if each]
                )


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="gorl-suite", message="suite %(version)s")
@click.option(
    TRACEBACK,
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error in a file of yours; also after a command.",
)
def cli() -> None:
    """Train generative and Gaussian policies under identical budgets, and compare them."""


def _judge(error: Exception) -> int:
    """Tells an error of the machine or its settings from a fault in the program."""
    from suite.common.jax_settings import explained

    if isinstance(error, OSError) and error.errno is not None:
        return _complain(f"suite: error: {describe_os_error(error)}")
    if (told := explained(error)) is not None:
        return _complain(f"suite: error: {told}")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    what = "".join(traceback.format_exception_only(error)).splitlines()[0]
    where = f"{Path(frame.filename).name}, line {frame.lineno}"
    line = f"suite: error: a fault in the program or in a method's own code: {what} ({where})"
    return _complain(f"{line}; {_keep_traceback(error)}", EXIT_FAULT)


def _keep_traceback(error: Exception) -> str:
    """Shows where a fault came from, or keeps it in a file: a run of days must not lose it."""
    lines = "".join(traceback.format_exception(error))
    if not os.environ.get(SHOW_FAULTS):
        with contextlib.suppress(OSError):
            handle, path = tempfile.mkstemp(prefix="suite-traceback-", suffix=".txt")
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(lines)
            return f"its traceback is in {path}; {SHOW_FAULTS}=1 shows it here"
    print(lines, file=sys.stderr)
    return "its traceback is above"


def _complain(message: str, code: int = EXIT_USER_ERROR) -> int:
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
