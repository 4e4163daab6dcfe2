"""The record of what `suite check-algo` says of every built-in method, and what makes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from algorithms.names import NAMES
from benchmarks import check_algo
from docs import catalog
from suite.checks.all_checks import ALL

FAILING = {"fpo-plus-plus": {"probes"}}
"""Checks that a method is known to fail, for a reason that docs/reference/checks.md tells."""


def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check_algo.RECORD.read_text(encoding="utf-8"))
    return found


def test_the_record_is_of_these_methods_and_these_checks() -> None:
    methods = record()["methods"]
    assert set(methods) == set(NAMES)
    for name, row in methods.items():
        assert set(row["states"]) == {check.name for check in ALL}, name


def test_no_method_fails_a_check_without_it_being_told() -> None:
    for name, row in record()["methods"].items():
        failed = {check for check, state in row["states"].items() if state == "FAIL"}
        assert failed == FAILING.get(name, set()), row["reasons"]


def test_the_page_shows_every_method_with_what_the_record_holds() -> None:
    lines = catalog.fill("<!-- catalog: checked -->").splitlines()
    for name, row in record()["methods"].items():
        (line,) = (line for line in lines if line.startswith(f"| `{name}` |"))
        assert f"| {row['cpu_seconds']:.0f} | {row['wall_seconds']:.0f} |" in line
        assert line.endswith(f"| {row['act_ratio']:g} | {row['update_ratio']:g} |")


def report(state: str = "ok") -> dict[str, Any]:
    cost = "an action 0.36 ms, 0.78 of ppo's; an update 17 s, 81 of ppo's, in 256 environments"
    checks = [
        {"check": "probes", "result": state, "text": "it loses 0.1"},
        {"check": "cost", "result": "ok", "text": cost},
    ]
    return {"method": "sac", "seconds": 1.0, "checks": checks}


def test_states_reasons_and_ratios_come_from_what_the_command_prints() -> None:
    told = check_algo.told(report("FAIL"))
    assert told["states"] == {"probes": "FAIL", "cost": "ok"}
    assert told["reasons"] == {"probes": "it loses 0.1"}
    assert (told["act_ratio"], told["update_ratio"]) == (0.78, 81.0)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    """Runs the script with what takes minutes replaced; returns the methods that it measured."""
    measured: list[str] = []

    def examined(name: str) -> dict[str, Any]:
        measured.append(name)
        return {"wall_seconds": 2.0, "cpu_seconds": 1.0, **check_algo.told(report())}

    monkeypatch.setattr(check_algo, "examined", examined)
    monkeypatch.setattr(sys, "argv", ["check_algo", *arguments])
    check_algo.main()
    return measured


def test_what_the_record_holds_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--json", str(tmp_path / "record.json"))
    assert run(monkeypatch, "sac", *out) == ["sac"]
    assert run(monkeypatch, "ppo", "sac", *out) == ["ppo"]
    assert run(monkeypatch, "sac", "--again", *out) == ["sac"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[-2:]] == [
        ["ppo", "2", "-", "-", "1", "2", "0.78", "81"],
        ["sac", "2", "-", "-", "1", "2", "0.78", "81"],
    ]


def test_a_record_of_another_machine_is_not_mixed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    run(monkeypatch, "sac", "--json", str(path))
    stored = json.loads(path.read_text())
    stored["where"]["cpu"] = "another"
    path.write_text(json.dumps(stored))
    with pytest.raises(SystemExit, match="is of another cpu; move it away"):
        run(monkeypatch, "ppo", "--json", str(path))


def test_help_and_unknown_names_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--json", str(tmp_path / "record.json"))
    for arguments, code in (["--help"], 0), (["nobody"], 2):
        with pytest.raises(SystemExit) as ended:
            run(monkeypatch, *arguments, *out)
        assert ended.value.code == code
    assert not list(tmp_path.iterdir())
