"""Runs that were stored before a hyper-parameter existed go on as if it had its old value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from algorithms.registry import entries
from reports.runs.loading import load_results
from suite.common.errors import UserError
from suite.configuration.hyperparameters import hyperparameter_fields, hyperparameters
from suite.configuration.protocol import load_protocol
from suite.storage.origin import ADDED_HYPERPARAMETERS, completed
from suite.storage.records import Cell, Configuration, Ledger, Status
from suite.storage.run_directory import RunDirectory

PROTOCOL = load_protocol("smoke")
RESULTS = Path(__file__).resolve().parents[3] / "results"
FIRST = RESULTS / "lite-first"


def test_stored_runs_keep_their_fingerprint() -> None:
    """Descriptive fields that a protocol got since then do not make its runs incomparable."""
    stored = json.loads((FIRST / "protocol.json").read_text())
    assert "published_mode" not in stored["protocol"]
    assert RunDirectory.open(FIRST).protocol.fingerprint() == stored["fingerprint"]


def test_lite_is_the_protocol_of_the_results_that_others_compare_with() -> None:
    stored = RunDirectory.open(RESULTS / "lite").protocol
    assert load_protocol("lite").fingerprint() == stored.fingerprint()


@pytest.mark.parametrize("field", ADDED_HYPERPARAMETERS)
def test_the_value_of_old_runs_is_the_default_beside_a_field_they_have(field: str) -> None:
    beside, value = ADDED_HYPERPARAMETERS[field]
    having = [e for e in entries().values() if field in hyperparameter_fields(e.cls)]
    assert having
    assert having == [e for e in entries().values() if beside in hyperparameter_fields(e.cls)]
    for entry in having:
        assert hyperparameters(entry.name, entry.cls, entry.defaults)[field] == value


@pytest.mark.parametrize("name", ["ppo", "fpo", "dppo", "gorl-fm", "gorl-diff"])
def test_stored_runs_can_go_on(name: str) -> None:
    """A new hyper-parameter without an entry would make every stored run another one."""
    entry = entries()[name]
    record = RunDirectory.open(FIRST).files(Cell(name, "CheetahRun", 0)).read_run()
    assert record is not None
    assert set(completed(record.configuration.hyperparameters)) == set(
        hyperparameters(entry.name, entry.cls, entry.defaults)
    )


def test_completed_changes_nothing_else() -> None:
    assert completed({"clip": 0.1}) == {"clip": 0.1}
    assert completed({"encoder_restart": "warm"}) == {
        "encoder_restart": "warm",
        "stage_policy": "last",
    }
    assert completed({"encoder_restart": "warm", "stage_policy": "best"})["stage_policy"] == "best"


def store(run: RunDirectory, seed: int, values: dict[str, Any]) -> Cell:
    cell = Cell("ppo-matched-reset", "CheetahRun", seed)
    run.write_run(
        Configuration(
            cell.algorithm, cell.task, seed, (seed,), values, "native", PROTOCOL.to_dict(),
            PROTOCOL.fingerprint(), 1, 1, "",
        ),
        {},
    )  # fmt: skip
    with run.files(cell).batch() as batch:
        batch.put_status(Status("running", 0, 4, Ledger()))
    return cell


def test_an_old_run_goes_on_and_is_no_variant(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, PROTOCOL)
    entry = entries()["ppo-matched-reset"]
    now = hyperparameters(entry.name, entry.cls, entry.defaults)
    old = {field: value for field, value in now.items() if field not in ADDED_HYPERPARAMETERS}
    cell = store(run, 0, old)
    store(run, 1, now)
    run.check_configuration(cell, now, "native")
    with pytest.raises(UserError, match=r"stage_policy \(last there, best now\)"):
        run.check_configuration(cell, {**now, "stage_policy": "best"}, "native")
    assert load_results([tmp_path]).algorithms == ("ppo-matched-reset",)

    store(run, 2, {**now, "stage_policy": "best"})
    labels = load_results([tmp_path]).algorithms
    assert labels == ("ppo-matched-reset", "ppo-matched-reset [stage_policy=best]")
