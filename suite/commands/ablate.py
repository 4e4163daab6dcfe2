"""`suite ablate`: train the arms of an ablation."""

from __future__ import annotations

from pathlib import Path

import click

from suite.commands.options import cache_option, cores_option, engine_option, out_option, set_option
from suite.commands.printing import say_how_it_ended, warning_lines


@click.command()
@click.argument("ablation")
@click.option("--algos", help="Instead of the file's.")
@click.option("--tasks", help="Likewise.")
@click.option("--seeds", help="Likewise.")
@click.option(
    "--protocol",
    help="Instead of the file's; its [changes] and [source], made for that one, are left out.",
)
@engine_option
@out_option("Directory. [default: runs/ablate-ABLATION]")
@set_option("A change in every arm, as of `suite run`. Repeatable.")
@cache_option
@cores_option
@click.option("--dry-run", is_flag=True, help="Print the plans only.")
def ablate(
    ablation: str,
    engine: str,
    out: Path | None,
    changes: tuple[str, ...],
    cache: bool,
    where: str,
    dry_run: bool,
    **selection: str | None,
) -> int:
    """Train with one thing varied, all else equal.

    ABLATION is kl, stages, prior, restart, normalizer, controls, or a file of yours.

    Every arm is a run directory in --out. What is finished is skipped, what was stopped goes
    on; `suite status` and `suite report` take the whole directory.
    """
    from suite.common import jax_settings
    from suite.configuration.recipe import load_recipe

    recipe = load_recipe(ablation).with_choices(selection, changes)
    jax_settings.prepare(cache, engine)
    from suite.training.ablate import prepare_ablation, run_ablation, shortage

    prepared = prepare_ablation(recipe, engine, out)
    if dry_run:
        plans = dict(prepared.plans())
        texts = [f"\n{name}: {planned.render()}" for name, planned in plans.items()]
        warning = warning_lines(shortage(prepared.ablation, plans))
        click.echo("\n".join([prepared.description, *texts, *warning]))
        return 0
    from suite.cluster.companions import companions, slots_of

    arms = [planned for _, planned in prepared.plans()]
    jobs = sum(each.state != "done" for planned in arms for each in planned.jobs)
    seconds = sum(planned.seconds or 0.0 for planned in arms)
    with companions(slots_of(where, prepared.ablation.engine, jobs, seconds)):
        outcome = run_ablation(prepared)
    return say_how_it_ended(outcome.interrupted, outcome.diverged, prepared.out)
