"""Ours against published curves: the same steps and mode, and intervals worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from generate import generate_runs
from scipy import stats

from benchmarks.calibration.page import Compared, compare, page
from reports.references.parsing import Evaluations
from reports.references.published import Reference
from reports.runs.loading import load_results

ROOT = Path(__file__).resolve().parents[2]


def compared(theirs: tuple[float, ...], ours: tuple[float, ...]) -> Compared:
    return Compared("name", "ppo", "CheetahRun", "sample", 1, theirs, ours)


def test_the_page_is_what_its_command_prints() -> None:
    command = "python -m benchmarks.calibration.page"
    stored = (ROOT / "docs/calibration.md").read_text(encoding="utf-8")
    assert f"`{command}`" in stored
    assert stored == page(), f"write it again: {command} > docs/calibration.md"


def test_the_interval_of_two_means_is_welchs() -> None:
    theirs, ours = (289.0, 310.0, 250.0, 301.0, 296.0), (280.0, 260.0, 320.0)
    parts = [np.var(each, ddof=1) / len(each) for each in (theirs, ours)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 4 + parts[1] ** 2 / 2)  # Welch-Satterthwaite
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    found = compared(theirs, ours)
    difference = 860 / 3 - 1446 / 5
    assert found.difference == pytest.approx(difference)
    assert found.interval() == pytest.approx((difference - half, difference + half))


def test_beside_a_single_seed_it_is_that_of_one_more_run() -> None:
    """Held by simulation: of many fourth runs, 95% fall within."""
    draws = np.random.default_rng(0).normal(100.0, 10.0, (4_000, 4))
    inside = 0
    for *ours, theirs in draws.tolist():
        low, high = compared((theirs,), tuple(ours)).interval() or (0.0, 0.0)
        inside += low <= 0 <= high
    assert inside / 4_000 == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((99.0, 100.0, 101.0), "agrees"),
        ((60.0, 100.0, 140.0), "not told apart"),
        ((79.0, 80.0, 81.0), "lower"),
        ((119.0, 120.0, 121.0), "higher"),
        ((100.0,), "too few seeds"),
    ],
)
def test_verdicts(ours: tuple[float, ...], verdict: str) -> None:
    assert compared((99.0, 100.0, 101.0), ours).verdict == verdict


def test_only_evaluations_after_the_same_steps_are_compared(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), ("CheetahRun",), range(3), 3)
    results = load_results([run.path])
    mode = results.protocol.published_mode_of("ppo")
    curves = [each.mode_curve(mode) for each in results.runs]
    own = [int(steps) for steps in curves[0]["env_steps"]]
    steps = np.array([0, own[1], own[1] + 1, own[2]])
    evaluations = Evaluations(steps, np.arange(8.0).reshape(4, 2))
    other = Evaluations(steps, np.zeros((4, 1)))
    curves_of = {("ppo", "CheetahRun"): evaluations, ("sac-brax", "CheetahRun"): other}
    found = list(compare(results, Reference("theirs", "", {}, curves_of)))
    assert [(each.method, each.steps, each.theirs) for each in found] == [
        ("ppo", own[1], (2.0, 3.0)),
        ("ppo", own[2], (6.0, 7.0)),
    ]
    for each, row in zip(found, (1, 2), strict=True):
        assert each.ours == tuple(float(curve["return_mean"][row]) for curve in curves)
