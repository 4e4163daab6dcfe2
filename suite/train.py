"""The training loop of one job: chunks of updates, and between them evaluation, checks,
checkpoints and files (DESIGN section 4).

The point of a curve at x = N is the policy after exactly N environment steps.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm, Stage
from algorithms.networks import parameter_count
from envs.api import Task
from envs.engines import load_task
from suite import interrupt
from suite.build import acting_part, build_algorithm, build_program, kept_policy
from suite.context import JobResult, RunContext
from suite.errors import UserError
from suite.evaluate import describe_starts, kept_steps, start_states
from suite.methods import method_facts
from suite.program import Compiled, SeedState, seed_slice
from suite.progress import JobLine
from suite.selection import format_seeds
from suite.soundness import ACTIONS, EXCESS, acts_finitely, check_metrics
from suite.storage import checkpoint
from suite.storage.leases import Lease
from suite.storage.provenance import provenance
from suite.storage.records import (
    Cell,
    Configuration,
    CurveRow,
    Divergence,
    Job,
    Ledger,
    Status,
    origin,
    origin_differences,
)
from suite.storage.resources import forget_peak, peak_device_memory, peak_memory

_COLLECTION, _NEXT_STAGE = range(2)
"""Occasions on which environments start afresh after one and the same update."""


@dataclasses.dataclass
class SeedRecord:
    """What is known of one seed besides its state; kept in the checkpoint.

    Attributes:
        rows: the curve so far.
        episodes: [modes][episodes] returns of each evaluation.
        metrics: mean training metrics of each chunk.
        ledger: environment steps by purpose.
        divergence: set once the seed's numbers stopped being finite; it is then frozen.
        seen: `Episodes.obs` [K][G][O] of the newest evaluation.
    """

    rows: list[CurveRow] = dataclasses.field(default_factory=list)
    episodes: list[list[list[float]]] = dataclasses.field(default_factory=list)
    metrics: list[dict[str, float]] = dataclasses.field(default_factory=list)
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    divergence: Divergence | None = None
    seen: list[list[list[float]]] = dataclasses.field(default_factory=list)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SeedRecord:
        """Restores what `dataclasses.asdict` gave."""
        divergence = plain["divergence"]
        return cls(
            rows=[CurveRow(**row) for row in plain["rows"]],
            episodes=plain["episodes"],
            metrics=plain["metrics"],
            ledger=Ledger(**plain["ledger"]),
            divergence=divergence and Divergence(**divergence),
            seen=plain.get("seen", []),
        )

    def count(self, purpose: str, steps: int) -> None:
        """Enters environment steps into the ledger."""
        counted = getattr(self.ledger, purpose) + steps
        self.ledger = dataclasses.replace(self.ledger, **{purpose: counted})


@dataclasses.dataclass
class Clock:
    """Seconds spent on a job so far, over all its runs; pauses between runs do not count."""

    wall: float = 0.0
    compile: float = 0.0
    train: float = 0.0
    evaluate: float = 0.0


def run_job(job: Job, context: RunContext) -> JobResult:
    """Trains a job's seeds from where they are to the end of the budget.

    Raises:
        Held: the job is being trained by another process.
        LeaseLost: it was taken over by one, as this one was taken for dead.
        UserError: its files do not fit.
        OSError: results cannot be written; what was saved before stays.
    """
    with context.run.locked(job, context.worker) as lease:
        if context.run.is_finished(job):
            return JobResult()
        for cell in job.cells:
            values = context.hyperparameters[cell.algorithm]
            context.run.check_configuration(cell, values, context.engine)
        training = Training(job, context, lease)
        with context.reporter.job(job, training.steps_per_seed) as line:
            return training.run(line)


class Training:
    """One job under way; nothing is written once its lease is lost.

    Attributes:
        updates: policy updates made.
        stage: index of the current stage.
        evaluated: updates at the last evaluation, -1 before the first.
        records: one per seed, in the order of the job's seeds.
        clock: time spent.
    """

    def __init__(self, job: Job, context: RunContext, lease: Lease | None = None) -> None:
        self._lease = lease
        self._began = time.perf_counter()
        self.job = job
        self.context = context
        self.task: Task = load_task(job.task, context.engine)
        hyperparameters = context.hyperparameters[job.algorithm]
        self.algorithm: Algorithm = build_algorithm(
            job.algorithm, hyperparameters, self.task, context.protocol
        )
        self.stages = self.algorithm.stages()
        program = build_program(self.algorithm, self.task, context.protocol)
        self.envs = program.envs
        self.program = Compiled(program)
        self.evaluation_grid = context.protocol.evaluation_grid(self.total_updates)
        self.updates = 0
        self.stage = 0
        self.evaluated = -1
        self.records = [SeedRecord() for _ in job.seeds]
        self.clock = Clock()
        self._earlier = Clock()
        self._steps_before = 0
        self._starts: Mapping[str, Any] | None = None
        self._configurations: list[Configuration] = []
        forget_peak()

    @property
    def total_updates(self) -> int:
        """Policy updates in the whole run."""
        return sum(stage.updates for stage in self.stages)

    @property
    def steps_per_seed(self) -> int:
        """Environment steps that count against the budget, per seed."""
        rollouts = sum(stage.updates + stage.extra_rollouts for stage in self.stages)
        return rollouts * self.context.protocol.steps_per_update

    @property
    def stage_end(self) -> int:
        """Updates after which the current stage ends."""
        return sum(stage.updates for stage in self.stages[: self.stage + 1])

    @property
    def next_evaluation(self) -> int:
        """Updates after which the next evaluation is due."""
        return min(point for point in self.evaluation_grid if point > self.updates)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        spent = self.updates == self.total_updates and self.evaluated == self.updates
        return spent or all(record.divergence for record in self.records)

    def run(self, line: JobLine) -> JobResult:
        """Trains to the end, or until the user asks to stop."""
        line.note("compiling")
        protocol = self.context.protocol
        starts = start_states(self.task, protocol.eval_episodes, protocol.eval_seed)
        self._starts = describe_starts(starts)
        state = self._restore_or_start()
        while not self.finished:
            if interrupt.requested():
                return JobResult(self._diverged, interrupted=True)
            if self._evaluation_due:
                state = self._evaluate(state, starts)
            elif self.updates == self.stage_end:
                state = self._change_stage(state)
            else:
                state = self._train(state)
            self._save(state)
            self._report(line)
        return JobResult(self._diverged)

    @property
    def _evaluation_due(self) -> bool:
        return self.evaluated != self.updates and self.updates in self.evaluation_grid

    @property
    def _diverged(self) -> tuple[int, ...]:
        pairs = zip(self.job.seeds, self.records, strict=True)
        return tuple(seed for seed, record in pairs if record.divergence)

    def _restore_or_start(self) -> SeedState:
        path = self.context.run.checkpoint_path(self.job)
        if path.exists() or checkpoint.previous_path(path).exists():
            template = self.program.abstract_start(self.job.seeds)
            state, meta = checkpoint.load(path, template, self._saving())
            self._configure(state)
            try:
                self._restore(meta)
                self._check_origin(path, meta)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"{path} does not say how far its run was ({error!r}); go on with the "
                    "version that wrote it, or use another directory"
                ) from None
            self._describe()
            # A crash may have come between the checkpoint and the files that follow from it.
            with self._saving():
                self._publish(state)
        else:
            self._check_unfinished(path)
            state = self._adopt(self.program.start(self.job.seeds))
            self._check_start(state)
            self._configure(state)
            self._describe()
        return state

    def _check_start(self, state: SeedState) -> None:
        """Refuses a state that would count as diverged before anything was learned."""
        for leaf, finite in self.program.finite(state).items():
            if not np.asarray(finite).all():
                raise UserError(
                    f"{self.job}: init returns state{leaf} with numbers that are not finite, by "
                    "which a seed that diverged is told; start from finite ones"
                )

    def _check_unfinished(self, path: Path) -> None:
        """Refuses to start anew over results that the lost checkpoint would have kept."""
        statuses = {cell.seed: self.context.run.read_status(cell) for cell in self.job.cells}
        finished = tuple(seed for seed, each in statuses.items() if each and each.finished)
        if finished:
            raise UserError(
                f"{path} is missing, and without it finished seeds ({format_seeds(finished)}) "
                "would be overwritten; restore the checkpoint, or use another --out"
            )

    def _check_origin(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Refuses a checkpoint that another configuration made; older versions do not say."""
        stored = meta.get("origin")
        if stored is None:
            return
        renewed = self.context.protocol.renewed
        for before, now in zip(stored, map(origin, self._configurations), strict=True):
            if "fingerprint" in before:
                before = {**before, "fingerprint": renewed(before["fingerprint"])}
            differing = origin_differences(before, now)
            if differing:
                raise UserError(
                    f"{path} is of another configuration, which differs in "
                    f"{', '.join(differing)}; go on with that one, delete the checkpoint and its "
                    ".prev to train these seeds afresh, or choose another directory with --out"
                )

    def _adopt(self, state: SeedState) -> SeedState:
        """Puts decoders of another run into a new state, where the context names one."""
        decoders = self.context.decoders
        if decoders is None:
            return state
        run, stage = decoders.run, decoders.stage
        policies = [kept_policy(run, cell, stage)[2] for cell in self.job.cells]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *policies)
        try:
            return self.program.adopt(state, stacked)
        except ValueError as error:
            raise UserError(f"{self.job.algorithm}: {error}") from None

    def _restore(self, meta: Mapping[str, Any]) -> None:
        self.updates, self.stage = meta["updates"], meta["stage"]
        self.evaluated = meta["evaluated"]
        self.records = [SeedRecord.from_plain(plain) for plain in meta["records"]]
        self._earlier = Clock(**meta["clock"])
        self.clock = Clock(**meta["clock"])
        self._steps_before = max(record.ledger.env_steps for record in self.records)

    def _configure(self, state: SeedState) -> None:
        """Notes the configuration of every seed."""
        parameters = jax.eval_shape(self.algorithm.parameters, state.algorithm)
        count = parameter_count(parameters) // len(self.job.seeds)
        self._configurations = [self._configuration(cell, count) for cell in self.job.cells]

    def _describe(self) -> None:
        """Writes run.json of every seed."""
        facts = {**provenance(), "method": method_facts(self.job.algorithm)}
        if self._lease is not None:
            facts["worker"] = self._lease.token
        with self._saving():
            for configuration in self._configurations:
                self.context.run.write_run(configuration, facts)

    def _configuration(self, cell: Cell, parameters: int) -> Configuration:
        protocol, decoders = self.context.protocol, self.context.decoders
        return Configuration(
            algorithm=cell.algorithm,
            task=cell.task,
            seed=cell.seed,
            seeds_together=self.job.seeds,
            hyperparameters=self.context.hyperparameters[cell.algorithm],
            engine=self.context.engine,
            protocol=protocol.to_dict(),
            fingerprint=protocol.fingerprint(),
            parameter_count=parameters,
            evaluations_per_action=self.algorithm.evaluations_per_action,
            model_hash=self.task.model_hash,
            eval_starts=self._starts,
            return_bounds=self.task.return_bounds,
            decoder=decoders.source(cell) if decoders else None,
        )

    def _train(self, state: SeedState) -> SeedState:
        """Trains to the next evaluation or the end of the stage, whichever comes first."""
        updates = min(self.next_evaluation, self.stage_end) - self.updates
        with self._timed("train"):
            state, metrics = self.program.train(state, updates)
        state = self._count(state, "train_steps")
        self.updates += updates
        self._freeze_diverged(state)
        self._watch_actions(metrics[EXCESS])
        self._note_metrics(metrics)
        return state

    def _change_stage(self, state: SeedState) -> SeedState:
        """Takes the algorithm into its next stage, with data of its own where it asks for it."""
        stage = self.stages[self.stage]
        with self._timed("train"):
            if stage.select_by:
                state = self.program.reinstate(state)
            if stage.extra_rollouts:
                state = self._collect(state, stage)
            state = self.program.advance(state)
            if stage.restart_envs or not stage.time_limits:
                state = self.program.restart_envs(state, _NEXT_STAGE)
        self.stage += 1
        self._freeze_diverged(state)
        return state

    def _collect(self, state: SeedState, stage: Stage) -> SeedState:
        """Takes the stage's extra rollouts."""
        if not stage.time_limits:
            state = self.program.restart_envs(state, _COLLECTION)
        state = self.program.collect(state, stage.extra_rollouts)
        return self._count(state, "decoder_data_steps")

    def _evaluate(self, state: SeedState, starts: Any) -> SeedState:
        """Adds a point to the curve of every seed that is not frozen."""
        with self._timed("evaluate"):
            episodes = self.program.evaluate(state, starts)
        self._watch_actions(episodes.excess)
        returns, steps = np.asarray(episodes.returns), np.asarray(episodes.steps)
        seen = np.asarray(episodes.obs)
        self._tick()
        for index, record in enumerate(self.records):
            if not record.divergence:
                record.count("eval_steps", int(steps[index]))
                record.episodes.append(returns[index].tolist())
                record.rows += self._rows(record, returns[index])
                record.seen = seen[index].tolist()
        self.evaluated = self.updates
        mode = self.stages[self.stage].select_by
        # The untrained policy is no candidate: no stage made it.
        if mode is None or self.updates == 0:
            return state
        scores = returns[:, MODES.index(mode)].mean(axis=-1, dtype=np.float64)
        return self.program.remember(state, scores)

    def _rows(self, record: SeedRecord, returns: np.ndarray) -> Iterator[CurveRow]:
        for mode, mode_returns in zip(MODES, returns, strict=True):
            yield CurveRow(
                env_steps=record.ledger.env_steps,
                mode=mode,
                return_mean=float(mode_returns.mean(dtype=np.float64)),
                return_std=float(mode_returns.std(dtype=np.float64)),
                episodes=len(mode_returns),
                wall_seconds=self.clock.wall,
                updates=self.updates,
                stage=self.stage,
                **dataclasses.asdict(record.ledger),
                train_seconds=self.clock.train,
                eval_seconds=self.clock.evaluate,
            )

    def _count(self, state: SeedState, purpose: str) -> SeedState:
        """Moves the steps that the environments counted into the ledger."""
        counted, envs = self.envs.take_count(state.envs)
        for record, steps in zip(self.records, np.asarray(counted), strict=True):
            if not record.divergence:
                record.count(purpose, int(steps))
        return state._replace(envs=envs)

    def _freeze_diverged(self, state: SeedState) -> None:
        """Notes seeds whose state is no longer finite; they are computed on but not recorded."""
        leaves = {name: np.asarray(ok) for name, ok in self.program.finite(state).items()}
        for index, record in enumerate(self.records):
            broken = [name for name, ok in leaves.items() if not ok[index]]
            if broken and not record.divergence:
                record.divergence = Divergence(record.ledger.env_steps, broken[0])
                self._keep_last_good(self.job.cells[index])

    def _watch_actions(self, excess: jax.Array) -> None:
        """Notes seeds [S] whose actions are not finite; raises UserError if some leave [-1, 1]."""
        values = np.asarray(excess)
        for index, (cell, record) in enumerate(zip(self.job.cells, self.records, strict=True)):
            if not record.divergence and not acts_finitely(float(values[index]), str(cell)):
                record.divergence = Divergence(record.ledger.env_steps, ACTIONS)
                self._keep_last_good(cell)

    def _keep_last_good(self, cell: Cell) -> None:
        """Copies the checkpoint from before a divergence into the cell's directory."""
        path = self.context.run.checkpoint_path(self.job)
        if path.exists():
            with self._saving():
                self.context.run.keep_checkpoint(cell, path)

    def _note_metrics(self, metrics: Mapping[str, jax.Array]) -> None:
        table = {name: np.asarray(values) for name, values in metrics.items() if name != EXCESS}
        first = not any(record.metrics for record in self.records)
        for index, record in enumerate(self.records):
            if not record.divergence:
                row = {name: float(values[index]) for name, values in table.items()}
                check_metrics(row, str(self.job.cells[index]), first)
                record.metrics.append({"env_steps": record.ledger.env_steps, **row})

    def _save(self, state: SeedState) -> None:
        """Writes the checkpoint first, then the files that follow from it."""
        self._tick()
        meta = {
            "updates": self.updates,
            "stage": self.stage,
            "evaluated": self.evaluated,
            "clock": dataclasses.asdict(self.clock),
            "records": [dataclasses.asdict(record) for record in self.records],
            "origin": [origin(each) for each in self._configurations],
        }
        with self._saving():
            checkpoint.save(self.context.run.checkpoint_path(self.job), state, meta)
            self._publish(state)

    def _saving(self) -> AbstractContextManager[None]:
        return nullcontext() if self._lease is None else self._lease.saving()

    def _publish(self, state: SeedState) -> None:
        """Writes the files that follow from the checkpoint, status.json last."""
        if self.updates == self.stage_end:
            self._keep_policies(state)
        for cell, record in zip(self.job.cells, self.records, strict=True):
            self._write_files(cell, record)

    def _keep_policies(self, state: SeedState) -> None:
        """Keeps what every seed acts with at the end of a stage, unless it has diverged."""
        policies = jax.vmap(acting_part(self.algorithm))(state.algorithm)
        for index, (cell, record) in enumerate(zip(self.job.cells, self.records, strict=True)):
            if not record.divergence:
                steps = record.ledger.env_steps
                facts = {"stage": self.stage, "updates": self.updates, "env_steps": steps}
                path = self.context.run.policy_path(cell, self.stage)
                checkpoint.save(path, seed_slice(policies, index), facts, keep_previous=False)

    def _write_files(self, cell: Cell, record: SeedRecord) -> None:
        run = self.context.run
        steps = [row.env_steps for row in record.rows if row.mode == MODES[0]]
        with run.together(cell):
            run.amend_run(cell, self._used_up())
            run.write_curve(cell, record.rows)
            run.write_episodes(
                cell, np.asarray(steps, np.int64), np.asarray(record.episodes, np.float32)
            )
            run.write_metrics(cell, record.metrics)
            if record.seen:
                run.write_states(
                    cell, steps[-1], kept_steps(self.task), np.asarray(record.seen, np.float32)
                )
            run.write_status(cell, self._status(record))

    def _used_up(self) -> dict[str, float | int | None]:
        """Returns what this start took so far, for its entry in run.json."""
        return {
            "wall_seconds": round(time.perf_counter() - self._began, 3),
            "compile_seconds": round(self.program.seconds, 3),
            "peak_memory_bytes": peak_memory(),
            "device_peak_memory_bytes": peak_device_memory(),
        }

    def _status(self, record: SeedRecord) -> Status:
        state = "diverged" if record.divergence else "done" if self.finished else "running"
        last = {row.mode: row.return_mean for row in record.rows[-len(MODES) :]}
        return Status(
            state=state,  # type: ignore[arg-type]
            updates=self.updates,
            total_updates=self.total_updates,
            ledger=record.ledger,
            wall_seconds=self.clock.wall,
            returns=last,
            divergence=record.divergence,
        )

    def _report(self, line: JobLine) -> None:
        steps = max(record.ledger.env_steps for record in self.records)
        seconds = self.clock.wall - self._earlier.wall - self.program.seconds
        returns = [record.rows[-1].return_mean if record.rows else None for record in self.records]
        line.update(steps, (steps - self._steps_before) / max(seconds, 1e-9), returns)

    def _tick(self) -> None:
        """Brings the clock's total up to now."""
        self.clock.wall = self._earlier.wall + time.perf_counter() - self._began
        self.clock.compile = self._earlier.compile + self.program.seconds

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Adds the time of its body, less compilation, to a part of the clock."""
        began, compiled = time.perf_counter(), self.program.seconds
        yield
        spent = time.perf_counter() - began - (self.program.seconds - compiled)
        setattr(self.clock, part, getattr(self.clock, part) + spent)
