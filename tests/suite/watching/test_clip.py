"""Clips of policies whose episodes are known, drawn by a stand-in, and one that MuJoCo draws."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import EPISODE, Slider, request_of
from generate import generate_runs
from learner import Learner
from PIL import Image, ImageSequence
from tiny import PIPELINE, SPEC

import suite.training.job
import suite.training.stored_policies
import suite.watching.clip
from algorithms import registry
from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout
from envs.api import EnvError
from envs.engines import pictures
from suite import cli
from suite.configuration.protocol import load_protocol
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.job import run_job
from suite.training.progress import Progress
from suite.watching.clip import MAX_PANELS, frame_steps
from suite.watching.episodes import play
from suite.watching.strip import COLUMNS, PANEL, Strip, fitted

TASK = "CheetahRun"
PIXEL = 2.4 / PANEL


def picture(row: np.ndarray) -> np.ndarray:
    """A bright stripe on black, where the box is; x is from -1.2 to 1.2."""
    drawn = np.zeros((PANEL, PANEL, 3), np.uint8)
    middle = round((float(row[0]) + 1.2) / PIXEL)
    drawn[:, middle - 8 : middle + 8] = 255
    return drawn


@contextlib.contextmanager
def stand_in(task: Slider, size: int, library: str | None = None) -> Iterator[pictures.Draw]:
    """Draws without MuJoCo."""
    assert size == PANEL
    yield picture


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, one of them with two seeds, on a task that takes no time."""
    path = tmp_path_factory.mktemp("watched") / "run"
    protocol = dataclasses.replace(
        load_protocol("smoke"),
        total_steps=48,
        num_envs=4,
        rollout_length=6,
        chunk_length=6,
        num_minibatches=2,
        eval_interval=1,
        eval_episodes=4,
        algorithms={},
    )
    run = RunDirectory.create(path, protocol)
    with pytest.MonkeyPatch.context() as patch:
        know(patch)
        for name, seeds in (("ppo", (0, 1)), ("fpo", (1,))):
            job = Job(name, TASK, seeds)
            request = request_of(job, protocol, path, {"learning_rate": 0.3, "capacity": 50})
            run_job(job, RunContext(request, run, Progress(io.StringIO())))
    return path


def know(patch: pytest.MonkeyPatch) -> None:
    """Makes the task and the small method known to this process, and has the stand-in draw."""
    for module in (suite.training.job, suite.training.stored_policies):
        patch.setattr(module, "load_task", lambda *_, **__: Slider())
    patch.setattr(registry, "lookup", lambda name: registry.Entry(name, Learner, "small"))
    patch.setattr(pictures, "drawing", stand_in)


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A copy of the run, whose methods and task are known while it is used."""
    know(monkeypatch)
    return RunDirectory.open(Path(shutil.copytree(trained, tmp_path / "run")))


Suite = Callable[..., tuple[int, str, str]]


@pytest.fixture
def suite_(capsys: pytest.CaptureFixture[str]) -> Suite:
    def invoke(*arguments: Any) -> tuple[int, str, str]:
        code = cli.run_command([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return invoke


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as clip:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(clip)]


def place(frame: np.ndarray, panels: int, panel: int) -> float:
    """Where the stripe is in a panel's picture."""
    left, top = Strip(panels).corner(panel)
    line = frame[top + PANEL // 2, left : left + PANEL].mean(axis=-1)
    return float((np.flatnonzero(line > 128).mean() + 0.5) * PIXEL - 1.2)


def test_the_clip_shows_the_episodes_that_the_run_evaluated(
    suite_: Suite, run: RunDirectory
) -> None:
    code, out, err = suite_("watch", run.path, "--task", TASK, "--json")
    assert code == 0
    told = json.loads(out)
    path = run.path / "watch" / f"{TASK}.webp"
    assert told["file"] == str(path) and told["bytes"] == path.stat().st_size
    assert f"in {path}" in err
    cells = [Cell("ppo", TASK, 0), Cell("fpo", TASK, 1)]
    assert [panel["cell"] for panel in told["panels"]] == [str(cell) for cell in cells]
    for cell, panel in zip(cells, told["panels"], strict=True):
        episodes = run.files(cell).read_episodes()
        assert episodes is not None
        evaluated = float(episodes[1][-1, 0, 0])  # the newest, noise-free, the first start
        assert panel["return"] == pytest.approx(evaluated, rel=1e-5)
        assert panel["env_steps"] == 48
    # An episode of 10 steps of .1 s has 20 frames, and a step is seen in two of them.
    frames = frames_of(path)
    assert told["frames"] == len(frames) == 20
    assert frames[0].shape[:2] == Strip(2).size[::-1]
    first = [place(frames[0], 2, panel) for panel in range(2)]
    assert first[0] == pytest.approx(first[1], abs=2 * PIXEL)  # one start
    for panel, cell in enumerate(told["panels"]):
        # The last frame shows the state before the last step, and a reward moves by a tenth.
        moved = place(frames[-1], 2, panel) - first[panel]
        assert moved == pytest.approx(0.1 * cell["return_shown"], abs=2 * PIXEL)
        assert 0.1 < cell["return_shown"] < cell["return"]
    with Image.open(path) as clip:
        clip.load()
        assert (clip.format, clip.info["duration"], clip.info["loop"]) == ("WEBP", 50, 0)


def test_the_user_chooses(suite_: Suite, run: RunDirectory, tmp_path: Path) -> None:
    out = tmp_path / "new" / "mine.WEBP"
    chosen = ("--algos", "ppo", "--seed", "1", "--mode", "sample", "--seconds", "1", "--out", out)
    code, printed, err = suite_("watch", run.path, "--task", TASK, *chosen)
    assert code == 0 and out.is_file()
    rows = [line.split() for line in printed.splitlines()]
    assert [row[:2] for row in rows[1:]] == [[f"{TASK}/ppo/seed-001", "48"]]
    assert "suite: 20 frames, 0.0 MB, in" in err


def test_a_method_without_a_policy_is_left_out_and_named(suite_: Suite, run: RunDirectory) -> None:
    for file in [*run.path.rglob("fpo/*.ckpt*"), *run.path.rglob("fpo/seed-*/policy-*.npz")]:
        file.unlink()
    code, printed, err = suite_("watch", run.path, "--task", TASK)
    assert code == 0 and "fpo" not in printed
    assert f"suite: no stored policy of fpo on {TASK} (trained with seed 1): left out\n" in err
    code, printed, err = suite_("watch", run.path, "--task", TASK, "--algos", "ppo,fpo")
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert f"{run.path} has no stored policy of fpo on {TASK} (trained with seed 1)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "Chetah"), "did you mean 'CheetahRun'"),
        (("--task", TASK, "--algos", "pppo"), "did you mean 'ppo'"),
        (("--task", TASK, "--algos", "dppo"), "unknown algorithm 'dppo'"),
        (("--task", TASK, "--seed", "7"), "has no seed 7 of CheetahRun; it has 0-1"),
        (("--task", TASK, "--algos", "ppo", "--seed", "7"), "ppo with seed 7 on CheetahRun (train"),
        (("--task", TASK, "--out", "clip.gif"), "clip.gif: a clip is an animated WebP; give it a"),
        (("--task", TASK, "--seconds", "0"), "0 is not in the range 1<=x<=10"),
        (("--task", TASK, "--mode", "both"), "'both' is not one of"),
    ],
)
def test_bad_input_ends_in_one_line(
    suite_: Suite, run: RunDirectory, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = suite_("watch", run.path, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_results_without_policies_and_too_many_methods(suite_: Suite, tmp_path: Path) -> None:
    names = [f"method-{index:02d}" for index in range(MAX_PANELS + 1)]
    run = generate_runs(tmp_path / "run", names, (TASK,), range(1), points=2)
    code, _, err = suite_("watch", run.path, "--task", TASK)
    assert code == 2 and f"{run.path} has no stored policy of {TASK}; policies lie" in err
    for name in names:
        (run.cell_path(Cell(name, TASK, 0)) / "policy-0.npz").write_bytes(b"")
    code, _, err = suite_("watch", run.path, "--task", TASK)
    assert code == 2 and "13 methods are too many to watch; choose up to 12 with --algos" in err
    code, _, err = suite_("watch", run.path, "--task", TASK, "--algos", names[0])
    assert code == 2 and "was trained by method-00, which is not installed here" in err


def test_files_of_methods_are_executed_with_trust_alone(
    suite_: Suite, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted: list[Cell] = []
    monkeypatch.setattr(suite.watching.clip, "trust_files", lambda _, cells: trusted.extend(cells))
    assert suite_("watch", run.path, "--task", TASK)[0] == 0
    assert trusted == []
    assert suite_("watch", run.path, "--task", TASK, "--algos", "fpo", "--trust")[0] == 0
    assert trusted == [Cell("fpo", TASK, 1)]


def test_the_users_choice_of_a_library_arrives_and_a_failure_leaves_no_file(
    suite_: Suite, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(task: Slider, size: int, library: str | None) -> NoReturn:
        raise EnvError(f"nothing draws with {library}")

    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(pictures, "drawing", failing)
    code, out, err = suite_("watch", run.path, "--task", TASK)
    assert (code, out, err) == (2, "", "suite: error: nothing draws with osmesa\n")
    assert not (run.path / "watch").exists()


@dataclasses.dataclass(frozen=True)
class Constant(Algorithm[jax.Array]):
    """Slides the box by a tenth a step, or acts by NaN where the box is right of 0.35."""

    broken: bool = False

    def init(self, key: jax.Array) -> jax.Array:
        """Returns nothing of use."""
        return jnp.zeros(())

    def parameters(self, state: jax.Array) -> Any:
        """Returns the state."""
        return state

    def act(
        self, state: jax.Array, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Slides half as far in mode `sample`."""
        action = jnp.full((len(obs), 1), 1.0 if mode == "deterministic" else 0.0)
        return jnp.where(self.broken & (obs[:, :1] > 0.35), jnp.nan, action), {}

    def update(
        self, state: jax.Array, rollout: Rollout, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Learns nothing."""
        return state, {}


@pytest.mark.parametrize(
    ("algorithm", "mode", "rewards", "over"),
    [
        (Constant(SPEC, PIPELINE), "deterministic", [1.0] * 8 + [0.0] * 2, 8),
        (Constant(SPEC, PIPELINE), "sample", [0.5] * 10, None),
        (Constant(SPEC, PIPELINE, broken=True), "deterministic", [1.0] * 4 + [0.0] * 6, 5),
    ],
)
def test_an_episode_is_recorded_step_by_step(
    algorithm: Constant, mode: Mode, rewards: list[float], over: int | None
) -> None:
    start = jax.vmap(Slider().reset)(jax.random.split(jax.random.key(0), 1))
    place = jnp.full((1, 1), 0.01)
    start = start._replace(physics=place, obs=jnp.array([[0.01, 1.0]]))
    played = play(algorithm, Slider(), jnp.zeros(()), start, jax.random.key(0), mode)
    returns = np.concatenate([[0.0], np.cumsum(rewards)])
    np.testing.assert_allclose(played.returns, returns, rtol=1e-6)
    np.testing.assert_allclose(played.rows, 0.01 + 0.1 * returns[:, None], rtol=1e-5)
    assert played.over == over
    assert len(played.rows) == EPISODE + 1


@pytest.mark.parametrize(
    ("arguments", "frames", "last"),
    [
        ((1000, 0.01, 10), 200, 995),
        ((1000, 0.04, 10), 200, 249),  # 9.95 s, of 40
        ((100, 0.01, 10), 20, 95),  # the episode is over before the clip
        ((1000, 0.04, 1), 20, 24),  # 0.95 s are 23.75 steps
        ((1, 0.01, 1), 1, 0),
    ],
)
def test_frames_show_the_step_of_their_time(
    arguments: tuple[int, float, float], frames: int, last: int
) -> None:
    times, steps = frame_steps(*arguments)
    assert len(times) == len(steps) == frames
    assert (times[0], steps[0], steps[-1]) == (0.0, 0, last)
    nearest = [abs(step * arguments[1] - time) for time, step in zip(times, steps, strict=True)]
    assert max(nearest) <= arguments[1] / 2 + 1e-9


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (5, 5), (6, 6), (7, 4), (12, 6)])
def test_panels_lie_beside_each_other_and_do_not_touch(panels: int, columns: int) -> None:
    strip = Strip(panels)
    width, height = strip.size
    corners = [strip.corner(panel) for panel in range(panels)]
    assert columns <= COLUMNS and len({left for left, _ in corners}) == columns
    covered = np.zeros((height, width), int)
    for left, top in corners:
        covered[top : top + PANEL, left : left + PANEL] += 1
    assert covered.max() == 1 and covered.sum() == panels * PANEL**2
    colors = [np.full((PANEL, PANEL, 3), 20 * panel, np.uint8) for panel in range(panels)]
    frame = np.asarray(strip.frame("t", colors, [("a", "b")] * panels))
    for (left, top), color in zip(corners, colors, strict=True):
        np.testing.assert_array_equal(frame[top : top + PANEL, left : left + PANEL], color)
        label = frame[top - 40 : top, left : left + PANEL]
        assert (label < 128).any() and (label > 250).mean() > 0.9


def test_a_long_name_is_cut_and_no_text_breaks_a_line() -> None:
    strip = Strip(1)
    black = np.zeros((PANEL, PANEL, 3), np.uint8)
    frame = np.asarray(strip.frame("t\n\n\n\x1b[2J" + 99 * "W", [black], [(99 * "W\n", "return")]))
    left, top = strip.corner(0)
    np.testing.assert_array_equal(frame[top : top + PANEL, left : left + PANEL], black)
    assert (frame[: top - 40, -4:] == 255).all()
    font = strip.font
    assert fitted("ppo", font, PANEL) == "ppo"
    cut = fitted(99 * "W", font, PANEL)
    assert cut.endswith("W…") and font.getlength(cut) <= PANEL < font.getlength("W" + cut)


@pytest.mark.slow
def test_mujoco_draws_a_run_of_cheetahs(suite_: Suite, tmp_path: Path) -> None:
    """The whole of it, where EGL or OSMesa is to be had."""
    chosen = ("--algos", "ppo,gorl-fm", "--tasks", TASK, "--seeds", "1", "--protocol", "smoke")
    assert suite_("run", *chosen, "--out", tmp_path / "run")[0] == 0
    clip = tmp_path / "clip.webp"
    arguments = ("watch", tmp_path / "run", "--task", TASK, "--seconds", "1", "--out", clip)
    code, out, err = suite_(*arguments, "--json")
    if "can draw neither" in err:
        pytest.skip(err)
    assert code == 0
    run = RunDirectory.open(tmp_path / "run")
    for panel in json.loads(out)["panels"]:
        episodes = run.files(Cell(panel["cell"].split("/")[1], TASK, 0)).read_episodes()
        assert episodes is not None
        # A program of another width rounds otherwise, which a thousand steps of contacts amplify.
        assert panel["return"] == pytest.approx(float(episodes[1][-1, 0, 0]), rel=0.2, abs=2.0)
    # So ten seconds of five have less than 5 MB.
    assert clip.stat().st_size < 5_000_000 * (1 / 10) * (2 / 5)
    frames = frames_of(clip)
    assert len(frames) == 20
    strip = Strip(2)
    for panel in range(2):
        left, top = strip.corner(panel)
        shown = [frame[top : top + PANEL, left : left + PANEL].astype(int) for frame in frames]
        red, blue = shown[0][..., 0], shown[0][..., 2]
        orange = red > blue + 40  # the cheetah; sky and floor are blue
        assert 0.01 < orange.mean() < 0.2
        assert np.abs(shown[-1] - shown[0]).max() > 60
