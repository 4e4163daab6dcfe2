"""What was recomputed stands in the audit and in a report's stamp, on its maker's word alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from generate import generate_runs

from reports.audit.recomputed import recomputation_checks, stamp_of
from reports.audit.verdict import Verdict, stamped
from reports.writing.recomputed_runs import read_stamp, run_directories
from suite.cli import EXIT_USER_ERROR, run_command
from suite.storage.recomputation import (
    NOT_KEPT,
    Evaluation,
    Missing,
    Recomputation,
    Replayed,
    Retrained,
    content_digest,
    read_recomputation,
    write_recomputation,
)
from suite.storage.run_directory import RunDirectory

RESULTS = Path(__file__).resolve().parents[3] / "results"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return generate_runs(tmp_path / "run", ("ppo", "fpo"), ("CheetahRun",), range(2), points=3)


def replayed(run: RunDirectory, equal: int = 16, fault: str = "") -> Recomputation:
    """Returns what recomputing two evaluations of each cell would have come to."""
    return Recomputation(
        "a machine",
        tuple(
            Replayed(
                str(cell),
                content_digest(run.files(cell)),
                (Evaluation(0, 16, 16), Evaluation(20, 16, equal, fault)),
                (Missing(NOT_KEPT, 1),),
                elsewhere=() if equal == 16 else ("jax 0.9 (0.10 here)",),
                last=20,
            )
            for cell in run.cells()
        ),
    )


def report(run: RunDirectory, out: Path, *options: str) -> int:
    command = ["report", str(run.path), "--out", str(out), "--format", "tables", "--reps", "100"]
    return run_command([*command, *options])


def test_the_words_of_the_checks(run: RunDirectory) -> None:
    found = replayed(run, equal=10)
    recomputed, missing = recomputation_checks(found)
    assert recomputed.text == (
        "8 evaluations of 4 of 4 runs, the scored last one of 4; 104 of 128 returns "
        "equal bit for bit, the others within rounding (made with jax 0.9 (0.10 here))"
    )
    assert (missing.verdict, missing.text) == (
        "not recorded", f"4 evaluations of 4 runs, as {NOT_KEPT}"
    )  # fmt: skip
    untrusted = dataclasses.replace(
        found.replayed[0], evaluations=(), missing=(Missing("its file is not trusted", 3),)
    )
    mixed = dataclasses.replace(found, replayed=(untrusted, *found.replayed[1:]))
    recomputed, missing = recomputation_checks(mixed)
    assert "of 3 of 4 runs, the scored last one of 3;" in recomputed.text
    assert (recomputed.verdict, missing.verdict) == ("warning", "warning")
    assert missing.text == (
        "3 evaluations of 1 run, as its file is not trusted; "
        f"3 evaluations of 3 runs, as {NOT_KEPT}"
    )
    trained = Recomputation("", (), (Retrained("a", "", ("run.json",)),), draw_seed=5)
    (check,) = recomputation_checks(trained)
    assert (check.verdict, check.text) == (
        "ok",
        "a: every byte but times is equal (drawn by seed 5)",
    )


def test_a_stamp_is_of_these_very_contents(run: RunDirectory) -> None:
    found = replayed(run)
    digests = {each.digest for each in found.replayed}
    assert len(digests) == 4
    whole, part = stamp_of(found, digests), stamp_of(found, {found.replayed[0].digest, "other"})
    assert whole is not None and part is not None
    assert whole.text.startswith("On a machine: Recomputed: 8 evaluations of 4 of 4 runs")
    assert "Nothing was recomputed of 1 other run." in part.text
    assert "1 of 1 run," in part.text
    assert stamp_of(found, {"other"}) is None


def test_a_report_says_what_was_recomputed(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "recomputed.json", tmp_path / "report"
    write_recomputation(file, replayed(run))
    assert read_recomputation(file) == replayed(run)
    assert report(run, out, "--recomputed", str(file)) == 0
    said = capsys.readouterr().out
    assert "On a machine: Recomputed: 8 evaluations of 4 of 4 runs" in said
    assert f"Not recomputed: 4 evaluations of 4 runs, as {NOT_KEPT}." in said
    stamp = json.loads((out / "request.json").read_text())["stamp"]
    assert not stamp["failed"] and stamp["text"] in said

    # Made again it is the same, and its word on the recomputation is not taken for a check.
    assert run_command(["audit", str(run.path), "--report", str(out), "--json"]) == 0
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["report"]["verdict"] == "ok"
    assert checks["report's stamp"]["verdict"] == "warning"
    assert "--recompute would check" in checks["report's stamp"]["text"]


def test_what_was_not_reproduced_is_the_verdict(run: RunDirectory, tmp_path: Path) -> None:
    file = tmp_path / "recomputed.json"
    write_recomputation(file, replayed(run, equal=3, fault="sample: 13 of 16 returns differ"))
    comparable = Verdict("good", "Comparable.", "One protocol.")
    found = stamped(comparable, read_stamp(file, [run.path]))
    assert (found.level, found.word) == ("bad", "Not reproduced.")
    assert found.text.startswith("On a machine: Recomputed: CheetahRun/fpo/seed-000 after 20 upd")
    assert found.text.endswith(" One protocol.")
    assert stamped(comparable, None) is comparable


def test_a_directory_cannot_claim_its_own(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("recomputed.json", "recomputation.json"):
        write_recomputation(run.path / name, replayed(run))
    assert report(run, tmp_path / "report") == 0
    assert "ecomputed" not in capsys.readouterr().out
    assert "stamp" not in json.loads((tmp_path / "report" / "request.json").read_text())


def test_a_file_of_other_runs_or_none(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recomputed.json"

    def error() -> str:
        assert report(run, tmp_path / "report", "--recomputed", str(file)) == EXIT_USER_ERROR
        return capsys.readouterr().err

    assert "is no file of what was recomputed" in error()
    file.write_text('{"machine": 3}')
    assert "is damaged" in error()
    write_recomputation(file, replayed(run))
    for cell in run.cells():
        episodes = run.files(cell).read_episodes()
        assert episodes is not None
        with run.files(cell).batch() as batch:
            batch.put_episodes(episodes[0], episodes[1] + 1)
    assert "is of other runs" in error()


def test_an_ablations_arms_are_its_run_directories() -> None:
    path = RESULTS / "statistics-restart"
    assert run_directories([path]) == [path / "true", path / "false"]
    assert run_directories([RESULTS / "lite"]) == [RESULTS / "lite"]
