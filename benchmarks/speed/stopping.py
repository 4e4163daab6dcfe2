"""Measures how long `suite run` takes to save and stop, for each signal.

    python -m benchmarks.speed.stopping --protocol paper

Each signal is sent in the middle of an update, after the first line that shows an ETA. The run
must then end with what it had and at most one update more, and the next goes on from there.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from suite.common import formatting
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
INTERRUPTED = 130
"""Exit code."""

COLUMNS = (
    "signal",
    "first ETA after s",
    "updates then",
    "asked after s",
    "stopped s later",
    "saved",
)
PROGRESS = re.compile(r"([\d,]+)/[\d,]+ steps .*ETA (?!\?)")


class Stop(NamedTuple):
    """One run that was stopped.

    Attributes:
        number: of the signal.
        shown: seconds from its start to the first ETA.
        before: updates that line speaks of.
        asked: seconds from that line to the signal.
        waited: seconds from the signal to the end of the process.
        after: updates that were saved.
    """

    number: signal.Signals
    shown: float
    before: int
    asked: float
    waited: float
    after: int

    def row(self) -> tuple[str, ...]:
        """Returns what the table shows."""
        seconds = [f"{each:.1f}" for each in (self.shown, self.asked, self.waited)]
        return (
            self.number.name, seconds[0], str(self.before), seconds[1], seconds[2], str(self.after)
        )  # fmt: skip


def stop_by(number: signal.Signals, out: Path, options: argparse.Namespace) -> Stop:
    """Goes on with the run in `out` until a line shows an ETA, and sends a signal a little later.

    Raises:
        RuntimeError: the process ended before, or otherwise than as an interrupted run.
    """
    chosen = ["--tasks", options.task, "--algos", options.algorithm, "--seeds", "1"]
    command = ["run", *chosen, "--protocol", str(options.protocol), "--out", str(out)]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "suite.cli", *command], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = next((found for line in process.stderr if (found := PROGRESS.search(line))), None)
        shown = time.perf_counter()
        if seen is None:
            raise RuntimeError("the run ended before it had shown an ETA")
        time.sleep(options.delay)
        asked = time.perf_counter()
        process.send_signal(number)
        process.stderr.read()
        code = process.wait()
        ended = time.perf_counter()
    if code != INTERRUPTED:
        raise RuntimeError(f"{number.name} ended the run with exit code {code}")
    run = RunDirectory.open(out)
    status = run.files(Cell(options.algorithm, options.task, 0)).read_status()
    assert status is not None
    before = int(seen[1].replace(",", "")) // run.protocol.steps_per_update
    return Stop(number, shown - began, before, asked - shown, ended - asked, status.updates)


def main(arguments: Sequence[str] | None = None) -> int:
    """Stops one run by each signal; returns 1 if it made more than one update more."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--task", default="CheetahRun")
    parser.add_argument("--algorithm", default="ppo")
    parser.add_argument("--delay", type=float, default=2.0, help="seconds before the signal")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        stops = []
        for number in SIGNALS:
            stops.append(stop_by(number, Path(directory) / "run", options))
            print(*stops[-1].row(), file=sys.stderr, flush=True)
    print(formatting.table(COLUMNS, [stop.row() for stop in stops]))
    return int(any(stop.after > stop.before + 1 for stop in stops))


if __name__ == "__main__":
    sys.exit(main())
