"""`suite plan`: what would be trained, by how many workers, in how long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commanding import SMOKE, FakeTraining, Suite

from algorithms.names import ALL
from envs.tasks import resolve_tasks
from suite import cli
from suite.cluster import places


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[algorithms.ppoo]\nclip = 1', "did you mean 'ppo'"),
        ('[algorithms.ppo]\nclp = 1', "did you mean 'clip'"),
        ('[algorithms.dppo]\nclip = "x"', "'x' is not a finite number"),
        ('[algorithms."*"]\nnothing_has_this = 1', "unknown hyper-parameter of *"),
    ],
)  # fmt: skip
def test_a_protocols_settings_are_checked_for_all_algorithms(
    suite: Suite, tmp_path: Path, table: str, expected: str
) -> None:
    preset = (Path(cli.__file__).parent / "protocols" / "fair.toml").read_text()
    (tmp_path / "mine.toml").write_text(f"{preset}\n{table}\n")
    result = suite("plan", "--protocol", "mine.toml", "--algos", "ppo")
    assert result.code == 2
    assert expected in result.err


def test_without_a_gpu_the_protocol_is_lite_and_that_is_said(suite: Suite) -> None:
    result = suite("plan", "--algos", "ppo", "--json")
    assert json.loads(result.out)["protocol"] == "lite"
    assert json.loads(result.out)["engine"] == "native"
    assert result.err == (
        "suite: no GPU was found: protocol lite; --protocol fair is the full comparison\n"
    )


def test_plan_lists_the_whole_comparison(suite: Suite) -> None:
    result = suite("plan", "--protocol", "fair", "--json")
    jobs = json.loads(result.out)["jobs"]
    pairs = [(name, task) for name in ALL for task in resolve_tasks("dmc6")]
    cells = [
        (each["job"]["algorithm"], each["job"]["task"], *each["job"]["seeds"]) for each in jobs
    ]
    assert sorted(cells) == sorted((*pair, seed) for pair in pairs for seed in range(5))
    assert {job["env_steps"] for job in jobs} == {183 * 2048 * 480}
    assert result.err == ""


def test_the_plan_of_the_humanoids_is_what_the_documentation_says(suite: Suite) -> None:
    options = ("--tasks", "humanoid2", "--protocol", "paper2026", "--algos", "all", "--json")
    plan = json.loads(suite("plan", *options).out)
    tasks = {job["job"]["task"] for job in plan["jobs"]}
    assert tasks == {"HumanoidStand", "HumanoidRun"}
    cells = sum(len(job["job"]["seeds"]) for job in plan["jobs"])
    # 3 methods of 183 updates, and 2 of as many with 3 refits of 960 steps in 2048 environments.
    assert plan["env_steps"] == 2 * 5 * 983_040 * (5 * 183 + 2 * 3 * 2)
    said = f"{cells} runs and {plan['env_steps']:,} environment steps"
    text = (Path(cli.__file__).parents[1] / "docs" / "concepts.md").read_text(encoding="utf-8")
    assert said in " ".join(text.split())


def test_seeds_are_split_only_between_workers(suite: Suite) -> None:
    result = suite("run", *SMOKE, "--split-seeds")
    assert result.code == 2
    assert "--split-seeds goes with --on" in result.err


def test_a_core_trains_a_seed_where_nothing_else_is_said(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "usable_cores", lambda: [0, 1])
    monkeypatch.delenv("SUITE_ON")
    found = json.loads(suite("plan", *SMOKE[2:], "--json").out)
    assert [each["job"]["seeds"] for each in found["jobs"]] == [[0], [1], [0], [1]]
    assert found["workers"]["on"] == "local"
    assert found["workers"]["workers"] == 2
    assert "workers" not in json.loads(suite("plan", *SMOKE[2:], "--on", "here", "--json").out)
    few = json.loads(suite("plan", *SMOKE, "--json").out)  # two jobs, a minute by a rough guess
    assert "workers" not in few


def test_a_plan_says_how_long_with_so_many_workers(suite: Suite) -> None:
    result = suite("plan", *SMOKE, "--on", "local:2")
    assert "on 2 workers (local): 30s, 30s at the least" in result.out
    assert "0-1  new" in result.out
    split = suite("plan", *SMOKE, "--on", "local:4", "--split-seeds", "--json")
    found = json.loads(split.out)
    assert [each["job"]["seeds"] for each in found["jobs"]] == [[0], [1], [0], [1]]
    assert found["workers"]["workers"] == 4
    assert 0 < found["workers"]["bound"] <= found["workers"]["seconds"]


def test_dry_run_trains_and_writes_nothing(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    result = suite("run", *SMOKE, "--dry-run")
    assert result.code == 0
    assert "2 jobs, 4 cells, 2,560 environment steps" in result.out
    warning = "warning: too few runs to tell any two of 2 algorithms apart: needs 4 seeds or 3"
    assert result.out.splitlines()[-1] == f"{warning} tasks"
    assert training.jobs == []
    assert list(tmp_path.iterdir()) == []
