"""docs/findings.md says what the runs under results/ say."""

from __future__ import annotations

import sys

import pytest

from benchmarks import findings


def test_the_page_is_what_its_runs_make_of_it() -> None:
    page = findings.PAGE.read_text(encoding="utf-8")
    assert findings.rebuilt(page, leave=findings.UNCHECKED) == page


@pytest.mark.parametrize("name", findings.TABLES)
def test_every_table_is_on_the_page(name: str) -> None:
    page = findings.PAGE.read_text(encoding="utf-8")
    assert f"<!-- table {name} -->\n<details><summary>" in page


def test_help_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["findings", "--help"])
    monkeypatch.setattr(
        findings, "atomic_write", lambda path, content: pytest.fail(f"wrote {path}")
    )
    with pytest.raises(SystemExit) as ended:
        findings.main()
    assert ended.value.code == 0


def test_a_changed_number_is_noticed() -> None:
    page = findings.PAGE.read_text(encoding="utf-8")
    edited = page.replace("| PPO | cumulative-after | 5", "| PPO | cumulative-after | 6", 1)
    assert edited != page
    others = frozenset(findings.TABLES) - {"normalizer"}
    assert findings.rebuilt(edited, leave=others) == page
