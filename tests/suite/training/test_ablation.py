"""Ablations: recipes, their arms, and those of the suite trained and reported at smoke size."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tiny import assert_same

import suite.training.launch
from suite import cli
from suite.common.errors import UserError
from suite.configuration.protocol import load_protocol
from suite.configuration.recipe import (
    PRESETS,
    SOURCE,
    Axis,
    Recipe,
    load_recipe,
    make_arms,
)
from suite.planning.plan import Plan
from suite.planning.planned_job import PlannedJob
from suite.storage.ablation_directory import Ablation, read_ablation
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory
from suite.training.ablate import shortage
from suite.training.stored_policies import kept_policy, stored_policy

ROOT = Path(__file__).resolve().parents[3]
SMOKE = ("--protocol", "smoke", "--tasks", "CheetahRun", "--seeds", "1")


def arm_names(recipe: Recipe) -> list[str]:
    return [arm.name for arm in make_arms(recipe.axes)]


# --- Recipes -----------------------------------------------------------------------------


def test_presets_have_the_arms_they_promise() -> None:
    arms = {name: arm_names(load_recipe(name)) for name in PRESETS}
    assert arms["normalizer"] == [
        "cumulative-after",
        "cumulative-before",
        "legacy-after",
        "legacy-before",
    ]
    assert arms["stages"] == ["stage-0", "stage-1", "stage-2", "stage-3"]
    assert arms["controls"] == ["all"]
    assert arms["prior"] == ["prior", "encoder"]
    assert arms["restart"] == ["gaussian", "fresh", "warm"]
    coefficients = ("0", "0.0001", "0.001", "0.01", "0.1")
    assert arms["kl"] == [f"{each}-{form}" for each in coefficients for form in ("code", "kl")]
    assert load_recipe("kl").reference == "0.001-code"


def test_the_published_stages_have_the_published_size(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A whole run of 180M steps, then 60M for each arm; ALGORITHMS 1.2 has the updates."""
    recipe = ROOT / "benchmarks" / "ablations" / "stages-paper2026.toml"
    run_suite("ablate", str(recipe), "--dry-run", "--out", str(tmp_path / "out"))
    shown = capsys.readouterr().out.splitlines()
    updates = [line.split()[4] for line in shown if line.startswith("HopperStand")]
    assert updates == ["61+61+30+31"] * 2 + ["61"] * 8


def test_an_axis_sets_every_field_of_every_selected_algorithm() -> None:
    axis = Axis("gorl-fm,gorl-diff.latent_penalty,later_latent_penalty", (1e-4, 0.0))
    assert axis.changes(1e-4, ["ppo", "gorl-diff"]) == [
        "gorl-diff.latent_penalty=0.0001",
        "gorl-diff.later_latent_penalty=0.0001",
    ]
    assert Axis("*.clip", (0.1,)).changes(0.1, ["ppo"]) == ["*.clip=0.1"]
    assert Axis("ppo.actor_hidden", ((8, 8),)).changes((8, 8), ["ppo"]) == ["ppo.actor_hidden=8,8"]
    with pytest.raises(UserError, match="concerns none of the algorithms ppo"):
        axis.changes(1e-4, ["ppo"])


def test_an_arm_of_kl_sets_both_kinds_of_stages() -> None:
    recipe = load_recipe("kl")
    (arm,) = [each for each in make_arms(recipe.axes) if each.name == "0.01-kl"]
    pairs = zip(recipe.axes, arm.values, strict=True)
    assert [text for axis, value in pairs for text in axis.changes(value, ["gorl-fm"])] == [
        "gorl-fm.latent_penalty=0.01",
        "gorl-fm.later_latent_penalty=0.01",
        "gorl-fm.penalty_form=kl",
    ]


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("ppo.clip", "ppo.clip", True),
        ("*.clip", "ppo.clip", True),
        ("ppo,fpo.clip", "fpo.clip,learning_rate", True),
        ("ppo.clip", "fpo.clip", False),
        ("ppo.clip", "ppo.learning_rate", False),
        ("*.discount", "protocol.discount", False),
    ],
)
def test_axes_clash_where_they_set_the_same_field(one: str, other: str, clash: bool) -> None:
    assert Axis(one, (1,)).overlaps(Axis(other, (1,))) == clash


def test_another_protocol_drops_the_changes_made_for_the_file_s_own() -> None:
    recipe = load_recipe("stages")
    assert recipe.settings == ("protocol.total_steps=1996800",)
    assert recipe.source_settings == ("protocol.total_steps=3993600",)
    same = recipe.with_choices({"protocol": None, "seeds": "7"}, ["ppo.clip=0.2"])
    assert same.settings == (*recipe.settings, "ppo.clip=0.2") and same.seeds == "7"
    other = recipe.with_choices({"protocol": "smoke"}, ["ppo.clip=0.2"])
    assert (other.settings, other.source_settings) == (("ppo.clip=0.2",), ())


def ablation(**changes: object) -> Ablation:
    values = {
        "name": "mine",
        "description": "",
        "protocol": load_protocol("smoke"),
        "source": None,
        "algorithms": ("ppo",),
        "tasks": ("CheetahRun",),
        "seeds": (0,),
        "engine": "native",
        "settings": (),
        "metrics": (),
        "axes": (Axis("ppo.actor_hidden", ((8, 8), (4,))), Axis("protocol.discount", (0.9, 0.99))),
    }
    return Ablation(**{**values, **changes})  # type: ignore[arg-type]


def test_arms_that_cannot_be_told_apart_are_known_before_training() -> None:
    job = PlannedJob(Job("ppo", "CheetahRun", (0, 1, 2)), "new", 0, 0, 0, 0, None, True, ())
    for seeds, lacking in (((0, 1, 2), "needs 5 seeds or 2 tasks"), ((0, 1, 2, 3, 4), None)):
        jobs = (dataclasses.replace(job, job=Job("ppo", "CheetahRun", seeds)),)
        mine = ablation(seeds=seeds)
        plans = {arm.name: Plan(mine.protocol, "native", jobs) for arm in mine.arms}
        start = f"too few runs to tell any arm from arm {mine.arms[0].name}: "
        assert shortage(mine, plans) == (lacking and start + lacking)
        assert shortage(ablation(seeds=seeds, axes=()), {"all": plans[mine.arms[0].name]}) is None


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = ablation(source=load_protocol("smoke"))
    written.write(tmp_path)
    assert read_ablation(tmp_path) == written
    assert [arm.name for arm in written.arms] == ["8_8-0.9", "8_8-0.99", "4-0.9", "4-0.99"]
    assert [written.protocol_of(arm).discount for arm in written.arms] == [0.9, 0.99, 0.9, 0.99]
    written.write(tmp_path)  # the same once more
    ablation(source=load_protocol("smoke"), seeds=(0, 1)).write(tmp_path)
    assert read_ablation(tmp_path).seeds == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": (Axis("ppo.clip", (0.1, 0.2)),)}, "differs in axes"),
        ({"protocol": load_protocol("lite")}, "differs in bank_size, chunk_length"),
        ({"settings": ("ppo.clip=0.3",)}, "differs in settings"),
        ({"engine": "jax"}, "differs in engine"),
    ],
)
def test_another_ablation_is_not_mixed_in(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    ablation().write(tmp_path)
    with pytest.raises(UserError, match=message):
        ablation(**changes).write(tmp_path)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"axes": 3, "source": null}', "[" * 10**5, "[" + "1," * 10**6]
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "ablation.json").write_text(content)
    with pytest.raises(UserError, match=r"ablation\.json is damaged"):
        read_ablation(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axis = 3", "unknown key 'axis'; did you mean 'axes'?"),
        ("seeds = 3", "seeds = 3: must be a text, in quotes"),
        ("set = 'x'", "set = 'x': must be a list of texts"),
        ("changes = 3", "changes = 3: must be a table"),
        ("[axes]\n'ppo.clip' = []", "axis ppo.clip: has no values"),
        ("[axes]\n'ppo.clip' = 0.1", "axis ppo.clip = 0.1: must be a list"),
        ("[axes]\nppo.clip = [0.1]", "put its whole name in quotes"),
        ("[axes]\n'ppo.clip' = [{}]", "{} is no number, text"),
        ("[axes]\n'ppo.clip' = [0.1, 0.1]", "a value is given twice"),
        ("[axes]\n'clip' = [0.1]", "write protocol.FIELD, ALGORITHM.FIELD or decoder.stage"),
        ("[axes]\n'nope.clip' = [0.1]", "unknown algorithm of axis nope.clip 'nope'"),
        ("[axes]\n'ppo.clipp' = [0.1]", "did you mean 'clip'?"),
        ("[axes]\n'ppo.clip' = ['high']", "'high' is not a finite number"),
        ("[axes]\n'protocol.normaliser' = ['legacy']", "did you mean 'normalizer'?"),
        ("[axes]\n'protocol.normalizer' = ['none']", "is not one of cumulative, legacy"),
        ("[axes]\n'gorl-fm.clip' = [0.1]", "concerns none of the algorithms ppo"),
        ("[axes]\n'ppo.clip' = [0.1]\n'*.clip' = [0.1]", "ppo.clip and *.clip set the same field"),
        ("set = ['ppo.clip=0.2']\n[axes]\n'ppo.clip' = [0.1]", "set the same field"),
        ("[changes]\ndiscount = 0.9\n[axes]\n'protocol.discount' = [0.9]", "set the same field"),
        ("[source]\ntotal_steps = 640", "[source] goes with an axis decoder.stage"),
        ("reference = 'b'\n[axes]\n'ppo.clip' = [0.1]", "reference: unknown arm 'b'; known: 0.1"),
        ("[axes]\n'decoder.stage' = [-1]", "its values are stages"),
        ("[axes]\n'decoder.kind' = [1]", "did you mean 'decoder.stage'?"),
        ("[axes]\n'decoder.stage' = [0]", "ppo has no decoder that an axis"),
        ("algos = 'gorl-fm'\n[axes]\n'decoder.stage' = [4]", "4 is too large, gorl-fm has stages"),
        ("[axes]\n'ppo.penalty_form' = ['..']", "an arm cannot be called '..'"),
        (
            f"[axes]\n'ppo.clip' = {list(range(40))}\n'ppo.learning_rate' = {list(range(40))}",
            "the axes make 1600 arms; at most 1000",
        ),
        ("axes = [", "not valid TOML"),
    ],
)
def test_bad_recipes_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    base = "protocol = 'smoke'\ntasks = 'CheetahRun'\n"
    # Some editors put a byte-order mark in front.
    text = base + ("" if "algos" in text else "algos = 'ppo'\n") + text
    path.write_text(text, encoding="utf-8-sig")
    assert cli.run_command(["ablate", str(path), "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unknown_ablations_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run_command(["ablate", "stage"]) == 2
    assert "did you mean 'stages'?" in capsys.readouterr().err
    assert cli.run_command(["ablate", str(tmp_path / "none.toml")]) == 2
    assert "no such file" in capsys.readouterr().err


# --- Trained -----------------------------------------------------------------------------


def run_suite(*arguments: str) -> None:
    assert cli.run_command(arguments) == 0


def table_of(directory: Path) -> list[dict[str, str]]:
    with open(directory / "report" / "tables" / "ablation.csv", newline="") as file:
        return list(csv.DictReader(file))


def check_table(directory: Path, arms: Sequence[str], methods: Sequence[str]) -> None:
    """Every row and column is there and filled from the one run of its arm and method."""
    rows = table_of(directory)
    assert [(row["method"], row["arm"]) for row in rows] == [(m, a) for m in methods for a in arms]
    stored = read_ablation(directory)
    for row in rows:
        assert all(row.values()), row
        assert "missing" not in str(row) and "incomplete" not in str(row)
        method = stored.algorithms[methods.index(row["method"])]
        curve = directory / row["arm"] / "CheetahRun" / method / "seed-000" / "curve.csv"
        with open(curve, newline="") as file:
            points = [r for r in csv.DictReader(file) if r["mode"] == "deterministic"]
        assert row["CheetahRun"] == f"{float(points[-1]['return_mean']):.2f} (n = 1)"
        for name in stored.metrics:
            with open(curve.with_name("metrics.csv"), newline="") as file:
                last = list(csv.DictReader(file))[-1]
            assert float(row[name]) == pytest.approx(float(last[name]), rel=1e-3)
    report = directory / "report"
    assert (report / "report.html").stat().st_size > 0
    assert (report / "figures" / "learning-curves.svg").stat().st_size > 0


def check_nothing_is_left(directory: Path, command: Sequence[str]) -> None:
    """The same command trains nothing and changes no file."""
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite.training.launch, "run_job", lambda *_: pytest.fail("trained again"))
        run_suite(*command)
    assert before == {p: p.stat().st_mtime_ns for p in directory.rglob("*") if p.is_file()}


Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Returns a function that trains and reports an ablation, and checks that it is then done."""

    def train(recipe: str, *options: str) -> Path:
        out = tmp_path_factory.mktemp("ablations") / "out"
        command = ("ablate", recipe, *SMOKE, *options, "--out", str(out))
        run_suite(*command)
        check_nothing_is_left(out, command)
        run_suite("report", str(out), "--reps", "200")
        return out

    return train


@pytest.fixture(scope="module")
def stages(trained: Trained) -> Path:
    return trained("stages", "--algos", "gorl-fm")


def smaller(tmp_path: Path, preset: str, values: str, fewer: str) -> str:
    """Writes a copy of a preset with fewer arms; the slow tests train them all."""
    text = (Path(cli.__file__).parent / "ablations" / f"{preset}.toml").read_text()
    assert values in text
    path = tmp_path / f"{preset}.toml"
    path.write_text(text.replace(values, fewer))
    return str(path)


def test_normalizer(trained: Trained, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    copy = smaller(tmp_path, "normalizer", '["cumulative", "legacy"]', '["legacy"]')
    out = trained(copy, "--algos", "ppo")
    arms = ["legacy-after", "legacy-before"]
    check_table(out, arms, ["PPO"])
    for arm in arms:
        protocol = RunDirectory.open(out / arm).protocol
        assert f"{protocol.normalizer}-{protocol.normalizer_timing}" == arm
        assert protocol.name == f"normalizer-{arm}"
    capsys.readouterr()
    run_suite("status", str(out))
    shown = capsys.readouterr().out
    assert all(f"{arm}\n" in shown for arm in arms) and shown.count("1 done") == 2
    run_suite("status", str(out), "--json")
    assert list(json.loads(capsys.readouterr().out)) == arms
    # Without one arm, and without a method that was asked for, the report says so.
    shutil.rmtree(out / "legacy-after")
    record = json.loads((out / "ablation.json").read_text())
    (out / "ablation.json").write_text(json.dumps({**record, "algorithms": ["ppo", "fpo"]}))
    run_suite("report", str(out), "--reps", "200", "--format", "tables")
    cells = {(row["method"], row["arm"]): row["CheetahRun"] for row in table_of(out)}
    assert cells["PPO", "legacy-after"] == "1 missing"
    assert cells["PPO", "legacy-before"].endswith("(n = 1)")
    assert all(cells["FPO", arm] == "1 missing" for arm in arms)


@pytest.mark.slow
def test_a_copy_of_kl(trained: Trained, tmp_path: Path) -> None:
    """Both forms at one coefficient; the penalty of both kinds of stages follows the axis."""
    copy = smaller(tmp_path, "kl", "[0.0, 1e-4, 1e-3, 1e-2, 1e-1]", "[1e-3]")
    out = trained(copy, "--algos", "gorl-fm")
    check_table(out, ["0.001-code", "0.001-kl"], ["GoRL(FM)"])
    record = RunDirectory.open(out / "0.001-kl").files(Cell("gorl-fm", "CheetahRun", 0)).read_run()
    assert record is not None
    values = record.configuration.hyperparameters
    assert (values["latent_penalty"], values["later_latent_penalty"]) == (1e-3, 1e-3)
    assert values["penalty_form"] == "kl"


@pytest.mark.slow
def test_a_copy_of_prior(trained: Trained, tmp_path: Path) -> None:
    """With a Gaussian decoder; the latents that the fit saw were the encoder's."""
    copy = smaller(tmp_path, "prior", '["prior", "encoder"]', '["encoder"]')
    out = trained(copy, "--algos", "gorl-gauss")
    check_table(out, ["encoder"], ["GoRL(Gauss)"])
    cell = Cell("gorl-gauss", "CheetahRun", 0)
    _, _, state = stored_policy(RunDirectory.open(out / "encoder"), cell)
    assert state.experience.latent is not None


@pytest.mark.slow
def test_controls(trained: Trained) -> None:
    out = trained("controls", "--algos", "ppo,ppo-matched")
    check_table(out, ["all"], ["PPO", "PPO matched"])


@pytest.mark.slow
def test_dsrl_steers_a_policy_that_was_trained_without_it(trained: Trained) -> None:
    out = trained(str(ROOT / "benchmarks" / "ablations" / "dsrl.toml"))
    arms, cell = ["stage-0-1.5-0.405", "stage-3-1.5-0.405"], Cell("gorl-sac-fm", "CheetahRun", 0)
    check_table(out, arms, ["GoRL(SAC+FM)"])
    source = RunDirectory.open(out / SOURCE)
    for run, bound, entropy in ((SOURCE, 3.0, -1.0), *((arm, 1.5, 0.405) for arm in arms)):
        record = RunDirectory.open(out / run).files(cell).read_run()
        assert record is not None
        values = record.configuration.hyperparameters
        assert (values["latent_bound"], values["target_entropy"]) == (bound, entropy)
    method: Any
    method, task, state = stored_policy(RunDirectory.open(out / arms[1]), cell)
    first, last = (kept_policy(source, cell, stage)[2].decoder for stage in (0, 3))
    assert_same(state.decoder, last)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(last.params))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(first.params))
    # As it steers, so it acts: latents within the bound, through the decoder that never changed.
    obs = jax.random.normal(jax.random.key(0), (50, task.obs_size))
    action, extras = method.act(state, obs, jax.random.key(1), "sample")
    assert np.abs(extras["action"]).max() <= 1.5
    decoded = last.decode(method.decoder_model, obs, extras["action"])
    np.testing.assert_allclose(action, np.tanh(decoded), rtol=1e-4, atol=1e-5)


def test_stages_start_from_the_source_s_decoders(stages: Path) -> None:
    check_table(stages, [f"stage-{k}" for k in range(4)], ["GoRL(FM)"])
    cell = Cell("gorl-fm", "CheetahRun", 0)
    source = RunDirectory.open(stages / SOURCE)
    assert source.files(cell).kept_stages() == (0, 1, 2, 3)
    digests = set()
    for stage in range(4):
        arm = RunDirectory.open(stages / f"stage-{stage}")
        theirs = kept_policy(source, cell, stage)[2].decoder
        _, _, ours = kept_policy(arm, cell, 0)  # after the arm's whole training
        for a, b in zip(jax.tree.leaves(ours.decoder), jax.tree.leaves(theirs), strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        digests.add(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(theirs)))
        record = arm.files(cell).read_run()
        assert record is not None and record.configuration.decoder is not None
        origin = record.configuration.decoder
        content = source.files(cell).policy_path(stage).read_bytes()
        assert (origin.run, origin.cell, origin.stage) == (SOURCE, str(cell), stage)
        assert origin.digest == hashlib.sha256(content).hexdigest()
        assert {row.stage for row in arm.files(cell).read_curve()} == {0}
    assert len(digests) == 4


def test_a_kept_policy_acts_as_the_live_state(stages: Path) -> None:
    run, cell = RunDirectory.open(stages / SOURCE), Cell("gorl-fm", "CheetahRun", 0)
    algorithm, task, kept = kept_policy(run, cell, 3)
    _, _, live = stored_policy(run, cell)
    obs = jax.random.normal(jax.random.key(0), (5, task.obs_size))
    act = jax.jit(
        lambda state, mode: algorithm.act(state, obs, jax.random.key(1), mode)[0], static_argnums=1
    )
    for mode in ("deterministic", "sample"):
        np.testing.assert_array_equal(act(kept, mode), act(live, mode))


def test_a_changed_or_foreign_decoder_is_noticed(
    stages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(stages, out)
    options = (*SMOKE, "--algos", "gorl-fm")
    arm = out / "stage-2"
    assert (
        cli.run_command(["run", *options, "--set", "gorl-fm.refits=false", "--out", str(arm)]) == 2
    )
    error = capsys.readouterr().err
    assert "started with the decoder source/CheetahRun/gorl-fm/seed-000 stage 2" in error
    policies = out / SOURCE / "CheetahRun" / "gorl-fm" / "seed-000"
    shutil.copy(policies / "policy-1.npz", policies / "policy-2.npz")
    assert cli.run_command(["ablate", "stages", *options, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "was started with the decoder source/" in error and "which now is source/" in error
    # The decoder of a finished run is no longer needed.
    (policies / "policy-2.npz").unlink()
    run_suite("ablate", "stages", *options, "--out", str(out))


def test_seeds_without_a_decoder_are_left_out(
    stages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a divergence of the source: stage 3 was never reached."""
    out = tmp_path / "copy"
    shutil.copytree(stages, out)
    shutil.rmtree(out / "stage-3")
    (out / SOURCE / "CheetahRun" / "gorl-fm" / "seed-000" / "policy-3.npz").unlink()
    run_suite("ablate", "stages", *SMOKE, "--algos", "gorl-fm", "--out", str(out))
    assert "stage-3: CheetahRun/gorl-fm has no decoder for seeds 0" in capsys.readouterr().err
    run_suite("report", str(out), "--reps", "200", "--format", "tables")
    assert {row["arm"]: row["CheetahRun"] for row in table_of(out)}["stage-3"] == "1 missing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("normalizer", ["PPO", "FPO", "DPPO", "GoRL(FM)", "GoRL(Diff)"]),
        ("kl", ["GoRL(FM)", "GoRL(Diff)"]),
        ("stages", ["GoRL(FM)", "GoRL(Diff)", "GoRL(Gauss)"]),
        ("prior", ["GoRL(FM)", "GoRL(Diff)"]),
        ("restart", ["GoRL(FM)", "GoRL(Diff)"]),
        (
            "controls",
            [
                "PPO",
                "GoRL(FM)",
                "GoRL(Diff)",
                "GoRL (identity decoder)",
                "PPO matched",
                "PPO matched (reset)",
            ],
        ),
    ],
)
def test_whole_presets(trained: Trained, name: str, methods: list[str]) -> None:
    out = trained(name)
    rows = table_of(out)
    arms = arm_names(load_recipe(name))
    assert [(row["method"], row["arm"]) for row in rows] == [(m, a) for m in methods for a in arms]
    assert all(value and "missing" not in value for row in rows for value in row.values())
