"""`suite eval`: what a stored policy does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite.commands.options import cache_option, json_option, run_dir_argument, trust_option
from suite.commands.printing import to_json

if TYPE_CHECKING:
    from algorithms.api import Mode


@click.command("eval")
@run_dir_argument
@click.option("--task", required=True, help="Which policy: its task, method and seed.")
@click.option("--algo", required=True, help="A name that RUN_DIR has.")
@click.option("--seed", required=True, type=click.IntRange(min=0), help="That it was trained with.")
@click.option(
    "--episodes",
    default=128,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many, each from a start state of its own.",
)
@click.option(
    "--mode",
    default="deterministic",
    show_default=True,
    type=click.Choice(["deterministic", "sample"]),
    help="Without the policy's noise, or with it.",
)
@click.option(
    "--eval-seed",
    type=click.IntRange(min=0),
    help="Of the start states. [default: the protocol's]",
)
@cache_option
@trust_option
@json_option
def evaluate(
    run_dir: Path,
    task: str,
    algo: str,
    seed: int,
    episodes: int,
    mode: Mode,
    eval_seed: int | None,
    cache: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Evaluate a stored policy of RUN_DIR again."""
    from suite.common import jax_settings
    from suite.storage.records import Cell
    from suite.storage.run_directory import RunDirectory

    stored = RunDirectory.open(run_dir)
    jax_settings.prepare(cache)
    from suite.methods.select_methods import method_name
    from suite.training.stored_policies import evaluate_stored, trust_files

    cell = stored.require_cell(Cell(method_name(algo), task, seed))
    if trust:
        trust_files(stored, [cell])

    chosen_seed = stored.protocol.eval_seed if eval_seed is None else eval_seed
    returns = [float(each) for each in evaluate_stored(stored, cell, episodes, mode, chosen_seed)]
    mean = sum(returns) / episodes
    std = (sum((each - mean) ** 2 for each in returns) / episodes) ** 0.5
    summary = {"cell": str(cell), "mode": mode, "episodes": episodes, "eval_seed": chosen_seed}
    if as_json:
        click.echo(to_json({**summary, "return_mean": mean, "return_std": std, "returns": returns}))
    else:
        click.echo(f"{cell}  {mode}  return {mean:.1f} (std {std:.1f} over {episodes} episodes)")
