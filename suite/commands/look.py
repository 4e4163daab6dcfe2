"""`suite list` and `suite status`: what there is to choose from, and how far runs are."""

from __future__ import annotations

from pathlib import Path

import click

from suite.commands.options import json_option, run_dir_argument
from suite.commands.printing import to_json
from suite.common.errors import UserError


@click.command()
@run_dir_argument
@json_option
def status(run_dir: Path, as_json: bool) -> None:
    """Show how far every cell of RUN_DIR is."""
    from suite.planning.status import ablation_reports, cell_reports, render
    from suite.storage.ablation_directory import is_ablation
    from suite.storage.run_directory import RunDirectory
    from suite.tuning.directory import is_tuning

    if is_tuning(run_dir):
        from suite.tuning import outcome

        found = outcome.trials(run_dir)
        click.echo(to_json(found) if as_json else outcome.render(run_dir))
        return
    if is_ablation(run_dir):
        arms = ablation_reports(run_dir)
        texts = [f"{name}\n{render(reports)}" for name, reports in arms.items()]
        click.echo(to_json(arms) if as_json else "\n\n".join(texts))
        return
    reports = cell_reports(RunDirectory.open(run_dir))
    click.echo(to_json(reports) if as_json else render(reports))


@click.command("list")
@click.argument(
    "what", type=click.Choice(["algos", "tasks", "protocols", "deviations", "switches"])
)
@click.option("--algo", help="Only this one: a method's hyper-parameters, or its deviations.")
@json_option
def list_(what: str, algo: str | None, as_json: bool) -> None:
    """List the methods, tasks and protocols to choose from.

    algos, and with --algo NAME all hyper-parameters of one; tasks; protocols; deviations, of the
    paper's text, its code and the presets paper and fair from each other; switches, that choose
    between them.
    """
    from suite.catalog import listings
    from suite.common import jax_settings

    if algo is not None and what not in listings.OF_ONE:
        raise UserError(f"--algo goes with `suite list algos` or deviations, not with {what}")
    jax_settings.prepare()
    listing = listings.LISTINGS[what]() if algo is None else listings.OF_ONE[what](_known(algo))
    click.echo(to_json(listing.data) if as_json else listing.text)


def _known(algo: str) -> str:
    """Returns a method's name; a file of a method is executed, and its method made known."""
    from suite.methods.select_methods import method_name

    return method_name(algo)
