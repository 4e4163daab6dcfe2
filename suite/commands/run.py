"""`suite run` and `suite plan`: train, or show what would be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from suite.cluster.places import AUTO, HERE
from suite.commands.exit_codes import EXIT_CODES, EXIT_FAULT, EXIT_HELD, EXIT_USER_ERROR
from suite.commands.options import Selection, cache_option, json_option, selection_options
from suite.commands.printing import note, say_how_it_ended, to_json, warning_lines
from suite.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cluster.places import Place
    from suite.cluster.sharing import Failure
    from suite.planning.run_request import RunRequest
    from suite.training.launch import Outcome

on_option = click.option(
    "--on",
    "where",
    metavar="PLACE",
    default=AUTO,
    envvar="SUITE_ON",
    show_envvar=True,
    show_default=True,
    help="Workers: local, local:3, tcp://HOST:8786, slurm, or a TOML file (docs/clusters.md); "
    "here: this process alone; auto: local where a core each pays, otherwise here.",
)
split_option = click.option(
    "--split-seeds",
    is_flag=True,
    help="Train seeds of a job apart where workers would idle; their last digits then differ.",
)


@click.command(epilog=EXIT_CODES)
@selection_options
@cache_option
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
@on_option
@split_option
def run(
    cache: bool,
    dry_run: bool,
    wait: bool,
    retry_diverged: bool,
    lease_seconds: float,
    where: str,
    split_seeds: bool,
    **selection: Unpack[Selection],
) -> int:
    """Train; what is finished is skipped, what was stopped goes on.

    Several processes, also of several machines, may run this on one directory: they divide
    the jobs among themselves. With --on, one command has workers do so.
    """
    request, place = _prepare_for(where, split_seeds, selection, cache)
    if dry_run:
        return _print_plan(request, False, place, split_seeds)
    if place is None:
        from suite.training.launch import launch

        return _say_outcome(launch(request, wait, retry_diverged, lease_seconds), request)

    from suite.cluster.run_on import launch_on

    outcome, failures = launch_on(
        request, place, wait, retry_diverged, lease_seconds, cache, split_seeds
    )
    if failures and not outcome.interrupted:
        return _say_failures(failures)
    return _say_outcome(outcome, request)


def _say_outcome(outcome: Outcome, request: RunRequest) -> int:
    if outcome.held and not outcome.interrupted:
        jobs = "; ".join(map(str, outcome.held))
        note(f"left to other processes: {jobs}; everything else is done")
        return EXIT_HELD
    return say_how_it_ended(outcome.interrupted, outcome.diverged, request.out)


def _say_failures(failures: Sequence[Failure]) -> int:
    """Names the jobs that were given up, and returns the exit code."""
    for failure in failures:
        note(f"given up: {failure.job}: {failure.message}")
    note("everything else is done; the same command tries these again")
    return EXIT_FAULT if any(failure.fault for failure in failures) else EXIT_USER_ERROR


@click.command()
@selection_options
@on_option
@split_option
@json_option
def plan(where: str, split_seeds: bool, as_json: bool, **selection: Unpack[Selection]) -> int:
    """Show what `suite run` would train, and how long it may take."""
    request, place = _prepare_for(where, split_seeds, selection, cache=True)
    return _print_plan(request, as_json, place, split_seeds)


def _prepare_for(
    where: str, split_seeds: bool, selection: Selection, cache: bool
) -> tuple[RunRequest, Place | None]:
    """Returns what to train and what --on means, None for this process alone.

    Raises:
        UserError: something is wrong with either.
    """
    from suite.cluster.places import leave_gpus_alone, own_cores, parse_place

    if where not in (AUTO, HERE):
        place = parse_place(where)
        leave_gpus_alone()
        return prepare(selection, cache), place
    if split_seeds:
        raise UserError("--split-seeds goes with --on: it is about workers that would idle")
    request = prepare(selection, cache)
    if where == HERE:
        return request, None
    return request, own_cores(request.engine, request.plan(request.open_run()))


def prepare(selection: Selection, cache: bool) -> RunRequest:
    """Readies JAX and returns what the options ask for, checked; says what was chosen for them."""
    from suite.common import jax_settings

    jax_settings.prepare(cache, selection["engine"])
    from suite.planning.run_request import make_request

    request = make_request(**selection)
    if request.notice:
        note(request.notice)
    return request


def _print_plan(request: RunRequest, as_json: bool, place: Place | None, split_seeds: bool) -> int:
    stored = request.open_run()
    planned, extra, line = request.plan(stored), {}, []
    if place is not None:
        from suite.cluster.run_on import prospect

        planned, found = prospect(request, place, stored, split_seeds)
        extra, line = {"on": str(place), **found._asdict()}, [found.render(place)]
    if stored is not None:
        request.check_stored(stored, planned)
    if as_json:
        click.echo(to_json({**planned.to_dict(), **({"workers": extra} if extra else {})}))
    else:
        click.echo("\n".join([planned.render(), *line, *warning_lines(planned.shortage())]))
    return 0
