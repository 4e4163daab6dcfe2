"""The report's table of deviations, and scores in each method's published mode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from generate import SAMPLE_LOSS, generate_runs, generated_protocol

from reports.analysis.comparison import Analysis
from reports.analysis.sentences import mode_words
from reports.runs.loading import load_results
from reports.tables.deviations import NOT_RECORDED, deviations
from reports.tables.table import Table
from reports.writing.report import write_report
from reports.writing.report_request import ReportRequest
from suite import cli

TASK = ("CheetahRun",)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PPO, FPO and GoRL(FM) on one task with three seeds."""
    path = tmp_path_factory.mktemp("published") / "run"
    generate_runs(path, ("ppo", "fpo", "gorl-fm"), TASK, seeds=range(3), points=3)
    return path


def analysis(path: Path, mode: str) -> Analysis:
    return Analysis(load_results([path]), mode=mode, repetitions=200)


def column(table: Table, name: str) -> dict[str, str]:
    """Returns the texts of a column by topic."""
    index = table.columns.index(name)
    return {row[0].text: row[index].text for row in table.rows}


def test_published_is_the_mean_action_for_ppo_and_noise_for_fpo(path: Path) -> None:
    published, noise_free, sampled = (
        analysis(path, mode) for mode in ("published", "deterministic", "sample")
    )
    assert published.scores.mode_of("fpo [clip=0.2]") == "sample"
    for algorithm, same_as in (("ppo", noise_free), ("fpo", sampled), ("gorl-fm", noise_free)):
        scores = published.scores.of(algorithm, TASK[0]).scores
        assert scores.tolist() == same_as.scores.of(algorithm, TASK[0]).scores.tolist()
    gap = (
        noise_free.scores.of("fpo", TASK[0]).scores.mean()
        - published.scores.of("fpo", TASK[0]).scores.mean()
    )
    assert gap == pytest.approx(SAMPLE_LOSS, abs=0.02)
    assert mode_words(published) == "published (deterministic: PPO and GoRL(FM); sample: FPO)"


def test_captions_and_page_say_which_mode_is_whose(path: Path, tmp_path: Path) -> None:
    request = ReportRequest((path,), mode="published", repetitions=200)
    write_report(request, tmp_path, ("html", "tables"))
    page = (tmp_path / "report.html").read_text()
    words = "published (deterministic: PPO and GoRL(FM); sample: FPO)"
    assert words in page
    assert words in (tmp_path / "tables" / "final_returns.md").read_text().replace("\\", "")
    data = json.loads(page.split('type="application/json"')[1].split(">", 1)[1].split("</", 1)[0])
    curves = {(c["mode"], c["algorithm"]): c["mean"] for c in data["curves"]}
    assert data["modes"] == ["published", "deterministic", "sample"]
    assert curves["published", 0] == curves["deterministic", 0] != curves["sample", 0]
    assert curves["published", 1] == curves["sample", 1] != curves["deterministic", 1]


def test_a_report_does_without_jax(path: Path, tmp_path: Path) -> None:
    """Its import alone takes longer than many a report, on a machine that may lack it."""
    script = (
        "import sys; from suite import cli; assert cli.run_command(sys.argv[1:]) == 0; "
        "print(sorted({'jax', 'mujoco', 'flax'} & {*sys.modules}))"
    )
    arguments = ["report", path, "--out", tmp_path, "--format", "html,tables", "--reps", "50"]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_command_takes_the_mode(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", str(path), "--out", str(path.parent / "out"), "--mode", "published"]
    assert cli.run_command([*arguments, "--format", "tables", "--reps", "50"]) == 0
    assert "PPO" in capsys.readouterr().out


def test_what_ran_stands_beside_paper_and_fair(path: Path) -> None:
    table = deviations(load_results([path]))
    here, paper, fair = (
        column(table, name) for name in ("here", "protocol paper", "protocol fair")
    )
    geometry = generated_protocol(3)
    assert f"num_envs = {geometry.num_envs}" in here["rollout geometry"]
    assert "num_envs = 2048" in paper["rollout geometry"]
    assert "clip = 0.2" in column(table, "protocol paper2026")["clip range"]
    assert column(table, "paper's text")["clip range"].endswith("; in 2026: .2")
    assert paper["observation variance"] == "normalizer = legacy"
    assert here["observation variance"] == fair["observation variance"]
    assert paper["which policy of a stage goes on"] == "stage_policy = best"
    # The generated runs store few hyper-parameters: what is missing is said to be.
    assert NOT_RECORDED in here["restart of the encoder"]
    # Methods that are not there are not spoken of.
    assert "what is called DPPO" not in here
    assert "identity decoder" not in here


def test_methods_that_are_not_installed_get_the_rows_for_all(tmp_path: Path) -> None:
    generate_runs(tmp_path / "run", ("mine",), TASK, seeds=range(2), points=2)
    table = deviations(load_results([tmp_path / "run"]))
    assert column(table, "protocol paper")["observation variance"] == "normalizer = legacy"
    assert "restart of the encoder" not in column(table, "here")


RESULTS = Path(__file__).resolve().parents[3] / "results"


def test_methods_without_a_field_are_not_said_to_have_left_it_out() -> None:
    """SAC and RLDT have no lambda; PPO beside them has one."""
    here = column(deviations(load_results([RESULTS / "lite-off-policy"])), "here")
    assert here["advantages"] == "gae_lambda = 0.95, chunk_length = 30"
    assert not [topic for topic, value in here.items() if NOT_RECORDED in value]


def test_stored_lite_runs_are_told_in_full() -> None:
    table = deviations(load_results([RESULTS / "lite-first"]))
    here = column(table, "here")
    assert here["restart of the encoder"] == "encoder_restart = gaussian"
    # A field that these runs could not set yet.
    assert here["which policy of a stage goes on"] == "stage_policy = last"
    assert not [topic for topic, value in here.items() if NOT_RECORDED in value]
