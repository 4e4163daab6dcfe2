"""Tasks of users' files: selected, refused where they are no tasks, kept with their runs."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from generate import generate_runs
from house import ROOT
from processes.killing import TWO_SEEDS

from envs import own_tasks
from envs.api import EnvError
from envs.engines.choice import check_task, load_task
from envs.own_tasks import left_out
from envs.tasks import resolve_tasks
from suite.common.errors import UserError
from suite.planning.memory import episode_steps
from suite.planning.run_request import make_request
from suite.planning.task_files import keep_task, restore_task, select_tasks, task_facts
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

EXAMPLE = ROOT / "docs" / "examples" / "pendulum_target.py"


@pytest.fixture(autouse=True)
def _own_tasks_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tasks, "_registered", {})


def write(folder: Path, *changes: tuple[str, str], name: str = "my_env.py") -> Path:
    """Writes the example of the docs with texts replaced by others."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_files_stand_beside_names(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert select_tasks(f"FishSwim, {path}:PendulumTarget ,FishSwim") == (
        "FishSwim",
        "PendulumTarget",
    )
    assert select_tasks(f"{path}") == select_tasks("PendulumTarget") == ("PendulumTarget",)


def test_a_task_has_its_own_length_bounds_and_digest(tmp_path: Path) -> None:
    select_tasks(str(write(tmp_path)))
    task = load_task("PendulumTarget", "native")
    assert (task.obs_size, task.action_size, task.episode_length) == (4, 1, 200)
    assert task.return_bounds == (0.0, 200.0)
    assert episode_steps("PendulumTarget", "native") == 200
    assert task.model_hash == load_task("PendulumTarget", "jax").model_hash


@pytest.mark.parametrize(
    ("told", "bounds"),
    [("(-2.0, 1.0)", (-400.0, 200.0)), ("(-2, -1)", (-400.0, 0.0)), ("None", None)],
)
def test_bounds_of_returns_follow_from_those_of_rewards(
    tmp_path: Path, told: str, bounds: tuple[float, float] | None
) -> None:
    """An episode may end after any number of steps, so that 0 is always within."""
    select_tasks(str(write(tmp_path, ("reward_range = (0.0, 1.0)", f"reward_range = {told}"))))
    assert load_task("PendulumTarget", "native").return_bounds == bounds


def test_another_reward_is_another_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    select_tasks(str(write(tmp_path)))
    first = load_task("PendulumTarget", "native").model_hash
    monkeypatch.setattr(own_tasks, "_registered", {})
    select_tasks(str(write(tmp_path, ("jnp.cos(error)) / 2.0", "jnp.cos(error)) / 3.0"))))
    assert load_task("PendulumTarget", "native").model_hash != first


BAD_CLASSES = {
    "has no step": (("def step(", "def stp("), r"lacks step; MjxEnv asks"),
    "is no environment": (("(MjxEnv):", ":"), r"holds no task, a class that extends MjxEnv"),
    "has a name of ours": (("PendulumTarget(", "PendulumSwingup("), r"of Playground's tasks"),
}
BAD_ENVIRONMENTS = {
    "does not start": (("MODEL)", "MODLE)"), r"__init__ fails with NameError: .*my_env.py:\d+\)"),
    "does not reset": (("minval=-jnp.pi", "minvl=0"), r"reset or step fails.*\(my_env.py:\d+\)"),
    "asks for arguments": (
        ("config: config_dict.ConfigDict | None = None", "config, size"),
        r"needs config, size; give every argument of __init__ a default",
    ),
    "has no length": (("episode_length=200,", ""), r"episode_length = None"),
    "repeats actions": (('impl="jax"', 'impl="jax", action_repeat=2'), r"action_repeat = 2"),
    "cannot act": (("return self.mj_model.nu", "return 0"), r"action_size is 0; there is nothing"),
    "sees a matrix": (("jnp.stack(seen)", "jnp.stack(seen)[None]"), r"has shape \[1, 4\]"),
    "sees integers": (("jnp.stack(seen)", "jnp.stack(seen).astype(int)"), r"observation is int32"),
    "sees parts": (("jnp.stack(seen)", "{'eye': jnp.stack(seen)}"), r"dict of eye without 'state'"),
    "pays a vector": (("/ 2.0\n", "* jnp.ones(2)\n"), r"returns a reward of shape \[2\]"),
    "returns no state": (
        ("return State(data, self._obs(data, state", "return reward, (data, self._obs(data, state"),
        r"step returns a tuple, not an mjx_env.State",
    ),
    "forgets its memory": (
        ("state.metrics, state.info)", "state.metrics, {})"),
        r"only the state that reset returns has info\['target'\]",
    ),
    "changes its memory": (
        ("state.metrics, state.info)", "state.metrics, {'target': jnp.zeros(2)})"),
        r"info\['target'\] is float32\[\] after reset and float32\[2\] after step",
    ),
    "says no range": (
        ("(0.0, 1.0)", "(1.0, 0.0)"),
        r"reward_range = \(1.0, 0.0\); write the least",
    ),
    "is made for another": (
        ("impl=self._config.impl", "impl='warp'"),
        r"its model is one for warp",
    ),
}


@pytest.mark.parametrize(("change", "said"), BAD_CLASSES.values(), ids=BAD_CLASSES)
def test_a_file_without_a_task_is_one_line(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = write(tmp_path, change)
    with pytest.raises((UserError, EnvError), match=said) as error:
        select_tasks(str(path))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize(("change", "said"), BAD_ENVIRONMENTS.values(), ids=BAD_ENVIRONMENTS)
def test_a_class_that_is_no_task_is_one_line(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = write(tmp_path, change)
    (name,) = select_tasks(str(path))
    with pytest.raises(EnvError, match=said) as error:
        load_task(name, "native")
    assert str(error.value).startswith(f"{path}:PendulumTarget: ")
    assert "\n" not in str(error.value)


def test_a_start_that_is_not_finite_is_one_line(tmp_path: Path) -> None:
    (name,) = select_tasks(str(write(tmp_path, ("zero = jnp.zeros(())", "zero = jnp.log(-1.0)"))))
    with pytest.raises(EnvError, match="reset gives a number that is not finite, in reward"):
        check_task(name, "native")


def test_two_files_do_not_share_a_name(tmp_path: Path) -> None:
    first = write(tmp_path)
    second = write(tmp_path, ("0.1", "0.2"), name="other.py")
    with pytest.raises(EnvError, match=f"name of another task, {first}:PendulumTarget"):
        select_tasks(f"{first},{second}")


def test_a_file_with_two_tasks_needs_a_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    text = path.read_text(encoding="utf-8")
    start = text.index("class PendulumTarget")
    path.write_text(text + text[start:].replace("PendulumTarget", "Other"), encoding="utf-8")
    with pytest.raises(UserError, match=r"holds 2 tasks, PendulumTarget, Other; name one"):
        select_tasks(str(path))
    assert select_tasks(f"{path}:Other") == ("Other",)


def test_a_discount_needs_a_task_to_be_of(tmp_path: Path) -> None:
    path = write(tmp_path)

    def request(task: str) -> Any:
        change = f"protocol.task_discount.{task}=0.9"
        return make_request("ppo", str(path), "1", "smoke", "native", None, [change])

    assert request("PendulumTarget").protocol.discount_for("PendulumTarget") == 0.9
    with pytest.raises(UserError, match=r"task_discount.FingerSpn: .*did you mean 'FingerSpin'"):
        request("FingerSpn")


def stored(tmp_path: Path) -> tuple[RunDirectory, Cell, Path]:
    """Returns a run of the example's task, the file, and forgets the task."""
    path = write(tmp_path)
    (name,) = select_tasks(str(path))
    run = generate_runs(tmp_path / "run", ["ppo"], [name], [0], points=2)
    keep_task(run, name)
    cell = Cell("ppo", name, 0)
    file = run.cell_path(cell) / "run.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["provenance"][-1]["task"] = task_facts(name)
    file.write_text(json.dumps(record), encoding="utf-8")
    own_tasks._registered.clear()
    return run, cell, path


def facts(run: RunDirectory, cell: Cell) -> Mapping[str, Any]:
    record = run.files(cell).read_run()
    assert record
    found = record.provenance[-1]["task"]
    assert isinstance(found, Mapping)
    return found


def test_a_run_keeps_the_file_and_executes_it_only_when_trusted(tmp_path: Path) -> None:
    run, cell, path = stored(tmp_path)
    copy = run.path / str(facts(run, cell)["copy"])
    assert copy.read_bytes() == path.read_bytes()
    assert run.cells() == [cell]
    path.unlink()
    with pytest.raises(UserError, match=r"of my_env.py:PendulumTarget, of which .* --trust"):
        restore_task(run, cell)
    assert "PendulumTarget" not in own_tasks.own_tasks()
    restore_task(run, cell, trusted=True)
    assert load_task("PendulumTarget", "native").obs_size == 4


def test_another_file_is_not_taken_for_the_stored_one(tmp_path: Path) -> None:
    run, cell, path = stored(tmp_path)
    select_tasks(str(path))
    restore_task(run, cell)  # it is registered already
    own_tasks._registered.clear()
    select_tasks(str(write(tmp_path, ("0.1", "0.2"))))
    with pytest.raises(UserError, match=r"is another version of it$"):
        restore_task(run, cell)
    request = make_request("ppo", str(path), "1", "smoke", "native", run.path, [])
    record = run.files(cell).read_run()
    assert record
    values = {"ppo": record.configuration.hyperparameters}
    request = dataclasses.replace(request, hyperparameters=values)
    with pytest.raises(UserError, match=r"is another version of it$"):
        request.check_stored(run, request.plan(run))
    own_tasks._registered.clear()
    copy = run.path / str(facts(run, cell)["copy"])
    copy.write_text(copy.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not the file that its run recorded"):
        restore_task(run, cell, trusted=True)
    copy.unlink()
    with pytest.raises(UserError, match="is missing; restore it"):
        restore_task(run, cell, trusted=True)


def test_a_file_that_changed_meanwhile_is_not_kept(tmp_path: Path) -> None:
    path = write(tmp_path)
    (name,) = select_tasks(str(path))
    run = generate_runs(tmp_path / "run", ["ppo"], [name], [0], points=2)
    write(tmp_path, ("0.1", "0.2"))
    with pytest.raises(UserError, match="was changed while it was in use"):
        keep_task(run, name)


def test_tasks_of_playground_have_no_file() -> None:
    assert task_facts("CheetahRun") is None
    assert resolve_tasks("CheetahRun") == ("CheetahRun",) and not left_out()


@pytest.mark.slow
def test_the_example_is_trained_reported_and_audited_without_its_file(tmp_path: Path) -> None:
    path = write(tmp_path)

    def suite(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "suite", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    what = ("--tasks", "./my_env.py:PendulumTarget", "--protocol", "smoke", "--out", "runs")
    suite("run", "--algos", "ppo", *TWO_SEEDS, *what)
    path.unlink()
    assert "PendulumTarget" in suite("status", "runs")
    assert "audit passed" in suite("audit", "runs")
    suite("report", "runs", "--out", "report")
    asked = ("--task", "PendulumTarget", "--algo", "ppo", "--seed", "0")
    assert "--trust" in suite("eval", "runs", *asked, code=2)
    write(tmp_path, ("0.1", "0.2"))
    assert "is another version of it" in suite("run", "--algos", "ppo", *TWO_SEEDS, *what, code=2)
