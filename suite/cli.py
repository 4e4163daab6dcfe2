"""The command `suite`.

Heavy modules are imported inside the commands, so that `suite --help` is instant.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reports.writing.report_options import (
    MODES,
    POLICIES,
    REPETITIONS,
    SEEDS,
)
from suite.common.errors import UserError, describe_os_error

if TYPE_CHECKING:
    from algorithms.api import Mode
    from reports.writing.report_request import ReportRequest
    from suite.planning.run_request import Request
    from suite.storage.run_directory import RunDirectory

EXIT_DIVERGED = 1
EXIT_UNFAIR = 1
EXIT_USER_ERROR = 2
EXIT_HELD = 3
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141

EXIT_CODES = """
Exit codes:

\b
0    all done
1    it ran to its end, but a seed diverged, or an audit failed
2    bad input, or a file that cannot be read or written
3    `suite run --no-wait` left jobs to other processes
70   a fault in the program or in a method's own code
130  interrupted; a run had saved what it did, unless it was interrupted twice
141  whoever read the output closed it
143  ended by SIGTERM while not training, or by a second one
"""

SHOW_FAULTS = "SUITE_TRACEBACK"
"""Environment variable: if set, a fault's traceback goes to standard error, not into a file."""

Command = TypeVar("Command", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    warnings = logging.StreamHandler()
    warnings.setFormatter(logging.Formatter("suite: %(message)s"))
    logging.getLogger("suite").addHandler(warnings)
    logging.getLogger("suite").propagate = False  # libraries add handlers of their own
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files may hold what the terminal's encoding, or any, cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ["MPLBACKEND"] = "agg"  # nothing is shown in a window
    sys.exit(run_command(arguments))


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; the process's own by default.

    Returns:
        One of `EXIT_CODES`. What was wrong, with 2 or 70, is told in one line on standard error.
    """
    from envs.api import EnvError

    output = sys.stdout
    try:
        result = cli.main(arguments, prog_name="suite", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        return _complain(error.format_message())
    except click.ClickException as error:
        return _complain(f"suite: error: {error.format_message()}")
    except (UserError, EnvError) as error:
        return _complain(f"suite: error: {error}")
    except (KeyboardInterrupt, click.Abort):
        return _complain("suite: interrupted", EXIT_INTERRUPTED)
    except SystemExit:
        # Click ends so where a pipe is closed, and has put something else in the pipe's place.
        if sys.stdout is output:
            raise
        return EXIT_CLOSED_PIPE
    except Exception as error:
        return _judge(error)


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


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="gorl-suite", message="suite %(version)s")
def cli() -> None:
    """Train generative and Gaussian policies under identical budgets, and compare them."""


def _selection_options(command: Command) -> Command:
    """Adds the options that say what to run."""
    options = [
        click.option("--algos", default="all", show_default=True, help="All, or names."),
        click.option("--tasks", default="dmc6", show_default=True, help="Task sets or tasks."),
        click.option(
            "--seeds", default="5", show_default=True, help="5 (means 0 to 4), 5-9, or 0,3,5-7."
        ),
        click.option(
            "--protocol", help="A name or a TOML file. [default: fair with a GPU, lite without]"
        ),
        click.option(
            "--engine", default="auto", show_default=True, help="auto, jax, warp or native."
        ),
        click.option(
            "--out", type=click.Path(path_type=Path), help="Directory. [default: runs/PROTOCOL]"
        ),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="ALGO.FIELD=VALUE",
            help="Change a hyper-parameter; * for every algorithm, protocol.FIELD for one of the"
            " protocol's. Repeatable.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_cache_option = click.option(
    "--cache/--no-cache", default=True, help="Keep compiled programs for later runs."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.command(epilog=EXIT_CODES)
@_selection_options
@_cache_option
@click.option("--dry-run", is_flag=True, help="Print the plan only.")
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Wait for jobs that other processes train, and take over from those that die.",
)
@click.option(
    "--retry-diverged",
    is_flag=True,
    help="Start diverged seeds afresh; their records are kept aside.",
)
@click.option(
    "--lease-seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0.5, max=86_400.0),
    help="Silence after which other processes take over what this one trains.",
)
def run(
    cache: bool,
    dry_run: bool,
    wait: bool,
    retry_diverged: bool,
    lease_seconds: float,
    **selection: Any,
) -> int:
    """Train; what is finished is skipped, what was stopped goes on.

    Several processes, also of several machines, may run this on one directory: they divide
    the jobs among themselves.
    """
    request = _prepare(selection, cache)
    if dry_run:
        return _print_plan(request, as_json=False)

    from suite.training.launch import launch

    outcome = launch(request, wait, retry_diverged, lease_seconds)
    if outcome.held and not outcome.interrupted:
        jobs = "; ".join(map(str, outcome.held))
        click.echo(f"suite: left to other processes: {jobs}; everything else is done", err=True)
        return EXIT_HELD
    return _finish(outcome.interrupted, outcome.diverged, request.out)


@cli.command()
@_selection_options
@_json_option
def plan(as_json: bool, **selection: Any) -> int:
    """Show what `suite run` would train, and how long it may take."""
    return _print_plan(_prepare(selection, cache=True), as_json)


@cli.command()
@click.argument("ablation")
@click.option("--algos", help="Instead of the file's; likewise --tasks and --seeds.")
@click.option("--tasks")
@click.option("--seeds")
@click.option(
    "--protocol",
    help="Instead of the file's; its [changes] and [source], made for that one, are left out.",
)
@click.option("--engine", default="auto", show_default=True, help="auto, jax, warp or native.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Directory. [default: runs/ablate-ABLATION]"
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="ALGO.FIELD=VALUE",
    help="A change in every arm, as of `suite run`. Repeatable.",
)
@_cache_option
@click.option("--dry-run", is_flag=True, help="Print the plans only.")
def ablate(
    ablation: str,
    engine: str,
    out: Path | None,
    changes: tuple[str, ...],
    cache: bool,
    dry_run: bool,
    **selection: str | None,
) -> int:
    """Vary one thing, all else equal: kl, stages, normalizer, controls, or a file of yours.

    Every arm is a run directory in --out. What is finished is skipped, what was stopped goes
    on; `suite status` and `suite report` take the whole directory.
    """
    from suite.common import jax_settings
    from suite.configuration.recipe import load_recipe

    recipe = load_recipe(ablation).with_choices(selection, changes)
    jax_settings.prepare(cache)
    from suite.training.ablate import prepare_ablation, run_ablation, shortage

    prepared = prepare_ablation(recipe, engine, out)
    if dry_run:
        plans = dict(prepared.plans())
        texts = [f"\n{name}: {planned.render()}" for name, planned in plans.items()]
        warning = _warned(shortage(prepared.ablation, plans))
        click.echo("\n".join([prepared.description, *texts, *warning]))
        return 0
    outcome = run_ablation(prepared)
    return _finish(outcome.interrupted, outcome.diverged, prepared.out)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@_json_option
def status(run_dir: Path, as_json: bool) -> None:
    """Show how far every cell of RUN_DIR is."""
    from suite.configuration.recipe import is_ablation
    from suite.planning.status import ablation_reports, cell_reports, render

    if is_ablation(run_dir):
        arms = ablation_reports(run_dir)
        texts = [f"{name}\n{render(reports)}" for name, reports in arms.items()]
        click.echo(_json(arms) if as_json else "\n\n".join(texts))
        return
    reports = cell_reports(_open_run(run_dir))
    click.echo(_json(reports) if as_json else render(reports))


@cli.command("list")
@click.argument(
    "what", type=click.Choice(["algos", "tasks", "protocols", "deviations", "switches"])
)
@click.option("--algo", help="Only what concerns this algorithm; for deviations.")
@_json_option
def list_(what: str, algo: str | None, as_json: bool) -> None:
    """List what there is to choose from.

    algos, with their hyper-parameters; tasks; protocols; deviations, of the paper's text, its
    code and the presets paper and fair from each other; switches, that choose between them.
    """
    from suite.catalog import listings
    from suite.common import jax_settings

    if algo is not None and what != "deviations":
        raise UserError(f"--algo goes with `suite list deviations`, not with {what}")
    jax_settings.prepare()
    arguments = (algo,) if what == "deviations" else ()
    data, rendered = getattr(listings, what)(*arguments)
    click.echo(_json(data) if as_json else rendered)


@cli.command("eval")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--task", required=True)
@click.option("--algo", required=True)
@click.option("--seed", required=True, type=click.IntRange(min=0))
@click.option("--episodes", default=128, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--mode",
    default="deterministic",
    show_default=True,
    type=click.Choice(["deterministic", "sample"]),
)
@click.option("--eval-seed", type=click.IntRange(min=0), help="[default: the protocol's]")
@_cache_option
@_json_option
def evaluate(
    run_dir: Path,
    task: str,
    algo: str,
    seed: int,
    episodes: int,
    mode: Mode,
    eval_seed: int | None,
    cache: bool,
    as_json: bool,
) -> None:
    """Evaluate a stored policy of RUN_DIR again."""
    from suite.common import jax_settings
    from suite.storage.records import Cell

    stored = _open_run(run_dir)
    cell = stored.require_cell(Cell(algo, task, seed))
    jax_settings.prepare(cache)
    from suite.training.stored_policies import evaluate_stored

    chosen_seed = stored.protocol.eval_seed if eval_seed is None else eval_seed
    returns = [float(each) for each in evaluate_stored(stored, cell, episodes, mode, chosen_seed)]
    mean = sum(returns) / episodes
    std = (sum((each - mean) ** 2 for each in returns) / episodes) ** 0.5
    summary = {"cell": str(cell), "mode": mode, "episodes": episodes, "eval_seed": chosen_seed}
    if as_json:
        click.echo(_json({**summary, "return_mean": mean, "return_std": std, "returns": returns}))
    else:
        click.echo(f"{cell}  {mode}  return {mean:.1f} (std {std:.1f} over {episodes} episodes)")


_run_dirs_argument = click.argument(
    "run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path)
)


def _choice_options(command: Command) -> Command:
    """Adds the options that say which of the stored runs."""
    command = click.option(
        "--algos", "algorithms", help="Names, or labels as tables show them. [default: all stored]"
    )(command)
    return click.option("--tasks", help="Names. [default: all stored]")(command)


def _analysis_options(command: Command) -> Command:
    """Adds the options that say how stored runs are scored."""
    policies = click.Choice(POLICIES)
    options = [
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
            type=policies,
            help="Diverged runs: score 0 from there on, keep the last evaluation, or leave out.",
        ),
        click.option(
            "--incomplete",
            default="exclude",
            show_default=True,
            type=policies,
            help="The same for unfinished, damaged and missing runs.",
        ),
        click.option("--reference", default="", help="Published results: gorl2025, or a .csv."),
        click.option(
            "--reps", default=50_000, show_default=True, type=click.IntRange(*REPETITIONS)
        ),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(*SEEDS)),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@_run_dirs_argument
@click.option(
    "--out", type=click.Path(path_type=Path), help="Directory. [default: report in first RUN_DIR]"
)
@click.option(
    "--format", "parts", default="html,tables,figures", show_default=True, help="Any of these."
)
@_choice_options
@_analysis_options
def report(run_dirs: tuple[Path, ...], out: Path | None, parts: str, **scoring: Any) -> None:
    """Compare stored runs: an HTML page, tables and figures, without training."""
    start_matplotlib()
    from reports.writing.report_request import parse_parts

    chosen = parse_parts(parts)
    request = _report_request(run_dirs, **scoring)
    click.echo(_write_report(request, out or run_dirs[0] / "report", chosen))


@cli.command()
@_run_dirs_argument
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="A report made from these runs: make it again, and compare every byte.",
)
@click.option("--reference", default="", help="Published results that the report shows, if a file.")
@_json_option
def audit(run_dirs: tuple[Path, ...], report: Path | None, reference: str, as_json: bool) -> int:
    """Check that a comparison was fair, and that nothing was changed since. Exit code 1 if not."""
    from reports.audit.audit import audit_directories, render, to_plain
    from reports.audit.check import failed

    checks = audit_directories(run_dirs)
    if report is not None:
        start_matplotlib()
        from reports.writing.verify import verify_report

        checks = (*checks, *verify_report(report, run_dirs, reference))
    click.echo(_json(to_plain(checks)) if as_json else render(checks))
    return EXIT_UNFAIR if failed(checks) else 0


@cli.command()
@_run_dirs_argument
@click.option("--out", type=click.Path(path_type=Path), help="Write a full report there too.")
@_choice_options
@_analysis_options
def compare(run_dirs: tuple[Path, ...], out: Path | None, **scoring: Any) -> None:
    """Judge run directories together, as of a new baseline against stored results.

    What is compared is the tasks that all of them hold. The arms of one ablation can be
    compared too.
    """
    start_matplotlib()
    from reports.runs.opening import lone_ablation
    from reports.writing.report_request import PARTS
    from reports.writing.terminal import comparison_text

    if lone_ablation(run_dirs) is None and len(run_dirs) < 2:
        raise UserError(
            f"compare takes two run directories or more, or one ablation; `suite report "
            f"{run_dirs[0]}` judges one"
        )
    request = _report_request(run_dirs, common=True, **scoring)
    click.echo(comparison_text(request))
    if out is not None:
        _write_report(request, out, PARTS)


@cli.command()
@_run_dirs_argument
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
)
@_choice_options
@_json_option
def power(
    run_dirs: tuple[Path, ...], delta: float, power: float, as_json: bool, **scoring: Any
) -> None:
    """Simulate how many seeds would show a difference DELTA, from the stored spread."""
    start_matplotlib()
    from reports.writing.power import power_rows, power_text

    rows = power_rows(_report_request(run_dirs, **scoring), delta, power)
    click.echo(_json(rows) if as_json else power_text(rows, delta, power))


@cli.command()
@_run_dirs_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A .csv or .parquet file, or a tracker's directory. [default: CSV on standard output]",
)
@click.option(
    "--to",
    "tracker",
    type=click.Choice(["tensorboard", "wandb", "trackio"]),
    help="Write the files of an experiment tracker instead, offline.",
)
@_choice_options
def export(
    run_dirs: tuple[Path, ...],
    out: Path | None,
    tracker: str | None,
    tasks: str | None,
    algorithms: str | None,
) -> None:
    """Write every evaluation of every run as one tidy table, or for an experiment tracker."""
    from reports.export.tidy_table import write_tidy
    from reports.runs.choice import Choice
    from reports.runs.opening import open_stored

    choice = Choice.parse(tasks, algorithms)
    if tracker is not None:
        from reports.export.trackers import write_tracked

        if out is None:
            raise UserError(f"--to {tracker} needs a directory for its files; give it by --out")
        count = write_tracked(open_stored(run_dirs, choice).results, tracker, out)
        click.echo(f"suite: {count} runs for {tracker} in {out}", err=True)
        return
    rows = write_tidy(open_stored(run_dirs, choice).results, out)
    click.echo(f"suite: {rows} rows in {out or 'standard output'}", err=True)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--task", required=True)
@click.option("--algos", "algorithms", help="Names. [default: all that were run]")
@click.option("--seeds", help="5 (means 0 to 4), 5-9, or 0,3,5-7. [default: all that were run]")
@click.option("--states", default=4, show_default=True, help="Number of states.")
@click.option("--samples", default=10_000, show_default=True, help="Actions in each state.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Directory. [default: actions/TASK in RUN_DIR]"
)
@_cache_option
@_json_option
def actions(run_dir: Path, out: Path | None, cache: bool, as_json: bool, **drawn: Any) -> None:
    """Draw the action distributions of stored policies, and test them for several modes."""
    from suite.common import jax_settings

    stored = _open_run(run_dir)
    jax_settings.prepare(cache)
    start_matplotlib()
    from reports.tables.table import to_records, to_text
    from reports.writing.actions import write_actions
    from suite.training.sample_actions import sample_actions

    samples = sample_actions(stored, **drawn)
    directory = out or run_dir / "actions" / samples.task
    files, tables = write_actions(samples, directory)
    for note in samples.notes:
        click.echo(f"suite: {note}", err=True)
    if as_json:
        click.echo(_json({table.name: to_records(table) for table in tables}))
    else:
        click.echo(to_text(tables[0]))
    click.echo(f"suite: {len(files)} files in {directory}", err=True)


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


def _write_report(request: ReportRequest, out: Path, parts: Sequence[Any]) -> str:
    """Writes a report, says so, and returns its summary."""
    from reports.writing.report import write_report

    written = write_report(request, out, parts)
    for notice in (*written.notices, f"{len(written.files)} files in {out}"):
        click.echo(f"suite: {notice}", err=True)
    return written.summary


def _report_request(
    run_dirs: tuple[Path, ...],
    diverged: Any = "zero",
    incomplete: Any = "exclude",
    reps: int = 50_000,
    tasks: str | None = None,
    algorithms: str | None = None,
    common: bool = False,
    **fields: Any,
) -> ReportRequest:
    from reports.analysis.scores import ScorePolicy
    from reports.runs.choice import Choice
    from reports.writing.report_request import ReportRequest

    policy = ScorePolicy(diverged, incomplete)
    choice = Choice.parse(tasks, algorithms, common)
    return ReportRequest(run_dirs, policy=policy, repetitions=reps, choice=choice, **fields)


def _prepare(selection: dict[str, Any], cache: bool) -> Request:
    from suite.common import jax_settings

    jax_settings.prepare(cache)
    from suite.planning.run_request import make_request

    request = make_request(**selection)
    if request.notice:
        click.echo(f"suite: {request.notice}", err=True)
    return request


def _finish(interrupted: bool, diverged: Sequence[Any], out: Path) -> int:
    """Says how training ended, and returns the exit code."""
    if interrupted:
        click.echo("suite: stopped and saved; the same command goes on from here", err=True)
        return EXIT_INTERRUPTED
    if diverged:
        cells = ", ".join(map(str, diverged))
        click.echo(f"suite: diverged: {cells}; everything else is done", err=True)
        return EXIT_DIVERGED
    click.echo(f"suite: all done, in {out}", err=True)
    return 0


def _print_plan(request: Request, as_json: bool) -> int:
    stored = request.open_run()
    planned = request.plan(stored)
    if stored is not None:
        request.check_stored(stored, planned)
    if as_json:
        click.echo(_json(planned.to_dict()))
    else:
        click.echo("\n".join([planned.render(), *_warned(planned.shortage())]))
    return 0


def _warned(shortage: str | None) -> list[str]:
    """Returns the line of a plan from which no claim can come out, none otherwise."""
    return [f"warning: {shortage}"] if shortage else []


def _open_run(path: Path) -> RunDirectory:
    from suite.storage.run_directory import RunDirectory

    return RunDirectory.open(path)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1)


if __name__ == "__main__":
    main()
