"""`suite check-algo`: whether a method is wired right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from suite.commands.exit_codes import EXIT_CODES, EXIT_UNSOUND
from suite.commands.options import cache_option, json_option, set_option
from suite.commands.printing import to_json

if TYPE_CHECKING:
    from algorithms.registry import Entry
    from suite.checks.check import Outcome


@click.command("check-algo", epilog=EXIT_CODES)
@click.argument("algos", metavar="NAME")
@set_option("Change a hyper-parameter. Repeatable.")
@cache_option
@json_option
def check_algo(algos: str, changes: tuple[str, ...], cache: bool, as_json: bool) -> int:
    """Say whether a method is wired right.

    To be asked before it is compared with others. NAME is what `suite run --algos` takes. Each
    check is a line; one that fails says what was found, why it matters and how to mend it. Ends
    with 1 if any fails.
    """
    from suite.common import jax_settings

    jax_settings.prepare(cache)
    from suite.checks.all_checks import examine
    from suite.checks.subject import make_subject

    reports, sound = [], True
    for entry in resolve(algos):
        subject = make_subject(entry, changes)
        if not as_json:
            click.echo(f"{entry.name}: {entry.description}")
        began = time.perf_counter()
        outcomes = examine(subject, (lambda _: None) if as_json else _say)
        seconds = time.perf_counter() - began
        if not as_json:
            _conclude(outcomes, seconds)
        rows = [outcome.to_dict() for outcome in outcomes]
        sound = sound and all(outcome.state != "FAIL" for outcome in outcomes)
        reports.append({"method": entry.name, "seconds": round(seconds, 1), "checks": rows})
    if as_json:
        click.echo(to_json(reports))
    return 0 if sound else EXIT_UNSOUND


def resolve(algos: str) -> list[Entry]:
    """Returns what `--algos` would select; files that it names are executed.

    Raises:
        UserError: see `select_methods`.
    """
    from algorithms.registry import lookup
    from suite.methods.select_methods import select_methods

    return [lookup(name) for name in select_methods(algos)]


def _say(outcome: Outcome) -> None:
    detail = outcome.check.asks
    if outcome.state == "skipped":
        detail = outcome.text
    elif outcome.text and outcome.state == "ok":
        detail += f" ({outcome.text})"
    click.echo(f"  {outcome.check.name:14} {outcome.state:8} {outcome.seconds:5.1f} s  {detail}")


def _conclude(outcomes: list[Outcome], seconds: float) -> None:
    """Says what the failures teach, and how it ended."""
    failed = [outcome for outcome in outcomes if outcome.state == "FAIL"]
    for outcome in failed:
        click.echo(f"\n{outcome.check.name}: {outcome.lesson()}")
    count = {state: sum(each.state == state for each in outcomes) for state in ("ok", "skipped")}
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    click.echo(f"\n{count['ok']} ok, {len(failed)} failed{skipped}, in {seconds:.0f} s")
