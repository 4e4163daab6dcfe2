"""Digests of a cell's files: what is noticed, and what a cut-off save leaves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from suite.configuration.protocol import load_protocol
from suite.storage import digests
from suite.storage.records import Cell, Ledger, Status
from suite.storage.run_directory import RunDirectory

CELL = Cell("ppo", "CheetahRun", 0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", load_protocol("smoke"))


def save(run: RunDirectory, updates: int) -> None:
    """Writes what the training loop writes after a chunk."""
    with run.files(CELL).batch() as batch:
        batch.put_curve([])
        batch.put_metrics([{"env_steps": updates}])
        batch.put_episodes(np.arange(updates), np.zeros((updates, 2, 2)))
        batch.put_status(Status("running", updates, 4, Ledger(updates)))


@contextlib.contextmanager
def dying_after(monkeypatch: pytest.MonkeyPatch, survivors: int) -> Iterator[None]:
    """Only so many files reach the disk; at the next one the process dies."""
    left = iter(range(survivors))
    replace = os.replace

    def die_after_some(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die_after_some)
        yield


def test_digests_are_those_of_the_files(run: RunDirectory) -> None:
    save(run, 1)
    record = json.loads((run.cell_path(CELL) / "digests.json").read_text())
    expected = {
        name: hashlib.sha256((run.cell_path(CELL) / name).read_bytes()).hexdigest()
        for name in ("curve.csv", "metrics.csv", "episodes.npz", "status.json")
    }
    assert record["files"] == expected
    assert run.files(CELL).check_digests() == digests.Verdict(recorded=True)


def test_older_cells_have_none(run: RunDirectory) -> None:
    save(run, 1)
    (run.cell_path(CELL) / "digests.json").unlink()
    assert run.files(CELL).check_digests() == digests.Verdict(recorded=False)


def test_what_is_noticed(run: RunDirectory) -> None:
    save(run, 1)
    cell = run.cell_path(CELL)
    (cell / "metrics.csv").unlink()
    (cell / "curve.csv").write_bytes((cell / "curve.csv").read_bytes() + b"\n")
    (cell / "extra.csv").write_text("x")
    (cell / ".lock").write_text("no result")
    assert run.files(CELL).check_digests() == digests.Verdict(
        recorded=True, changed=("curve.csv",), missing=("metrics.csv",), unknown=("extra.csv",)
    )


@pytest.mark.parametrize("survivors", range(6))
def test_a_save_that_was_cut_off_is_no_damage(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """Of the five files of a save, digests first, only some reach the disk."""
    save(run, 1)
    with dying_after(monkeypatch, survivors):
        if survivors == 5:
            save(run, 2)
        else:
            with pytest.raises(KeyboardInterrupt):
                save(run, 2)
    verdict = run.files(CELL).check_digests()
    order = ("curve.csv", "metrics.csv", "episodes.npz", "status.json")
    # A curve without evaluations is the same before and after.
    late = {name for name in order[max(0, survivors - 1) :] if name != "curve.csv"}
    assert verdict.faults == ()
    assert set(verdict.unsaved) == (late if survivors else set())
    save(run, 2)
    assert run.files(CELL).check_digests() == digests.Verdict(recorded=True)


@pytest.mark.parametrize("survivors", range(5))
def test_a_first_save_that_was_cut_off_is_no_damage(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """Files that were never written are not missing, but those written before the last are."""
    with dying_after(monkeypatch, survivors), pytest.raises(KeyboardInterrupt):
        save(run, 1)
    order = ("curve.csv", "metrics.csv", "episodes.npz", "status.json")
    late = order[survivors - 1 :] if survivors else ()
    verdict = run.files(CELL).check_digests()
    assert verdict.faults == ()
    assert verdict.unsaved == tuple(sorted(late))
    if survivors > 2:
        (run.cell_path(CELL) / "curve.csv").unlink()
        assert run.files(CELL).check_digests().missing == ("curve.csv",)
    save(run, 1)
    assert run.files(CELL).check_digests() == digests.Verdict(recorded=True)


def test_two_saves_cut_off_in_a_row_are_no_damage(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second, of another file, must not forget what the first was about to replace."""
    save(run, 1)
    curve = run.cell_path(CELL) / "curve.csv"

    def die_after_the_digests(source: Path, target: Path) -> None:
        if target.name != "digests.json":
            raise KeyboardInterrupt
        replace(source, target)

    replace = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die_after_the_digests)
        with pytest.raises(KeyboardInterrupt):
            save(run, 2)
        with pytest.raises(KeyboardInterrupt), run.files(CELL).batch() as batch:
            batch.put_curve([])
    verdict = run.files(CELL).check_digests()
    assert verdict.faults == ()
    assert verdict.unsaved == ("episodes.npz", "metrics.csv", "status.json")
    curve.write_bytes(b"edited")
    assert run.files(CELL).check_digests().changed == ("curve.csv",)
    save(run, 2)
    assert run.files(CELL).check_digests() == digests.Verdict(recorded=True)


def test_converted_line_ends_are_told_for_what_they_are(run: RunDirectory) -> None:
    save(run, 1)
    for name in ("curve.csv", "status.json"):
        file = run.cell_path(CELL) / name
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    metrics = run.cell_path(CELL) / "metrics.csv"
    metrics.write_bytes(metrics.read_bytes().replace(b"1\n", b"2\r\n"))
    verdict = run.files(CELL).check_digests()
    assert verdict.changed == ("curve.csv", "metrics.csv", "status.json")
    assert verdict.line_ends == ("curve.csv", "status.json")
    assert "metrics.csv is not what was written" in verdict.faults
    assert "core.autocrlf" in verdict.faults[0]


def test_what_a_completed_save_replaced_is_an_edit(run: RunDirectory) -> None:
    save(run, 1)
    metrics = run.cell_path(CELL) / "metrics.csv"
    old = metrics.read_bytes()
    save(run, 2)
    with run.files(CELL).batch() as batch:
        batch.put_curve([])
    metrics.write_bytes(old)
    assert run.files(CELL).check_digests().changed == ("metrics.csv",)


def test_kept_files_are_recorded_with_the_next_save(run: RunDirectory) -> None:
    save(run, 1)
    kept = run.files(CELL).policy_path(0)
    kept.write_bytes(b"a")
    assert run.files(CELL).check_digests().unknown == ("policy-0.npz",)
    save(run, 2)
    assert run.files(CELL).check_digests() == digests.Verdict(recorded=True)
    kept.write_bytes(b"b")
    assert run.files(CELL).check_digests().changed == ("policy-0.npz",)


def test_a_single_file_keeps_the_digests_of_the_others(run: RunDirectory) -> None:
    save(run, 1)
    curve = run.cell_path(CELL) / "curve.csv"
    curve.write_bytes(b"edited")
    with run.files(CELL).batch() as batch:
        batch.put_metrics([{"env_steps": 7}])
    assert run.files(CELL).check_digests().changed == ("curve.csv",)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"files": {"a": 1}, "before": {}}', b"[" * 10**5, b"\xff"]
)
def test_damaged_digests_are_a_fault_and_mended_by_the_next_save(
    run: RunDirectory, content: bytes
) -> None:
    save(run, 1)
    (run.cell_path(CELL) / "digests.json").write_bytes(content)
    assert run.files(CELL).check_digests().problem.startswith("is damaged")
    save(run, 2)
    assert run.files(CELL).check_digests() == digests.Verdict(recorded=True)
