"""Names of tasks and engines, and what a user is told who mistypes one."""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest

from envs import own_tasks
from envs.api import EnvError
from envs.engines import choice
from envs.engines.choice import load_task, resolve_engine
from envs.engines.environments import mjx_env
from envs.names import CANNOT_RUN, LOCOMOTION, MANIPULATION, PLAYGROUND, TASK_SETS, TASKS
from envs.tasks import resolve_tasks
from suite.catalog.listings import tasks

SIZES = {  # observations and actions, counted by hand from the models
    "CheetahRun": (17, 6),
    "FingerSpin": (9, 2),
    "FingerTurnHard": (12, 2),
    "FishSwim": (24, 5),
    "HopperStand": (15, 4),
    "WalkerWalk": (24, 6),
}


def test_task_list_is_that_of_the_package() -> None:
    from mujoco_playground import dm_control_suite, locomotion, manipulation

    assert set(TASKS) == set(dm_control_suite.ALL_ENVS)
    assert set(LOCOMOTION) == set(locomotion.ALL_ENVS)
    assert set(MANIPULATION) == set(manipulation.ALL_ENVS)


def test_what_cannot_be_run_is_refused_for_its_reason() -> None:
    """Those tasks of Playground that repeat actions, and no others."""
    from mujoco_playground import registry

    repeating = {
        name for name in PLAYGROUND if registry.get_default_config(name).action_repeat != 1
    }
    assert repeating == set(CANNOT_RUN)
    with pytest.raises(EnvError, match="repeats each action twice"):
        resolve_tasks("AlohaSinglePegInsertion")


@pytest.mark.parametrize("name", ["Go1JoystickFlatTerrain", "LeapCubeReorient"])
def test_robots_of_the_menagerie_are_not_downloaded_unasked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(mjx_env, "MENAGERIE_PATH", tmp_path / "none")
    monkeypatch.setattr(mjx_env, "ensure_menagerie_exists", lambda: pytest.fail("downloaded"))
    with pytest.raises(EnvError, match="Menagerie, which are not on this machine") as error:
        load_task(name, "native")
    assert "\n" not in str(error.value)


class Package:
    """Stands for an installed package."""

    name, version = "robots", "2.1"


def offer(monkeypatch: pytest.MonkeyPatch, **named: str) -> None:
    """Makes entry points `name = value` of an installed package until the test ends."""
    group = own_tasks.ENTRY_POINTS
    points = [metadata.EntryPoint(name, value, group) for name, value in named.items()]
    for point in points:
        vars(point)["dist"] = Package()
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    own_tasks._installed.cache_clear()
    monkeypatch.setattr(own_tasks, "_installed", functools.cache(own_tasks._installed.__wrapped__))


def test_tasks_of_installed_packages_are_known_by_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = "docs.examples.pendulum_target:PendulumTarget"
    offer(monkeypatch, RobotRun="no.such.module:Run", PoleTarget=example, CheetahRun="robots:Run")
    monkeypatch.delitem(sys.modules, "docs.examples.pendulum_target", raising=False)
    assert resolve_tasks("RobotRun,PoleTarget,dmc6")[:2] == ("RobotRun", "PoleTarget")
    rows = {each["name"]: each for each in cast("list[dict[str, object]]", tasks().data)}
    assert rows["RobotRun"]["note"] == "robots 2.1" and rows["PoleTarget"]["group"] == "installed"
    assert "robots 2.1: CheetahRun is the name of one of Playground's tasks" in tasks().text
    assert "docs.examples.pendulum_target" not in sys.modules
    assert load_task("PoleTarget", "native").episode_length == 200
    with pytest.raises(EnvError, match=r"no.such.module:Run does not import: ModuleNotFoundError"):
        load_task("RobotRun", "native")


def test_tasks_registered_with_playground_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from mujoco_playground import dm_control_suite

    from docs.examples.pendulum_target import PendulumTarget, default_config

    class Registered(PendulumTarget):
        """Made as Playground makes its environments."""

        def __init__(self, config: Any, config_overrides: Any = None) -> None:
            config.update_from_flattened_dict(config_overrides)
            super().__init__(config)

    for table in ("_envs", "_cfgs"):
        monkeypatch.setattr(dm_control_suite, table, dict(getattr(dm_control_suite, table)))
    dm_control_suite.register_environment("MyPole", Registered, default_config)
    assert resolve_tasks("MyPole") == ("MyPole",)
    task = load_task("MyPole", "jax")
    assert (task.episode_length, task.obs_size, task.return_bounds) == (200, 4, (0.0, 200.0))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_loads_and_traces(name: str) -> None:
    task = load_task(name, "native")
    start = jax.eval_shape(task.reset, jax.random.key(0))
    action = jax.ShapeDtypeStruct((task.action_size,), jnp.float32)
    after = jax.eval_shape(task.step, start, action)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(start)]
    assert shapes == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(after)]
    assert start.obs.shape == (task.obs_size,)
    assert task.episode_length == 1000
    assert task.return_bounds == (0.0, 1000.0)


def test_sizes_of_the_six_tasks() -> None:
    tasks = [load_task(name, "native") for name in TASK_SETS["dmc6"]]
    assert {task.name: (task.obs_size, task.action_size) for task in tasks} == SIZES


def test_resolve_keeps_order_and_drops_duplicates() -> None:
    assert resolve_tasks("WalkerWalk, dmc6,CheetahRun") == (
        "WalkerWalk",
        "CheetahRun",
        "FingerSpin",
        "FingerTurnHard",
        "FishSwim",
        "HopperStand",
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("CheetaRun", "'CheetahRun'"),
        ("walkerwalk", "'WalkerWalk'"),
        ("dmc", "'dmc6'"),
        ("dmc6,Zzzz", "unknown task 'Zzzz';"),
        (" , ", "no task"),
    ],
)
def test_unknown_tasks_are_refused(spec: str, message: str) -> None:
    with pytest.raises(EnvError, match=message) as error:
        resolve_tasks(spec)
    assert "\n" not in str(error.value)


def test_names_are_cheap_to_import() -> None:
    names = "envs.tasks, envs.engines.choice"
    program = f"import sys, {names}; print({{'jax', 'mujoco', 'numpy'}} & {{*sys.modules}})"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "set()"


class FakeDevice:
    """Stands for a device that this machine may lack."""

    def __init__(self, platform: str, version: str = "") -> None:
        self.platform = platform
        self.client = self
        self.platform_version = version


@pytest.mark.parametrize(
    ("device", "name", "engine"),
    [
        (FakeDevice("cpu"), "auto", "native"),
        (FakeDevice("cpu"), "jax", "jax"),
        (FakeDevice("gpu", "PJRT C API\ncuda 13000"), "auto", "jax"),
        (FakeDevice("gpu", "PJRT C API\ncuda 13000"), "warp", "warp"),
    ],
)
def test_engine_suits_the_device(
    monkeypatch: pytest.MonkeyPatch, device: FakeDevice, name: str, engine: str
) -> None:
    monkeypatch.setattr(choice, "_device", lambda: device)
    assert resolve_engine(name) == engine


@pytest.mark.parametrize(
    ("device", "name", "message"),
    [
        (FakeDevice("cpu"), "wrap", "did you mean 'warp'"),
        (FakeDevice("cpu"), "warp", "a tenth .* use --engine native"),
        (FakeDevice("gpu", "rocm 7"), "warp", "NVIDIA"),
        (FakeDevice("gpu", "PJRT C API\ncuda 13000"), "native", "JAX_PLATFORMS=cpu"),
    ],
)
def test_unsuitable_engines_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: FakeDevice, name: str, message: str
) -> None:
    monkeypatch.setattr(choice, "_device", lambda: device)
    with pytest.raises(EnvError, match=message) as error:
        resolve_engine(name)
    assert "\n" not in str(error.value)


def test_loading_refuses_what_resolving_refuses() -> None:
    with pytest.raises(EnvError, match="CheetahRun"):
        load_task("CheetaRun", "native")
    with pytest.raises(EnvError, match="NVIDIA"):
        load_task("CheetahRun", "warp")


def test_model_hash_tells_models_apart_and_nothing_else() -> None:
    spin, turn = load_task("FingerSpin", "native"), load_task("FingerTurnHard", "native")
    assert spin.model_hash == load_task("FingerSpin", "jax").model_hash
    assert len({spin.model_hash, turn.model_hash}) == 2
    assert len(spin.model_hash) == 64


def test_loading_prints_and_logs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    program = "from envs.engines.choice import load_task; load_task('CheetahRun', 'native')"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout + run.stderr == ""
    assert not list(tmp_path.iterdir())
