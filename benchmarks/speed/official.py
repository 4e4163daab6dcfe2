"""Steps a second of the official FPO and GoRL programs, beside ours, in one run at one size.

Sizes are those of `lite`, as ours has them: environments, steps, chunks, minibatches, epochs,
networks, flow steps, pairs, and a decoder's batches and draws. Theirs sets all of them but the
critic's layers, so its critic's parameters are replaced before it begins. Each trains one seed, on
MJX (`jax`) and on our native engine, which tells the engine's share from the update's.

- `training`: environment steps a second, rollout and update, without evaluation and compiling;
- `fit`: seconds of one fit of GoRL's decoder at the size of `lite`. Theirs makes its Adam steps
  one by one and uncompiled, so a few of them are measured and multiplied; ours is one call;
- `whole`: steps a second of all of `lite`'s updates and fits together.

What is not equal: theirs leaves out its validation between epochs and its extra rollouts for a fit,
which ours has or needs not; its environments begin all at step 0 and return to where they began,
ours are out of phase and draw from a bank; ours values one more observation a chunk, the last of an
episode; ours runs as a job does, with an axis of seeds, here of one, and as one compiled program.

None of their code is in here. It needs Python 3.12, and two packages beside ours:

    git clone https://github.com/akanazawa/fpo; git clone https://github.com/bennidict23/GoRL
    pip install jax_dataclasses wandb
    python -m benchmarks.speed.official --fpo fpo --gorl GoRL

Each program runs in a process of its own, one after the other, twice, in turn; the faster counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.speed import peers
from benchmarks.speed.peers import Speeds
from suite.common.files import atomic_write, json_bytes
from suite.storage.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RECORD = peers.RECORD.with_name("official.json")
SOURCES: Mapping[str, str] = {"fpo": "playground/src", "gorl-fm": "src"}
"""Where in a method's repository its package lies."""

ENGINES = ("jax", "native")
NEEDED = ("jax_dataclasses", "wandb")
PYTHON = (3, 12)
TURNS = 2
PIECES = ("training", "whole", "fit")


def rows(methods: Sequence[str]) -> list[str]:
    """Returns what is measured: theirs and ours on each engine, method by method."""
    return [
        f"{method} {whose} {engine}"
        for method in methods
        for engine in ENGINES
        for whose in ("official", "ours")
    ]


def refusal(found: tuple[int, ...], sources: Mapping[str, Path]) -> str | None:
    """Returns why the official programs cannot run with a Python of this version, or None.

    Args:
        found: major and minor version.
        sources: where each method's repository lies.
    """
    if found < PYTHON:
        return "the official programs are written for Python 3.12: run this with 3.12 or newer"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return (
            f"the official programs need packages that are missing: pip install {' '.join(missing)}"
        )
    for method, path in sources.items():
        if not (path / SOURCES[method] / "flow_policy").is_dir():
            return f"{path} has no {SOURCES[method]}/flow_policy: give {method}'s repository itself"
        if commit(path) is None:
            return f"{path} is no git repository, so its commit cannot be said: clone it with git"
    return None


def commit(path: Path) -> str | None:
    """Returns a repository's commit, with `-dirty` if files differ, or None if it is none."""
    command = ["git", "-C", str(path), "describe", "--always", "--abbrev=40", "--dirty"]
    command += ["--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.strip()


def measured(row: str, task: str, sources: Mapping[str, Path]) -> Speeds:
    """Runs one row in a process of its own; nothing is returned of one that fails."""
    method = row.split()[0]
    places = [str((sources[method] / SOURCES[method]).resolve()), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    command = [sys.executable, "-m", "benchmarks.speed.official_programs", row, task]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        return {}
    found: Speeds = json.loads(done.stdout.splitlines()[-1])
    return found


def better(one: Speeds, other: Speeds) -> Speeds:
    """Returns the better of two measurements, piece by piece: more steps a second, less seconds."""
    return {
        name: (min if name == "fit" else max)(each[name] for each in (one, other) if name in each)
        for name in {*one, *other}
    }


def ratio(found: Mapping[str, Speeds], row: str, engine: str, piece: str) -> float | None:
    """Returns how many times faster ours is on an engine than a row of theirs, if known."""
    theirs = found.get(row, {}).get(piece)
    mine = found.get(f"{row.split()[0]} ours {engine}", {}).get(piece)
    if not theirs or not mine:
        return None
    return theirs / mine if piece == "fit" else mine / theirs


def line(found: Mapping[str, Speeds], row: str) -> str:
    """Formats a row: each piece, and of theirs how many times faster ours is, on which engine."""
    cells = "".join(
        f"{found[row][piece]:12,.1f}" if piece in found[row] else f"{'-':>12}" for piece in PIECES
    )
    if not found[row]:
        return f"{row:24}{cells}  failed, see above"
    method, whose, engine = row.split()
    if whose == "ours":
        return f"{row:24}{cells}"
    said = []
    for other in dict.fromkeys((engine, "native")):
        parts = [(piece, ratio(found, row, other, piece)) for piece in PIECES]
        text = ", ".join(f"{piece} {times:.1f}x" for piece, times in parts if times)
        said.append(f"{method} ours {other}: {text or '-'}")
    return f"{row:24}{cells}  {'; '.join(said)}"


def main() -> None:
    """Runs all rows in turn, keeps each as soon as it is known, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fpo", type=Path, help="a clone of the official FPO")
    parser.add_argument("--gorl", type=Path, help="a clone of the official GoRL")
    parser.add_argument("--task", default="CheetahRun")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--json", type=Path, default=RECORD)
    options = parser.parse_args()
    given = {"fpo": options.fpo, "gorl-fm": options.gorl}
    sources = {method: path for method, path in given.items() if path}
    if not sources:
        parser.error("give --fpo, --gorl or both: where the official programs lie")
    if reason := refusal(sys.version_info[:2], sources):
        parser.error(reason)
    found: dict[str, Speeds] = {}
    record = {
        "task": options.task,
        "commits": {method: commit(path) for method, path in sources.items()},
        "speeds": found,
        "provenance": provenance(),
    }
    for _ in range(options.turns):
        for row in rows(list(sources)):
            found[row] = better(found.get(row, {}), measured(row, options.task, sources))
            print(row, dict(found[row]), flush=True)
            atomic_write(options.json, json_bytes(record))
    print(f"\n{'':24}" + "".join(f"{piece:>12}" for piece in PIECES))
    for row in found:
        print(line(found, row))
    if not all(found.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
