"""Final returns and speeds are those of the finished runs, apart by budget."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.publishing.final_returns import Measured, by_budget
from suite.common.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
LITE = ROOT / "results/lite-first"
CONTROLS = ROOT / "results/controls/all"


def test_returns_and_speeds_are_those_of_the_finished_runs() -> None:
    (found,) = by_budget([LITE]).values()
    assert found.returns["ppo", "CheetahRun"] == pytest.approx([795.7109, 697.8874], abs=1e-3)
    assert found.return_text("ppo", "CheetahRun") == "747 ± 69 (2)"
    assert ("sac", "CheetahRun") not in found.returns


def test_texts_tell_seeds_divergence_and_the_median() -> None:
    returns = {("a", "T"): [float("nan"), 100.0], ("b", "T"): [7.4]}
    found = Measured(returns, {("a", "T"): [900.0, 1000.0, 5000.0]})
    assert found.return_text("a", "T") == "50 ± 71 (2, 1 diverged)"
    assert found.return_text("b", "T") == "7 (1)"
    assert found.return_text("c", "T") == found.speed_text("b", "T") == ""
    assert found.speed_text("a", "T") == "1,000"


def test_budgets_are_kept_apart_the_largest_first() -> None:
    found = by_budget([CONTROLS, LITE])
    assert list(found) == [3_993_600, 1_996_800]
    assert all(("ppo", "CheetahRun") in each.returns for each in found.values())


def test_runs_that_are_not_there_or_there_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        by_budget([tmp_path / "nowhere"])
    shutil.copytree(LITE, tmp_path / "copy")
    with pytest.raises(UserError, match="name one of them"):
        by_budget([LITE, tmp_path / "copy"])
