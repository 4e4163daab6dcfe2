"""How many environment steps per second, by engine, environments, vmapped seeds and task?

`env steps/s` counts rollouts alone: the environments with PPO's policy. `training steps/s`
counts rollouts and updates, with the `fair` protocol but for the number of environments.
Both are sums over the seeds.

    python -m benchmarks.gpu.throughput --envs 2048,8192,256 --seeds 5,1 --minutes 9
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
from typing import Any, NamedTuple

from benchmarks.gpu.common import (
    Record,
    checked,
    open_bench,
    parse_numbers,
    peak_memory_gib,
    recording_parser,
    suitable_engines,
)
from envs.names import TASK_SETS
from envs.tasks import resolve_tasks
from suite.compute.compiled import Compiled
from suite.compute.program import SeedState
from suite.configuration.protocol import Protocol, load_protocol

ALGORITHM = "ppo"
REPEATS = 3

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


def measure(setting: Setting, protocol: Protocol) -> dict[str, Any]:
    """Measures medians of several rollouts, and of as many rollouts with an update."""
    protocol = dataclasses.replace(protocol, num_envs=setting.envs)
    bench = open_bench(setting.task, setting.engine)
    program = bench.program(ALGORITHM, protocol)
    compiled = Compiled(program)
    state = bench.starter(program)(range(setting.seeds))
    rollout, state = median_seconds(lambda s: compiled.collect(s, 1), state)
    training, state = median_seconds(lambda s: compiled.train(s, 1)[0], state)
    steps = setting.seeds * protocol.steps_per_update
    return {
        **setting._asdict(),
        "env_steps_per_second": steps / rollout,
        "training_steps_per_second": steps / training,
        "rollout_seconds": rollout,
        "training_seconds": training,
        "compile_seconds": compiled.seconds,
        "peak_memory_gib_so_far": peak_memory_gib(),
    }


def median_seconds(
    advance: Callable[[SeedState], SeedState], state: SeedState
) -> tuple[float, SeedState]:
    """Times `advance` after a first call, which compiles; returns the state it led to."""
    state = advance(state)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        state = advance(state)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), state


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = recording_parser(__doc__)
    numbers = checked(parse_numbers)
    parser.add_argument("--tasks", type=checked(resolve_tasks), help="default: dmc6")
    parser.add_argument("--envs", type=numbers, help="for each seed; default: 2048,8192,256")
    parser.add_argument("--seeds", type=numbers, help="how many together; default: 5,1")
    options = parser.parse_args(arguments)
    default = TINY if options.tiny else FULL
    options.tasks = options.tasks or default.tasks
    options.envs = options.envs or default.envs
    options.seeds = options.seeds or default.seeds
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is not in the record yet; returns 1 if a row failed."""
    options = parse_options(arguments)
    record = Record("throughput", options)
    protocol = load_protocol("smoke" if options.tiny else "fair")
    engines = options.engines or suitable_engines()
    for row in settings(options.tasks, engines, options.envs, options.seeds):
        record.run(str(row), functools.partial(measure, row, protocol))
    return record.finish(COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
