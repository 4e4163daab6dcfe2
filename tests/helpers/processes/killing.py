"""What the tests share that kill `suite run`: a small run, and what must be equal after it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.configuration.protocol import load_protocol
from suite.storage.digests import CHECKPOINTS, PARTS, is_own_checkpoint
from suite.storage.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parents[3]
TIMES = ("wall_seconds", "compile_seconds", "train_seconds", "eval_seconds")

Moment = tuple[str, int, float]
"""Place, count and amount, as tests/helpers/processes/dying.py takes them."""


TWO_SEEDS = ("--seeds", "2", "--seeds-together", "2")
"""Of `suite run`: two seeds in one job, as on a GPU, where `native` would have two jobs."""


def small_protocol(directory: Path) -> Path:
    """Writes the smoke protocol with an evaluation after every update."""
    text = (ROOT / "suite" / "protocols" / "smoke.toml").read_text()
    path = directory / "small.toml"
    path.write_text(text.replace("eval_interval = 4", "eval_interval = 1"))
    assert load_protocol(str(path)).eval_interval == 1
    return path


def arguments(protocol: Path, algorithms: str, out: Path) -> list[str]:
    """Returns the arguments that train two seeds on one task."""
    options = {"--protocol": protocol, "--algos": algorithms, "--out": out}
    listed = [str(each) for option in options.items() for each in option]
    return [
        "run",
        *listed,
        "--tasks",
        "CheetahRun",
        *TWO_SEEDS,
        "--lease-seconds",
        "30",
    ]


def start(command: Sequence[str], moment: Moment | None = None) -> subprocess.Popen[str]:
    """Starts `suite` with these arguments; with a moment, in a process that dies at it."""
    program = ["-m", "suite.cli"]
    if moment is not None:
        program = [str(ROOT / "tests" / "helpers" / "processes" / "dying.py"), *map(str, moment)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *program, *command],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for a process; returns its exit code, negative for a signal, and standard error."""
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def results(run: Path) -> dict[str, Any]:
    """Returns all that a run directory holds, by file, without what depends on time alone."""
    found = {}
    for path in sorted(run.rglob("*")):
        if path.is_file() and is_result(path):
            found[str(path.relative_to(run))] = content(path)
    return found


def is_result(path: Path) -> bool:
    """Returns whether a file of a run directory must be the same whatever happened to the run."""
    if path.name.startswith(".") or path.parent.name == ".workers":
        return False
    # The digests are of files with times in them; the checkpoint before may be either of two.
    return path.suffix not in (".prev", ".digests") and path.name != "digests.json"


def assert_readable(run: Path) -> None:
    """Reads every file of every cell as the reports do, and compares it with its digest."""
    directory = RunDirectory.open(run)
    for cell in directory.cells():
        files = directory.files(cell)
        files.read_run()
        files.read_status()
        files.read_curve()
        files.read_episodes()
        assert not files.check_digests().faults
    for file in run.glob("*/*/job-*.ckpt*"):
        kind = PARTS if file.suffix == ".part" else CHECKPOINTS
        checkpoint = file if file.suffix == ".ckpt" else file.with_suffix("")
        assert file.suffix == ".digests" or is_own_checkpoint(checkpoint, file, kind)


def seconds_of_a_job(run: Path) -> float:
    """Returns how long the first job took to train, without compiling."""
    directory = RunDirectory.open(run)
    curve = directory.files(directory.cells()[0]).read_curve()
    return curve[-1].train_seconds + curve[-1].eval_seconds


def starts(run: Path) -> dict[str, list[str]]:
    """Returns who started each cell: tokens of processes, in order."""
    directory = RunDirectory.open(run)
    found = {}
    for cell in directory.cells():
        record = directory.files(cell).read_run()
        assert record is not None
        found[str(cell)] = [str(each["worker"]) for each in record.provenance]
    return found


def content(path: Path) -> Any:
    """Returns what a file holds, without what depends on time alone."""
    if path.name == "run.json":
        return json.loads(path.read_bytes())["configuration"]
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_bytes()))
    if path.name == "curve.csv":
        return _timeless(list(csv.DictReader(io.StringIO(path.read_text()))))
    if path.suffix == ".ckpt":
        return _checkpoint(path)
    return path.read_bytes()


def _checkpoint(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    facts = json.loads(json.loads(arrays.pop("manifest").tobytes())["facts"])
    leaves = {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in arrays.items()}
    facts["meta"].pop("clock")
    return leaves, _timeless(facts)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in TIMES}
    return [_timeless(each) for each in value] if isinstance(value, list) else value
