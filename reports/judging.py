"""The commands that decide something: compare, regress and power.

Imported whenever `suite --help` lists the commands, so what is heavy is imported in the functions
that need it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import click

from reports.command_options import (
    Scoring,
    analysis_options,
    choice_options,
    make_request,
    reference_option,
    run_dirs_argument,
    start_matplotlib,
)
from reports.commands import write_loaded_report
from reports.writing.report_options import MARGIN, MODES
from suite.commands.exit_codes import EXIT_REGRESSED
from suite.commands.options import json_option, out_option, run_dir_argument
from suite.commands.printing import note, to_json
from suite.common.errors import UserError

_PROGRESS_SECONDS = 5.0
"""Between two lines on how far a simulation is."""

_margin_option = click.option(
    "--margin",
    default=MARGIN,
    show_default=True,
    type=float,
    help="Differences of mean scores below this do not matter; in (0, 1).",
)


@click.command()
@run_dirs_argument
@out_option("Write a full report there too.")
@click.option(
    "--new", help="Names or labels to judge. [default: those that the first RUN_DIR does not hold]"
)
@_margin_option
@choice_options
@analysis_options
@reference_option
def compare(
    run_dirs: tuple[Path, ...],
    out: Path | None,
    new: str | None,
    margin: float,
    **scoring: Unpack[Scoring],
) -> None:
    """Judge a new baseline against stored results.

    Name the directory of the stored results first. Every method that it does not hold is judged
    against every other: better, worse, equivalent within --margin, or undecided, and how many
    seeds would decide. What is compared is the tasks that all directories hold. The arms of one
    ablation can be compared too, with each other.
    """
    start_matplotlib()
    from reports.judgement.margins import Judging
    from reports.runs.choice import names_in
    from reports.runs.opening import lone_ablation
    from reports.writing.report_request import PARTS
    from reports.writing.terminal import comparison_text

    alone = lone_ablation(run_dirs) is not None
    if not alone and len(run_dirs) < 2:
        raise UserError(
            f"compare takes two run directories or more, or one ablation; `suite report "
            f"{run_dirs[0]}` judges one"
        )
    if alone and new is not None:
        raise UserError("--new is for run directories; an ablation has a reference arm instead")
    if len({path.resolve() for path in run_dirs}) < len(run_dirs):
        raise UserError("a directory is named twice; its methods would be judged by themselves")
    judging = Judging(tuple(names_in(new, "--new")), margin)
    request = make_request(run_dirs, scoring, common=True, judging=judging)
    subject = request.load()
    if subject.judgement:
        subject.judgement.simulate(_progress())
    click.echo(comparison_text(request, subject))
    if out is not None:
        write_loaded_report(request, subject, out, PARTS)
    else:
        for unused in request.unused_references(subject.analysis.results):
            note(unused)


@click.command()
@run_dir_argument
@click.option(
    "--against",
    "reference_dir",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory of the older runs.",
)
@_margin_option
@click.option("--strict", is_flag=True, help="Exit with 1 also where nothing could be shown.")
@choice_options
@analysis_options
@json_option
def regress(
    run_dir: Path,
    reference_dir: Path,
    margin: float,
    strict: bool,
    as_json: bool,
    **scoring: Unpack[Scoring],
) -> int:
    """Check that no method is worse than in earlier runs.

    Worse by more than --margin, that is; for CI. Exit code 0: none is shown to be. 1: one is.
    Where neither that it is nor that it is not is shown, a line says so, and --strict makes it 1.
    2: too few runs to show anything, or another protocol.
    """
    start_matplotlib()
    from reports.writing import regress as writing

    request = make_request((run_dir,), {**scoring, "reference": ""})
    found = writing.find_regression(request, reference_dir, margin)
    for line in writing.notes_on(found):
        note(line)
    plain = writing.regression_plain(found)
    click.echo(to_json(plain) if as_json else writing.regression_text(found))
    if found.outcome == "undecided":
        note(writing.undecided_note(found, strict))
    failed = found.outcome == "worse" or (strict and found.outcome == "undecided")
    return EXIT_REGRESSED if failed else 0


@click.command()
@run_dirs_argument
@click.option("--delta", required=True, type=float, help="Difference of scores, in (0, 1).")
@click.option(
    "--power",
    default=0.8,
    show_default=True,
    type=click.FloatRange(0.5, 0.999),
    help="Probability to show the difference if it is there.",
)
@click.option(
    "--mode",
    default="deterministic",
    show_default=True,
    type=click.Choice(MODES),
    help="Evaluation mode that scores come from, as of `suite report`.",
)
@choice_options
@json_option
def power(
    run_dirs: tuple[Path, ...],
    delta: float,
    power: float,
    mode: str,
    tasks: str | None,
    algorithms: str | None,
    as_json: bool,
) -> None:
    """Simulate how many seeds would show a difference.

    One of --delta, by the very test that reports use, from the spread that is stored.
    """
    start_matplotlib()
    from reports.runs.choice import Choice
    from reports.writing.power import left_out, power_rows, power_text
    from reports.writing.report_request import ReportRequest

    request = ReportRequest(run_dirs, mode=mode, choice=Choice.parse(tasks, algorithms))
    scores = request.analyse().scores
    rows = power_rows(scores, delta, power, _progress())
    if lacking := left_out(scores):
        note(lacking)
    click.echo(to_json(rows) if as_json else power_text(rows, delta, power))


def _progress() -> Callable[[int, int], None]:
    """Returns what says how many pairs of how many are done, but not too often."""
    begun = said = time.monotonic()

    def say(done: int, pairs: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < _PROGRESS_SECONDS or done == pairs:
            return
        said = now
        left = (now - begun) / done * (pairs - done)
        note(f"{done} of {pairs} pairs simulated, about {left:.0f} s left; --algos chooses fewer")

    return say
