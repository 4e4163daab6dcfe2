"""The verdict on a comparison: good, with reservations, or not comparable."""

from __future__ import annotations

from pathlib import Path

from generate import generate_runs, write_cell

from reports.audit.verdict import judge
from reports.runs.loading import load_results
from suite.storage.records import Job

TASKS = ("CheetahRun", "FishSwim")
POINTS = 4


def test_the_verdict_says_whether_runs_may_be_compared(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), TASKS, range(2), POINTS)
    assert judge(load_results([run.path])).level == "good"
    job = Job("ppo", "CheetahRun", (0, 1))
    write_cell(run, job.cells[0], job, points=POINTS, evaluations=2, state="running")
    assert judge(load_results([run.path])).level == "warn"
    write_cell(run, job.cells[0], job, points=POINTS, evaluations=2, state="done")
    verdict = judge(load_results([run.path]))
    assert verdict.level == "bad"
    assert "budget (1)" in verdict.text
