"""The method that `suite new-algo` writes: whole, well-formed, and one that learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from compiling import quickly
from tiny import PIPELINE, SPEC

from algorithms import registry
from algorithms.api import MODES, Algorithm, EnvSpec, Mode, Pipeline
from algorithms.registering.registration import class_fault
from envs.probes import PROBES
from envs.vector import VectorEnv
from suite import cli
from suite.common.errors import UserError
from suite.common.user_file import load_class, parse_user_file
from suite.compute.compiled import Compiled
from suite.compute.program import Program
from suite.contract.wiring import check_method
from suite.methods import template
from suite.methods.new_method import method_text, write_method
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory


def load(path: Path) -> Any:
    return load_class(parse_user_file(str(path)), Algorithm, "method")


def test_the_template_is_what_is_written_under_its_own_name(tmp_path: Path) -> None:
    path = write_method("my_method", tmp_path / "made" / "on-the-way")
    assert path.read_bytes() == Path(str(template.__file__)).read_bytes()


@pytest.mark.parametrize(
    ("name", "file", "cls", "method"),
    [
        ("my-method", "my_method.py", "MyMethod", "my-method"),
        ("wide_ppo2.py", "wide_ppo2.py", "WidePpo2", "wide-ppo2"),
        ("TDMPC", "TDMPC.py", "TDMPC", "tdmpc"),
        ("rollout", "rollout.py", "RolloutMethod", "rollout"),  # the template imports Rollout
        ("none", "none.py", "NoneMethod", "none"),
    ],
)
def test_names(tmp_path: Path, name: str, file: str, cls: str, method: str) -> None:
    path = write_method(name, tmp_path)
    assert path == tmp_path / file
    written = load(path)
    assert (written.__name__, written.NAME) == (cls, method)
    assert class_fault(written, {}) == ""
    text = path.read_text()
    assert f"--algos all,./{file} " in text and f"--set {method}.clip=" in text
    assert file == "my_method.py" or not {"my_method", "MyMethod", "my-method"} & set(text.split())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ppo", "ppo: its name 'ppo' is taken; choose another"),
        ("GoRL_FM", "GoRL_FM: its name 'gorl-fm' is taken; choose another"),
        ("all", "all: its name 'all' has a meaning of its own; choose another"),
        ("m" * 70, "is not one of at most 64 letters"),
        ("", "'' is no name for a method"),
        ("2nd", "'2nd' is no name for a method"),
        ("my method", "'my method' is no name for a method"),
        ("sub/my_method", "'sub/my_method' is no name for a method; use letters"),
        ("_", "'_' is no name for a method"),
        ("méthode", "'méthode' is no name for a method"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        write_method(name, tmp_path / "new")
    assert reason in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_the_command_writes_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run_command(["new-algo", "mine"]) == 0
    assert "suite run --algos all,mine.py --protocol smoke" in capsys.readouterr().out
    (tmp_path / "mine.py").write_text("# changed\n")
    assert cli.run_command(["new-algo", "mine"]) == 2
    assert capsys.readouterr().err.startswith("suite: error: mine.py exists; choose another name")
    assert (tmp_path / "mine.py").read_text() == "# changed\n"
    assert cli.run_command(["new-algo", "mine", "--out", "a b"]) == 0
    assert "suite check-algo 'a b/mine.py'" in capsys.readouterr().out


def test_what_is_written_is_clean(tmp_path: Path) -> None:
    """By ruff's own rules and line lengths of up to 100."""
    (tmp_path / "gaussian_mixture.py").write_text(method_text("gaussian_mixture"))
    for command in (
        ["check", "--extend-select", "E,W,B,D,SIM,UP", "--ignore=D1,D205"],
        ["format", "--check"],
    ):
        options = ["--isolated", "--config", "lint.pydocstyle.convention='google'"]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, "--line-length=100", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_keeps_the_contract() -> None:
    algorithm = template.MyMethod(SPEC, PIPELINE)
    check_method("my-method", algorithm)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    kept = {jax.tree_util.keystr(path) for path, _ in _leaves(algorithm.policy(state))}
    assert kept and not [path for path in kept if "critic" in path or "optimizer" in path]


def _leaves(tree: Any) -> Any:
    return jax.tree_util.tree_leaves_with_path(tree)


@pytest.mark.slow
def test_it_trains_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_of_files", {})
    path, out = write_method("my_method", tmp_path), tmp_path / "run"
    arguments = ["--protocol=smoke", "--tasks=CheetahRun", "--seeds=1", f"--out={out}"]
    change = "--set=my-method.clip=0.1"
    assert cli.run_command(["run", f"--algos={path}", change, *arguments]) == 0
    record = RunDirectory.open(out).files(Cell("my-method", "CheetahRun", 0))
    status, stored = record.read_status(), record.read_run()
    assert status is not None and status.state == "done"
    assert stored is not None and stored.configuration.hyperparameters["clip"] == 0.1


@pytest.mark.slow
def test_it_solves_the_probe_that_needs_everything() -> None:
    """The best action follows the observation; see tests/whole/test_learning.py."""
    task = PROBES["ObsActionReward"]
    pipeline = Pipeline(60, 64, 16, chunk_length=16, num_minibatches=4, num_epochs=4)
    spec = EnvSpec(task.obs_size, task.action_size, 0.9)
    algorithm = template.MyMethod(spec, pipeline, learning_rate=1e-3, hidden=(32, 32))
    program = Compiled(
        Program(algorithm, VectorEnv(task, pipeline.num_envs, bank_size=64, random_phase=False))
    )
    state, _ = program.train(program.start((0, 1)), pipeline.updates)
    obs = state.envs.bank.obs[0]
    best = jax.vmap(task.optimal_action)(obs)
    for mode in MODES:

        def loss(state: Any, mode: Mode = mode) -> jax.Array:
            action, _ = algorithm.act(state, obs, jax.random.key(7), mode)
            reward = jax.vmap(task.reward)
            return jnp.mean(reward(obs, best) - reward(obs, action))

        lost = quickly(jax.vmap(loss))(state.algorithm)
        assert (lost < 0.02).all(), f"{mode} actions lose {lost}"
