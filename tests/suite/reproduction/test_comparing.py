"""What counts as the same evaluation: bits, or a difference that rounding explains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from suite.reproduction.comparing import CHANCE, Played, Stored, compare, within_rounding
from suite.reproduction.machine import elsewhere
from suite.storage.provenance import provenance
from suite.storage.records import CurveRow

EPISODES = 32


def returns(seed: int = 0) -> np.ndarray:
    """Returns [2, E] of two modes."""
    return np.random.default_rng(seed).normal(400, 50, (2, EPISODES)).astype(np.float32)


def stored(values: np.ndarray) -> Stored:
    """Returns an evaluation with its rows, 20,000 steps and observations of one state."""
    rows = [
        CurveRow(0, mode, float(each.mean(dtype=np.float64)), float(each.std(dtype=np.float64)),
                 len(each), 0.0, 4, 0, 0, 0, 0, 0, 0.0, 0.0)
        for mode, each in zip(("deterministic", "sample"), values, strict=True)
    ]  # fmt: skip
    return Stored(4, tuple(rows), values, 20_000, np.zeros((1, 1, 3), np.float32))


def played(values: np.ndarray) -> Played:
    return Played(0, values, 20_000, np.zeros((1, 1, 3), np.float32))


def test_one_bit_of_one_return() -> None:
    values = returns()
    assert compare(stored(values), played(values), exactly=True).fault == ""
    other = values.copy()
    other[1, 7] = np.nextafter(other[1, 7], np.float32(np.inf))
    found = compare(stored(values), played(other), exactly=True)
    assert found.equal == found.returns - 1 == 2 * EPISODES - 1
    assert found.fault.startswith("sample: 1 of 32 returns differ")
    loosely = compare(stored(values), played(other), exactly=False)
    assert loosely == dataclasses.replace(found, fault="")


@pytest.mark.parametrize("size", [(2, 16), (1, 32)])
def test_other_episodes_or_modes(size: tuple[int, int]) -> None:
    kept = stored(returns())._replace(returns=returns()[: size[0], : size[1]])
    for exactly in (True, False):
        assert "2 x 32 float32 recomputed" in compare(kept, played(returns()), exactly).fault


def test_what_goes_with_the_returns() -> None:
    kept = stored(returns())
    wrong = {
        "the ledger counts 19999": kept._replace(steps=19_999),
        "states.npz holds other": kept._replace(obs=np.ones((1, 1, 3), np.float32)),
        "sample: curve.csv": kept._replace(
            rows=(kept.rows[0], dataclasses.replace(kept.rows[1], return_mean=401.0))
        ),
    }
    for fault, each in wrong.items():
        assert fault in compare(each, played(returns()), exactly=True).fault


def test_returns_of_another_seed_or_mode_are_known_for_what_they_are() -> None:
    """Also where their means are as they should be, and rounding has moved every number."""
    values, noise = returns(), np.random.default_rng(3).normal(0, 1e-3, (2, EPISODES))
    others = {
        (0, "deterministic"): values[0],
        (0, "sample"): values[1],
        (5, "sample"): returns(5)[1],
    }
    rounded = (values + noise).astype(np.float32)
    for exactly in (True, False):
        assert compare(stored(values), played(values), exactly, others).fault == ""
        swapped = compare(stored(values[::-1].copy()), played(values), exactly, others).fault
        assert "the returns are those of seed 0, sample" in swapped
        assert "the returns are those of seed 0, deterministic" in swapped
    assert compare(stored(rounded), played(values), False, others).fault == ""
    theirs = np.stack([rounded[0], returns(5)[1] + noise[1].astype(np.float32)])
    found = compare(stored(theirs), played(values), False, others).fault
    assert found.endswith("the returns are those of seed 5, sample")


def test_rounding_moves_episodes_either_way() -> None:
    rng = np.random.default_rng(1)
    values = returns()[0]
    assert within_rounding(values, values)
    assert within_rounding(values, values + rng.normal(0, 1e-4, EPISODES))
    assert within_rounding(values, values + rng.normal(0, 60, EPISODES))  # contacts amplify it
    one = np.zeros(EPISODES)
    one[3] = 300.0
    assert within_rounding(values, values + one)
    assert not within_rounding(values, values - 50)
    assert not within_rounding(values, values - 50 + rng.normal(0, 30, EPISODES))
    assert not within_rounding(values, 1.01 * values)
    assert not within_rounding(values[:1], values[:1] + 50)  # one episode tells no spread


def test_chance_of_calling_rounding_a_fault() -> None:
    """An independent count: of paired differences with mean 0 next to none is called a fault."""
    differences = np.random.default_rng(2).normal(0, 40, (4_000, 8))
    wrong = sum(not within_rounding(np.full(8, 300.0), 300 + each) for each in differences)
    assert wrong <= 2 < 4_000 * 100 * CHANCE


def test_elsewhere_names_what_differs() -> None:
    here = provenance()
    assert elsewhere([here], "ppo", "native") == ()
    packages = here["packages"]
    assert isinstance(packages, dict)
    there = {**here, "cpu": "another", "packages": {**packages, "jax": "0.1"}}
    texts = elsewhere([here, there], "ppo", "native")
    assert [text.partition(" (")[0] for text in texts] == ["jax 0.1", "processor another"]
    source = {**here, "method": {"source": "0" * 16}}
    assert elsewhere([source], "ppo", "native")[0].startswith("source of the method 0000")
    assert elsewhere([here], "ppo", "warp") == ("its engine's physics is not deterministic",)
    assert elsewhere([], "ppo", "native") == elsewhere([{}], "ppo", "native")
    assert elsewhere([], "ppo", "native") == ("its run.json does not tell where it ran",)
