"""The first minutes on a GPU: what nothing but the GPU can tell, the most important first.

Each answer is in the record as soon as it is known, so that a call that ends early loses the rest
alone. In this order: two seeds of HopperStand in one program train (nested vmap over tasks with
contacts was reported to crash); with MJX-Warp, where it is there, five seeds of it overflow no
contacts and agree with MJX; steps a second of rollouts and of PPO's training on CheetahRun, one
seed and five; every other method trains two updates.

    python -m benchmarks.gpu.first --engines jax --minutes 4
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence

from benchmarks.gpu.common import Record, recording_parser, suitable_engines
from benchmarks.gpu.everything import COLUMNS as TRAINING_COLUMNS
from benchmarks.gpu.everything import TINY_SHAPE, TRAINING_SHAPE, compare, train
from benchmarks.gpu.throughput import ALGORITHM, Setting, measure
from benchmarks.gpu.throughput import COLUMNS as SPEED_COLUMNS
from suite.configuration.protocol import load_protocol
from suite.configuration.selection import parse_algorithms

CONTACTS = "HopperStand"
"""A task whose physics is contacts."""

SPEED = "CheetahRun"
"""The task whose speed is published most often."""

COLUMNS = {
    name: header
    for name, header in {**SPEED_COLUMNS, **TRAINING_COLUMNS}.items()
    if name not in ("rollout_seconds", "training_seconds", "stage_seconds", "evaluate_seconds")
}


def run_parts(record: Record, options: argparse.Namespace) -> None:
    """Runs the parts in the order of the docstring."""
    engines = options.engines or suitable_engines()
    shape = TINY_SHAPE if options.tiny else TRAINING_SHAPE
    protocol = load_protocol("smoke" if options.tiny else "fair")
    for engine in engines:
        part = functools.partial(train, CONTACTS, engine, ALGORITHM)
        record.run(f"train {CONTACTS} {engine}, 2 seeds", part)
    for engine in engines[1:]:
        part = functools.partial(compare, CONTACTS, engines[0], engine, shape)
        record.run(f"compare {CONTACTS} {engines[0]} {engine}, {shape[0]} seeds", part)
    for seeds in (1, shape[0]):
        for engine in engines:
            setting = Setting(SPEED, engine, shape[1], seeds)
            record.run(f"speed {setting}", functools.partial(measure, setting, protocol))
    for algorithm in parse_algorithms("all"):
        if algorithm != ALGORITHM:
            part = functools.partial(train, SPEED, engines[0], algorithm)
            record.run(f"train {SPEED} {engines[0]} {algorithm}", part)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is not in the record yet; returns 1 if a part failed."""
    options = recording_parser(__doc__).parse_args(arguments)
    record = Record("first", options)
    run_parts(record, options)
    return record.finish(COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
