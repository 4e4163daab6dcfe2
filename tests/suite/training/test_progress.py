"""Progress lines, plain text and interrupts."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from suite.common import formatting, interrupt
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory
from suite.training.progress import Progress

JOB = Job("ppo", "CheetahRun", (0, 1, 4))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(stream: io.StringIO) -> str:
    with Progress(stream).job(JOB, 4000) as line:
        line.note("compiling")
        line.update(0, 0.0, [None, None, None])
        line.update(1000, 20.0, [1.25, None, 30.0])
    return stream.getvalue()


def test_plain_lines_where_there_is_no_terminal() -> None:
    lines = report(io.StringIO()).splitlines()
    assert lines == [
        "CheetahRun/ppo seeds 0-1,4  compiling",
        "CheetahRun/ppo seeds 0-1,4  0/4,000 steps (0%)  0 steps/s  ETA ?  return - - -",
        "CheetahRun/ppo seeds 0-1,4  1,000/4,000 steps (25%)  20 steps/s  ETA 2m30s  "
        "return 1.2 - 30.0",
    ]


def test_lines_that_stay_are_few_between_evaluations() -> None:
    stream, times = io.StringIO(), [0.0]
    with Progress(stream, now=lambda: times[0]).job(JOB, 4000) as line:
        line.update(40, 0.0, [])  # goes on from there
        for seconds in (5, 10, 64, 66, 70):  # the first with an ETA, then one after a minute
            times[0] = seconds
            line.update(10 * seconds, 10.0, [], passing=True)
        line.update(800, 10.0, [])  # an evaluation
    shown = [each.split()[3].partition("/")[0] for each in stream.getvalue().splitlines()]
    assert shown == ["40", "50", "660", "800"]


def test_one_live_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    output = report(Terminal())
    assert output.count("\n") == 1
    assert output.endswith("\n")
    shown = output.rstrip("\n").split("\r")[1:]
    assert len(shown) == 3
    assert {len(each) for each in shown} == {59}  # each covers the one before, none wraps


def test_the_line_ends_after_an_error() -> None:
    stream = Terminal()
    with pytest.raises(KeyError), Progress(stream).job(JOB, 1) as line:
        line.note("x")
        raise KeyError
    assert stream.getvalue().endswith("\n")


@pytest.mark.parametrize("speed", [float("nan"), float("inf"), -1.0])
def test_odd_speeds_do_no_harm(speed: float) -> None:
    stream = io.StringIO()
    with Progress(stream).job(JOB, 0) as line:
        line.update(10, speed, [])
    assert "ETA ?" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "?"), (0, "0s"), (59.6, "1m00s"), (61, "1m01s"), (3700, "1h01m"), (180_000, "2d02h")],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert formatting.duration(seconds) == expected


def test_tables_align_numbers_to_the_right() -> None:
    assert formatting.table(("a", "n"), [("x", "1,000"), ("long", "-")]) == (
        "a         n\nx     1,000\nlong      -"
    )
    assert formatting.table(("a", "b"), []) == "a  b"


def test_an_interrupt_is_a_request_and_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    for number in interrupt.SIGNALS:
        with interrupt.handling():
            assert not interrupt.requested()
            os.kill(os.getpid(), number)
            assert interrupt.requested()
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before


def test_a_run_that_is_to_outlive_its_terminal_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interrupt.handling():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested()
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupt.requested()
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    program = (
        "import time; from suite.common import interrupt\n"
        "with interrupt.handling():\n"
        "    print('ready', flush=True)\n"
        "    while not interrupt.requested(): time.sleep(0.01)\n"
        "    print('asked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT
        assert "saving after this update" in process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full"])
def test_training_outlives_the_place_where_it_tells_of_itself(tmp_path: Path, closing: str) -> None:
    asked = "run --algos ppo --tasks CheetahRun --seeds 1 --protocol smoke --out"
    command = f'exec "$0" -m suite {asked} "$1" {closing}'
    out = tmp_path / "run"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(["sh", "-c", command, sys.executable, str(out)], cwd=root)
    assert done.returncode == 0
    status = RunDirectory.open(out).files(Cell("ppo", "CheetahRun", 0)).read_status()
    assert status is not None and status.state == "done"
