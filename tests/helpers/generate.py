"""Run directories from a known model, for tests of the reports: the right answer is known.

`python tests/helpers/generate.py DIRECTORY` writes the full matrix of 150 runs x 31 evaluations.
"""

from __future__ import annotations

import argparse
import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.configuration.protocol import Protocol, load_protocol
from suite.storage.records import (
    DEFAULT_RETURN_BOUNDS,
    Cell,
    Configuration,
    CurveRow,
    Divergence,
    Job,
    Ledger,
    Status,
)
from suite.storage.run_directory import RunDirectory

METHODS = ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff")
TASKS = ("CheetahRun", "FingerSpin", "FingerTurnHard", "FishSwim", "HopperStand", "WalkerWalk")
MODES = ("deterministic", "sample")
EPISODES = 8
UPDATES_PER_EVALUATION = 10

LEVELS: Mapping[str, float] = {
    "ppo": 0.50,
    "fpo": 0.40,
    "dppo": 0.42,
    "gorl-fm": 0.70,
    "gorl-diff": 0.72,
}
"""Expected final score in deterministic mode, before a task's offset; others have 0.5."""

TASK_OFFSETS: Mapping[str, float] = dict(
    zip(TASKS, (0.15, 0.05, 0.1, -0.1, -0.15, 0.2), strict=True)
)
SEED_SPREAD = 0.03
SAMPLE_LOSS = 0.05
EVALUATIONS_PER_ACTION: Mapping[str, int] = {"fpo": 10, "dppo": 10, "gorl-fm": 11, "gorl-diff": 11}


def level(algorithm: str, task: str) -> float:
    """Returns the expected final score in deterministic mode."""
    return LEVELS.get(algorithm, 0.5) + TASK_OFFSETS.get(task, 0.0)


def generated_protocol(points: int = 31) -> Protocol:
    """Returns a protocol with `points` evaluations, the one at 0 included."""
    lite = load_protocol("lite")
    updates = (points - 1) * UPDATES_PER_EVALUATION
    return dataclasses.replace(
        lite,
        name="generated",
        description="made up for tests",
        total_steps=updates * lite.steps_per_update,
        eval_interval=UPDATES_PER_EVALUATION,
        eval_episodes=EPISODES,
    )


def generate_runs(
    path: Path,
    algorithms: Sequence[str] = METHODS,
    tasks: Sequence[str] = TASKS,
    seeds: Sequence[int] = range(5),
    points: int = 31,
    **changes: Any,
) -> RunDirectory:
    """Writes a run directory with every cell of algorithms x tasks x seeds.

    Args:
        changes: see `write_cell`.
    """
    run = RunDirectory.create(path, generated_protocol(points))
    for task in tasks:
        for algorithm in algorithms:
            job = Job(algorithm, task, tuple(seeds))
            for cell in job.cells:
                write_cell(run, cell, job, points=points, **changes)
    return run


def write_cell(
    run: RunDirectory,
    cell: Cell,
    job: Job,
    points: int = 31,
    state: str = "done",
    evaluations: int | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    engine: str = "native",
    bounds: tuple[float, float] | None = DEFAULT_RETURN_BOUNDS,
) -> None:
    """Writes one cell; `evaluations` fewer than `points` make it a run that stopped early.

    Returns lie between `bounds`, or between -1000 and 0 where a run records none.
    """
    evaluated = points if evaluations is None else evaluations
    low, high = bounds or (-1000.0, 0.0)
    scores = episode_returns(cell, points)[:evaluated] / 1000
    returns = np.asarray(low + (high - low) * scores, np.float32)
    rows = curve_rows(run.protocol, cell, returns)
    what = configuration(run, cell, job, hyperparameters or {}, engine)
    run.write_run(dataclasses.replace(what, return_bounds=bounds), provenance())
    steps = np.array([row.env_steps for row in rows[:: len(MODES)]], np.int64)
    with run.files(cell).batch() as batch:
        batch.put_curve(rows)
        batch.put_episodes(steps, returns)
        batch.put_metrics([{"env_steps": int(step), "policy_loss": 0.0} for step in steps[1:]])
        batch.put_status(status(run.protocol, rows, state))


def episode_returns(cell: Cell, points: int) -> np.ndarray:
    """Returns [P, M, E] returns: a saturating curve, a seed's own level, and noise."""
    generator = np.random.default_rng(zlib.crc32(str(cell).encode()))
    progress = 1 - np.exp(-5 * np.linspace(0, 1, points))
    progress /= progress[-1]
    final = level(cell.algorithm, cell.task) + generator.normal(0, SEED_SPREAD)
    modes = np.array([final, final - SAMPLE_LOSS])
    noise = generator.normal(0, 0.01, (points, len(MODES), EPISODES))
    scores = progress[:, None, None] * (modes[None, :, None] + noise)
    return np.asarray(1000 * np.clip(scores, 0, 1), np.float32)


def curve_rows(protocol: Protocol, cell: Cell, returns: np.ndarray) -> list[CurveRow]:
    """Returns the curve that belongs to returns [P, M, E]."""
    cost = EVALUATIONS_PER_ACTION.get(cell.algorithm, 1)
    rows = []
    for index, evaluation in enumerate(returns):
        updates = index * UPDATES_PER_EVALUATION
        steps = updates * protocol.steps_per_update
        for mode, episodes in zip(MODES, evaluation, strict=True):
            rows.append(
                CurveRow(
                    env_steps=steps,
                    mode=mode,
                    return_mean=float(episodes.mean(dtype=np.float64)),
                    return_std=float(episodes.std(dtype=np.float64)),
                    episodes=len(episodes),
                    wall_seconds=20.0 + updates * (1 + cost / 10) + index,
                    updates=updates,
                    stage=0,
                    train_steps=steps,
                    warmup_steps=0,
                    decoder_data_steps=0,
                    eval_steps=(index + 1) * len(MODES) * len(episodes) * 1000,
                    train_seconds=updates * (1 + cost / 10),
                    eval_seconds=float(index),
                )
            )
    return rows


def status(protocol: Protocol, rows: Sequence[CurveRow], state: str) -> Status:
    """Returns the status after the last of `rows`."""
    last = rows[-1]
    return Status(
        state=state,  # type: ignore[arg-type]
        updates=last.updates,
        # A method may have fewer updates than the budget holds; it is then done after those.
        total_updates=last.updates if state == "done" else protocol.updates,
        ledger=Ledger(train_steps=last.train_steps, eval_steps=last.eval_steps),
        wall_seconds=last.wall_seconds,
        returns={row.mode: row.return_mean for row in rows[-len(MODES) :]},
        divergence=Divergence(last.env_steps + 1, "actor.kernel") if state == "diverged" else None,
    )


def configuration(
    run: RunDirectory, cell: Cell, job: Job, changes: Mapping[str, Any], engine: str
) -> Configuration:
    """Returns what a generated cell says it ran."""
    return Configuration(
        algorithm=cell.algorithm,
        task=cell.task,
        seed=cell.seed,
        seeds_together=job.seeds,
        hyperparameters={"clip": 0.1, "learning_rate": 3e-4, **changes},
        engine=engine,
        protocol=run.protocol.to_dict(),
        fingerprint=run.protocol.fingerprint(),
        parameter_count=39_597,
        evaluations_per_action=EVALUATIONS_PER_ACTION.get(cell.algorithm, 1),
        model_hash=f"{zlib.crc32(cell.task.encode()):08x}",
        eval_starts={"sha256": f"{zlib.crc32(cell.task.encode()):016x}", "projection": 0.5},
    )


def provenance() -> dict[str, Any]:
    """Returns a made-up machine."""
    return {
        "command": ["generate.py"],
        "git": {"commit": "0" * 40, "clean": True},
        "packages": {"jax": "0.10.2", "mujoco": "4.0.0", "playground": "0.2.0"},
        "python": "3.11.7",
        "platform": "Linux x86_64",
        "cpu": "made up",
        "cpus_available": 2,
        "device": {"platform": "cpu", "kind": "cpu", "count": 1},
        "environment": {},
        "compile_seconds": 12.5,
        "peak_memory_bytes": 3 * 2**20,
        "device_peak_memory_bytes": None,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("directory", type=Path)
    generate_runs(parser.parse_args().directory)
