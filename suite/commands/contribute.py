"""`suite new-algo`: a method of one's own, to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from suite.commands.options import out_option


@click.command("new-algo")
@click.argument("name")
@out_option("Directory. [default: the working directory]")
def new_algo(name: str, out: Path | None) -> None:
    """Write NAME.py, a method that works, to be changed.

    It is PPO with a Gaussian policy, complete in one file, whose comments say what each part is
    for. `--algos ./NAME.py` has it trained beside the others.
    """
    from suite.common import jax_settings

    jax_settings.prepare()
    from suite.methods.new_method import write_method

    path = write_method(name, out or Path())
    typed = shlex.quote(str(path))
    click.echo(f"wrote {path}, a method that works; change it, then")
    click.echo(f"  suite check-algo {typed}")
    click.echo(f"  suite run --algos all,{typed} --protocol smoke")
