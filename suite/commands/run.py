"""`suite run` and `suite plan`: train, or show what would be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from suite.commands.exit_codes import EXIT_CODES, EXIT_HELD
from suite.commands.options import Selection, cache_option, json_option, selection_options
from suite.commands.printing import note, say_how_it_ended, to_json, warning_lines

if TYPE_CHECKING:
    from suite.planning.run_request import RunRequest


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
def run(
    cache: bool,
    dry_run: bool,
    wait: bool,
    retry_diverged: bool,
    lease_seconds: float,
    **selection: Unpack[Selection],
) -> int:
    """Train; what is finished is skipped, what was stopped goes on.

    Several processes, also of several machines, may run this on one directory: they divide
    the jobs among themselves.
    """
    request = prepare(selection, cache)
    if dry_run:
        return _print_plan(request, as_json=False)

    from suite.training.launch import launch

    outcome = launch(request, wait, retry_diverged, lease_seconds)
    if outcome.held and not outcome.interrupted:
        jobs = "; ".join(map(str, outcome.held))
        note(f"left to other processes: {jobs}; everything else is done")
        return EXIT_HELD
    return say_how_it_ended(outcome.interrupted, outcome.diverged, request.out)


@click.command()
@selection_options
@json_option
def plan(as_json: bool, **selection: Unpack[Selection]) -> int:
    """Show what `suite run` would train, and how long it may take."""
    return _print_plan(prepare(selection, cache=True), as_json)


def prepare(selection: Selection, cache: bool) -> RunRequest:
    """Readies JAX and returns what the options ask for, checked; says what was chosen for them."""
    from suite.common import jax_settings

    jax_settings.prepare(cache)
    from suite.planning.run_request import make_request

    request = make_request(**selection)
    if request.notice:
        note(request.notice)
    return request


def _print_plan(request: RunRequest, as_json: bool) -> int:
    stored = request.open_run()
    planned = request.plan(stored)
    if stored is not None:
        request.check_stored(stored, planned)
    if as_json:
        click.echo(to_json(planned.to_dict()))
    else:
        click.echo("\n".join([planned.render(), *warning_lines(planned.shortage())]))
    return 0
