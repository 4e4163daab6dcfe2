"""`suite tune`: find settings for every method by the same effort."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite.commands.exit_codes import EXIT_CODES, EXIT_INTERRUPTED
from suite.commands.options import cache_option, cores_option, engine_option, out_option, set_option
from suite.commands.printing import note
from suite.common.errors import UserError

if TYPE_CHECKING:
    from suite.tuning.tune import Prepared


@click.command(epilog=EXIT_CODES)
@click.option("--algos", default="all", show_default=True, help="As of `suite run`.")
@click.option("--tasks", help="That candidates are judged on. [default: tuning]")
@click.option(
    "--for",
    "judged_on",
    default="dmc6",
    show_default=True,
    help="Tasks that the methods will be compared on, which none may be tuned on; none: any may.",
)
@click.option("--protocol", help="What settings are searched for. [default: lite]")
@click.option(
    "--trials", type=int, help="Candidates a method, its defaults among them. [default: 8]"
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=1000),
    help="Of each candidate and task; numbered from 100. [default: 1]",
)
@click.option(
    "--rungs", help="Shares of the budget after which candidates are dropped. [default: 0.5,1]"
)
@click.option("--eta", type=int, help="One of so many candidates goes on. [default: 4]")
@click.option("--draw", type=click.IntRange(min=0), help="Seed of the candidates. [default: 0]")
@click.option(
    "--like",
    help="A search's directory, or a protocol that tells of one: spend exactly what it spent.",
)
@engine_option
@out_option("Directory. [default: runs/tune-PROTOCOL]")
@set_option("A change in every candidate, as of `suite run`. Repeatable.")
@cache_option
@cores_option
@click.option("--dry-run", is_flag=True, help="Print the plan only.")
@click.option(
    "--lease-seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0.5, max=86_400.0),
    help="As of `suite run`.",
)
def tune(
    algos: str,
    judged_on: str,
    like: str | None,
    engine: str,
    out: Path | None,
    changes: tuple[str, ...],
    cache: bool,
    where: str,
    dry_run: bool,
    lease_seconds: float,
    **spent: object,
) -> int:
    """Find settings for every method by the same effort.

    Candidates are what the protocol sets for a method, and settings drawn from the ranges that it
    declares. They train on tasks of their own, from seeds and start states that no comparison
    uses; the better ones go on. --out/tuned.toml then holds tables for a protocol. What is finished
    is skipped, what was stopped goes on, and several processes may share the work, as those of
    --on do.
    """
    from suite.common import jax_settings

    jax_settings.prepare(cache, engine)
    from suite.tuning.outcome import render
    from suite.tuning.tune import run_tuning

    given = {name: value for name, value in spent.items() if value is not None}
    prepared = _prepare(algos, judged_on, like, engine, out, changes, given)
    if dry_run:
        click.echo(prepared.render())
        return 0
    from suite.cluster.companions import companions, slots_of

    slots = slots_of(where, prepared.base.engine, prepared.jobs_left(), prepared.seconds)
    with companions(slots):
        finished = run_tuning(prepared, lease_seconds)
    if not finished:
        note("stopped and saved; the same command goes on from here")
        return EXIT_INTERRUPTED
    click.echo(render(prepared.out))
    note(f"all done, in {prepared.out}; put the tables of tuned.toml into your protocol")
    return 0


def _prepare(
    algos: str,
    judged_on: str,
    like: str | None,
    engine: str,
    out: Path | None,
    changes: tuple[str, ...],
    given: dict[str, object],
) -> Prepared:
    from suite.configuration.effort import parse_rungs
    from suite.tuning.tune import Options, prepare_like, prepare_tuning

    if like is not None:
        if given:
            listed = ", ".join(f"--{name}" for name in given)
            raise UserError(f"--like {like} already says what is spent; leave out {listed}")
        return prepare_like(algos, like, engine, out, changes, judged_on)
    protocol = str(given.pop("protocol", "lite"))
    if "rungs" in given:
        given["rungs"] = parse_rungs(str(given["rungs"]))
    options = Options(**given)  # type: ignore[arg-type]
    return prepare_tuning(algos, protocol, engine, out, changes, options, judged_on)
