"""Tables and figures of `suite actions` for policies whose actions are known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from reports.analysis.action_findings import action_findings
from reports.tables.actions import action_tables
from reports.tables.table import Table, to_records
from reports.writing.actions import write_actions
from suite.storage.action_samples import ActionSamples, PolicyActions, SampledState
from suite.storage.records import Cell

STATES, SAMPLES, ACTION_SIZE = 2, 400, 3


def policy(algorithm: str, seed: int, env_steps: int, before: np.ndarray) -> PolicyActions:
    return PolicyActions(
        Cell(algorithm, "HopperStand", seed), 0, env_steps, before, np.tanh(before)
    )


@pytest.fixture(scope="module")
def samples() -> ActionSamples:
    """PPO is Gaussian; GoRL(FM) has two modes at 200 steps and at 100 steps one, but skewed."""
    rng = np.random.default_rng(0)
    shape = (STATES, SAMPLES, ACTION_SIZE)
    gaussian = [0.4 * rng.normal(size=shape).astype(np.float32) for _ in range(2)]
    two = 0.2 * rng.normal(size=shape) + np.where(rng.random(shape) < 0.5, -1.0, 1.0)
    skewed = 0.2 * rng.exponential(size=shape)
    states = tuple(
        SampledState(Cell("ppo", "HopperStand", 0), 1, 250 * k, np.zeros(15), replayed=k > 0)
        for k in range(STATES)
    )
    policies = (
        policy("gorl-fm", 0, 100, skewed),
        policy("gorl-fm", 0, 200, two),
        policy("ppo", 0, 200, gaussian[0]),
        policy("ppo", 1, 200, gaussian[1]),
    )
    return ActionSamples("HopperStand", states, policies, ("fpo has no stored policy.",), 0)


@pytest.fixture(scope="module")
def tables(samples: ActionSamples) -> dict[str, Table]:
    return {table.name: table for table in action_tables(samples, action_findings(samples))}


def test_the_summary_tells_modes_and_gaussians_apart(tables: dict[str, Table]) -> None:
    rows = {
        (row["Algorithm"], row["Environment steps"], row["Actions"]): row
        for row in to_records(tables["actions-summary"])
    }
    assert len(rows) == 6
    gaussian = rows["PPO", 200, "before squashing"]
    two = rows["GoRL(FM)", 200, "before squashing"]
    skewed = rows["GoRL(FM)", 100, "before squashing"]
    assert [row["n"] for row in (gaussian, two, skewed)] == [4, 2, 2]
    assert [row["Not Gaussian"] for row in (gaussian, two, skewed)] == [0, 1, 1]
    assert [row["Multimodal: a dimension"] for row in (gaussian, two, skewed)] == [0, 1, 0]
    assert [row["Multimodal: own component"] for row in (gaussian, skewed)] == [0, 0]
    assert gaussian["Std"] == pytest.approx(0.4, abs=0.02)
    assert skewed["Skewness"] == pytest.approx(2.0, abs=1.0)


def test_every_row_of_every_table_is_filled(
    tables: dict[str, Table], samples: ActionSamples
) -> None:
    findings = 2 * STATES * len(samples.policies)
    assert {name: len(table.rows) for name, table in tables.items()} == {
        "actions-summary": 6,
        "actions": findings,
        "actions-dimensions": findings * ACTION_SIZE,
        "actions-states": STATES,
    }
    for table in tables.values():
        assert all(entry.text for row in table.rows for entry in row), table.name


def test_states_say_where_they_are_from(tables: dict[str, Table]) -> None:
    table = tables["actions-states"]
    rows = to_records(table)
    assert [row["Source"] for row in rows] == ["kept with the run", "played again"]
    assert [row["Step"] for row in rows] == [0, 250]
    assert "fpo has no stored policy." in table.note


def test_the_joint_component_is_one_for_all_policies(samples: ActionSamples) -> None:
    findings = [
        each for each in action_findings(samples) if each.side == "before" and each.state == 0
    ]
    together = np.concatenate([each.before[0] for each in samples.policies]).astype(np.float64)
    _, _, directions = np.linalg.svd(together - together.mean(axis=0), full_matrices=False)
    for each in findings:
        cloud = np.asarray(each.policy.before[0], np.float64)
        along = (cloud @ directions[0]).var() / cloud.var(axis=0).sum()
        assert each.joint.share == pytest.approx(along, rel=1e-6)
        assert each.own.share >= each.joint.share - 1e-12


@pytest.fixture(scope="module")
def written(samples: ActionSamples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("actions")
    write_actions(samples, directory)
    return directory


def test_writing_twice_gives_the_same_bytes(
    samples: ActionSamples, written: Path, tmp_path: Path
) -> None:
    files, _ = write_actions(samples, tmp_path)
    assert len(files) == 4 * 3 + 4 * 3
    for file in files:
        assert file.read_bytes() == (written / file.relative_to(tmp_path)).read_bytes()


def test_files_hold_every_policy_and_state(written: Path) -> None:
    with open(written / "tables" / "actions.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 16
    for name in ("before-scott", "before-wide", "after-scott", "after-wide"):
        drawing = (written / "figures" / f"actions-{name}.svg").read_text()
        for text in ("PPO", "GoRL(FM)", "state 0", "state 1", "100 steps", "200 steps"):
            assert text in drawing
