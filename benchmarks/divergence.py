"""What grows before a seed's numbers stop being finite: goes on from the state kept before it.

A run keeps the last good checkpoint of a seed that diverged (`last-good.ckpt`). From there each
such seed is trained on, update by update, until a parameter is no finite number, and of every
update is noted how far the largest action lies from zero before tanh, and the update's metrics.

    python -m benchmarks.divergence results/lite

writes results/benchmarks/divergence.json and prints a line a seed. A seed that is in the record
is not looked at again; one of a method with several stages is left out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from suite.common import jax_settings

jax_settings.prepare()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from suite.common.errors import UserError  # noqa: E402
from suite.common.files import atomic_write, json_bytes  # noqa: E402
from suite.common.formatting import table  # noqa: E402
from suite.compute.build import build_program  # noqa: E402
from suite.compute.compiled import Compiled  # noqa: E402
from suite.compute.program import Program, SeedState  # noqa: E402
from suite.storage import checkpoint  # noqa: E402
from suite.storage.provenance import provenance  # noqa: E402
from suite.storage.records import Cell, Job  # noqa: E402
from suite.storage.run_directory import RunDirectory  # noqa: E402
from suite.training.stored_policies import stored_algorithm  # noqa: E402

RECORD = Path(__file__).resolve().parents[1] / "results/benchmarks/divergence.json"

Row = dict[str, float]
"""Of an update: its number, the reach of the actions before it, its metrics that are finite."""


def diverged(run: RunDirectory) -> list[Cell]:
    """Returns the cells that diverged and kept a state from before."""
    return [
        cell
        for cell in run.cells()
        if (status := run.files(cell).read_status()) is not None
        and status.state == "diverged"
        and _last_good(run, cell).is_file()
    ]


def trace(run: RunDirectory, cell: Cell, most: int = 1_000) -> list[Row]:
    """Trains a cell's job on from the last good state, to the first update that is not finite.

    Args:
        run: where it is.
        cell: which.
        most: updates at the most.

    Raises:
        UserError: its method or task is not known here or has stages, or the state is damaged.
    """
    record = run.files(cell).read_run()
    assert record is not None
    algorithm, task = stored_algorithm(run, cell, record.configuration)
    if len(algorithm.stages()) > 1:
        raise UserError(f"{cell}: what happens between stages is not gone over again")
    program = build_program(algorithm, task, run.protocol)
    job = Job(cell.algorithm, cell.task, record.configuration.seeds_together)
    template = Compiled(program).abstract_start(job.seeds)
    state: SeedState = checkpoint.load(_last_good(run, cell), template)[0]
    lane, update = job.seeds.index(cell.seed), jax.jit(jax.vmap(program._update))
    reach = jax.jit(jax.vmap(lambda each: _reach(program, each)))
    rows: list[Row] = []
    for _ in range(most):
        far = float(reach(state)[lane])
        state, metrics = update(state)
        found = {name: float(values[lane]) for name, values in metrics.items()}
        finite = {name: value for name, value in found.items() if math.isfinite(value)}
        rows.append({"update": float(state.updates[lane]), "reach": far, **finite})
        if not _is_finite(state, lane):
            break
    return rows


def _last_good(run: RunDirectory, cell: Cell) -> Path:
    return run.cell_path(cell) / "last-good.ckpt"


def _reach(program: Program, state: SeedState) -> jax.Array:
    """The largest coordinate of the actions in all environments, before tanh: []."""
    obs = state.envs.obs
    action, extras = program.algorithm.act(state.algorithm, obs, state.key, "sample")
    return jnp.max(jnp.abs(program.algorithm.unsquashed(action, extras)))


def _is_finite(state: SeedState, lane: int) -> bool:
    leaves = jax.tree.leaves(state.algorithm)
    numbers = [leaf[lane] for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return all(bool(jnp.isfinite(each).all()) for each in numbers)


HEADER = (
    "seed",
    "good until update",
    "flow loss in the next",
    "in the last finite",
    "actions reach then",
    "not finite in",
)


def lines(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yields a line a seed: the flow loss and the reach of actions, at first and just before.

    A flow loss is told of methods that have one.
    """
    for name, rows in record["seeds"].items():
        losses = [row["flow_loss"] for row in rows if "flow_loss" in row]
        yield (
            name,
            f"{rows[0]['update'] - 1:.0f}",
            *((f"{losses[0]:.3g}", f"{losses[-1]:.3g}") if losses else ("", "")),
            f"{rows[-1]['reach']:.3g}",
            f"{rows[-1]['update']:.0f}",
        )


def main() -> None:
    """Traces what the record lacks, and prints it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, default=RECORD)
    options = parser.parse_args()
    record: dict[str, Any] = {"seeds": {}}
    if options.json.exists():
        record = json.loads(options.json.read_text(encoding="utf-8"))
    for path in options.runs:
        run = RunDirectory.open(path)
        for cell in diverged(run):
            name = f"{path.name}/{cell}"
            if name in record["seeds"]:
                continue
            try:
                record["seeds"][name] = trace(run, cell)
            except UserError as error:
                print(f"left out: {error}")
                continue
            record["provenance"] = provenance()
            atomic_write(options.json, json_bytes(record))
    print(table(HEADER, list(lines(record))))


if __name__ == "__main__":
    main()
