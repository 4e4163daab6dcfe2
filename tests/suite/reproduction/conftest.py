"""A run of two small methods on a task that takes no time, whose numbers all differ."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import pytest
from counting import ActionTask, request_of
from learner import Learner

import suite.training.job
import suite.training.stored_policies
from algorithms import registry
from algorithms.api import Stage
from suite.configuration.protocol import Protocol, load_protocol
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.job import run_job
from suite.training.progress import Progress

SEEDS = tuple(range(7))
UPDATES = 4
SETTINGS = {
    "ppo": {"learning_rate": 0.2, "capacity": 50},
    "fpo": {"learning_rate": 0.4, "capacity": 50},
}


class Staged(Learner):
    """The small method in two stages of 2 updates each: it keeps two policies."""

    def stages(self) -> tuple[Stage, ...]:
        """The first ends where an evaluation is due."""
        return Stage(2), Stage(self.pipeline.updates - 2)


def protocol() -> Protocol:
    """Four updates, evaluated after each of them and before in 32 episodes."""
    return dataclasses.replace(
        load_protocol("smoke"),
        total_steps=UPDATES * 24,
        num_envs=4,
        rollout_length=6,
        chunk_length=6,
        num_minibatches=2,
        eval_interval=1,
        eval_episodes=32,
        algorithms={},
    )


def _known(patch: pytest.MonkeyPatch) -> None:
    """Makes the small methods and the task known to this process."""
    for module in (suite.training.job, suite.training.stored_policies):
        patch.setattr(module, "load_task", lambda *_, **__: ActionTask())
    patch.setattr(registry, "lookup", lambda name: registry.Entry(name, Staged, "small"))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `_known`."""
    _known(monkeypatch)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, made once; tests change copies of it."""
    path = tmp_path_factory.mktemp("small") / "run"
    run = RunDirectory.create(path, protocol())
    with pytest.MonkeyPatch.context() as patch:
        _known(patch)
        for name, values in SETTINGS.items():
            job = Job(name, "CheetahRun", SEEDS if name == "ppo" else SEEDS[:2])
            request = request_of(job, run.protocol, path, values)
            run_job(job, RunContext(request, run, Progress(io.StringIO())))
    return path


@pytest.fixture
def run(known: None, trained: Path, tmp_path: Path) -> RunDirectory:
    """A copy of the run, whose methods and task are known while it is used."""
    return RunDirectory.open(Path(shutil.copytree(trained, tmp_path / "run")))
