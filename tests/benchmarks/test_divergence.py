"""What happened before a seed diverged: gone over again from the state kept before it."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from counting import ActionTask, Counter, request_of

import suite.training.job
from algorithms import registry
from algorithms.api import Stage
from benchmarks import divergence
from suite.compute.build import build_algorithm
from suite.configuration.protocol import load_protocol
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.job import run_job
from suite.training.progress import Progress

ENVS, LENGTH = 4, 6


@dataclasses.dataclass(frozen=True)
class OneStage(Counter):
    """Counts; a seed is poisoned in the update that begins with `poison_at` behind it."""

    def stages(self) -> tuple[Stage, ...]:
        """One stage."""
        return (Stage(self.pipeline.updates),)


def test_updates_from_the_last_good_state_to_the_first_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = dataclasses.replace(
        load_protocol("smoke"),
        num_envs=ENVS,
        rollout_length=LENGTH,
        chunk_length=LENGTH,
        num_minibatches=1,
        total_steps=12 * ENVS * LENGTH,
        bank_size=ENVS,
        eval_interval=4,
        eval_episodes=2,
    )
    values = {"poison_at": 6, "extra": 0}
    monkeypatch.setattr(suite.training.job, "load_task", lambda *_, **__: ActionTask())
    monkeypatch.setattr(registry, "lookup", lambda _: registry.Entry("ppo", OneStage, "counts"))
    run, job = RunDirectory.create(tmp_path, protocol), Job("ppo", "CheetahRun", tuple(range(4)))
    request = request_of(job, protocol, tmp_path, values)
    poisoned = run_job(job, RunContext(request, run, Progress(io.StringIO()))).diverged
    assert 0 < len(poisoned) < 4

    def stored(*_: object) -> tuple[object, ActionTask]:
        task = ActionTask()
        return build_algorithm("ppo", values, task, protocol), task

    monkeypatch.setattr(divergence, "stored_algorithm", stored)
    cells = divergence.diverged(run)
    assert tuple(cell.seed for cell in cells) == poisoned
    for cell in cells:
        rows = divergence.trace(run, cell)
        assert [row["update"] for row in rows] == [5, 6, 7]
        # A sampled action is updates / 100 - 1.
        assert [row["reach"] for row in rows] == pytest.approx([0.96, 0.95, 0.94], abs=1e-6)
        assert ["weight" in row for row in rows] == [True, True, False]


def test_a_line_tells_what_had_grown() -> None:
    rows = [
        {"update": 105.0, "reach": 2.0, "flow_loss": 0.8},
        {"update": 106.0, "reach": 3.0, "flow_loss": 123.4},
        {"update": 107.0, "reach": 5e5},
    ]
    (line,) = divergence.lines({"seeds": {"lite/CheetahRun/fpo/seed-000": rows}})
    assert line[1:] == ("104", "0.8", "123", "5e+05", "107")
