"""`suite run --on` with trainers that train: the bytes are those of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clustered.dask_processes import cluster
from processes.killing import (
    ROOT,
    TWO_SEEDS,
    assert_readable,
    finish,
    results,
    small_protocol,
    start,
)

from suite.cluster import dispatch
from suite.cluster.places import Place
from suite.cluster.run_on import launch_on
from suite.planning.run_request import make_request
from suite.storage.run_directory import RunDirectory


def test_a_worker_that_does_not_see_the_run_directory_sends_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dispatch, "sign_path", lambda *_: tmp_path / "no-such-file")
    request = make_request(
        "ppo", "CheetahRun", "1", "smoke", "native", tmp_path / "run", ["ppo.actor_hidden=8,8"]
    )
    shared = launch_on(request, Place("local", workers=1))
    assert not shared.failures
    assert not shared.outcome.interrupted
    run = RunDirectory.open(tmp_path / "run")
    assert [planned.state for planned in request.plan(run).jobs] == ["done"]
    assert_readable(tmp_path / "run")
    told = capsys.readouterr().err
    assert "its results are sent back" in told
    assert "640/640 steps (100%)" in told
    assert "1/1 jobs done" in told


MATRIX = [
    "--algos",
    "all",
    "--tasks",
    "CheetahRun,FingerSpin",
    *TWO_SEEDS,
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    code, errors = finish(start(["run", *MATRIX, "--protocol", "smoke", "--out", str(out)]))
    assert code == 0, errors
    return out


@pytest.mark.slow
@pytest.mark.parametrize("place", ["local:3", "tcp"])
def test_three_workers_store_the_bytes_of_one_process(
    place: str, alone: Path, tmp_path: Path
) -> None:
    command = ["run", *MATRIX, "--protocol", "smoke", "--out", str(tmp_path / "run"), "--on"]
    if place == "tcp":
        (tmp_path / "dask").mkdir()
        with cluster(tmp_path / "dask", 3) as workers:
            code, errors = finish(start([*command, workers.address]))
    else:
        code, errors = finish(start([*command, place]))
    assert code == 0, errors
    assert results(tmp_path / "run") == results(alone), errors
    assert_readable(tmp_path / "run")
    assert "all done" in errors


@pytest.mark.slow
def test_results_that_are_sent_are_the_bytes_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for name in ("shared", "sent"):
        if name == "sent":
            monkeypatch.setattr(dispatch, "sign_path", lambda *_: tmp_path / "no-such-file")
        out = tmp_path / name
        request = make_request("ppo,gorl-fm", "CheetahRun", "2", "smoke", "native", out, ())
        assert not launch_on(request, Place("local", workers=2)).failures
        found[name] = results(out)
    assert found["shared"] == found["sent"]


@pytest.mark.slow
def test_a_signal_to_the_command_has_every_worker_save(tmp_path: Path) -> None:
    protocol = small_protocol(tmp_path)
    out = tmp_path / "run"
    command = ["run", "--algos", "ppo,fpo", "--tasks", "CheetahRun", *TWO_SEEDS]
    command += ["--protocol", str(protocol), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "suite.cli", *command, "--on", "local:2"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "return" in line:
            break
    status = subprocess.run(
        [sys.executable, "-m", "suite.cli", "status", str(out), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = {each["worker"] for each in json.loads(status.stdout) if each["state"] == "running"}
    assert names <= {"local-0", "local-1"}
    assert names
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    errors = process.stderr.read()
    assert process.wait(60) == 130, errors
    assert time.monotonic() - began < 60
    assert "the same command goes on from here" in errors
    code, errors = finish(start([*command, "--on", "local:2"]))
    assert code == 0, errors
    code, errors = finish(start([*command[:-1], str(tmp_path / "alone")]))
    assert results(out) == results(tmp_path / "alone")
