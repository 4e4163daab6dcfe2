"""The training loop of one job: pieces of chunks of updates, and between the chunks evaluation,
checks, checkpoints and files.

The point of a curve at x = N is the policy after exactly N environment steps. A chunk ends where
an evaluation is due or a stage ends; everything that is judged or stored is judged and stored
there. How it is cut into pieces is a matter of time alone, see `suite.training.clock.Pace`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm, Stage
from envs.api import Task, TaskState
from envs.engines.choice import load_task
from envs.vector import VectorEnv
from suite.common import interrupt
from suite.common.errors import UserError
from suite.compute.build import build_algorithm, build_program, worlds_of
from suite.compute.compiled import Array, Compiled
from suite.compute.evaluation import describe_starts, kept_steps, start_states
from suite.compute.program import SeedState
from suite.contract.places import place_of
from suite.contract.soundness import ACTIONS, EXCESS, acts_finitely
from suite.leases.lease import Lease
from suite.methods.method_record import method_facts, method_source
from suite.planning.task_files import keep_task, task_facts
from suite.storage.provenance import provenance
from suite.storage.records import Cell, Divergence, Job, Ledger
from suite.training.clock import Clock, Pieces, Stopwatch
from suite.training.context import JobResult, RunContext
from suite.training.job_files import JobFiles
from suite.training.job_identity import JobIdentity, check_unfinished, identify
from suite.training.progress import JobLine
from suite.training.resources import forget_peak
from suite.training.schedule import Schedule
from suite.training.seed_record import JobRecord, SeedRecord, position_of
from suite.training.stored_policies import kept_policy

_COLLECTION, _NEXT_STAGE = range(2)
"""Occasions on which environments start afresh after one and the same update."""


def run_job(job: Job, context: RunContext) -> JobResult:
    """Trains a job's seeds from where they are to the end of the budget, or of `context.until`.

    Raises:
        Held: the job is being trained by another process.
        LeaseLost: it was taken over by one, as this one was taken for dead.
        UserError: its files do not fit.
        OSError: results cannot be written; what was saved before stays.
    """
    with context.run.locked(job, context.worker) as lease:
        if context.run.is_finished(job):
            return JobResult()
        if context.until is not None and context.run.has_reached(job, context.until):
            return JobResult()
        for cell in job.cells:
            values = context.request.hyperparameters[cell.algorithm]
            context.run.check_configuration(cell, values, context.request.engine)
        training = Training(job, context, lease)
        with context.reporter.job(job, training.schedule.steps_per_seed) as line:
            return training.run(line)


class Training:
    """One job under way.

    Attributes:
        algorithm: what learns.
        schedule: what is due when.
        program: what is computed.
        record: all that is known of the job but for the state of its seeds.
    """

    def __init__(self, job: Job, context: RunContext, lease: Lease | None = None) -> None:
        self._watch = Stopwatch(lambda: self.program.seconds, context.pace.now)
        self._job = job
        self._context = context
        self._lease = lease
        request, protocol = context.request, context.request.protocol
        worlds = worlds_of(protocol, len(job.seeds))
        self._task: Task = load_task(job.task, request.engine, worlds=worlds)
        values = request.hyperparameters[job.algorithm]
        self.algorithm = build_algorithm(job.algorithm, values, self._task, protocol)
        program = build_program(self.algorithm, self._task, protocol)
        self._envs = program.envs
        self.program = Compiled(program)
        self.schedule = Schedule(self.algorithm.stages(), protocol)
        self.record = JobRecord([SeedRecord() for _ in job.seeds])
        self._files = JobFiles(
            context.run, job, self.algorithm, self.schedule, kept_steps(self._task), lease
        )
        self._identity = JobIdentity((), protocol)
        self._updates = Pieces(context.pace.piece_seconds, self._watch.working)
        self._rollouts = Pieces(context.pace.piece_seconds, self._watch.working)
        self._saved_at = context.pace.now()
        self._steps_before = 0
        forget_peak()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, or nothing up to `RunContext.until`."""
        position, until = self.record.position, self._context.until
        if until is not None and position.evaluated >= until:
            return True
        return self.schedule.is_spent(position) or not any(self.record.live())

    def run(self, line: JobLine) -> JobResult:
        """Trains to the end, or until the user asks to stop."""
        line.note("compiling")
        protocol = self._context.request.protocol
        starts = start_states(self._task, protocol.eval_episodes, protocol.eval_seed)
        state = self._restore_or_start(describe_starts(starts))
        while not self.finished:
            if interrupt.requested():
                self._save_part(state)
                return JobResult(self._diverged, interrupted=True)
            state = self._work(state, starts)
            self._save(state)
            self._report(line)
        return JobResult(self._diverged)

    @property
    def _diverged(self) -> tuple[int, ...]:
        pairs = zip(self._job.seeds, self.record.seeds, strict=True)
        return tuple(seed for seed, record in pairs if record.divergence)

    def _restore_or_start(self, starts: Mapping[str, Any]) -> SeedState:
        if self._files.begun:
            template = self.program.abstract_start(self._job.seeds)
            state, facts, path = self._files.load(template)
            self._identify(state, starts)
            self._restore(path, facts, state)
            self._describe()
            self._files.publish(state, self.record, self._watch)
        else:
            check_unfinished(self._context.run, self._job)
            self._files.forget_part()
            state = self._adopt(self.program.start(self._job.seeds))
            _check_start(_where(self._job, self.algorithm, "init"), self.program, state)
            self._identify(state, starts)
            self._describe()
        return state

    def _identify(self, state: SeedState, starts: Mapping[str, Any]) -> None:
        self._identity = identify(
            self._job, self._context, self._task, self.algorithm, state, starts
        )

    def _restore(self, path: Path, facts: Mapping[str, Any], state: SeedState) -> None:
        """Takes over what a checkpoint says of the job, if this configuration made it."""
        try:
            seeds = [SeedRecord.from_plain(plain) for plain in facts["records"]]
            self.record = JobRecord(seeds, position_of(facts))
            if "chunk" in facts:
                warm_up = self.schedule.stages[self.record.position.stage].warm_up
                self.record.chunk = self.program.restore_chunk(
                    state, **facts["chunk"], warm_up=warm_up
                )
            self._watch.go_on_from(Clock(**facts["clock"]))
            self._identity.check_made(path, facts)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} does not say how far its run was ({error!r}); go on with the "
                "version that wrote it, or use another directory"
            ) from None
        self._steps_before = self.record.env_steps

    def _adopt(self, state: SeedState) -> SeedState:
        """Puts decoders of another run into a new state, where the context names one."""
        decoders = self._context.request.decoders
        if decoders is None:
            return state
        run, stage = decoders.run, decoders.stage
        policies = [kept_policy(run, cell, stage)[2] for cell in self._job.cells]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *policies)
        try:
            return self.program.adopt(state, stacked)
        except ValueError as error:
            raise UserError(f"{self._job.algorithm}: {error}") from None

    def _describe(self) -> None:
        """Writes run.json of every seed."""
        facts = {**provenance(), "method": method_facts(self._job.algorithm)}
        if (task := task_facts(self._job.task)) is not None:
            facts["task"] = task
        if self.algorithm.gradient_steps is not None:
            each = self.algorithm.rollouts_per_update  # of the budget's updates
            facts["gradient_steps"] = each * self.algorithm.gradient_steps
        if self._lease is not None:
            facts["worker"] = self._lease.token
        source = method_source(self._job.algorithm)
        with self._files.saving():
            keep_task(self._context.run, self._job.task)
            for configuration in self._identity.configurations:
                self._context.run.write_run(configuration, facts, source)

    def _work(self, state: SeedState, starts: TaskState) -> SeedState:
        """Does what is due: an evaluation, a piece of a change of stage, a piece of a chunk."""
        position = self.record.position
        if self.schedule.evaluation_due(position):
            return self._evaluate(state, starts)
        if position.updates == self.schedule.stage_end(position):
            return self._change_stage(state)
        return self._train(state)

    def _train(self, state: SeedState) -> SeedState:
        """Makes a piece of the chunk's updates, or of a warm-up's."""
        position = self.record.position
        warm_up = self.schedule.stages[position.stage].warm_up
        end = self.schedule.chunk_end(position)
        with self._watch.training(), self._updates.cut(end - position.updates) as updates:
            state, chunk = self.program.train(state, updates, self.record.chunk, warm_up)
        self.record.chunk = chunk
        state, counted = _take_count(self._envs, state)
        for record, steps in zip(self.record.seeds, counted, strict=True):
            record.count(Ledger(warmup_steps=steps) if warm_up else Ledger(train_steps=steps))
        position.updates += updates
        if position.updates == end:
            self._freeze_diverged(state)
            self._watch_actions(chunk.means[EXCESS])
            update = [_where(cell, self.algorithm, "update") for cell in self._job.cells]
            self.record.end_chunk(update, warm_up)
        return state

    def _change_stage(self, state: SeedState) -> SeedState:
        """Takes the algorithm into its next stage, with data of its own where it asks for it."""
        position = self.record.position
        stage = self.schedule.stages[position.stage]
        with self._watch.training():
            if stage.select_by and not position.collected:
                state = self.program.reinstate(state)
            if position.collected < stage.extra_rollouts:
                return self._collect(state, stage)
            state = self.program.advance(state)
            if stage.restart_envs or not stage.time_limits:
                state = self.program.restart_envs(state, _NEXT_STAGE)
        position.stage, position.collected = position.stage + 1, 0
        self._freeze_diverged(state)
        return state

    def _collect(self, state: SeedState, stage: Stage) -> SeedState:
        """Takes a piece of the stage's extra rollouts."""
        position = self.record.position
        if not stage.time_limits and not position.collected:
            state = self.program.restart_envs(state, _COLLECTION)
        with self._rollouts.cut(stage.extra_rollouts - position.collected) as rollouts:
            state = self.program.collect(state, rollouts, position.collected)
        state, counted = _take_count(self._envs, state)
        for record, steps in zip(self.record.seeds, counted, strict=True):
            record.count(Ledger(decoder_data_steps=steps))
        position.collected += rollouts
        return state

    def _evaluate(self, state: SeedState, starts: TaskState) -> SeedState:
        """Adds a point to the curve of every seed that is not frozen."""
        with self._watch.evaluating():
            episodes = self.program.evaluate(state, starts)
        self._watch_actions(episodes.excess)
        returns, steps = np.asarray(episodes.returns), np.asarray(episodes.steps)
        seen = np.asarray(episodes.obs)
        self._watch.tick()
        position = self.record.position
        for index, record in self.record.live():
            record.count(Ledger(eval_steps=int(steps[index])))
            record.add_point(returns[index], seen[index], position, self._watch.spent)
        position.evaluated = position.updates
        mode = self.schedule.stages[position.stage].select_by
        # The untrained policy is no candidate: no stage made it.
        if mode is None or position.updates == 0:
            return state
        scores = returns[:, MODES.index(mode)].mean(axis=-1, dtype=np.float64)
        return self.program.remember(state, scores)

    def _freeze_diverged(self, state: SeedState) -> None:
        """Notes seeds whose state is no longer finite; they are computed on but not recorded."""
        leaves = {name: np.asarray(ok) for name, ok in self.program.finite(state).items()}
        for index, record in self.record.live():
            broken = [name for name, ok in leaves.items() if not ok[index]]
            if broken:
                record.divergence = Divergence(record.ledger.env_steps, broken[0])
                self._files.keep_last_good(self._job.cells[index])

    def _watch_actions(self, excess: Array) -> None:
        """Notes seeds whose actions are not finite.

        Args:
            excess: [S], as `suite.contract.soundness.action_excess` gives it.

        Raises:
            UserError: some leave [-1, 1].
        """
        for index, record in self.record.live():
            cell = self._job.cells[index]
            if not acts_finitely(float(excess[index]), _where(cell, self.algorithm, "act")):
                record.divergence = Divergence(record.ledger.env_steps, ACTIONS)
                self._files.keep_last_good(cell)

    def _save(self, state: SeedState) -> None:
        """Saves where the protocol has a point of its own, and in between when it is time."""
        pace = self._context.pace
        now = pace.now()
        self._watch.tick()
        if not self.record.is_between:
            self._files.save(state, self.record, self._facts(), self._watch)
            self._saved_at = now
        elif now - self._saved_at >= pace.save_seconds:
            self._save_part(state)
            self._saved_at = now

    def _save_part(self, state: SeedState) -> None:
        """Saves what no checkpoint holds, if a chunk or a change of stage is under way."""
        if self.record.is_between:
            self._watch.tick()
            self._files.save_part(state, self.record, self._facts(), self._watch)

    def _facts(self) -> dict[str, Any]:
        """Returns what a checkpoint holds besides arrays."""
        return {**self.record.to_plain(self._watch.spent), "origin": self._identity.origins}

    def _report(self, line: JobLine) -> None:
        steps = self.record.env_steps
        speed = (steps - self._steps_before) / max(self._watch.working(), 1e-9)
        seeds = self.record.seeds
        returns = [record.rows[-1].return_mean if record.rows else None for record in seeds]
        line.update(steps, speed, returns, passing=self.record.is_between)


def _where(subject: Cell | Job, algorithm: Algorithm[Any], function: str) -> str:
    """Returns what a message on a function of the method begins with."""
    return f"{subject} ({place_of(type(algorithm), function)})"


def _check_start(where: str, program: Compiled, state: SeedState) -> None:
    """Refuses a state that would count as diverged before anything was learned."""
    for leaf, finite in program.finite(state).items():
        if not np.asarray(finite).all():
            raise UserError(
                f"{where}: init returns state{leaf} with numbers that are not finite, by which a "
                "seed that diverged is told; start from finite ones"
            )


def _take_count(envs: VectorEnv, state: SeedState) -> tuple[SeedState, list[int]]:
    """Takes the steps [S] that the environments counted out of the state."""
    counted, left = envs.take_count(state.envs)
    return state._replace(envs=left), np.asarray(counted).tolist()
