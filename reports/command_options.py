"""What the commands that read stored runs have in common: options, and what they come to.

Imported whenever `suite --help` lists the commands, so what is heavy is imported in the functions
that need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import click

from reports.writing.report_options import MODES, POLICIES, REPETITIONS, SEEDS
from suite.commands.options import together
from suite.common.errors import UserError

if TYPE_CHECKING:
    from reports.judgement.margins import Judging
    from reports.writing.report_request import ReportRequest

Policy = Literal["zero", "last", "exclude"]


class Scoring(TypedDict):
    """What `choice_options`, `analysis_options` and `reference_option` give."""

    tasks: str | None
    algorithms: str | None
    mode: str
    diverged: Policy
    incomplete: Policy
    reference: str
    reps: int
    seed: int


run_dirs_argument = click.argument(
    "run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path)
)

choice_options = together(
    click.option("--tasks", help="Names. [default: all stored]"),
    click.option(
        "--algos",
        "algorithms",
        help="Names, or labels as tables show them; all are the five. [default: what is stored]",
    ),
)
"""Which of the stored runs."""

analysis_options = together(
    click.option(
        "--mode",
        default="deterministic",
        show_default=True,
        type=click.Choice(MODES),
        help="Evaluation mode that scores come from; published: each method's as in its paper.",
    ),
    click.option(
        "--diverged",
        default="zero",
        show_default=True,
        type=click.Choice(POLICIES),
        help="Diverged runs: score 0 from there on, keep the last evaluation, or leave out.",
    ),
    click.option(
        "--incomplete",
        default="exclude",
        show_default=True,
        type=click.Choice(POLICIES),
        help="The same for unfinished, damaged and missing runs.",
    ),
    click.option(
        "--reps",
        default=50_000,
        show_default=True,
        type=click.IntRange(*REPETITIONS),
        help="Repetitions of bootstraps and permutation tests.",
    ),
    click.option(
        "--seed",
        default=0,
        show_default=True,
        type=click.IntRange(*SEEDS),
        help="Of their random numbers.",
    ),
)
"""How stored runs are scored."""


def joined(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> str:
    """Returns the values of an option that may be given several times as one list."""
    del context, parameter
    return ",".join(texts)


reference_option = click.option(
    "--reference",
    multiple=True,
    callback=joined,
    help="Published results: gorl2025, gorl2026, brax-playground, fpo-notebook, or .csv files.",
)
"""Published results, a comma-separated list; given several times it is one list."""


def start_matplotlib() -> None:
    """Imports matplotlib, which reads a user's settings even where none of them counts.

    Raises:
        UserError: it does not start with them.
    """
    try:
        import matplotlib  # noqa: F401
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"matplotlib does not start: {reason}; unset MPLBACKEND or mend your matplotlibrc"
        ) from None


def make_request(
    run_dirs: tuple[Path, ...],
    scoring: Scoring,
    common: bool = False,
    judging: Judging | None = None,
) -> ReportRequest:
    """Returns the request that options come to.

    Args:
        run_dirs: directories.
        scoring: the options.
        common: whether only the tasks count that all directories hold.
        judging: how new methods are judged, if they are.
    """
    from reports.analysis.scores import ScorePolicy
    from reports.runs.choice import Choice
    from reports.writing.report_request import ReportRequest

    return ReportRequest(
        run_dirs,
        mode=scoring["mode"],
        policy=ScorePolicy(scoring["diverged"], scoring["incomplete"]),
        reference=scoring["reference"],
        repetitions=scoring["reps"],
        seed=scoring["seed"],
        choice=Choice.parse(scoring["tasks"], scoring["algorithms"], common),
        judging=judging,
    )
