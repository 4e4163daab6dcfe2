"""The command `suite`.

Heavy modules are imported inside the commands, so that `suite --help` is instant.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from suite.errors import UserError, describe_os_error

if TYPE_CHECKING:
    from algorithms.api import Mode
    from reports.report import Request as ReportRequest
    from suite.request import Request
    from suite.store import RunDirectory

EXIT_DIVERGED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    sys.exit(run_command(arguments))


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; the process's own by default.

    Returns:
        0; 1 if a seed diverged; 2 after a mistake of the user, told in one line on
        standard error; 130 if it was interrupted.
    """
    from envs.api import EnvError

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
        _complain("suite: interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:
        if error.errno is None:
            raise
        return _complain(f"suite: error: {describe_os_error(error)}")


def _complain(message: str) -> int:
    print(message, file=sys.stderr)
    return EXIT_USER_ERROR


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
            help="Change a hyper-parameter; * for every algorithm. Repeatable.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_cache_option = click.option(
    "--cache/--no-cache", default=True, help="Keep compiled programs for later runs."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.command()
@_selection_options
@_cache_option
@click.option("--dry-run", is_flag=True, help="Print the plan only.")
def run(cache: bool, dry_run: bool, **selection: Any) -> int:
    """Train; what is finished is skipped, what was stopped goes on."""
    request = _prepare(selection, cache)
    if dry_run:
        return _print_plan(request, as_json=False)

    from suite.launch import launch

    outcome = launch(request)
    if outcome.interrupted:
        click.echo("suite: stopped and saved; the same command goes on from here", err=True)
        return EXIT_INTERRUPTED
    if outcome.diverged:
        cells = ", ".join(map(str, outcome.diverged))
        click.echo(f"suite: diverged: {cells}; everything else is done", err=True)
        return EXIT_DIVERGED
    click.echo(f"suite: all done, in {request.out}", err=True)
    return 0


@cli.command()
@_selection_options
@_json_option
def plan(as_json: bool, **selection: Any) -> int:
    """Show what `suite run` would train, and how long it may take."""
    return _print_plan(_prepare(selection, cache=True), as_json)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@_json_option
def status(run_dir: Path, as_json: bool) -> None:
    """Show how far every cell of RUN_DIR is."""
    from suite.status import cell_reports, render

    reports = cell_reports(_open_run(run_dir))
    click.echo(_json(reports) if as_json else render(reports))


@cli.command("list")
@click.argument("what", type=click.Choice(["algos", "tasks", "protocols"]))
@_json_option
def list_(what: str, as_json: bool) -> None:
    """List algos (with their hyper-parameters), tasks or protocols."""
    from suite import catalog

    if what == "algos":
        from suite import runtime

        runtime.prepare()
    data, rendered = getattr(catalog, what)()
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
    from suite import runtime
    from suite.records import Cell

    stored = _open_run(run_dir)
    cell = stored.require_cell(Cell(algo, task, seed))
    runtime.prepare(cache)
    from suite.evaluate import evaluate_stored

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


def _analysis_options(command: Command) -> Command:
    """Adds the options that say how stored runs are scored."""
    policies = click.Choice(["zero", "last", "exclude"])
    options = [
        click.option(
            "--mode",
            default="deterministic",
            show_default=True,
            type=click.Choice(["deterministic", "sample"]),
            help="Evaluation mode that scores come from.",
        ),
        click.option(
            "--diverged",
            default="zero",
            show_default=True,
            type=policies,
            help="Diverged runs: score 0, keep the last evaluation, or leave out.",
        ),
        click.option(
            "--incomplete",
            default="exclude",
            show_default=True,
            type=policies,
            help="The same for unfinished, damaged and missing runs.",
        ),
        click.option("--reference", default="", help="Published results: gorl2025, or a .csv."),
        click.option("--reps", default=50_000, show_default=True, type=click.IntRange(min=1)),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0)),
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
@_analysis_options
def report(run_dirs: tuple[Path, ...], out: Path | None, parts: str, **scoring: Any) -> None:
    """Compare stored runs: an HTML page, tables and figures, without training."""
    from reports.report import parse_parts, write_report

    chosen = parse_parts(parts)
    request = _report_request(run_dirs, **scoring)
    directory = out or run_dirs[0] / "report"
    written = write_report(request, directory, chosen)
    click.echo(written.summary)
    click.echo(f"suite: {len(written.files)} files in {directory}", err=True)


@cli.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write a full report there too.")
@_analysis_options
def compare(run_a: Path, run_b: Path, out: Path | None, **scoring: Any) -> None:
    """Judge the runs of RUN_A and RUN_B together, as of a new baseline against stored results."""
    from reports.report import comparison_text, write_report

    request = _report_request((run_a, run_b), **scoring)
    click.echo(comparison_text(request))
    if out is not None:
        files = write_report(request, out).files
        click.echo(f"suite: {len(files)} files in {out}", err=True)


@cli.command()
@_run_dirs_argument
@click.option("--delta", required=True, type=float, help="Difference of IQM scores, in (0, 1).")
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
    type=click.Choice(["deterministic", "sample"]),
)
@_json_option
def power(run_dirs: tuple[Path, ...], delta: float, power: float, mode: str, as_json: bool) -> None:
    """Estimate how many seeds would show a difference DELTA, from the stored spread."""
    from reports.report import power_rows, power_text

    rows = power_rows(_report_request(run_dirs, mode=mode), delta, power)
    click.echo(_json(rows) if as_json else power_text(rows, delta, power))


@cli.command()
@_run_dirs_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A .csv or .parquet file. [default: CSV on standard output]",
)
def export(run_dirs: tuple[Path, ...], out: Path | None) -> None:
    """Write every evaluation of every run as one tidy table."""
    from reports.export import write_tidy
    from reports.results import load_results

    rows = write_tidy(load_results(run_dirs), out)
    click.echo(f"suite: {rows} rows in {out or 'standard output'}", err=True)


def _report_request(
    run_dirs: tuple[Path, ...],
    diverged: Any = "zero",
    incomplete: Any = "exclude",
    reps: int = 50_000,
    **fields: Any,
) -> ReportRequest:
    from reports.report import Request
    from reports.scores import ScorePolicy

    policy = ScorePolicy(diverged, incomplete)
    return Request(run_dirs, policy=policy, repetitions=reps, **fields)


def _prepare(selection: dict[str, Any], cache: bool) -> Request:
    from suite import runtime

    runtime.prepare(cache)
    from suite.request import make_request

    request = make_request(**selection)
    if request.notice:
        click.echo(f"suite: {request.notice}", err=True)
    return request


def _print_plan(request: Request, as_json: bool) -> int:
    stored = request.open_run()
    planned = request.plan(stored)
    if stored is not None:
        request.check_stored(stored, planned)
    click.echo(_json(planned.to_dict()) if as_json else planned.render())
    return 0


def _open_run(path: Path) -> RunDirectory:
    from suite.store import RunDirectory

    return RunDirectory.open(path)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1)


if __name__ == "__main__":
    main()
