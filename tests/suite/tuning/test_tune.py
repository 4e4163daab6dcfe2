"""A whole search, of a method whose every score is known beforehand."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from counting import EPISODE, ActionTask, Counter, CounterState

import suite.training.job
import suite.tuning.tune
from algorithms import registry
from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, Stage
from algorithms.bounds import Range
from suite import cli
from suite.common.errors import UserError
from suite.compute.compiled import Compiled
from suite.compute.evaluation import start_states
from suite.configuration.protocol import Protocol, load_protocol
from suite.leases.worker import Worker
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.launch import launch
from suite.tuning.directory import read_effort, read_method
from suite.tuning.outcome import render, tuned_toml
from suite.tuning.scores import cell_score
from suite.tuning.tune import Options, Prepared, prepare_like, prepare_tuning, run_tuning

TASKS = "CartpoleSwingup,ReacherHard"
OPTIONS = Options(TASKS, trials=5, seeds=2, rungs=(0.25, 0.5, 1.0), eta=2)
UPDATES = 8


@dataclasses.dataclass(frozen=True)
class Gainer(Counter):
    """Gets better with every update by its gain, but from `limit` on its weights become NaN."""

    gain: Annotated[float, Range(0.1, 4.0)] = 1.0
    limit: float = 3.0

    def act(
        self, state: CounterState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Acts so that the reward is gain x updates / 100, or half of it in `sample` mode."""
        scaled = state._replace(updates=self.gain * state.updates)
        return super().act(scaled, obs, key, mode)

    def update(
        self, state: CounterState, rollout: Rollout, key: jax.Array
    ) -> tuple[CounterState, Metrics]:
        """Counts; a gain beyond the limit ends in NaN in the fourth update, in every seed."""
        broken = (state.updates == 3) & (self.gain > self.limit)
        state, metrics = super().update(state, rollout, key)
        return state._replace(weight=jnp.where(broken, jnp.nan, state.weight)), metrics


class BoundedTask(ActionTask):
    """Tells its returns' bounds."""

    return_bounds = (0.0, float(EPISODE))


class Known(NamedTuple):
    """Of one candidate: its gain and its score at each rung."""

    gain: float
    scores: tuple[float, ...]


def known(gain: float, limit: float = 3.0) -> Known:
    """Computes a candidate's scores by hand: an evaluation every two updates, two modes."""
    points = {2: (2,), 4: (2, 4), 8: (4, 6, 8)}  # the last three, none of the untrained policy
    scores = []
    for end, updates in points.items():
        diverged = gain > limit and end >= 4
        mean = sum(gain * u / 100 * (1 + 0.5) / 2 for u in updates) / len(updates)
        scores.append(0.0 if diverged else mean)
    return Known(gain, tuple(scores))


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    """Eight updates of 4 x 6 steps, evaluated every two."""
    return dataclasses.replace(
        load_protocol("smoke"),
        name="mine",
        total_steps=UPDATES * 24,
        num_envs=4,
        rollout_length=6,
        chunk_length=6,
        num_minibatches=2,
        eval_interval=2,
        eval_episodes=2,
        algorithms={},
        task_discount={},
    )


@pytest.fixture(scope="module", autouse=True)
def known_world() -> Iterator[None]:
    """A task and two methods whose numbers are known, and nothing that is slow about a start."""
    kinds = [registry.Entry(name, Gainer, "gains") for name in ("gainer", "other")]
    compiled: dict[Algorithm[Any], Compiled] = {}
    draw = functools.cache(lambda episodes, seed: start_states(BoundedTask(), episodes, seed))
    job = suite.training.job
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_installed", lambda: [("test", each, "") for each in kinds])
        patch.setattr(job, "load_task", lambda *_, **__: BoundedTask())
        patch.setattr(
            job,
            "Compiled",
            lambda program: compiled.setdefault(program.algorithm, Compiled(program)),
        )
        patch.setattr(job, "provenance", dict)  # asks git
        patch.setattr(job, "start_states", lambda _, *numbers: draw(*numbers))
        patch.setattr("suite.planning.run_request.check_method", lambda *_: None)
        patch.setattr(os, "fsync", lambda _: None)
        yield


Prepare = Callable[..., Prepared]


@pytest.fixture
def prepare(protocol: Protocol, tmp_path: Path) -> Prepare:
    """Returns a function that prepares a search."""

    def make(
        name: str = "out",
        algos: str = "gainer",
        options: Options = OPTIONS,
        changes: tuple[str, ...] = (),
    ) -> Prepared:
        return prepare_tuning(algos, protocol, "native", tmp_path / name, changes, options)

    return make


@pytest.fixture(scope="module")
def whole(protocol: Protocol, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A search that is done; not to be changed."""
    out = tmp_path_factory.mktemp("searches") / "whole"
    prepared = prepare_tuning("gainer", protocol, "native", out, (), OPTIONS)
    assert run_tuning(prepared)
    return prepared


def outcome(out: Path) -> dict[str, bytes]:
    """Returns all that a search has come to, by file."""
    files = [*out.glob("*.*"), *out.glob("methods/*")]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def trials(out: Path) -> list[dict[str, str]]:
    with open(out / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def steps_taken(out: Path, name: str) -> int:
    """Returns the steps that all runs of a method have stored."""
    total = 0
    for path in out.glob("candidate-*"):
        run = RunDirectory.open(path)
        for cell in run.cells():
            status = run.files(cell).read_status()
            assert status is not None
            total += status.ledger.env_steps if cell.algorithm == name else 0
    return total


def test_the_best_is_found_by_scores_known_beforehand(whole: Prepared, protocol: Protocol) -> None:
    prepared = whole
    gains = [each["gain"] for each in prepared.searches["gainer"].method.candidates]
    expected = [known(gain) for gain in gains]
    assert gains[0] == 1.0 and sum(gain > 3 for gain in gains) >= 1
    rows = trials(prepared.out)
    assert len(rows) == sum(prepared.effort.candidates) == 5 + 3 + 2
    for row in rows:
        number, rung = int(row["candidate"]), int(row["rung"])
        assert float(row["score"]) == pytest.approx(expected[number].scores[rung], abs=1e-5)
        assert row["CartpoleSwingup"] == row["ReacherHard"] == row["score"]
        # Both seeds on both tasks broke, after the first rung.
        assert row["diverged"] == ("4" if gains[number] > 3 and rung > 0 else "0")
    alive = list(range(5))
    for rung, count in enumerate((3, 2, 1)):
        alive = sorted(alive, key=lambda n: -expected[n].scores[rung])[:count]
        kept = {
            int(r["candidate"])
            for r in rows
            if r["rung"] == str(rung) and r["outcome"] in ("goes on", "chosen")
        }
        assert kept == set(alive)
    assert all(
        "dropped, not among the best" in r["outcome"]
        for r in rows
        if r["outcome"] not in ("goes on", "chosen", "not chosen")
    )

    table = tomllib.loads((prepared.out / "tuned.toml").read_text())
    assert table["algorithms"] == {"gainer": {"gain": gains[alive[0]]}}
    record = table["tuning"]["gainer"]
    assert len(record.pop("digest")) == 16 and record == prepared.effort.record()
    assert "1 of 1 methods are tuned" in render(prepared.out)
    # A protocol can hold it, and stays comparable.
    held = Protocol.from_dict({**protocol.to_dict(), **table}, "mine")
    assert held.fingerprint() == protocol.fingerprint() and not held.differences(protocol)


def test_every_method_takes_the_same_steps(prepare: Prepare) -> None:
    options = dataclasses.replace(OPTIONS, trials=2, rungs=(0.5, 1.0))
    prepared = prepare(algos="gainer,other", options=options)
    # No gain breaks here: a seed that does stops counting its steps.
    assert all(each["gain"] <= 3 for each in prepared.searches["other"].method.candidates)
    assert run_tuning(prepared)
    taken = {name: steps_taken(prepared.out, name) for name in ("gainer", "other")}
    assert set(taken.values()) == {prepared.effort.steps}
    starts = {
        json.dumps(RunDirectory.open(path).protocol.eval_seed)
        for path in prepared.out.glob("candidate-*")
    }
    assert starts == {"1"}


class Killed(BaseException):
    """The process is gone."""


def dying(every: int) -> Callable[..., Any]:
    """Returns a piece of training's work that dies in the middle of every n-th."""
    work, count = suite.training.job.Training._work, 0

    def worked(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count % every == 0:
            raise Killed
        return work(*arguments)

    return worked


def test_a_killed_search_goes_on_to_the_same_bytes(
    whole: Prepared, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite.training.job.Training, "_work", dying(5))
    deaths = 0
    while True:
        broken = prepare("broken")
        try:
            assert run_tuning(broken)
            break
        except Killed:
            deaths += 1
    assert deaths > 5
    assert outcome(broken.out) == outcome(whole.out)
    for path in whole.out.glob("candidate-*"):
        one, two = RunDirectory.open(path), RunDirectory.open(broken.out / path.name)
        assert one.cells() == two.cells()
        for cell in one.cells():
            assert one.files(cell).read_metrics() == two.files(cell).read_metrics()
    # All is done: the same command trains nothing and changes nothing.
    monkeypatch.setattr(suite.tuning.tune, "launch", lambda *_, **__: pytest.fail("trained again"))
    before = outcome(broken.out)
    assert run_tuning(prepare("broken")) and outcome(broken.out) == before


def test_a_rung_is_the_first_part_of_the_whole_run(whole: Prepared, tmp_path: Path) -> None:
    """Bit for bit what `suite run` would have trained without stopping on the way."""
    prepared = whole
    chosen = prepared.searches["gainer"].chosen()
    assert chosen is not None
    request = dataclasses.replace(prepared.request("gainer", chosen), out=tmp_path / "straight")
    launch(request)
    halted = RunDirectory.open(prepared.out / f"candidate-{chosen:02d}")
    straight = RunDirectory.open(tmp_path / "straight")
    for task in prepared.effort.tasks:
        cell = Cell("gainer", task, 100)
        assert halted.files(cell).read_metrics() == straight.files(cell).read_metrics()
        returns = [
            [(row.updates, row.mode, row.return_mean) for row in run.files(cell).read_curve()]
            for run in (halted, straight)
        ]
        assert returns[0] == returns[1]


def test_what_others_train_is_left_to_them_and_waited_for(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(options=dataclasses.replace(OPTIONS, rungs=(1.0,)))
    path = prepared.out / "candidate-02"
    run = RunDirectory.create(path, prepared.effort.protocol)
    cells = [
        run.cell_path(Cell("gainer", task, seed))
        for task in TASKS.split(",")
        for seed in (100, 101)
    ]
    seen: list[list[bool]] = []
    with Worker(path) as other:
        lease = other.acquire(cells)

        def give_back(_: float) -> None:
            done = [RunDirectory.open(each).cells() for each in prepared.out.glob("candidate-*")]
            seen.append([bool(found) for found in done])
            lease.release()

        monkeypatch.setattr(suite.tuning.tune, "_sleep", give_back)
        assert run_tuning(prepared)
    # Everything else was done when there was nothing left but to wait.
    assert len(seen) == 1 and sum(seen[0]) == 4
    assert len(trials(prepared.out)) == 5


def test_a_newcomer_gets_exactly_what_the_others_had(
    whole: Prepared, protocol: Protocol, tmp_path: Path
) -> None:
    ours = whole
    like = prepare_like("other", str(ours.out), "auto", tmp_path / "theirs", ())
    assert like.effort == ours.effort
    assert like.searches["other"].method.candidates == ours.searches["gainer"].method.candidates
    # From the protocol that holds the outcome, which is all that a newcomer need have.
    lines = [
        f"{k} = {json.dumps(v)}"
        for k, v in protocol.to_dict().items()
        if not isinstance(v, dict) and k != "name"
    ]
    text = "\n".join([*lines, (ours.out / "tuned.toml").read_text()])
    file = tmp_path / "mine.toml"
    file.write_text(text)
    held = prepare_like("other", str(file), "native", tmp_path / "held", ())
    assert not held.effort.differences(ours.effort)
    file.write_text(text.replace("total_steps = 192", "total_steps = 240", 1))
    with pytest.raises(UserError, match=r"tells of .* steps in all, but such a search takes"):
        prepare_like("other", str(file), "native", tmp_path / "held", ())


def test_stored_searches_are_not_mixed(prepare: Prepare, tmp_path: Path) -> None:
    prepared = prepare()
    suite.tuning.tune.write_effort(prepared.out, prepared.effort)
    suite.tuning.tune.write_method(prepared.out, prepared.searches["gainer"].method)
    assert read_effort(prepared.out) == prepared.effort
    stored = read_method(prepared.out, "gainer")
    assert stored.candidates == prepared.searches["gainer"].method.candidates
    with pytest.raises(UserError, match="holds another search: it differs in trials, draw"):
        prepare(options=dataclasses.replace(OPTIONS, trials=6, draw=1))
    path = prepared.out / "methods" / "gainer.json"
    path.write_text(path.read_text().replace('"gain": 1.0', '"gain": 1.5'))
    with pytest.raises(UserError, match="around other defaults than gainer has now"):
        prepare()
    path.write_text("{}")
    with pytest.raises(UserError, match=r"gainer\.json is damaged"):
        prepare()
    suite.tuning.tune.write_method(tmp_path, prepared.searches["gainer"].method)
    path.write_bytes((tmp_path / "methods" / "gainer.json").read_bytes())
    with pytest.raises(UserError, match="gainer was searched for with another poison_at"):
        prepare(changes=("gainer.poison_at=-2",))
    record: dict[str, Any] = dict(prepared.searches["gainer"].method.to_dict())
    for candidates in (record["candidates"][:-1], [*record["candidates"][:-1], {}]):
        path.write_text(json.dumps({**record, "candidates": candidates}))
        with pytest.raises(UserError, match=r"gainer\.json is damaged"):
            prepare()
    with pytest.raises(UserError, match=r"leave out --set protocol\.FIELD"):
        prepare_like("other", str(prepared.out), "native", None, ("protocol.total_steps=384",))


def test_a_curve_that_is_gone_ends_a_search_in_one_line(whole: Prepared, tmp_path: Path) -> None:
    out = shutil.copytree(whole.out, tmp_path / "copy")
    stored = [RunDirectory.open(each) for each in sorted(out.glob("candidate-*"))]
    run, cell = next(
        (run, cell)
        for run in stored
        for cell in run.cells()
        if (status := run.files(cell).read_status()) and status.state == "done"
    )
    (run.cell_path(cell) / "curve.csv").unlink()
    with pytest.raises(UserError, match="its curve lacks the evaluation after"):
        cell_score(run, cell, whole.effort.ends[-1])


def test_what_was_fixed_is_part_of_the_outcome(prepare: Prepare) -> None:
    """Or the settings that were found would be run beside others than they were found with."""
    search = prepare(changes=("gainer.poison_at=-2",)).searches["gainer"]
    table = tomllib.loads(tuned_toml([(search, 1)]))["algorithms"]["gainer"]
    assert table == {**search.method.candidates[1], "poison_at": -2}


def test_unequal_budgets_are_refused(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gainer, "stages", lambda self: (Stage(3, 2), Stage(5)))
    with pytest.raises(UserError, match="gainer takes 10 rollouts where the protocol has 8"):
        prepare()


def test_a_candidate_that_begins_with_nan_counts_as_0(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update(
        self: Gainer, state: CounterState, rollout: Rollout, key: jax.Array
    ) -> tuple[CounterState, Metrics]:
        state, metrics = Counter.update(self, state, rollout, key)
        return state, {**metrics, "loss": jnp.where(self.gain > 2.1, jnp.nan, 0.0)}

    monkeypatch.setattr(Gainer, "update", update)
    monkeypatch.setattr(suite.training.job, "Compiled", Compiled)
    one = dataclasses.replace(OPTIONS, tasks="ReacherHard", trials=3, seeds=1, rungs=(1.0,))
    prepared = prepare(options=one)
    assert run_tuning(prepared)
    gains = [each["gain"] for each in prepared.searches["gainer"].method.candidates]
    scores = {int(r["candidate"]): float(r["score"]) for r in trials(prepared.out)}
    assert (
        {number for number, value in scores.items() if value == 0}
        == {number for number, gain in enumerate(gains) if gain > 2.1}
        != set()
    )


# --- The command -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "CheetahRun"], "CheetahRun would be both tuned on and judged on (--for dmc6)"),
        (["--for", "ReacherHard"], "ReacherHard would be both tuned on and judged on"),
        (["--trials", "1"], "--trials 1: at least 2"),
        (["--rungs", "0.5"], "rising shares"),
        (["--algos", "nobody"], "unknown algorithm 'nobody'"),
        (["--like", "smoke"], "the protocol tells of no search by `suite tune`"),
        (["--like", "smoke", "--trials", "3"], "already says what is spent; leave out --trials"),
        (["--like", "."], "holds no search for settings"),
        (["--set", "ppo.nothing=1"], "unknown hyper-parameter of ppo"),
    ],
)
def test_bad_requests_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    arguments = ["tune", "--algos", "ppo", *options, "--out", str(out), "--dry-run"]
    assert cli.run_command(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not out.exists()


def test_the_plan_says_what_is_tried_and_what_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["tune", "--algos", "ppo,gorl-fm", "--out", str(tmp_path / "out"), "--dry-run"]
    assert cli.run_command(arguments) == 0
    shown = capsys.readouterr().out
    assert "8 to update 130, then 2 to update 260 of 260" in shown
    steps = (8 * 130 + 2 * 130) * 15_360 * 2
    assert f"{steps:,} environment steps a method, {2 * steps:,} in all" in shown
    assert "decoder_epochs: 10 to 100, logarithmic" in shown
    assert "clip: 0.05 to 0.3, logarithmic, moving later_clip" in shown
    assert not (tmp_path / "out").exists()


def test_status_shows_a_search(whole: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(["status", str(whole.out)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 methods are tuned" in shown and "chosen" in shown
    assert cli.run_command(["status", str(whole.out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 10 and sum(row["outcome"] == "chosen" for row in rows) == 1
