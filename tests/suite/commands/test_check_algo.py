"""`suite check-algo` from the command line: what it prints and how it ends."""

from __future__ import annotations

import dataclasses
import json

import pytest
from learner import Learned, Learner

import suite.commands.check_algo
from algorithms.api import Rollout
from algorithms.off_policy.warm_up import RandomWarmUp
from algorithms.registry import Entry
from suite.checks.all_checks import ALL
from suite.cli import run_command


@dataclasses.dataclass(frozen=True)
class Untyped(Learner):
    """Has a field that cannot be typed after --set."""

    table: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class WarmedUp(RandomWarmUp, Learner):
    """Begins with random actions, which go into its buffer."""

    def record(self, state: Learned, rollout: Rollout) -> Learned:
        """Keeps what they gave."""
        return state._replace(buffer=self.kept(state.buffer, rollout))


@pytest.fixture
def untyped(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("untyped", Untyped, "a field cannot be typed")
    monkeypatch.setattr(suite.commands.check_algo, "resolve", lambda algos: [entry])


@pytest.mark.slow
def test_a_sound_method_with_a_warm_up_ends_with_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = Entry("warmed-up", WarmedUp, "begins with random actions")
    monkeypatch.setattr(suite.commands.check_algo, "resolve", lambda algos: [entry])
    assert run_command(["check-algo", "warmed-up"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "warmed-up: begins with random actions"
    for check, line in zip(ALL, lines[1:], strict=False):
        assert line.startswith(f"  {check.name:14} ok  "), line
    assert lines[2].endswith("(2 stages)")
    assert lines[-1].startswith(f"{len(ALL)} ok, 0 failed, in ")


@pytest.mark.usefixtures("untyped")
def test_a_failure_is_told_with_its_lesson_and_ends_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(["check-algo", "untyped"]) == 1
    output = capsys.readouterr().out
    check = ALL[0]
    assert "\nsettings: Untyped.table is of type dict[str, float]; a hyper-parameter is" in output
    assert f"{check.why} {check.mend}\n" in output
    assert "nothing can be said before settings holds" in output
    assert f"0 ok, 1 failed, {len(ALL) - 1} skipped, in 0 s" in output


@pytest.mark.usefixtures("untyped")
def test_json_has_a_row_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check-algo", "untyped", "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report["method"] == "untyped"
    assert [row["check"] for row in report["checks"]] == [check.name for check in ALL]
    assert [row["result"] for row in report["checks"][:2]] == ["FAIL", "skipped"]
    assert report["checks"][0]["why"] == ALL[0].why


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nobody"], "unknown algorithm 'nobody'"),
        (["ppo", "--set", "ppo.clips=1"], "unknown hyper-parameter of ppo 'clips'"),
        (["ppo", "--set", "ppo.clip=0"], "clip = 0.0 must be above 0"),
    ],
)
def test_bad_input_ends_with_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["check-algo", *arguments]) == 2
    assert expected in capsys.readouterr().err
