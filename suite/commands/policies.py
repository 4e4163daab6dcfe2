"""`suite eval` and `suite watch`: what stored policies do."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite.commands.options import (
    cache_option,
    json_option,
    out_option,
    run_dir_argument,
    trust_option,
)
from suite.commands.printing import note, to_json

if TYPE_CHECKING:
    from algorithms.api import Mode
    from suite.watching.clip import Clip

mode_option = click.option(
    "--mode",
    default="deterministic",
    show_default=True,
    type=click.Choice(["deterministic", "sample"]),
    help="Without the policy's noise, or with it.",
)


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
@mode_option
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


@click.command()
@run_dir_argument
@click.option("--task", required=True, help="Whose policies.")
@click.option("--algos", "algorithms", help="Names. [default: all that have a policy]")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="That they were trained with. [default: of each the first that has a policy]",
)
@mode_option
@click.option(
    "--seconds",
    default=10,
    show_default=True,
    type=click.IntRange(1, 10),
    help="Of the episode, at its own speed.",
)
@out_option("File that ends in .webp. [default: watch/TASK.webp in RUN_DIR]")
@cache_option
@trust_option
@json_option
def watch(
    run_dir: Path,
    task: str,
    algorithms: str | None,
    seed: int | None,
    mode: Mode,
    seconds: int,
    out: Path | None,
    cache: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Film stored policies of RUN_DIR side by side.

    One episode of each method, all from the same start state, in an animated WebP. MuJoCo draws
    it with EGL or OSMesa, without a screen; MUJOCO_GL chooses one of them.
    """
    from suite.common import jax_settings
    from suite.storage.run_directory import RunDirectory

    stored = RunDirectory.open(run_dir)
    library = os.environ.get("MUJOCO_GL")  # before it is set for this process, which draws nothing
    jax_settings.prepare(cache)
    from envs.engines.pictures import drawing
    from suite.watching.clip import make_clip

    path = out or run_dir / "watch" / f"{task}.webp"
    open_drawing = functools.partial(drawing, library=library)
    clip = make_clip(
        stored, task, path, algorithms, seed, mode, seconds, trust, open_drawing=open_drawing
    )
    for each in clip.notes:
        note(each)
    click.echo(to_json(_plain(clip)) if as_json else _table(clip))
    note(f"{clip.frames} frames, {clip.bytes / 1e6:.1f} MB, in {clip.path}")


def _plain(clip: Clip) -> dict[str, object]:
    panels = [
        {
            "cell": str(panel.cell),
            "env_steps": panel.env_steps,
            "return_shown": panel.shown,
            "return": panel.whole,
            "ended_after": panel.steps,
        }
        for panel in clip.panels
    ]
    return {"file": str(clip.path), "bytes": clip.bytes, "frames": clip.frames, "panels": panels}


def _table(clip: Clip) -> str:
    from suite.common.formatting import count, number, table

    rows = [
        [str(each.cell), count(each.env_steps), number(each.shown), number(each.whole)]
        for each in clip.panels
    ]
    return table(["cell", "trained for", "return in the clip", "of the whole episode"], rows)
