"""Everything that is stored in results/ passes its audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.audit.audit import audit_directories
from reports.audit.check import failed

RESULTS = Path(__file__).resolve().parents[3] / "results"
KNOWN = {"gpu/paper": {"finished", "evaluation starts"}}
"""Checks that fail and why they do is written beside the runs (results/gpu/README.md)."""

STORED = sorted(f.parent.relative_to(RESULTS).as_posix() for f in RESULTS.rglob("protocol.json"))


def test_there_are_stored_results() -> None:
    assert {"lite", *KNOWN} <= set(STORED)


@pytest.mark.parametrize("name", STORED)
def test_the_audit_passes(name: str) -> None:
    found = {check.name: check.text for check in failed(audit_directories((RESULTS / name,)))}
    assert found.keys() == KNOWN.get(name, set()), found
