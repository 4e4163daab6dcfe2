"""The pieces that a job's time is made of, each measured alone, in one process.

Environment steps a second of: the physics alone, a rollout, the update alone, a whole update, and
an evaluation. The `roof` is what would be left if nothing but the physics and the matrix products
of the update took time: 1 / (1 / physics + products of the update per step / matrix rate).

    python -m benchmarks.speed.pieces ppo CheetahRun --seeds 5

Prints one line of JSON. `python -m benchmarks.speed.training` runs it for many methods, tasks and
sizes, each in a process of its own, whose peak memory is then that of the job.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.common import jax_settings

jax_settings.prepare()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from mujoco.batch import Batch  # noqa: E402

from envs.engines.choice import load_task  # noqa: E402
from envs.engines.cpus import available_cpus  # noqa: E402
from envs.engines.native import NativeTask, prepare_model  # noqa: E402
from suite.compute.build import build_algorithm, build_program  # noqa: E402
from suite.compute.evaluation import start_states  # noqa: E402
from suite.compute.program import Program, SeedState  # noqa: E402
from suite.planning.run_request import make_request  # noqa: E402

_SQUARE = 2048
"""Rows and columns of the matrices whose product gives the matrix rate."""


class Pieces:
    """One job's program, for S seeds, and the times of its pieces."""

    def __init__(self, method: str, task: str, seeds: int, changes: Sequence[str], protocol: str):
        """Builds the program as `suite run` would, with `changes` as `--set` takes them."""
        request = make_request(
            method, task, f"0-{seeds - 1}", protocol, "native", Path("none"), changes
        )
        self.protocol, self.seeds = request.protocol, seeds
        self.task = load_task(task, "native")
        values = request.hyperparameters[method]
        self.algorithm = build_algorithm(method, values, self.task, self.protocol)
        self.program: Program = build_program(self.algorithm, self.task, self.protocol)
        numbers = jnp.arange(seeds, dtype=jnp.uint32)
        self.state: SeedState = jax.jit(jax.vmap(self.program.start))(numbers)
        self.keys = jax.random.split(jax.random.key(1), seeds)

    def measure(self, repeats: int) -> dict[str, Any]:
        """Returns what the module's docstring lists, medians over `repeats`, and their parts."""
        steps = self.seeds * self.protocol.steps_per_update
        rollout, rolled = timed(jax.vmap(self._roll_out), repeats, self.state, self.keys)
        update, _ = timed(jax.vmap(self._learn), repeats, self.state, rolled[1], self.keys)
        whole, _ = timed(jax.vmap(self.program._update), repeats, self.state)
        evaluation, episodes = timed(
            jax.vmap(self.program.evaluate, in_axes=(0, None)), 1, self.state, self._starts
        )
        taken = int(np.sum(episodes.steps))
        flops = matrix_flops(jax.vmap(self._learn), self.state, rolled[1], self.keys) / steps
        physics, rate = self.physics(rolled[0]), matrix_rate()
        turns = self.algorithm.rollouts_per_update
        roof = 1 / (1 / physics + turns * flops / rate)
        return {
            "whole": steps / whole.seconds,
            "rollout": steps / turns / rollout.seconds,
            "update": steps / turns / update.seconds,
            "evaluation": taken / evaluation.seconds,
            "physics": physics,
            "roof": roof,
            "share_of_roof": steps / whole.seconds / roof,
            "flops_per_step": turns * flops,
            "matrix_gflops": rate / 1e9,
            "compile_seconds": whole.compiling + evaluation.compiling,
            "time": self._shares(whole.seconds, evaluation.seconds, physics, rollout, update),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "cpus": available_cpus(),
        }

    def physics(self, envs: Any) -> float:
        """Returns steps a second of MuJoCo alone, from the states that the rollout reached."""
        assert isinstance(self.task, NativeTask)
        rows = np.asarray(envs.task.physics).reshape(-1, envs.task.physics.shape[-1])
        batch = Batch(prepare_model(self.task.model), len(rows), available_cpus())
        batch.reset()
        for field, columns in self.task.layout.slices.items():
            target = batch.bind(field)
            target[...] = rows[:, columns].reshape(target.shape)
        ctrl, random = batch.bind("ctrl"), np.random.default_rng(0)
        seconds = []
        for _ in range(self.protocol.rollout_length):
            ctrl[:] = random.uniform(-1, 1, ctrl.shape)
            began = time.perf_counter()
            batch.step(nstep=self.task.substeps)
            seconds.append(time.perf_counter() - began)
        return len(rows) / statistics.median(seconds)

    @property
    def _starts(self) -> Any:
        return start_states(self.task, self.protocol.eval_episodes, self.protocol.eval_seed)

    def _roll_out(self, state: SeedState, key: jax.Array) -> tuple[Any, Any]:
        return self.program._roll_out(state, key)[:2]

    def _learn(self, state: SeedState, rollout: Any, key: jax.Array) -> Any:
        return self.algorithm.update(state.algorithm, rollout, key)

    def _shares(
        self, whole: float, evaluation: float, physics: float, rollout: Timing, update: Timing
    ) -> dict[str, float]:
        """Returns which shares of a run's time, without compiling, the pieces take."""
        protocol, turns = self.protocol, self.algorithm.rollouts_per_update
        evaluated = evaluation * len(protocol.evaluation_grid()) / protocol.updates
        stepping = self.seeds * protocol.steps_per_update / physics
        shares = {
            "physics": stepping,
            "policy": turns * rollout.seconds - stepping,
            "update": turns * update.seconds,
            "rest": whole - turns * (rollout.seconds + update.seconds),
            "evaluation": evaluated,
        }
        return {name: value / (whole + evaluated) for name, value in shares.items()}


class Timing:
    """Seconds of one call, the median, and of compiling it."""

    def __init__(self, seconds: Sequence[float], compiling: float) -> None:
        self.seconds = statistics.median(seconds)
        self.compiling = compiling


def timed(function: Callable[..., Any], repeats: int, *arguments: Any) -> tuple[Timing, Any]:
    """Compiles and calls a function; returns the times and its last result."""
    began = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compiling = time.perf_counter() - began
    seconds, result = [], jax.block_until_ready(compiled(*arguments))
    for _ in range(repeats):
        began = time.perf_counter()
        result = jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - began)
    return Timing(seconds, compiling), result


def matrix_rate() -> float:
    """Returns floating-point operations a second of one large float32 product, the best of 9."""
    square = jax.random.normal(jax.random.key(0), (_SQUARE, _SQUARE))
    product = jax.jit(jnp.dot).lower(square, square).compile()
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        jax.block_until_ready(product(square, square))
        seconds.append(time.perf_counter() - began)
    return 2 * float(_SQUARE) ** 3 / min(seconds)


def matrix_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Returns the floating-point operations of all matrix products of one call."""
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(program: Any) -> float:
    total = 0.0
    for operation in program.eqns:
        if operation.primitive.name == "dot_general":
            total += _product(operation)
        else:
            times = operation.params.get("length", 1) if operation.primitive.name == "scan" else 1
            total += times * sum(_flops(inner) for inner in _inner(operation.params))
    return total


def _product(operation: Any) -> float:
    """Multiplications and additions of one product: twice its output times what is summed."""
    (contracted, _), _ = operation.params["dimension_numbers"]
    left = operation.invars[0].aval.shape
    return 2.0 * math.prod(operation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)


def _inner(parameters: Mapping[str, Any]) -> list[Any]:
    """Returns the programs that an operation contains; of a condition the first branch counts."""
    found = []
    for name, value in parameters.items():
        values = (
            value[:1] if name == "branches" else value if isinstance(value, tuple) else (value,)
        )
        for each in values:
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found


def main() -> None:
    """Measures one job, and prints one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("method")
    parser.add_argument("task")
    parser.add_argument("--protocol", default="lite")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    pieces = Pieces(options.method, options.task, options.seeds, options.changes, options.protocol)
    print(json.dumps(pieces.measure(options.repeats)))


if __name__ == "__main__":
    main()
