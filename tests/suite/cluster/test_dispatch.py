"""Who gets which job, and what becomes of those that fail: with trainers that train nothing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from suite.cluster import workers
from suite.cluster.places import Place
from suite.cluster.run_on import Shared, launch_on
from suite.common import interrupt
from suite.planning.run_request import RunRequest, make_request

HELPER = Path(__file__).resolve().parents[2] / "helpers" / "clustered" / "standing_in.py"
ALGORITHMS = "ppo,fpo,dppo"

Play = Callable[..., Shared]


@pytest.fixture
def request_(tmp_path: Path) -> RunRequest:
    out = tmp_path / "run"
    return make_request(ALGORITHMS, "CheetahRun", "2", "smoke", "native", out, (), 2)


@pytest.fixture
def play(
    tmp_path: Path, request_: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> Play:  # fmt: skip
    monkeypatch.setattr(RunRequest, "check_methods", lambda *_: None)

    def run(script: Mapping[str, list[Any]], count: int = 2, **options: Any) -> Shared:
        named = {f"CheetahRun/{name}": steps for name, steps in script.items()}
        (tmp_path / "script.json").write_text(json.dumps(named))
        program = (str(HELPER), str(tmp_path / "script.json"), str(tmp_path / "log"))
        monkeypatch.setattr(workers, "PROGRAM", program)
        place = Place("local", workers=count)
        return launch_on(request_, place, **{"lease_seconds": 1.0, **options})

    return run


def started(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "log").read_text().splitlines()]


def names(directory: Path) -> list[str]:
    return [each["name"].partition("/")[2] for each in started(directory)]


def test_every_job_is_trained_once_by_no_more_processes_than_workers(
    play: Play, tmp_path: Path
) -> None:
    outcome, failures = play({})
    assert not outcome.interrupted
    assert not failures
    assert sorted(names(tmp_path)) == ["dppo", "fpo", "ppo"]
    assert len({each["pid"] for each in started(tmp_path)}) <= 2


def test_a_poisoned_job_is_named_after_three_tries_and_the_rest_goes_on(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, failures = play({"fpo": ["crash"]})
    assert names(tmp_path).count("fpo") == 3
    assert {"ppo", "dppo"} <= set(names(tmp_path))
    (failure,) = failures
    assert failure.job.algorithm == "fpo"
    assert failure.fault
    assert "SIGSEGV" in failure.message
    told = capsys.readouterr().err
    assert "about to crash" in told
    assert "is given up" in told


def test_a_job_that_crashes_once_is_trained(play: Play, tmp_path: Path) -> None:
    _, failures = play({"fpo": ["crash", "fault", "done"]})
    assert not failures
    assert names(tmp_path).count("fpo") == 3


def test_wrong_input_is_not_tried_again(play: Play, tmp_path: Path) -> None:
    _, failures = play({"fpo": ["refuse"]})
    assert [(each.message, each.fault) for each in failures] == [("CheetahRun/fpo refuse", False)]
    assert names(tmp_path).count("fpo") == 1


def test_a_silent_worker_loses_its_job(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def wake() -> None:
        until = time.monotonic() + 60
        while names_or_none(tmp_path).count("fpo") < 2 and time.monotonic() < until:
            time.sleep(0.05)
        first = next(each for each in started(tmp_path) if each["name"].endswith("fpo"))
        os.kill(first["pid"], signal.SIGCONT)

    thread = threading.Thread(target=wake)
    thread.start()
    _, failures = play({"fpo": ["silent", "done"]})
    thread.join()
    assert not failures
    assert names(tmp_path).count("fpo") == 2
    assert "shows no sign of life" in capsys.readouterr().err


def test_a_trainer_that_is_told_to_stop_gives_its_job_to_another(
    play: Play, tmp_path: Path
) -> None:
    def preempt() -> None:
        until = time.monotonic() + 60
        while "fpo" not in names_or_none(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
        first = next(each for each in started(tmp_path) if each["name"].endswith("fpo"))
        os.kill(first["pid"], signal.SIGTERM)

    thread = threading.Thread(target=preempt)
    thread.start()
    _, failures = play({"fpo": ["wait", "done"]})
    thread.join()
    assert not failures
    tries = [each["pid"] for each in started(tmp_path) if each["name"].endswith("fpo")]
    assert len(set(tries)) == 2


def test_an_interrupt_reaches_every_worker(play: Play, tmp_path: Path) -> None:
    def ask() -> None:
        until = time.monotonic() + 60
        while len(names_or_none(tmp_path)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        interrupt.request()

    thread = threading.Thread(target=ask)
    thread.start()
    outcome, failures = play({"ppo": ["wait"], "fpo": ["wait"], "dppo": ["wait"]})
    thread.join()
    assert outcome.interrupted
    assert not failures
    assert len(names(tmp_path)) == 2


def test_seeds_are_split_only_where_that_is_asked(play: Play, tmp_path: Path) -> None:
    play({}, count=4, split_seeds=True)
    assert sorted(each["seeds"] for each in started(tmp_path)) == 3 * [[0]] + 3 * [[1]]


def names_or_none(directory: Path) -> list[str]:
    return names(directory) if (directory / "log").exists() else []
