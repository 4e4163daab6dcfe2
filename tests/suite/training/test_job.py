"""The training loop: what a curve's points mean, resuming, freezing, and compiling once."""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import EPISODE, ActionTask, Counter, CounterState, request_of
from processes import killing

import suite.training.job
import suite.training.stored_policies
from algorithms import registry
from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout
from suite.common import interrupt
from suite.common.errors import UserError
from suite.compute.compiled import Compiled
from suite.compute.evaluation import start_states
from suite.compute.program import Program
from suite.configuration.protocol import Protocol, load_protocol
from suite.storage import checkpoint
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory
from suite.training.clock import Pace
from suite.training.context import JobResult, RunContext
from suite.training.job import Training, run_job
from suite.training.progress import Progress

UPDATES = 7


@pytest.fixture
def protocol() -> Protocol:
    """Seven updates of 4 x 6 steps, evaluated every 2 updates."""
    return dataclasses.replace(
        load_protocol("smoke"),
        total_steps=UPDATES * 24 + 5,
        num_envs=4,
        rollout_length=6,
        chunk_length=6,
        num_minibatches=2,
        eval_interval=2,
        eval_episodes=3,
        algorithms={},
    )


@pytest.fixture
def prepare(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> Callable[..., tuple[Job, RunContext]]:
    """Returns a function that sets up a job of the counting algorithm."""
    monkeypatch.setattr(suite.training.job, "load_task", lambda *_, **__: ActionTask())
    entry = registry.Entry("ppo", Counter, "counts")
    monkeypatch.setattr(registry, "lookup", lambda _: entry)

    def make(
        path: Path, seeds: tuple[int, ...] = (0, 1), every: int = 2, **hyperparameters: Any
    ) -> tuple[Job, RunContext]:
        values: Mapping[str, Any] = {"poison_at": -1, "extra": 0, **hyperparameters}
        rule = dataclasses.replace(protocol, eval_interval=every)
        run = RunDirectory.create(path, rule)
        job = Job("ppo", "CheetahRun", seeds)
        request = request_of(job, rule, path, values)
        return job, RunContext(request, run, Progress(io.StringIO()))

    return make


Prepare = Callable[..., tuple[Job, RunContext]]


@pytest.mark.usefixtures("compile_once")
def test_the_point_at_n_is_the_policy_after_exactly_n_steps(
    tmp_path: Path, prepare: Prepare
) -> None:
    job, context = prepare(tmp_path)
    run_job(job, context)
    for cell in job.cells:
        rows = context.run.files(cell).read_curve()
        points = [(row.updates, row.env_steps) for row in rows if row.mode == "deterministic"]
        assert points == [(u, 24 * u) for u in (0, 2, 4, 6, 7)]
        for row in rows:
            scale = 1.0 if row.mode == "deterministic" else 0.5
            assert row.return_mean == pytest.approx(EPISODE * row.updates / 100 * scale, rel=1e-5)
            assert row.stage == (row.updates > 3)


@pytest.mark.usefixtures("compile_once")
def test_the_ledger_counts_every_step_by_purpose(tmp_path: Path, prepare: Prepare) -> None:
    job, context = prepare(tmp_path, extra=5)
    run_job(job, context)
    status = context.run.files(job.cells[0]).read_status()
    assert status is not None and status.state == "done"
    assert status.ledger.train_steps == UPDATES * 24
    assert status.ledger.decoder_data_steps == 5 * 24
    assert status.ledger.eval_steps == 5 * 2 * 3 * EPISODE
    last = context.run.files(job.cells[0]).read_curve()[-1]
    assert last.env_steps == (UPDATES + 5) * 24
    state = _final_state(job, context)
    assert state.recorded.tolist() == [5, 5] and state.refits.tolist() == [1, 1]


@pytest.fixture(scope="module")
def compiled() -> Callable[[Program], Compiled]:
    """Compiles once for all runs of an algorithm, which must be of as many seeds."""
    known: dict[Algorithm, Compiled] = {}
    return lambda program: known.setdefault(program.algorithm, Compiled(program))


@pytest.fixture
def compile_once(monkeypatch: pytest.MonkeyPatch, compiled: Callable[[Program], Compiled]) -> None:
    """Leaves out what is slow in starting a run."""
    monkeypatch.setattr(suite.training.job, "Compiled", compiled)
    monkeypatch.setattr(suite.training.job, "provenance", dict)  # asks git
    monkeypatch.setattr(os, "fsync", lambda _: None)
    draw = functools.cache(lambda episodes, seed: start_states(ActionTask(), episodes, seed))
    monkeypatch.setattr(suite.training.job, "start_states", lambda _, *numbers: draw(*numbers))


def _ticking(seed: int) -> Callable[[], float]:
    """A clock that goes on by 0 to 2 seconds whenever it is looked at."""
    steps = random.Random(seed)
    return itertools.accumulate(iter(lambda: steps.uniform(0.0, 2.0), None)).__next__


def _cuts() -> dict[str, tuple[Pace, Callable[[], bool]]]:
    """How often to save, and when to stop."""
    at_random = random.Random(2)
    return {
        "an update a piece, saved each time": (Pace(0.0, 0.0), lambda: False),
        "stopped after every update": (Pace(0.0), _every_second_call()),
        "random pieces": (Pace(1.5, 3.0, _ticking(0)), lambda: False),
        "random pieces, stopped at random": (
            Pace(1.5, 3.0, _ticking(1)),
            lambda: at_random.random() < 0.5,
        ),
    }


@pytest.mark.usefixtures("optimized", "compile_once")
def test_no_bit_depends_on_where_chunks_are_cut(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of 3, 2 and 2 updates, 4 extra rollouts, and seeds that diverge inside a chunk."""
    seeds = tuple(range(4))

    def run(name: str, pace: Pace, requested: Callable[[], bool]) -> tuple[dict[str, Any], int]:
        job, context = prepare(tmp_path / name, seeds, every=5, extra=4, poison_at=3)
        context = dataclasses.replace(context, pace=pace)
        monkeypatch.setattr(suite.training.job.interrupt, "requested", requested)
        starts = 1
        while (result := run_job(job, context)).interrupted:
            starts += 1
        assert 0 < len(result.diverged) < len(seeds)
        return killing.results(tmp_path / name), starts

    whole, _ = run("whole", Pace(float("inf")), lambda: False)
    kinds = {Path(name).name for name in whole}
    assert {"metrics.csv", "last-good.ckpt", "policy-0.npz", "job-000-003.ckpt"} <= kinds
    for name, (pace, requested) in _cuts().items():
        found, starts = run(name, pace, requested)
        assert found == whole, name
        # 3 evaluations, 7 updates, 4 extra rollouts and the change of stage itself.
        assert starts == 15 or name != "stopped after every update"


@pytest.mark.usefixtures("compile_once")
def test_metrics_are_means_over_the_updates_of_a_chunk(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, context = prepare(tmp_path / "single", every=1)
    run_job(job, context)
    job, chunks = prepare(tmp_path / "chunks")
    chunks = dataclasses.replace(chunks, pace=Pace(0.0))
    monkeypatch.setattr(suite.training.job.interrupt, "requested", _every_second_call())
    while run_job(job, chunks).interrupted:
        pass
    for cell in job.cells:
        single = [row["weight"] for row in context.run.files(cell).read_metrics()]
        rows = chunks.run.files(cell).read_metrics()
        assert [row["env_steps"] for row in rows] == [24 * end for end in (2, 3, 4, 6, 7)]
        means = [np.mean(single[i:j]) for i, j in itertools.pairwise((0, 2, 3, 4, 6, 7))]
        np.testing.assert_allclose([row["weight"] for row in rows], means, rtol=1e-6)


class _Stop:
    """Asks the run to stop, by a signal, at its first line between two evaluations."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def note(self, message: str) -> None:
        """Says nothing."""

    def update(self, steps: int, speed: float, *_: Any, passing: bool) -> None:
        """Sends the signal."""
        if passing:
            assert speed > 0
            os.kill(os.getpid(), self._number)


@pytest.mark.parametrize("number", interrupt.SIGNALS)
@pytest.mark.usefixtures("compile_once")
def test_a_signal_is_obeyed_within_one_update(
    tmp_path: Path, prepare: Prepare, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, context = prepare(tmp_path)
    context = dataclasses.replace(context, pace=Pace(0.0))
    with context.run.locked(job) as lease, interrupt.handling():
        stopped = Training(job, context, lease).run(_Stop(number))  # type: ignore[arg-type]
    assert stopped.interrupted
    cell = job.cells[1]
    status = context.run.files(cell).read_status()
    assert status is not None and (status.updates, status.state) == (1, "running")
    assert status.ledger.train_steps == 24
    # What is looked at meanwhile is the newest, too.
    monkeypatch.setattr(suite.training.stored_policies, "load_task", lambda *_, **__: ActionTask())
    assert int(suite.training.stored_policies.stored_policy(context.run, cell)[2].updates) == 1
    assert run_job(job, context) == JobResult()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("fate", ["damaged", "left behind", "without its checkpoint"])
@pytest.mark.usefixtures("compile_once")
def test_a_part_is_used_only_if_it_goes_on_from_the_checkpoint(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch, fate: str, caplog: Any
) -> None:
    job, whole = prepare(tmp_path / "whole")
    run_job(job, whole)
    job, context = prepare(tmp_path / "run")
    paced = dataclasses.replace(context, pace=Pace(0.0, 0.0))
    path = context.run.checkpoint_path(job)
    part = checkpoint.part_path(path)
    monkeypatch.setattr(suite.training.job.interrupt, "requested", part.exists)
    assert run_job(job, paced).interrupted
    content = part.read_bytes()
    assert checkpoint.read_meta(part)["updates"] == 1
    if fate == "damaged":
        part.write_bytes(content[:-30])
    elif fate == "without its checkpoint":
        path.unlink()
        checkpoint.previous_path(path).unlink(missing_ok=True)
    else:
        # An older version goes on from the checkpoint, and knows nothing of parts.
        part.unlink()
        passes = iter((False, False, True))
        monkeypatch.setattr(suite.training.job.interrupt, "requested", lambda: next(passes))
        assert run_job(job, context).interrupted
        part.write_bytes(content)
    monkeypatch.setattr(suite.training.job.interrupt, "requested", lambda: False)
    assert not run_job(job, paced).interrupted
    assert killing.results(tmp_path / "run") == killing.results(tmp_path / "whole")
    assert ("part is damaged" in caplog.text) == (fate == "damaged")


@pytest.mark.usefixtures("compile_once")
def test_the_policy_of_every_stage_end_is_kept(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite.training.stored_policies, "load_task", lambda *_, **__: ActionTask())
    job, context = prepare(tmp_path)
    run_job(job, context)
    cell = job.cells[1]
    assert context.run.files(cell).kept_stages() == (0, 1)
    kept = [
        suite.training.stored_policies.kept_policy(context.run, cell, stage)[2] for stage in (0, 1)
    ]
    # Stage 0 ends after 3 of 7 updates; the policy is that from before the refit.
    assert [(float(each.updates), float(each.refits)) for each in kept] == [(3, 0), (7, 1)]
    live = jax.tree.map(lambda leaf: leaf[1], _final_state(job, context))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), kept[1], live))
    facts = checkpoint.read_meta(context.run.files(cell).policy_path(0))
    assert facts == {"stage": 0, "updates": 3, "env_steps": 3 * 24}
    with pytest.raises(UserError, match=r"no policy of the end of stage 2 \(there are: 0, 1\)"):
        suite.training.stored_policies.kept_policy(context.run, cell, 2)
    path = context.run.files(cell).policy_path(0)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"policy-0\.npz is damaged"):
        suite.training.stored_policies.kept_policy(context.run, cell, 0)


@pytest.mark.usefixtures("compile_once")
def test_files_lost_after_the_checkpoint_are_written_when_it_is_restored(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies between the last checkpoint and the files that follow from it."""
    job, whole = prepare(tmp_path / "whole")
    run_job(job, whole)
    job, broken = prepare(tmp_path / "broken")
    save = checkpoint.save

    def die_after_the_last(path: Path, tree: Any, meta: Any, **options: Any) -> None:
        save(path, tree, meta, **options)
        if meta["updates"] == meta.get("evaluated") == UPDATES:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", die_after_the_last)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, broken)
    status = broken.run.files(job.cells[0]).read_status()
    assert status is not None and status.state == "running"
    monkeypatch.setattr(checkpoint, "save", save)
    run_job(job, broken)
    for cell in job.cells:
        status = broken.run.files(cell).read_status()
        assert status is not None and status.state == "done"
        assert _without_times(whole.run, cell) == _without_times(broken.run, cell)
        for name in ("states.npz", "policy-0.npz", "policy-1.npz"):
            files = [(c.run.cell_path(cell) / name).read_bytes() for c in (whole, broken)]
            assert files[0] == files[1]


@pytest.mark.usefixtures("compile_once")
def test_a_checkpoint_is_bound_to_what_made_it(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes the directories of the cells, and the checkpoint stays behind."""
    job, context = prepare(tmp_path)
    run_job(job, context)
    curves = [_without_times(context.run, cell) for cell in job.cells]
    _delete_cells(context.run, job)
    _, other = prepare(tmp_path, poison_at=99)
    with pytest.raises(UserError, match=r"job-000-001\.ckpt .* poison_at \(-1 there, 99 now\)"):
        run_job(job, other)
    assert not context.run.cells()
    run_job(job, context)  # what made it brings the cells back
    assert [_without_times(context.run, cell) for cell in job.cells] == curves

    _delete_cells(context.run, job)
    load = checkpoint.load

    def load_with(**facts: Any) -> Any:
        def load_older(*arguments: Any) -> tuple[Any, dict[str, Any]]:
            state, meta = load(*arguments)
            origin = [{**each, **facts} for each in meta["origin"]] if facts else None
            return state, {**meta, "origin": origin}

        return load_older

    monkeypatch.setattr(checkpoint, "load", load_with(fingerprint="0123456789abcdef"))
    with pytest.raises(UserError, match="fingerprint"):
        run_job(job, context)
    older = load_with(fingerprint=_fingerprint_as_written(context.request.protocol))
    monkeypatch.setattr(checkpoint, "load", older)
    run_job(job, context)

    _delete_cells(context.run, job)
    monkeypatch.setattr(checkpoint, "load", load_with())
    run_job(job, other)
    assert context.run.is_finished(job)


def _fingerprint_as_written(protocol: Protocol) -> str:
    """Of older versions, which hashed steps that are never taken, too, and had fewer fields."""
    assert protocol.total_steps > protocol.updates * protocol.steps_per_update
    names = protocol.to_dict().keys() - {*Protocol.descriptive_fields(), "restart_interval"}
    fields = {name: protocol.to_dict()[name] for name in names}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.usefixtures("compile_once")
def test_finished_seeds_are_not_overwritten_without_their_checkpoint(
    tmp_path: Path, prepare: Prepare
) -> None:
    job, context = prepare(tmp_path)
    run_job(job, context)
    context.run.checkpoint_path(job).unlink()
    checkpoint.previous_path(context.run.checkpoint_path(job)).unlink()
    shutil.rmtree(context.run.cell_path(job.cells[1]))
    kept = context.run.cell_path(job.cells[0])
    before = {path.name: path.read_bytes() for path in kept.glob("[!.]*")}
    with pytest.raises(UserError, match=r"job-000-001\.ckpt is missing.* finished seeds \(0\)"):
        run_job(job, context)
    assert {path.name: path.read_bytes() for path in kept.glob("[!.]*")} == before


@pytest.mark.usefixtures("compile_once")
def test_going_on_from_the_checkpoint_before_mends_the_newest(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, context = prepare(tmp_path)
    monkeypatch.setattr(suite.training.job.interrupt, "requested", _every_second_call())
    for _ in range(3):  # an evaluation, and two updates of a chunk
        assert run_job(job, context).interrupted
    path = context.run.checkpoint_path(job)
    path.write_bytes(path.read_bytes()[:-1])
    with monkeypatch.context() as patch:
        patch.setattr(suite.training.job.interrupt, "requested", lambda: True)
        run_job(job, context)
    assert path.read_bytes() == checkpoint.previous_path(path).read_bytes()
    assert checkpoint.read_meta(path)["updates"] == 0


@pytest.mark.usefixtures("compile_once")
def test_a_checkpoint_of_another_run_is_not_gone_on_from(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that is whole, and fits."""
    monkeypatch.setattr(suite.training.job.interrupt, "requested", _every_second_call())
    paths = []
    for name in ("a", "b"):
        job, context = prepare(tmp_path / name)
        assert run_job(job, context).interrupted
        paths.append(context.run.checkpoint_path(job))
    state = paths[0].read_bytes()
    assert state != paths[1].read_bytes(), "seconds alone make them differ"
    paths[1].write_bytes(state)
    checkpoint.previous_path(paths[1]).unlink(missing_ok=True)
    with pytest.raises(UserError, match="not what this run wrote"):
        run_job(job, context)
    assert paths[1].read_bytes() == state


def _delete_cells(run: RunDirectory, job: Job) -> None:
    for cell in job.cells:
        shutil.rmtree(run.cell_path(cell))


def test_a_diverged_seed_is_frozen_and_the_others_are_untouched(
    tmp_path: Path, prepare: Prepare
) -> None:
    seeds = tuple(range(6))
    job, clean = prepare(tmp_path / "clean", seeds)
    assert run_job(job, clean).diverged == ()
    job, poisoned = prepare(tmp_path / "poisoned", seeds, poison_at=4)
    result = run_job(job, poisoned)
    assert 0 < len(result.diverged) < len(seeds)
    for cell in job.cells:
        status = poisoned.run.files(cell).read_status()
        assert status is not None
        if cell.seed in result.diverged:
            assert status.state == "diverged" and status.divergence is not None
            assert status.divergence.step == 6 * 24 and "weight" in status.divergence.leaf
            assert poisoned.run.files(cell).read_curve()[-1].updates == 4
            assert (poisoned.run.cell_path(cell) / "last-good.ckpt").exists()
            assert poisoned.run.files(cell).kept_stages() == (0,)
        else:
            assert status.state == "done"
            assert _without_times(clean.run, cell) == _without_times(poisoned.run, cell)


def test_no_chunk_after_the_first_compiles_anything(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, context = prepare(tmp_path)
    with context.run.locked(job):
        training = Training(job, context)
        counts = []
        original = training.program.train

        def counted(*arguments: Any) -> Any:
            with _CompilationCount() as events:
                result = original(*arguments)
            counts.append(len(events))
            return result

        monkeypatch.setattr(training.program, "train", counted)
        with context.reporter.job(job, 1) as line:
            training.run(line)
    # Five chunks, the first of which is cut after its first update.
    assert len(counts) == 6 and counts[0] >= 1
    assert counts[1:] == [0] * 5


@pytest.mark.usefixtures("optimized")
def test_a_seed_does_not_depend_on_its_companions(tmp_path: Path, prepare: Prepare) -> None:
    job, together = prepare(tmp_path / "together", (0, 1, 2))
    run_job(job, together)
    job, alone = prepare(tmp_path / "alone", (1,))
    run_job(job, alone)
    cell = Cell("ppo", "CheetahRun", 1)
    assert _without_times(together.run, cell) == _without_times(alone.run, cell)


class _CompilationCount:
    """Collects JAX's own events of compilation by XLA."""

    def __enter__(self) -> list[str]:
        self.events: list[str] = []
        self.active = True
        jax.monitoring.register_event_duration_secs_listener(self._note)
        return self.events

    def __exit__(self, *_: object) -> None:
        self.active = False

    def _note(self, event: str, duration_secs: float, **_: Any) -> None:
        if self.active and event.endswith("backend_compile_duration"):
            self.events.append(event)


def _every_second_call() -> Callable[[], bool]:
    """The loop asks before each piece of work: lets one pass, then stops."""
    calls = iter(range(10**6))
    return lambda: next(calls) % 2 == 1


def _without_times(run: RunDirectory, cell: Cell) -> list[dict[str, str]]:
    text = (run.cell_path(cell) / "curve.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def _final_state(job: Job, context: RunContext) -> CounterState:
    template = Training(job, context).program.abstract_start(job.seeds)
    state, _ = checkpoint.load(context.run.checkpoint_path(job), template)
    return jax.tree.map(np.asarray, state.algorithm)


@dataclasses.dataclass(frozen=True)
class Unsound(Counter):
    """Breaks a rule from its second update on, or from the start.

    Attributes:
        fault: which.
    """

    fault: str = ""

    def init(self, key: jax.Array) -> CounterState:
        """Starts with what is not finite, if that is the fault."""
        state = super().init(key)
        return state._replace(weight=state.weight / 0.0) if self.fault == "start" else state

    def act(
        self, state: CounterState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Acts outside of the bounds, or in no numbers."""
        action, extras = super().act(state, obs, key, mode)
        value = {"bounds": 1.5, "nan": jnp.nan}.get(self.fault if mode == "sample" else "")
        return action if value is None else jnp.where(state.updates > 0, value, action), extras

    def update(
        self, state: CounterState, rollout: Rollout, key: jax.Array
    ) -> tuple[CounterState, Metrics]:
        """Returns a metric that is not finite."""
        state, metrics = super().update(state, rollout, key)
        ratio = {"ratio": jnp.float32(jnp.nan)} if self.fault == "metric" else {}
        return state, {**metrics, **ratio}


def prepare_unsound(
    prepare: Prepare, path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> tuple[Job, RunContext]:
    job, context = prepare(path, seeds=(0,), fault=fault)
    entry = registry.Entry("ppo", Unsound, "is wrong")
    monkeypatch.setattr(registry, "lookup", lambda _: entry)
    return job, context


@pytest.mark.parametrize(
    ("fault", "function", "expected"),
    [
        ("start", "init", "returns state.weight with numbers that are not finite"),
        ("bounds", "act", "returned actions outside of"),
        ("metric", "update", "returned ratio that is not finite"),
    ],
)
def test_an_unsound_method_ends_the_run(
    tmp_path: Path,
    prepare: Prepare,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    function: str,
    expected: str,
) -> None:
    job, context = prepare_unsound(prepare, tmp_path, monkeypatch, fault)
    with pytest.raises(UserError) as caught:
        run_job(job, context)
    line = getattr(Unsound, function).__code__.co_firstlineno
    where = str(job) if function == "init" else str(job.cells[0])
    assert str(caught.value).startswith(f"{where} (test_job.py:{line}): {function} {expected}")


def test_a_seed_whose_actions_are_no_numbers_has_diverged(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its state is finite: a frozen decoder, say, may be all that broke."""
    job, context = prepare_unsound(prepare, tmp_path, monkeypatch, "nan")
    assert run_job(job, context).diverged == (0,)
    status = context.run.files(job.cells[0]).read_status()
    assert status is not None and status.divergence is not None
    assert status.divergence.leaf == "actions"
