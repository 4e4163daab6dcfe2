"""How many environment steps per second, by engine, environments, vmapped seeds and task?

`env steps/s` counts rollouts alone: the environments with PPO's policy. `training steps/s`
counts rollouts and updates, with the `fair` protocol but for the number of environments.
Both are sums over the seeds.

    python -m benchmarks.gpu.throughput --envs 2048,8192,256 --seeds 5,1 --minutes 9

Compiling takes longer than timing, and the programs of several tasks compile at once where there
are cores for it. So with --lock FILE a process compiles all of its rows beside others, and times
them once nothing else holds the lock.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.gpu.common import (
    Record,
    checked,
    open_bench,
    parse_number,
    parse_numbers,
    peak_memory_gib,
    recording_parser,
    suitable_engines,
)
from benchmarks.gpu.turns import alone, beside_others
from envs.names import TASK_SETS
from envs.tasks import resolve_tasks
from suite.compute.compiled import Compiled
from suite.compute.program import SeedState
from suite.configuration.protocol import Protocol, load_protocol

ALGORITHM = "ppo"
COLUMNS = {
    "env_steps_per_second": "env steps/s",
    "training_steps_per_second": "training steps/s",
    "rollout_seconds": "s/rollout",
    "training_seconds": "s/rollout+update",
    "compile_seconds": "compile s",
    "peak_memory_gib_so_far": "peak GiB so far",
}


class Sizes(NamedTuple):
    """What to measure; the most important of each first."""

    tasks: tuple[str, ...]
    envs: tuple[int, ...]
    seeds: tuple[int, ...]


FULL = Sizes(TASK_SETS["dmc6"], (2048, 8192, 256), (5, 1))
TINY = Sizes(("CheetahRun",), (8, 16), (2, 1))


class Setting(NamedTuple):
    """One row of the table: N environments for each of several vmapped seeds."""

    task: str
    engine: str
    envs: int
    seeds: int

    def __str__(self) -> str:
        return f"{self.task} {self.engine} {self.seeds} x {self.envs}"


def settings(
    tasks: Sequence[str], engines: Sequence[str], envs: Sequence[int], seeds: Sequence[int]
) -> list[Setting]:
    """Returns all combinations, the most useful first.

    Of every option the first value is the main one. The row with all main values comes
    first, then those that differ from it in one option, and so on; engines stay together.
    """
    axes = (range(len(envs)), range(len(tasks)), range(len(seeds)))
    order = sorted(itertools.product(*axes), key=lambda indices: sum(map(bool, indices)))
    return [
        Setting(tasks[task], engine, envs[env], seeds[seed])
        for env, task, seed in order
        for engine in engines
    ]


class Ready(NamedTuple):
    """A setting that is compiled, and has run once."""

    setting: Setting
    steps: int
    compiled: Compiled
    state: SeedState


def prepare(setting: Setting, protocol: Protocol) -> Ready:
    """Compiles a setting; `steps` are those of all its seeds in one update."""
    protocol = dataclasses.replace(protocol, num_envs=setting.envs)
    bench = open_bench(setting.task, setting.engine)
    program = bench.program(ALGORITHM, protocol)
    compiled = Compiled(program)
    state = compiled.collect(bench.starter(program)(range(setting.seeds)), 1)
    state = jax.block_until_ready(compiled.train(state, 1)[0])
    return Ready(setting, setting.seeds * protocol.steps_per_update, compiled, state)


def measure(ready: Ready, repeats: int) -> dict[str, Any]:
    """Measures medians of several rollouts, and of as many rollouts with an update."""
    compiled = ready.compiled
    rollout, state = median_seconds(lambda s: compiled.collect(s, 1), ready.state, repeats)
    training, state = median_seconds(lambda s: compiled.train(s, 1)[0], state, repeats)
    return {
        **ready.setting._asdict(),
        "env_steps_per_second": ready.steps / rollout,
        "training_steps_per_second": ready.steps / training,
        "rollout_seconds": rollout,
        "training_seconds": training,
        "compile_seconds": compiled.seconds,
        "peak_memory_gib_so_far": peak_memory_gib(),
    }


def median_seconds(
    advance: Callable[[SeedState], SeedState], state: SeedState, repeats: int
) -> tuple[float, SeedState]:
    """Times `advance`; returns the state that it led to."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        state = advance(state)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), state


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = recording_parser("throughput", __doc__)
    numbers = checked(parse_numbers)
    parser.add_argument("--tasks", type=checked(resolve_tasks), help="default: dmc6")
    parser.add_argument("--envs", type=numbers, help="for each seed; default: 2048,8192,256")
    parser.add_argument("--seeds", type=numbers, help="how many together; default: 5,1")
    parser.add_argument("--repeats", type=checked(parse_number), default=3, help="timed runs")
    parser.add_argument("--lock", type=Path, help="compile beside its holders, time after them")
    options = parser.parse_args(arguments)
    default = TINY if options.tiny else FULL
    options.tasks = options.tasks or default.tasks
    options.envs = options.envs or default.envs
    options.seeds = options.seeds or default.seeds
    return options


def run_rows(
    record: Record, rows: Sequence[Setting], protocol: Protocol, options: argparse.Namespace
) -> None:
    """Compiles rows that are not in the record yet, and times them once nobody has the lock."""
    rows = [row for row in rows if str(row) not in record.parts]
    with beside_others(options.lock):
        ready = {row: _attempted(row, protocol) for row in rows}
    with alone(options.lock):
        for row in rows:
            record.run(str(row), functools.partial(_measured, ready[row], options.repeats))


def _attempted(row: Setting, protocol: Protocol) -> Ready | Exception:
    try:
        return prepare(row, protocol)
    except Exception as error:
        return error


def _measured(ready: Ready | Exception, repeats: int) -> dict[str, Any]:
    if isinstance(ready, Exception):
        raise ready
    return measure(ready, repeats)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is not in the record yet; returns 1 if a row failed."""
    options = parse_options(arguments)
    record = Record(options)
    protocol = load_protocol("smoke" if options.tiny else "fair")
    engines = options.engines or suitable_engines()
    rows = settings(options.tasks, engines, options.envs, options.seeds)
    # With a lock all compile before any is timed; without one each is in the record at once.
    for batch in [rows] if options.lock else [[row] for row in rows]:
        run_rows(record, batch, protocol, options)
    return record.finish(COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
