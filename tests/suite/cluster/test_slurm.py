"""`--on slurm` on a real SLURM of this machine, where there is one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from clustered import slurm
from clustered.slurm import Slurm
from processes.killing import (
    ROOT,
    TWO_SEEDS,
    assert_readable,
    finish,
    results,
    small_protocol,
    start,
    starts,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing() or "there is one"),
]

PLACE = """\
kind = "slurm"
partition = "main"
walltime = "00:30:00"
workers = 2
cores = 1
gpus = 1
memory = "2GB"
setup = ["export GORL_SEEN=yes"]
python = "{python}"
logs = "{logs}"
"""


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm.slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def trainers() -> dict[int, dict[str, str]]:
    """Returns the environment of every trainer that was started by SLURM."""
    found = {}
    for process in psutil.process_iter():
        try:
            if "suite.cluster.trainer" in process.cmdline():
                variables = process.environ()
                if "SLURM_JOB_ID" in variables:
                    found[process.pid] = variables
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def test_a_matrix_goes_through_and_a_cancelled_job_is_finished_by_another(
    system: Slurm, tmp_path: Path
) -> None:
    protocol = small_protocol(tmp_path)
    options = [
        "--algos",
        "ppo,gorl-fm",
        "--tasks",
        "CheetahRun,FingerSpin",
        *TWO_SEEDS,
    ]
    options += ["--protocol", str(protocol), "--lease-seconds", "5"]
    out = str(tmp_path / "run")
    place = tmp_path / "cluster.toml"
    place.write_text(PLACE.format(python=sys.executable, logs=tmp_path / "logs"))
    process = subprocess.Popen(
        [sys.executable, "-m", "suite.cli", "run", *options, "--out", out, "--on", str(place)],
        stderr=subprocess.PIPE,
        text=True,
        env={**system.environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert process.stderr is not None
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.extend(process.stderr or ()))
    reader.start()
    until = time.monotonic() + 240
    while sum("return" in line for line in told) < 3 and time.monotonic() < until:
        time.sleep(0.2)
    seen = trainers()
    handed = sorted(each["CUDA_VISIBLE_DEVICES"] for each in seen.values())
    victim = system.jobs()[0]
    system.call("scancel", victim)
    process.wait(timeout=500)
    reader.join()
    errors = "".join(told)
    assert process.returncode == 0, errors
    assert handed == ["0", "1"], errors
    assert all(each["GORL_SEEN"] == "yes" for each in seen.values())
    assert not system.call("squeue", "-h").strip()
    alone = tmp_path / "alone"
    code, alone_errors = finish(start(["run", *options, "--out", str(alone)]))
    assert code == 0, alone_errors
    assert results(tmp_path / "run") == results(alone), errors
    assert_readable(tmp_path / "run")
    assert max(map(len, starts(tmp_path / "run").values())) >= 2, errors
    print(errors, starts(tmp_path / "run"), victim)
