"""What the scripts share: their options, a record that outlives failures, quick starts.

Shapes: S seeds, N environments, B start states in a bank.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from algorithms.registry import lookup
from envs.api import EnvError, Task, TaskState
from envs.engines.choice import ENGINES, load_task
from envs.vector import EnvState
from suite.common import formatting, jax_settings
from suite.common.errors import UserError, unknown
from suite.common.files import atomic_write, json_bytes, make_directory
from suite.compute.build import build_algorithm, build_program
from suite.compute.program import Program, SeedState
from suite.configuration.hyperparameters import hyperparameters, protocol_settings
from suite.configuration.protocol import Protocol
from suite.storage.provenance import provenance

BANK_SIZE = 256
"""Start states per task and engine (B)."""

WORLDS = 5 * 8192
"""Environments of all seeds together that a script steps at most."""

_NOT_SETTINGS = ("out", "minutes", "retry", "record", "lock")
_ERROR_LENGTH = 2000


def recording_parser(name: str, docstring: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the options that every script has; `name` is the script's."""
    parser = argparse.ArgumentParser(description=(docstring or "").split("\n", 1)[0])
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", "results/gpu")), help="for records"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="stop in about this time")
    parser.add_argument(
        "--engines", type=checked(parse_engines), help="default: jax,warp, or native on a CPU"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes that a laptop can do")
    parser.add_argument("--retry", action="store_true", help="repeat the parts that failed")
    parser.add_argument("--record", default=name, help="the record's name in --out")
    return parser


def checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns `parse` for use by argparse, which prints only its own type of error."""

    def parse_argument(text: str) -> Any:
        try:
            return parse(text)
        except (EnvError, UserError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


def parse_engines(names: str) -> tuple[str, ...]:
    """Returns the engines in a comma-separated list.

    Raises:
        UserError: one is unknown.
    """
    engines = tuple(name.strip() for name in names.split(","))
    for name in engines:
        if name not in ENGINES:
            raise unknown("engine", name, ENGINES)
    return engines


def parse_number(text: str) -> int:
    """Returns a positive whole number.

    Raises:
        UserError: it is something else.
    """
    if not text.isdecimal() or not int(text):
        raise UserError(f"{text!r}: must be a whole number from 1")
    return int(text)


def parse_numbers(numbers: str) -> tuple[int, ...]:
    """Returns the positive whole numbers in a comma-separated list.

    Raises:
        UserError: one of them is something else.
    """
    return tuple(parse_number(item.strip()) for item in numbers.split(","))


def suitable_engines() -> tuple[str, ...]:
    """Returns the engines that suit JAX's device, the one that runs use by default first."""
    return ("jax", "warp") if jax_settings.has_gpu() else ("native",)


class Record:
    """The outcome of a script's parts, in a JSON file that is rewritten after each.

    A part that is in the file already is not repeated. So a script that was cut short
    goes on where it was, and one whose process died goes on with the part after.

    Attributes:
        parts: the outcome of each part by its name; `status` is `ok`, `error`, `crashed`
            (the process ended within it), or `running`.
        left: parts that there was no time for.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        """Opens OUT/RECORD.json; starts it afresh if it was made with other settings.

        Args:
            options: as parsed by `recording_parser`.
        """
        self._path: Path = options.out / f"{options.record}.json"
        chosen = {key: value for key, value in vars(options).items() if key not in _NOT_SETTINGS}
        self._settings = json.loads(json_bytes(chosen))
        self._deadline = time.monotonic() + 60 * options.minutes
        self._longest = 0.0
        self._machine = provenance()
        self.parts = self._stored_parts(options.retry)
        self.left: list[str] = []

    def run(self, name: str, measure: Callable[[], Mapping[str, Any]]) -> None:
        """Runs a part and records what it returns, or its error.

        It is left out if the longest part so far would not fit into the time that is left.

        Args:
            name: of the part.
            measure: returns plain data.
        """
        if name in self.parts:
            return
        if time.monotonic() + self._longest > self._deadline:
            self.left.append(name)
            return
        began = time.monotonic()
        self._write(name, {"status": "running"})
        with self._forgotten_if_interrupted(name):
            outcome = _outcome(measure)
        seconds = time.monotonic() - began
        self._longest = max(self._longest, seconds)
        self._write(name, {**outcome, "seconds": seconds})
        print(f"{name}: {outcome['status']} after {seconds:.0f} s", flush=True)

    def finish(self, columns: Mapping[str, str]) -> int:
        """Prints the table of all parts.

        Args:
            columns: header by key of what the parts returned.

        Returns:
            The script's exit code: 1 if a part failed.
        """
        rows = [
            (name, part["status"], *(_cell(part.get(key)) for key in columns))
            for name, part in self.parts.items()
        ]
        failed = {name: part for name, part in self.parts.items() if part["status"] != "ok"}
        for name, part in failed.items():
            print(f"{name}: {part['error']}")
        print(formatting.table(("part", "status", *columns.values()), rows))
        if self.left:
            print(f"no time for {', '.join(self.left)}; the same command goes on with them")
        return 1 if failed else 0

    def _stored_parts(self, retry: bool) -> dict[str, dict[str, Any]]:
        if not self._path.is_file():
            return {}
        stored = json.loads(self._path.read_bytes())
        if stored["settings"] != self._settings:
            return {}
        parts = {part.pop("part"): part for part in stored["parts"]}
        for part in parts.values():
            if part["status"] == "running":
                part.update(status="crashed", error="the process ended within this part")
        return {name: part for name, part in parts.items() if part["status"] == "ok" or not retry}

    def _write(self, name: str, part: dict[str, Any]) -> None:
        self.parts[name] = part
        self._save()

    def _save(self) -> None:
        parts = [{"part": name, **part} for name, part in self.parts.items()]
        content = {"settings": self._settings, "machine": self._machine, "parts": parts}
        make_directory(self._path.parent)
        atomic_write(self._path, json_bytes(content))

    @contextlib.contextmanager
    def _forgotten_if_interrupted(self, name: str) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            del self.parts[name]
            self._save()
            raise


def _outcome(measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    try:
        return {"status": "ok", **measure()}
    except Exception as error:
        traceback.print_exc()
        return {"status": "error", "error": describe(error)}


def describe(error: Exception) -> str:
    """Returns an error's type and message, cut where compilers go on for pages."""
    return f"{type(error).__name__}: {error}"[:_ERROR_LENGTH]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


@dataclasses.dataclass(frozen=True)
class Bench:
    """A task on an engine, with start states for all programs: a reset takes long to compile.

    Attributes:
        task: the task.
        bank: [B, ...] start states.
    """

    task: Task
    bank: TaskState

    def program(self, algorithm: str, protocol: Protocol) -> Program:
        """Returns the program that `suite run` would train, but for the size of the bank."""
        entry = lookup(algorithm)
        layer = protocol_settings(protocol.algorithms)
        values = hyperparameters(algorithm, entry.cls, entry.defaults, layer)
        protocol = dataclasses.replace(protocol, starts="bank", bank_size=BANK_SIZE)
        built = build_algorithm(algorithm, values, self.task, protocol)
        return build_program(built, self.task, protocol)

    def starter(self, program: Program) -> Callable[[Iterable[int]], SeedState]:
        """Returns a function that does for seeds [S] what `Program.start` does, from the bank."""

        def start(seed: jax.Array) -> SeedState:
            key = jax.random.key(seed)
            init_key, draw_key, phase_key = jax.random.split(key, 3)
            shape = (program.envs.num_envs,)
            entries = jax.random.randint(draw_key, shape, 0, BANK_SIZE)
            envs = EnvState(
                task=jax.tree.map(lambda leaf: leaf[entries], self.bank),
                phase=jax.random.randint(phase_key, shape, 0, self.task.episode_length),
                bank=self.bank,
                steps=jnp.int32(0),
            )
            return SeedState(program.algorithm.init(init_key), envs, key, jnp.int32(0))

        compiled = jax.jit(jax.vmap(start))
        return lambda seeds: compiled(jnp.asarray(list(seeds), jnp.uint32))


@functools.cache
def open_bench(task: str, engine: str) -> Bench:
    """Loads a task with room for the contacts of `WORLDS`, and draws its start states.

    Raises:
        EnvError: the task or the engine is unknown.
    """
    loaded = load_task(task, engine, allow_slow_warp=True, worlds=WORLDS)
    keys = jax.random.split(jax.random.key(0), BANK_SIZE)
    return Bench(loaded, jax.block_until_ready(jax.jit(jax.vmap(loaded.reset))(keys)))


def peak_memory_gib() -> float | None:
    """Returns the most device memory that this process has used so far, if it is known."""
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return None if peak is None else peak / 2**30
