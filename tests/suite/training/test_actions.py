"""Kept states, and actions drawn in them: known answers, a real run, and bad input."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from generate import generate_runs
from processes.killing import TWO_SEEDS
from tiny import SPEC, make, sample

from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout
from algorithms.names import NAMES
from algorithms.ppo import PPO
from envs.api import Task, TaskState
from suite import cli
from suite.common.errors import UserError
from suite.compute.evaluation import kept_steps, run_episodes
from suite.storage.action_samples import ActionSamples
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.sample_actions import sample_actions
from suite.training.stored_policies import kept_policy, stored_policy

TASK = "CheetahRun"


class Walk(Task):
    """Observes the clock and where its actions have led; the task ends once that is 3."""

    name = TASK
    engine = "native"
    obs_size = 2
    action_size = 1
    episode_length = 9
    model_hash = "none"

    def reset(self, key: jax.Array) -> TaskState:
        """Starts at 0, or at 2 for odd keys."""
        place = 2.0 * (jax.random.key_data(key)[-1] % 2)
        return TaskState(place, jnp.stack([0.0, place]), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """Moves by the action."""
        place = state.physics + action[0]
        obs = jnp.stack([state.obs[0] + 1.0, place])
        return TaskState(place, obs, jnp.zeros(()), (place >= 3.0).astype(jnp.float32))


@dataclasses.dataclass(frozen=True)
class Mover(Algorithm[jax.Array]):
    """Moves by .25, or by -.25 in mode `sample`."""

    def init(self, key: jax.Array) -> jax.Array:
        """Returns nothing of use."""
        return jnp.zeros(())

    def parameters(self, state: jax.Array) -> Any:
        """Returns the state."""
        return state

    def act(
        self, state: jax.Array, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Acts alike in all states."""
        return jnp.full((len(obs), 1), 0.25 if mode == "deterministic" else -0.25), {}

    def update(
        self, state: jax.Array, rollout: Rollout, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Learns nothing."""
        return state, {}


def test_the_kept_states_are_those_of_noise_free_episodes_at_each_quarter() -> None:
    task = Walk()
    assert kept_steps(task) == (0, 2, 4, 6)
    keys = jax.random.wrap_key_data(jnp.array([[0, 0], [0, 1], [0, 2], [0, 4], [0, 6]], np.uint32))
    starts = jax.vmap(task.reset)(keys)
    mover = Mover(SPEC, make("ppo").pipeline)
    key = jax.random.key(0)
    played = run_episodes(mover, task, key, starts, key, ("deterministic", "sample"))
    assert played.excess == 0.0
    steps = np.array([0, 2, 4, 6])
    walked = np.stack([steps, 0.25 * steps], axis=-1)
    np.testing.assert_array_equal(played.obs[:, 0], walked)
    np.testing.assert_array_equal(played.obs[:, 2], walked)
    # The second episode is over at its fourth step, and is seen no more after that.
    np.testing.assert_array_equal(played.obs[:, 1], [[0, 2], [2, 2.5], [4, 3], [4, 3]])
    assert played.obs.shape == (4, 4, 2)


CUT = ("dppo-ren", "rldt", "rldt-warm")
"""Methods whose policy is over the action itself, which is cut."""


@pytest.mark.parametrize("name", NAMES)
def test_squashing_what_was_unsquashed_gives_the_action(name: str) -> None:
    drawn = sample(name, 64)
    before = drawn.algorithm.unsquashed(drawn.action, drawn.extras)
    assert before.shape == drawn.action.shape
    squashed = jnp.clip(before, -1.0, 1.0) if name in CUT else jnp.tanh(before)
    np.testing.assert_allclose(squashed, drawn.action, atol=1e-6)
    # A warm start acts by PPO at first, whose actions are squashed already.
    assert name == "rldt-warm" or float(jnp.abs(before).max()) > 1.0


def test_a_method_that_is_not_installed_is_named_with_its_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = generate_runs(tmp_path / "run", ("mine",), (TASK,), range(1), points=2)
    path = run.cell_path(Cell("mine", TASK, 0))
    (path / "policy-0.npz").write_bytes(b"")
    chosen = ("--task", TASK, "--algo", "mine", "--seed", "0")
    for command in (["eval", str(run.path), *chosen], ["actions", str(run.path), "--task", TASK]):
        assert cli.run_command(command) == 2
        said = capsys.readouterr().err
        assert f"{TASK}/mine/seed-000 was trained by mine, which is not installed here" in said
        assert "install the package that it comes with" in said
    record = json.loads((path / "run.json").read_text())
    record["provenance"][0]["method"] = {"distribution": "lab-methods", "version": "1.2"}
    (path / "run.json").write_text(json.dumps(record))
    assert cli.run_command(["eval", str(run.path), *chosen]) == 2
    assert "install lab-methods 1.2\n" in capsys.readouterr().err


def test_a_method_whose_installed_version_has_other_fields(tmp_path: Path) -> None:
    run = generate_runs(
        tmp_path, ("ppo",), (TASK,), range(1), points=2, hyperparameters={"temperature": 1.0}
    )
    with pytest.raises(UserError, match="by ppo with temperature, which the version installed"):
        stored_policy(run, Cell("ppo", TASK, 0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("actions") / "run"
    chosen = (
        "--algos",
        "ppo,gorl-fm",
        "--tasks",
        TASK,
        *TWO_SEEDS,
        "--protocol",
        "smoke",
    )
    assert cli.run_command(["run", *chosen, "--out", str(path)]) == 0
    return RunDirectory.open(path)


@pytest.fixture
def copy(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    shutil.copytree(run.path, tmp_path / "run")
    return RunDirectory.open(tmp_path / "run")


Suite = Callable[..., tuple[int, str, str]]


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str]) -> Suite:
    def invoke(*arguments: Any) -> tuple[int, str, str]:
        code = cli.run_command([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return invoke


STATES, SAMPLES = 6, 2000  # the same everywhere, so that each method compiles once


def draw(run: RunDirectory, **selected: Any) -> ActionSamples:
    return sample_actions(run, TASK, **{"states": STATES, "samples": SAMPLES, **selected})


@pytest.fixture(scope="module")
def drawn(run: RunDirectory) -> ActionSamples:
    return draw(run)


def cells(run: RunDirectory) -> list[Cell]:
    return [Cell(name, TASK, seed) for name in ("gorl-fm", "ppo") for seed in (0, 1)]


def test_every_run_keeps_finite_states_of_its_last_evaluation(run: RunDirectory) -> None:
    firsts = []
    for cell in cells(run):
        stored = run.files(cell).read_states()
        assert stored is not None
        env_steps, steps, obs = stored
        assert env_steps == run.files(cell).read_curve()[-1].env_steps
        assert steps.tolist() == [0, 250, 500, 750]
        assert obs.shape == (4, run.protocol.eval_episodes, 17)
        assert len(np.unique(obs.reshape(-1, 17), axis=0)) == obs.shape[0] * obs.shape[1]
        firsts.append(obs[0])
    # All runs are evaluated from the same start states, and go their own ways from there.
    for first in firsts[1:]:
        np.testing.assert_array_equal(first, firsts[0])


def test_policies_of_every_stage_act_in_the_same_kept_states(
    run: RunDirectory, drawn: ActionSamples
) -> None:
    assert [(p.cell, p.stage, p.env_steps) for p in drawn.policies] == [
        (cell, stage, steps)
        for cell in cells(run)
        for stage, steps in (
            enumerate((160, 320, 480, 640)) if cell.algorithm == "gorl-fm" else [(0, 640)]
        )
    ]
    assert [state.step for state in drawn.states] == [0, 250, 500, 750, 0, 250]
    assert len({(s.cell, s.episode, s.step) for s in drawn.states}) == STATES
    for state in drawn.states:
        _, steps, obs = run.files(state.cell).read_states() or pytest.fail("no states")
        np.testing.assert_array_equal(obs[list(steps).index(state.step), state.episode], state.obs)
        assert not state.replayed


def test_ppos_actions_have_the_moments_of_its_network(
    run: RunDirectory, drawn: ActionSamples
) -> None:
    policy = drawn.policies[-1]
    algorithm, _, state = kept_policy(run, policy.cell, 0)
    assert isinstance(algorithm, PPO)
    obs = state.normalizer(np.stack([each.obs for each in drawn.states]))
    mean, raw = np.split(np.asarray(algorithm.actor.forward(state.networks.policy, obs)), 2, -1)
    std = np.log1p(np.exp(raw)) + 1e-3
    np.testing.assert_allclose(policy.before.mean(axis=1), mean, atol=5 * std.max() / SAMPLES**0.5)
    np.testing.assert_allclose(policy.before.std(axis=1), std, rtol=0.08)
    np.testing.assert_allclose(policy.after, np.tanh(policy.before), atol=1e-6)


def test_policies_do_not_share_their_noise(drawn: ActionSamples) -> None:
    one, other = (policy.before[0, :, 0] for policy in drawn.policies[-2:])
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_the_seed_draws_states_and_actions(run: RunDirectory) -> None:
    first, again, other = (draw(run, algorithms="ppo", seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.policies[0].before, again.policies[0].before)
    assert [(s.cell, s.episode) for s in first.states] != [
        (s.cell, s.episode) for s in other.states
    ]


def test_a_run_without_kept_states_plays_its_episodes_again(copy: RunDirectory) -> None:
    kept = draw(copy, algorithms="ppo", seeds="1")
    (copy.cell_path(Cell("ppo", TASK, 0)) / "states.npz").unlink()
    again = draw(copy, algorithms="ppo", seeds="1")
    for one, other in zip(kept.states, again.states, strict=True):
        assert (one.episode, one.step) == (other.episode, other.step)
        assert other.replayed and not one.replayed
        assert np.isfinite(other.obs).all()
    np.testing.assert_array_equal(kept.states[0].obs, again.states[0].obs)


def test_a_run_without_kept_policies_gives_its_newest(
    copy: RunDirectory, drawn: ActionSamples
) -> None:
    for cell in cells(copy):
        for stage in copy.files(cell).kept_stages():
            copy.files(cell).policy_path(stage).unlink()
    newest = draw(copy)
    assert [(p.stage, p.env_steps) for p in newest.policies] == [(None, 640)] * 4
    kept = [policy for policy in drawn.policies if policy.env_steps == 640]
    for one, other in zip(kept, newest.policies, strict=True):
        difference = one.before.mean(axis=1) - other.before.mean(axis=1)
        assert np.abs(difference).max() < 6 * one.before.std() * (2 / SAMPLES) ** 0.5


def test_a_cell_without_any_policy_is_left_out_and_named(copy: RunDirectory) -> None:
    for file in [*(copy.path / TASK / "ppo").rglob("*.npz"), *copy.path.rglob("ppo/*.ckpt*")]:
        file.unlink()
    left = draw(copy)
    assert {policy.cell.algorithm for policy in left.policies} == {"gorl-fm"}
    assert left.notes == tuple(f"{TASK}/ppo/seed-00{n} has no stored policy." for n in (0, 1))


def test_the_command_writes_and_prints(suite: Suite, run: RunDirectory, tmp_path: Path) -> None:
    arguments = ("actions", run.path, "--task", TASK, "--samples", SAMPLES, "--states", 1)
    code, out, err = suite(*arguments, "--algos", "ppo", "--out", tmp_path / "x")
    assert code == 0
    rows = [line.split()[:5] for line in out.splitlines()]
    assert ["PPO", "640", "before", "squashing", "2"] in rows
    assert "|" not in out and "\\" not in out  # no Markdown, whose escapes nobody wants to read
    assert (tmp_path / "x" / "figures" / "actions-before-scott.svg").is_file()
    assert "24 files" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "Chetah"), "did you mean 'CheetahRun'"),
        (("--task", TASK, "--samples", "1"), "--samples 1: choose from 100"),
        (("--task", TASK, "--algos", "pppo"), "did you mean 'ppo'"),
        (("--task", TASK, "--algos", "fpo"), "unknown algorithm 'fpo'"),
        (("--task", TASK, "--seeds", "7-8"), "--seeds 7-8 is not among its seeds 0-1"),
        (("--task", TASK, "--states", "0"), "--states 0: from 1 to 32"),
        (("--task", TASK, "--states", "33"), "--states 33: from 1 to 32"),
    ],
)
def test_bad_options_end_in_one_line(
    suite: Suite, run: RunDirectory, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = suite("actions", run.path, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda obs: obs * np.nan, "is damaged (its arrays do not fit each other, or are not"),
        (lambda obs: obs[0], "is damaged (its arrays do not fit each other, or are not"),
        (lambda obs: obs[:, :1], "holds 4 steps of 1 episodes, expected 4 of 2; delete it"),
        (lambda obs: obs[:, :, 1:], "states have 16 numbers where CheetahRun has 17; delete"),
    ],
)
def test_states_that_do_not_fit_end_in_one_line(
    suite: Suite, copy: RunDirectory, damage: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    for cell in cells(copy):
        with copy.files(cell).batch() as batch:
            batch.put_states(640, (0, 250, 500, 750), damage(np.ones((4, 2, 17), np.float32)))
    code, _, err = suite("actions", copy.path, "--task", TASK, "--samples", 100)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_half_a_states_file_ends_in_one_line(suite: Suite, copy: RunDirectory) -> None:
    for cell in cells(copy):
        path = copy.cell_path(cell) / "states.npz"
        path.write_bytes(path.read_bytes()[:-40])
    code, _, err = suite("actions", copy.path, "--task", TASK, "--samples", 100)
    assert code == 2
    assert "states.npz is damaged" in err
    assert "delete it, and its states are played again" in err


def test_a_run_without_any_policy_ends_in_one_line(suite: Suite, copy: RunDirectory) -> None:
    for file in [*copy.path.rglob("policy-*.npz"), *copy.path.rglob("*.ckpt*")]:
        file.unlink()
    code, _, err = suite("actions", copy.path, "--task", TASK)
    assert code == 2
    assert "has no stored policy of CheetahRun by gorl-fm, ppo" in err
