"""What a command would run: jobs, their environment steps, and an estimate of the time."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from algorithms.api import MODES, Algorithm
from suite.common import formatting
from suite.common.claim_floor import shortage_of_all, sizes_of
from suite.configuration.protocol import Protocol
from suite.contract.wiring import check_budget
from suite.planning.memory import episode_steps, replay_bytes
from suite.planning.plan_table import lines
from suite.planning.planned_job import JobState, PlannedJob, PlannedStage
from suite.storage.records import Cell, Job, Status
from suite.storage.run_directory import RunDirectory

ROUGH_STEPS_PER_SECOND: Mapping[str, float] = {
    "CartpoleSwingup": 630_000,
    "CheetahRun": 160_000,
    "FingerSpin": 80_000,
    "FingerTurnHard": 77_000,
    "HopperStand": 39_000,
    "FishSwim": 15_000,
    "WalkerWalk": 15_000,
}
"""Environment steps per second of a process with `native` (benchmarks/speed/rollout.py)."""

_ROUGH_OTHER_TASK = 20_000  # as a humanoid
_ROUGH_LEARNING_SECONDS = 5e-6
"""Of one epoch per transition, of FPO with `lite` on one core; PPO takes half of that
(benchmarks/speed/training.py). Larger networks take longer."""
_ROUGH_GRADIENT_STEP_SECONDS = 1.2e-2
"""Of each gradient step beyond the protocol's own, whatever its minibatch: SAC's fastest seed on
CheetahRun in results/lite-off-policy took 952 seconds for 74,880; RLDT took a fifth more."""
_ROUGH_COMPILE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a command would run.

    Attributes:
        protocol: what all jobs share.
        engine: what steps the physics.
        jobs: in the order they run.
        stored: everything that is in the directory already, asked for or not.
    """

    protocol: Protocol
    engine: str
    jobs: tuple[PlannedJob, ...]
    stored: tuple[Cell, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Estimate of all time left, None where one job's is unknown."""
        known = [planned.seconds for planned in self.jobs if planned.seconds is not None]
        return sum(known) if len(known) == len(self.jobs) else None

    @property
    def env_steps(self) -> int:
        """Steps of all jobs that count against the budget, finished or not."""
        return sum(planned.env_steps for planned in self.jobs)

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return {
            "protocol": self.protocol.name,
            "fingerprint": self.protocol.fingerprint(),
            "engine": self.engine,
            "steps_per_update": self.protocol.steps_per_update,
            "env_steps": self.env_steps,
            "seconds": self.seconds,
            "shortage": self.shortage(),
            "jobs": [planned.to_dict() for planned in self.jobs],
        }

    @property
    def runs(self) -> dict[tuple[str, str], int]:
        """How many seeds of each algorithm and task there are in the end, stored ones included."""
        planned = [cell for planned in self.jobs for cell in planned.job.cells]
        cells = {*planned, *self.stored}
        return dict(Counter((cell.algorithm, cell.task) for cell in cells))

    def shortage(self) -> str | None:
        """Returns why no claim about two of the algorithms can come out, None if one can."""
        runs = self.runs
        algorithms = sorted({algorithm for algorithm, _ in runs})
        pairs = [sizes_of(runs, *pair) for pair in itertools.combinations(algorithms, 2)]
        found = shortage_of_all(pairs)
        which = f" any two of {len(algorithms)} algorithms apart"
        return found.sentence(which) if found else None

    def render(self) -> str:
        """Returns a table for people."""
        table = formatting.table(*lines(self.jobs))
        cells = sum(len(planned.job.seeds) for planned in self.jobs)
        rough = any(planned.rough and planned.seconds for planned in self.jobs)
        remark = " (a rough guess until something has run here)" if rough else ""
        return (
            f"protocol {self.protocol.name}, engine {self.engine}, an update is "
            f"{formatting.count(self.protocol.steps_per_update)} environment steps\n{table}\n"
            f"{len(self.jobs)} jobs, {cells} cells, {formatting.count(self.env_steps)} environment "
            f"steps; time left {formatting.duration(self.seconds)}{remark}"
        )


def make_plan(
    protocol: Protocol,
    algorithms: Mapping[str, Algorithm[Any]],
    tasks: Sequence[str],
    seeds: Sequence[int],
    engine: str,
    run: RunDirectory | None = None,
    together: int | None = None,
) -> Plan:
    """Groups cells into jobs and reckons what each takes.

    Seeds that belong to a stored job stay with it, and bring its other seeds along, also where
    only another seed's run.json tells so; the rest of the seeds forms one new job, or several.

    Args:
        protocol: what all jobs share.
        algorithms: instances by name, for their stages; any sizes will do.
        tasks: names.
        seeds: of every algorithm and task.
        engine: what steps the physics.
        run: where jobs may be stored already.
        together: how many seeds a new job has at most; None for all.

    Raises:
        UserError: stages or rollouts of a method that is still to train do not fit the budget.
    """
    statuses = _statuses(run)
    started = run.cells() if run else []
    planned = [
        _planned(protocol, algorithms[job.algorithm], job, engine, statuses, run)
        for task in tasks
        for name in algorithms
        for job in _jobs(name, task, seeds, run, started, together)
    ]
    return Plan(protocol, engine, tuple(planned), tuple(started))


def _jobs(
    algorithm: str,
    task: str,
    seeds: Sequence[int],
    run: RunDirectory | None,
    started: Sequence[Cell],
    together: int | None,
) -> list[Job]:
    if run is None:
        return _new_jobs(algorithm, task, seeds, together)
    siblings = [cell for cell in started if (cell.algorithm, cell.task) == (algorithm, task)]
    stored = {cell: job for cell in siblings if (job := run.stored_job(cell)) is not None}
    cells = [Cell(algorithm, task, seed) for seed in seeds]
    jobs = {cell: stored.get(cell) or _holder(stored.values(), cell, run) for cell in cells}
    old = dict.fromkeys(job for job in jobs.values() if job is not None)
    new = [cell.seed for cell, job in jobs.items() if job is None]
    return [*old, *_new_jobs(algorithm, task, new, together)]


def _new_jobs(
    algorithm: str, task: str, seeds: Sequence[int], together: int | None
) -> list[Job]:  # fmt: skip
    size = together or max(1, len(seeds))
    starts = range(0, len(seeds), size)
    return [Job(algorithm, task, tuple(seeds[start : start + size])) for start in starts]


def _holder(jobs: Iterable[Job], cell: Cell, run: RunDirectory) -> Job | None:
    """Returns the stored job that has a cell whose own run.json is not there yet."""
    holders = (job for job in jobs if cell in job.cells and run.belongs(cell, job))
    return next(holders, None)


def _statuses(run: RunDirectory | None) -> dict[Cell, Status]:
    if run is None:
        return {}
    found = {cell: run.files(cell).read_status() for cell in run.cells()}
    return {cell: status for cell, status in found.items() if status is not None}


def _planned(
    protocol: Protocol,
    algorithm: Algorithm[Any],
    job: Job,
    engine: str,
    statuses: Mapping[Cell, Status],
    run: RunDirectory | None,
) -> PlannedJob:
    steps = protocol.steps_per_update
    stages = tuple(
        PlannedStage(
            stage.updates,
            0 if stage.warm_up else stage.updates * steps,
            stage.extra_rollouts * steps,
            stage.updates * steps if stage.warm_up else 0,
        )
        for stage in algorithm.stages()
    )
    points = len(protocol.evaluation_grid(sum(stage.updates for stage in stages)))
    seeds, episode = len(job.seeds), episode_steps(job.task, engine)
    planned = PlannedJob(
        job=job,
        state=_state(_members(job, run), statuses),
        train_steps=seeds * sum(stage.train_steps for stage in stages),
        decoder_data_steps=seeds * sum(stage.decoder_data_steps for stage in stages),
        eval_steps=seeds * points * len(MODES) * protocol.eval_episodes * episode,
        evaluations=points,
        seconds=None,
        rough=True,
        stages=stages,
        warmup_steps=seeds * sum(stage.warmup_steps for stage in stages),
        replay_bytes=seeds * replay_bytes(algorithm, job.task, engine),
    )
    if planned.state != "done":
        check_budget(job.algorithm, algorithm)
    return _with_estimate(planned, protocol, algorithm, engine, statuses)


def _members(job: Job, run: RunDirectory | None) -> list[Cell]:
    """Returns a job's cells without those that diverged and were taken out to be tried again."""
    return [cell for cell in job.cells if run is None or run.belongs(cell, job)]


def _state(cells: Sequence[Cell], statuses: Mapping[Cell, Status]) -> JobState:
    started = [statuses[cell] for cell in cells if cell in statuses]
    if len(started) == len(cells) and all(status.finished for status in started):
        return "done"
    return "partial" if started else "new"


def _with_estimate(
    planned: PlannedJob,
    protocol: Protocol,
    algorithm: Algorithm[Any],
    engine: str,
    statuses: Mapping[Cell, Status],
) -> PlannedJob:
    if planned.state == "done":
        return dataclasses.replace(planned, seconds=0.0, rough=False)
    steps = planned.env_steps + planned.eval_steps
    left = 1.0 - _share_done(planned.job, statuses)
    speed = _measured_speed(planned.job, statuses)
    if speed is not None:
        return dataclasses.replace(planned, seconds=left * steps / speed, rough=False)
    if engine != "native":
        return planned
    physics = steps / ROUGH_STEPS_PER_SECOND.get(planned.job.task, _ROUGH_OTHER_TASK)
    learning = planned.train_steps * _rough_learning_seconds(protocol, algorithm)
    return dataclasses.replace(
        planned, seconds=left * (physics + learning) + _ROUGH_COMPILE_SECONDS
    )


def _rough_learning_seconds(protocol: Protocol, algorithm: Algorithm[Any]) -> float:
    """Returns what learning takes for one environment step.

    What a method with replay adds to the protocol's gradient steps is on minibatches of its own.
    """
    own = (algorithm.gradient_steps or 0) * algorithm.rollouts_per_update
    more = max(0, own - protocol.num_epochs * protocol.num_minibatches)
    beyond = more * _ROUGH_GRADIENT_STEP_SECONDS / protocol.steps_per_update
    return protocol.num_epochs * _ROUGH_LEARNING_SECONDS + beyond


def _share_done(job: Job, statuses: Mapping[Cell, Status]) -> float:
    shares = [
        statuses[cell].updates / max(1, statuses[cell].total_updates)
        for cell in job.cells
        if cell in statuses and not statuses[cell].divergence
    ]
    return max(shares, default=0.0)


def _measured_speed(job: Job, statuses: Mapping[Cell, Status]) -> float | None:
    """Returns steps per second, evaluation included, of what ran here with this algorithm and task.

    The seeds of a job share its wall-clock time, so each cell measures the speed of one
    seed among as many as were trained together. What has not learned yet tells nothing of how
    long learning takes: all begin with an evaluation, some with a warm-up too.
    """
    speeds = [
        (status.ledger.env_steps + status.ledger.eval_steps) / status.wall_seconds
        for cell, status in statuses.items()
        if (cell.algorithm, cell.task) == (job.algorithm, job.task)
        and status.ledger.train_steps > 0
        and status.wall_seconds > 0
    ]
    return len(job.seeds) * sum(speeds) / len(speeds) if speeds else None
