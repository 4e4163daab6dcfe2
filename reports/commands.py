"""The commands that read stored runs: report, export, audit and actions; judging.py has more.

Imported whenever `suite --help` lists the commands, so what is heavy is imported in the functions
that need it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from reports.command_options import (
    Scoring,
    analysis_options,
    choice_options,
    joined,
    make_request,
    reference_option,
    run_dirs_argument,
    start_matplotlib,
)
from reports.writing.report_options import SEEDS
from suite.commands.exit_codes import EXIT_UNFAIR
from suite.commands.options import (
    cache_option,
    json_option,
    out_option,
    run_dir_argument,
    trust_option,
)
from suite.commands.printing import note, to_json
from suite.common.errors import UserError

if TYPE_CHECKING:
    from reports.audit.check import Check
    from reports.writing.report_request import Part, ReportRequest, Subject


class Drawing(TypedDict):
    """What `suite actions` draws: see `suite.training.sample_actions.sample_actions`."""

    task: str
    algorithms: str | None
    seeds: str | None
    states: int
    samples: int
    seed: int
    trust: bool


class Making(TypedDict):
    """What `suite audit` makes again: see `suite.reproduction.making.make_again`."""

    recompute: bool
    retrain: str | None
    draw_seed: int | None
    cache: bool
    trust: bool


@click.command()
@run_dirs_argument
@out_option("Directory. [default: report in first RUN_DIR]")
@click.option(
    "--format", "parts", default="html,tables,figures", show_default=True, help="Any of these."
)
@choice_options
@analysis_options
@reference_option
@click.option(
    "--recomputed",
    type=click.Path(path_type=Path),
    help="What `suite audit --recompute --out` wrote: the report says what was recomputed.",
)
def report(
    run_dirs: tuple[Path, ...],
    out: Path | None,
    parts: str,
    recomputed: Path | None,
    **scoring: Unpack[Scoring],
) -> None:
    """Write an HTML page, tables and figures of stored runs."""
    start_matplotlib()
    from reports.writing.recomputed_runs import read_stamp
    from reports.writing.report_request import parse_parts

    chosen = parse_parts(parts)
    stamp = read_stamp(recomputed, run_dirs) if recomputed is not None else None
    request = dataclasses.replace(make_request(run_dirs, scoring), stamp=stamp)
    click.echo(write_loaded_report(request, request.load(), out or run_dirs[0] / "report", chosen))


@click.command()
@run_dirs_argument
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="A report made from these runs: make it again, and compare every byte.",
)
@click.option(
    "--reference",
    multiple=True,
    callback=joined,
    help="Published results that the report shows, if files of your own.",
)
@click.option(
    "--recompute",
    is_flag=True,
    help="Evaluate every kept policy again, and compare the returns bit for bit.",
)
@click.option(
    "--retrain",
    metavar="COUNT|CELLS",
    help="Train cells again: so many drawn at random, or ppo/CheetahRun/0,...",
)
@click.option(
    "--draw-seed",
    type=click.IntRange(*SEEDS),
    help="Of the cells that --retrain draws. [default: a new one, which is printed]",
)
@out_option("File of what was recomputed, for `suite report --recomputed`.")
@cache_option
@trust_option
@json_option
def audit(
    run_dirs: tuple[Path, ...],
    report: Path | None,
    reference: str,
    as_json: bool,
    out: Path | None,
    **making: Unpack[Making],
) -> int:
    """Check that a comparison was fair, and unchanged since.

    Ends with exit code 1 if it was not.
    """
    from reports.audit.audit import audit_directories, render, to_plain
    from reports.audit.check import failed

    again = making["recompute"] or making["retrain"] is not None
    if out is not None and not again:
        raise UserError("--out is for what --recompute or --retrain find; add one of them")
    checks = audit_directories(run_dirs)
    if again:
        checks = (*checks, *_made_again(run_dirs, making, out))
    if report is not None:
        start_matplotlib()
        from reports.writing.verify import verify_report

        verified = verify_report(report, run_dirs, reference, recomputed=making["recompute"])
        checks = (*checks, *verified)
    click.echo(to_json(to_plain(checks)) if as_json else render(checks))
    return EXIT_UNFAIR if failed(checks) else 0


@click.command()
@run_dirs_argument
@out_option(
    "A .csv, .csv.gz or .parquet file, or a tracker's directory. [default: CSV on standard output]"
)
@click.option(
    "--to",
    "tracker",
    type=click.Choice(["tensorboard", "wandb", "trackio"]),
    help="Write the files of an experiment tracker instead, offline.",
)
@choice_options
def export(
    run_dirs: tuple[Path, ...],
    out: Path | None,
    tracker: str | None,
    tasks: str | None,
    algorithms: str | None,
) -> None:
    """Write every evaluation as one table, or for a tracker.

    The table is tidy, one row an evaluation; a tracker is one of experiments, read offline.
    """
    from reports.export.tidy_table import write_tidy
    from reports.runs.choice import Choice
    from reports.runs.opening import open_stored

    choice = Choice.parse(tasks, algorithms)
    if tracker is not None:
        from reports.export.trackers import write_tracked

        if out is None:
            raise UserError(f"--to {tracker} needs a directory for its files; give it by --out")
        count = write_tracked(open_stored(run_dirs, choice).results, tracker, out)
        note(f"{count} runs for {tracker} in {out}")
        return
    rows = write_tidy(open_stored(run_dirs, choice).results, out)
    note(f"{rows} rows in {out or 'standard output'}")


@click.command()
@run_dir_argument
@click.option("--task", required=True, help="Whose policies.")
@click.option("--algos", "algorithms", help="Names. [default: all that were run]")
@click.option("--seeds", help="5 (means 0 to 4), 5-9, or 0,3,5-7. [default: all that were run]")
@click.option("--states", default=4, show_default=True, help="Number of states.")
@click.option("--samples", default=10_000, show_default=True, help="Actions in each state.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of what is drawn; --seeds chooses the policies.",
)
@out_option("Directory. [default: actions/TASK in RUN_DIR]")
@cache_option
@trust_option
@json_option
def actions(
    run_dir: Path, out: Path | None, cache: bool, as_json: bool, **drawing: Unpack[Drawing]
) -> None:
    """Test the actions of stored policies for several modes.

    Every policy's actions are drawn in the same few states; figures and tables are written.
    """
    from suite.common import jax_settings
    from suite.storage.run_directory import RunDirectory

    stored = RunDirectory.open(run_dir)
    jax_settings.prepare(cache)
    start_matplotlib()
    from reports.tables.table import to_records, to_text
    from reports.writing.actions import write_actions
    from suite.training.sample_actions import sample_actions

    samples = sample_actions(stored, **drawing)
    directory = out or run_dir / "actions" / samples.task
    files, tables = write_actions(samples, directory)
    for each in samples.notes:
        note(each)
    if as_json:
        click.echo(to_json({table.name: to_records(table) for table in tables}))
    else:
        click.echo(to_text(tables[0]))
    note(f"{len(files)} files in {directory}")


def _made_again(run_dirs: Sequence[Path], making: Making, out: Path | None) -> tuple[Check, ...]:
    """Makes stored numbers again, notes it in a file, and returns the checks of it."""
    from reports.audit.recomputed import recomputation_checks
    from reports.writing.recomputed_runs import run_directories
    from suite.common import jax_settings
    from suite.storage.recomputation import write_recomputation
    from suite.storage.run_directory import RunDirectory

    runs = [RunDirectory.open(path) for path in run_directories(run_dirs)]
    jax_settings.prepare(making["cache"])
    from suite.reproduction.making import make_again

    found = make_again(
        runs, making["recompute"], making["retrain"], making["draw_seed"], making["trust"], note
    )
    if out is not None:
        write_recomputation(out, found)
        note(f"what was recomputed is in {out}")
    return recomputation_checks(found)


def write_loaded_report(
    request: ReportRequest, subject: Subject, out: Path, parts: Sequence[Part]
) -> str:
    """Writes a report of what a request has loaded, says so, and returns its summary."""
    from reports.writing.report import write_loaded

    written = write_loaded(request, subject, out, parts)
    for notice in (*written.notices, f"{len(written.files)} files in {out}"):
        note(notice)
    return written.summary
