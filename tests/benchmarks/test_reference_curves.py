"""Evaluations come back from points on the lines between them, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import reference_curves
from benchmarks.calibration.reference_curves import BETWEEN, LAST, Points, recover

TRUE = np.random.default_rng(0).uniform(0, 1000, LAST + 1).astype(np.float32).astype(float)
"""Evaluations, in single precision as they were made."""


def points(end: float, between: int = BETWEEN) -> Points:
    """Returns what the source would hold: 20 points on the lines, flat after the last."""
    steps = np.linspace(0, end, 20)
    knots = between * np.arange(LAST + 1)
    return Points(steps, np.interp(steps, knots, TRUE)[None])


def test_evaluations_come_back_to_the_last_bit() -> None:
    found = recover(points(50e6), points(500e6), 0)
    assert found == {BETWEEN * number: TRUE[number] for number in (0, 1, 2, 3, 4, 5, 6, 8, 9)}


@pytest.mark.parametrize("between", [9_000_000, BETWEEN + 4096, 10_000_000])
def test_evaluations_elsewhere_are_refused(between: int) -> None:
    with pytest.raises(ValueError, match=r"single precision|is not on the line"):
        recover(points(50e6, between), points(500e6, between), 0)


def test_points_beside_their_line_are_refused() -> None:
    fine = points(50e6)
    fine.returns[0, 2] += 1e-4
    with pytest.raises(ValueError, match="is not on the line"):
        recover(fine, points(500e6), 0)


def test_the_table_that_is_shipped_has_this_form(tmp_path: Path) -> None:
    for name, end in (("ppo_brax", 50e6), ("ppo_brax_full", 500e6), ("sac_brax_full", 500e6)):
        steps, (returns,) = points(end)
        flat = np.full(20, TRUE[-1]) if name.startswith("sac") else returns
        rows = [f"{x!r},{y!r}" for x, y in zip(steps.tolist(), flat.tolist(), strict=True)]
        text = "\n".join(["steps,trial_0", *rows])
        (tmp_path / f"FishSwim_{name}.csv").write_text(text, encoding="utf-8")
    reference_curves.main(str(tmp_path), str(tmp_path / "out.csv"))
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "algorithm,task,env_steps,seed,return_mean"
    assert lines[2] == f"ppo-brax,FishSwim,9830400,0,{float(TRUE[1])!r}"
    assert lines[-1].startswith("sac-brax,FishSwim,26315789,0,") and len(lines) == 11
