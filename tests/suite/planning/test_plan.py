"""The plan: jobs, steps and the estimate of the time."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from replaying import ClockTask, Noting

import suite.planning.memory
from algorithms.api import EnvSpec, Stage
from algorithms.ppo import PPO
from suite.configuration.protocol import Protocol
from suite.planning.plan import Plan, make_plan
from suite.storage.records import Cell, Configuration, Divergence, Ledger, Status
from suite.storage.run_directory import RunDirectory

PROTOCOL = Protocol(
    name="mine",
    total_steps=1000,  # 12 updates of 80 steps
    num_envs=4,
    rollout_length=20,
    chunk_length=10,
    num_minibatches=2,
    eval_interval=5,
    eval_episodes=3,
)


@dataclasses.dataclass(frozen=True)
class Staged(PPO):
    """PPO in two stages, the first of which ends with two further rollouts."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage(4, extra_rollouts=2), Stage(6))


ENV = EnvSpec(obs_size=1, action_size=1)
ALGORITHMS = {"ppo": PPO(ENV, PROTOCOL.pipeline()), "staged": Staged(ENV, PROTOCOL.pipeline())}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, PROTOCOL)


def plan(run: RunDirectory | None = None, seeds: tuple[int, ...] = (0, 1), **kind: Any) -> Plan:
    algorithms = kind.get("algorithms", {"ppo": ALGORITHMS["ppo"]})
    return make_plan(
        PROTOCOL, algorithms, kind.get("tasks", ["CheetahRun"]), seeds,
        kind.get("engine", "native"), run, kind.get("together"),
    )  # fmt: skip


def store(
    run: RunDirectory, seeds: tuple[int, ...], seed: int, status: Status | None = None
) -> None:
    run.write_run(
        Configuration(
            "ppo", "CheetahRun", seed, seeds, {}, "native", PROTOCOL.to_dict(), "", 1, 1, ""
        ),
        {},
    )
    if status is not None:
        with run.files(Cell("ppo", "CheetahRun", seed)).batch() as batch:
            batch.put_status(status)


DONE = Status("done", 12, 12, Ledger(960, eval_steps=24_000), wall_seconds=10.0)
HALF = dataclasses.replace(
    DONE, state="running", updates=6, ledger=Ledger(480, eval_steps=12_000), wall_seconds=5.0
)


def test_steps_are_counted_by_purpose() -> None:
    simple, staged = plan(algorithms=ALGORITHMS).jobs
    # 12 updates of 4 x 20 steps for 2 seeds; points at 0, 5, 10 and 12, two modes, 3 episodes.
    assert (simple.train_steps, simple.decoder_data_steps) == (2 * 960, 0)
    assert (simple.evaluations, simple.eval_steps) == (4, 2 * 4 * 2 * 3 * 1000)
    # 10 updates and 2 further rollouts; points at 0, 5 and 10.
    assert (staged.train_steps, staged.decoder_data_steps) == (2 * 800, 2 * 160)
    assert (staged.evaluations, staged.env_steps) == (3, 2 * 960)


def test_one_job_per_algorithm_and_task() -> None:
    jobs = plan(tasks=["FishSwim", "CheetahRun"], algorithms=ALGORITHMS).jobs
    assert [(each.job.task, each.job.algorithm) for each in jobs] == [
        ("FishSwim", "ppo"),
        ("FishSwim", "staged"),
        ("CheetahRun", "ppo"),
        ("CheetahRun", "staged"),
    ]
    assert all(each.job.seeds == (0, 1) and each.state == "new" for each in jobs)


def test_stored_seeds_keep_their_group_and_the_rest_forms_one_job(run: RunDirectory) -> None:
    for seed in (0, 1, 2):
        store(run, (0, 1, 2), seed, DONE)
    store(run, (5, 6), 5, HALF)  # seed 6 of that job has no file of its own yet
    jobs = plan(run, seeds=(1, 3, 4, 5, 6)).jobs
    assert [(each.job.seeds, each.state) for each in jobs] == [
        ((0, 1, 2), "done"),
        ((5, 6), "partial"),
        ((3, 4), "new"),
    ]


@pytest.mark.parametrize("begun", [(), *itertools.permutations(range(3), 2)])
def test_groups_of_seeds_stay_as_they_are_whichever_begins_first(
    run: RunDirectory, begun: tuple[int, ...]
) -> None:
    groups = [(0, 1), (2, 3), (4,)]
    for index in begun:
        store(run, groups[index], groups[index][0], HALF)
        jobs = plan(run, seeds=(0, 1, 2, 3, 4), together=2).jobs
        assert sorted(each.job.seeds for each in jobs) == groups
    assert [each.job.seeds for each in plan(seeds=(0, 1, 2, 3, 4), together=2).jobs] == groups


def test_a_seed_without_files_stays_in_the_job_that_names_it(run: RunDirectory) -> None:
    """A kill right after seed 0's run.json; then seed 1 alone is asked for."""
    store(run, (0, 1), 0)
    assert [each.job.seeds for each in plan(run, seeds=(1,)).jobs] == [(0, 1)]
    assert [each.job.seeds for each in plan(run, seeds=(1, 2)).jobs] == [(0, 1), (2,)]
    assert [each.job.seeds for each in plan(run, seeds=(0, 1)).jobs] == [(0, 1)]


def test_diverged_seeds_count_as_finished(run: RunDirectory) -> None:
    diverged = dataclasses.replace(DONE, state="diverged", divergence=Divergence(80, "x"))
    store(run, (0, 1), 0, diverged)
    store(run, (0, 1), 1, DONE)
    assert [each.state for each in plan(run).jobs] == ["done"]
    assert plan(run).seconds == 0


def test_estimate_from_what_ran_here(run: RunDirectory) -> None:
    for seed in (0, 1):
        store(run, (0, 1), seed, DONE)
    new = plan(run, seeds=(2, 3)).jobs[0]
    # One seed of the stored pair took 10 seconds beside the other; so does the new pair.
    assert new.seconds == pytest.approx(10.0)
    assert not new.rough
    assert plan(run, seeds=(2, 3, 4, 5)).seconds == pytest.approx(10.0)


@pytest.mark.parametrize("warmup_steps", [0, 160])
def test_what_has_not_learned_yet_is_no_measure(run: RunDirectory, warmup_steps: int) -> None:
    """A status is written after the evaluation that each run begins with, in no time at all."""
    ledger = Ledger(warmup_steps=warmup_steps, eval_steps=6_000)
    updates = warmup_steps // 80
    begun = dataclasses.replace(HALF, updates=updates, ledger=ledger, wall_seconds=0.01)
    for seed in (0, 1):
        store(run, (0, 1), seed, begun)
    guess = plan().seconds
    assert guess is not None and plan(run, seeds=(2, 3)).seconds == guess
    assert all(each.rough for each in plan(run, seeds=(0, 1, 2, 3)).jobs)


def test_estimate_of_what_is_half_done(run: RunDirectory) -> None:
    for seed in (0, 1):
        store(run, (0, 1), seed, HALF)
    assert plan(run).seconds == pytest.approx(5.0, rel=0.05)


def test_rough_estimates_follow_the_tasks_speed() -> None:
    def seconds(task: str) -> float:
        found = plan(tasks=[task]).seconds
        assert found is not None
        return found

    steps = 2 * (960 + 24_000)
    difference = steps / 15_000 - steps / 160_000
    assert seconds("FishSwim") - seconds("CheetahRun") == pytest.approx(difference)
    assert "rough" in plan().render()


def test_rough_estimates_follow_a_methods_own_gradient_steps() -> None:
    def seconds(steps: int) -> float:
        method = Noting(ENV, PROTOCOL.pipeline(), gradient_steps=steps, warm_up=0)
        found = plan(algorithms={"noting": method}).seconds
        assert found is not None
        return found

    # 2 seeds, 12 updates, 10 rollouts in each; a hundredth of a second or so for each step.
    extra = 2 * 12 * 10 * 100
    assert 0.005 * extra < seconds(200) - seconds(100) < 0.02 * extra
    # As many as the protocol has itself, 32, are reckoned by the transition for all.
    assert seconds(1) == seconds(3) < seconds(4)


def test_no_estimate_is_made_up_for_other_engines() -> None:
    assert plan(engine="jax").seconds is None
    assert "time left ?" in plan(engine="jax").render()


def test_runs_that_can_decide_nothing_are_told_before_training() -> None:
    planned = plan(algorithms=ALGORITHMS)
    # One pair: 2 of 6 ways to deal out four runs, against 2 of 70 for eight.
    sentence = "too few runs to tell any two of 2 algorithms apart: needs 4 seeds or 3 tasks"
    assert planned.shortage() == planned.to_dict()["shortage"] == sentence
    assert plan(algorithms=ALGORITHMS, seeds=(0, 1, 2, 3)).shortage() is None
    assert plan(seeds=(0,)).shortage() is None  # a single algorithm is compared with none


def test_stored_runs_count_beside_those_asked_for(run: RunDirectory) -> None:
    for seed in (0, 1):
        store(run, (0, 1), seed, DONE)
    assert plan(run, seeds=(2, 3), algorithms=ALGORITHMS).shortage() is not None  # staged has 2
    assert plan(run, seeds=(0, 1, 2, 3), algorithms=ALGORITHMS).shortage() is None
    other = {"staged": ALGORITHMS["staged"]}
    lacking = plan(run, seeds=(0, 1), algorithms=other).shortage()
    assert lacking is not None and "any two of 2 algorithms" in lacking


def test_json_and_table() -> None:
    planned = plan(tasks=["FishSwim", "CheetahRun"])
    data = json.loads(json.dumps(planned.to_dict()))
    assert data["jobs"][0]["job"] == {"algorithm": "ppo", "task": "FishSwim", "seeds": [0, 1]}
    assert data["env_steps"] == sum(job["env_steps"] for job in data["jobs"]) == 2 * 2 * 960
    assert data["fingerprint"] == PROTOCOL.fingerprint()
    assert "2 jobs, 4 cells, 3,840 environment steps" in planned.render()


def test_a_warm_up_and_a_buffer_are_told_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suite.planning.memory, "load_task", lambda *_, **__: ClockTask())
    noting = {"noting": Noting(ENV, PROTOCOL.pipeline(), capacity=2**18)}
    (planned,) = plan(algorithms=noting).jobs
    assert (planned.warmup_steps, planned.train_steps) == (2 * 2 * 80, 2 * 10 * 80)
    assert planned.env_steps == 2 * 960
    # Of each transition two observations, an action and a reward, with 2 seeds: 8 MiB.
    assert planned.replay_bytes == 2 * 2**18 * 4 * 4
    both = plan(algorithms={**ALGORITHMS, **noting}).render().splitlines()
    assert both[1].split("  ")[-1] == "time" and "warm-up" in both[1] and "replay MiB" in both[1]
    assert [line.split()[-2] for line in both[2:5]] == ["0", "0", "8"]
    assert not {"warm-up", "replay"} & {*plan(algorithms=ALGORITHMS).render().split()}


def test_a_broken_method_is_no_matter_of_the_plan() -> None:
    """What is wrong with it is told before training, in one line."""
    broken = dataclasses.make_dataclass(
        "Broken", [], bases=(Noting,), frozen=True, namespace={"init": lambda self, key: 1 / 0}
    )
    assert plan(algorithms={"broken": broken(ENV, PROTOCOL.pipeline())}).jobs[0].replay_bytes == 0


def test_seeds_that_train_apart_share_a_line(run: RunDirectory) -> None:
    store(run, (0,), 0, DONE)
    planned = plan(run, seeds=(0, 1, 2), algorithms=ALGORITHMS, together=1)
    rows = [line.split()[:5] for line in planned.render().splitlines()[2:]]
    assert rows[:3] == [
        ["CheetahRun", "ppo", "0", "done", "12"],
        ["CheetahRun", "ppo", "1-2", "new", "12"],
        ["CheetahRun", "staged", "0-2", "new", "4+6"],
    ]
    assert "6 jobs, 6 cells" in planned.render()
    new = next(line for line in planned.render().splitlines() if " 1-2 " in line)
    assert new.split()[5] == "1,920"
