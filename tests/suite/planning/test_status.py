"""`suite status` on many cells."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from generate import generated_protocol, write_cell

from suite.planning.status import cell_reports
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory


@contextlib.contextmanager
def listing() -> Iterator[list[str]]:
    """Yields a list that grows by every directory that is listed."""
    found: list[str] = []
    watched = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watched and event in ("os.scandir", "os.listdir") and arguments[0]:
            found.append(str(arguments[0]))

    sys.addaudithook(hook)  # which stays for as long as the process does
    try:
        yield found
    finally:
        watched = False


def test_each_cell_is_looked_at_a_few_times_however_many_there_are(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", generated_protocol(2))
    entries = []
    for count in (10, 40):
        for seed in range(count):
            cell = Cell("ppo", "CheetahRun", seed)
            if not run.cell_path(cell).exists():
                write_cell(run, cell, Job("ppo", "CheetahRun", (seed,)), points=2)
        with listing() as listed:
            assert len(cell_reports(run)) == count
        entries.append(sum(len(os.listdir(path)) for path in listed))
    few, many = entries
    assert few > 10 and many < 4.5 * few  # with the square of the cells it would be 16 times


def test_earlier_divergences_are_those_of_the_cell(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", generated_protocol(2))
    for seed in (0, 1, 10):
        write_cell(
            run, Cell("ppo", "CheetahRun", seed), Job("ppo", "CheetahRun", (seed,)), points=2
        )
    for name in ("seed-001.diverged-1", "seed-001.diverged-2", "seed-010.diverged-7", "seed-x"):
        aside = run.path / "CheetahRun" / "ppo" / name
        aside.mkdir()
        (aside / "run.json").write_text("{}")
    (run.path / "CheetahRun" / "ppo" / "seed-000.diverged-1").mkdir()  # nothing in it
    kept = {report["seed"]: report["divergences_kept"] for report in cell_reports(run)}
    assert kept == {0: 0, 1: 2, 10: 1}
    for seed, count in kept.items():
        assert run.divergences_kept(Cell("ppo", "CheetahRun", seed)) == count
