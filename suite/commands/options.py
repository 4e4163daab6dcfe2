"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypedDict, TypeVar

import click
from click.core import ParameterSource

Function = TypeVar("Function", bound=Callable[..., object])


class Decorator(Protocol):
    """What adds options to a command."""

    def __call__(self, function: Function, /) -> Function:
        """Returns the function with its options."""


class Selection(TypedDict):
    """What `selection_options` gives: see `suite.planning.run_request.make_request`."""

    algos: str
    tasks: str
    seeds: str
    protocol: str | None
    engine: str
    out: Path | None
    changes: tuple[str, ...]
    seeds_together: int | None


def together(*options: Decorator) -> Decorator:
    """Returns one decorator for several, whose options `--help` lists in this order."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def out_option(help: str) -> Decorator:
    """Returns the option `--out`, a path."""
    return click.option("--out", type=click.Path(path_type=Path), help=help)


def set_option(help: str) -> Decorator:
    """Returns the option `--set`, whose texts are the argument `changes`."""
    return click.option("--set", "changes", multiple=True, metavar="ALGO.FIELD=VALUE", help=help)


engine_option = click.option(
    "--engine", default="auto", show_default=True, help="auto, jax, warp or native."
)

selection_options = together(
    click.option(
        "--algos",
        default="all",
        show_default=True,
        help="All, names, or files: ./my_method.py[:CLASS].",
    ),
    click.option(
        "--tasks",
        default="dmc6",
        show_default=True,
        help="Sets, tasks, or files: ./my_env.py[:CLASS].",
    ),
    click.option(
        "--seeds", default="5", show_default=True, help="5 (means 0 to 4), 5-9, or 0,3,5-7."
    ),
    click.option(
        "--protocol", help="A name or a TOML file. [default: fair with a GPU, lite without]"
    ),
    engine_option,
    out_option("Directory. [default: runs/PROTOCOL]"),
    set_option(
        "Change a hyper-parameter; * for every algorithm, protocol.FIELD for one of the"
        " protocol's. Repeatable."
    ),
    click.option(
        "--seeds-together",
        type=click.IntRange(min=1),
        metavar="N",
        help="Seeds of a job at most. [default: 1 with the native engine, otherwise all]",
    ),
)
"""What to run."""

trust_option = click.option(
    "--trust", is_flag=True, help="Execute the methods' files that RUN_DIR keeps; read them first."
)


def _of_this_machine(context: click.Context, parameter: click.Parameter, where: str) -> str:
    """Checks `--on`; what SUITE_ON says of `suite run` counts as `auto`, unless it is `here`."""
    from suite.cluster.companions import check_place
    from suite.cluster.places import AUTO, HERE

    typed = context.get_parameter_source(str(parameter.name)) is not ParameterSource.ENVIRONMENT
    if not typed and where != HERE:
        return AUTO
    check_place(where)
    return where


cores_option = click.option(
    "--on",
    "where",
    metavar="PLACE",
    default="auto",
    envvar="SUITE_ON",
    show_default=True,
    callback=_of_this_machine,
    help="local, local:3: so many processes, each on cores of its own; here: this one alone; "
    "auto: local where that pays, otherwise here.",
)
cache_option = click.option(
    "--cache/--no-cache", default=True, help="Keep compiled programs for later runs."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
run_dir_argument = click.argument("run_dir", type=click.Path(path_type=Path))
