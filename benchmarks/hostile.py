"""Seconds and memory that reading commands take on directories that are made to hurt.

    python -m benchmarks.hostile [NAME ...] [--commands audit eval ...] [--code CHECKOUT] [--again]
        [--json results/benchmarks/hostile.json]

Every directory of benchmarks/hostile_directories.py, and a sound one, in a temporary folder, and
every command that reads one. A command is ended after a minute of the CPU, three of the clock, or
once it holds 4 GiB. What the record holds is kept and not measured again, so that a stopped
measurement goes on; with --again it is replaced. With --code the commands are those of another
checkout of this program, and stand in the record under `before`. A row: how a command ended (an
exit code, or `time`, `memory`, `traceback`), its seconds by the clock and of the CPU, the most
memory that it held in MiB, and its last line; `escapes` if anything that it printed could have
commanded a terminal. The machine may do other things, so the CPU's seconds are the ones to compare.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from benchmarks.hostile_directories import HOSTILE, cells, hostile_report
from suite.common.files import atomic_write, json_bytes

ROOT = pathlib.Path(__file__).resolve().parents[1]
SECONDS = 180.0
CPU_SECONDS = 60
BYTES = 4 << 30
ADDRESSES = 32 << 30
"""Of memory that may be asked for; JAX asks for far more than it uses."""

_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028]")
_QUICK = ("--reps", "200")
_POLICY = ("--task", "CheetahRun")

Row = Mapping[str, Any]
Arguments = Callable[[pathlib.Path, pathlib.Path], Sequence[object]]

READING: Mapping[str, Arguments] = {
    "status": lambda run, _: ("status", run),
    "audit": lambda run, _: ("audit", run),
    "audit --report": lambda run, at: ("audit", run, "--report", at / "report"),
    "export": lambda run, at: ("export", run, "--out", at / "table.csv"),
    "report": lambda run, at: ("report", run, "--out", at / "again", "--format", "html", *_QUICK),
    "compare": lambda run, at: ("compare", at / "ours" / "run", run, *_QUICK),
    "regress": lambda run, at: ("regress", run, "--against", at / "ours" / "run", *_QUICK),
    "eval": lambda run, _: ("eval", run, *_POLICY, "--algo", "ppo", "--seed", 0, "--episodes", 2),
    "actions": lambda run, at: (
        *("actions", run, *_POLICY, "--out", at / "actions", "--states", 2, "--samples", 1000),
    ),
}
"""What is measured, of a directory and of a folder with a sound one and its report."""


@dataclasses.dataclass
class _Seen:
    """What is seen of a process: the most bytes that it held, and what it was ended for."""

    peak: int = 0
    ended: str = ""


def measured(command: Sequence[object], code: pathlib.Path) -> Row:
    """Runs a command of a checkout under limits; returns its row."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "suite", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=code,
        preexec_fn=_limit_addresses,
    )
    seen = _Seen()
    watch = threading.Thread(target=_watch, args=(process, began, seen))
    watch.start()
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.join()
    text = said.decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    ended = seen.ended
    if not ended and usage.ru_utime + usage.ru_stime > CPU_SECONDS - 1:
        ended = "time"
    if not ended:
        faulty = "Traceback" in text or "a fault in the program" in text
        ended = "traceback" if faulty else str(process.returncode)
    return {
        "ended": ended,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "mib": seen.peak >> 20,
        "said": _COMMANDS.sub("?", lines[-1])[:200] if lines else "",
        "escapes": _COMMANDS.search(text) is not None,
    }


def _limit_addresses() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


def _watch(process: subprocess.Popen[bytes], began: float, seen: _Seen) -> None:
    """Notes how much memory a process has held, and ends it if that or its time is too much."""
    while _is_running(process.pid):
        seen.peak = _peak(process.pid) or seen.peak
        if time.perf_counter() - began > SECONDS:
            seen.ended = "time"
        elif seen.peak > BYTES:
            seen.ended = "memory"
        if seen.ended:
            process.kill()
            return
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _peak(pid: int) -> int:
    """Returns the most bytes that a process has held; 0 if it is gone.

    What the system tells at its end would count the memory of the process that began it, too.
    """
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, flags=re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def make_sound(at: pathlib.Path) -> pathlib.Path:
    """Trains a small run and reports it, by this very checkout; returns its directory."""
    sound = at / "ours" / "run"  # reports show a directory's own name, so both have one
    training = ("run", "--algos", "ppo,gorl-fm", *("--tasks", "CheetahRun"), "--seeds", 2)
    for command in (
        (*training, "--protocol", "smoke", "--out", sound),
        ("report", sound, "--out", at / "report", "--format", "html,tables", *_QUICK),
    ):
        subprocess.run(
            [sys.executable, "-m", "suite", *map(str, command)],
            check=True,
            cwd=ROOT,
            capture_output=True,
        )
    return sound


Measured = dict[str, dict[str, Row]]
"""Rows by directory and command."""


def measure(
    at: pathlib.Path, wanted: Mapping[str, Sequence[str]], code: pathlib.Path
) -> Iterator[tuple[str, str, Row]]:
    """Yields directory, command and row of everything that is wanted, commands by directory."""
    sound = make_sound(at)
    for name, commands in wanted.items():
        if name in MANY:
            run = _many(at, sound, MANY[name])
        elif name == REPORT:
            run = sound
            hostile_report(at / "report")
        else:
            run = at / "theirs" / "run"
            shutil.copytree(sound, run)
            HOSTILE.get(name, lambda _: None)(run)
        for command in commands:
            row = measured(READING[command](run, at), code)
            yield name, command, {**row, "said": _neutral(row["said"], at)}
        if run != sound:
            shutil.rmtree(run)


def _many(at: pathlib.Path, sound: pathlib.Path, count: int) -> pathlib.Path:
    """Makes a directory of so many cells, of which little more is there than how far they are."""
    first = cells(sound)[0]
    run = at / "many" / "run"
    shutil.copytree(sound, run)
    for seed in range(count):
        cell = run / first.parent.relative_to(sound) / f"seed-{seed + 1000}"
        cell.mkdir()
        for name in ("run.json", "status.json"):
            shutil.copyfile(first / name, cell / name)
    return run


MANY: Mapping[str, int] = {"500 cells": 500, "2,000 cells": 2000}
"""Directories whose `suite status` should take time in proportion."""

REPORT = "report"
"""The sound directory with a hostile report; the last, as it spoils the report of the others."""

COMMANDS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("sound", *HOSTILE), tuple(READING)),
    **dict.fromkeys(MANY, ("status",)),
    REPORT: ("audit --report",),
}
"""What there is to measure."""


def load_record(path: pathlib.Path | None) -> dict[str, Any]:
    """Returns what is stored, or a record of this machine without rows."""
    if path is not None and path.exists():
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    return {
        "command": "python -m benchmarks.hostile",
        "date": datetime.date.today().isoformat(),
        "limits": {"seconds": SECONDS, "cpu_seconds": CPU_SECONDS, "mib": BYTES >> 20},
        "where": _where(),
        "after": {},
        "before": {},
    }


def _where() -> dict[str, Any]:
    """Returns the machine's facts as another process tells them.

    JAX, which tells some, would make this one larger, and a process that is begun counts the memory
    of the one that begins it as its own.
    """
    program = (
        "import json; from suite.storage.provenance import provenance\n"
        "print(json.dumps(provenance()))"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    return {key: value for key, value in json.loads(said).items() if key != "command"}


def _neutral(text: str, directory: pathlib.Path) -> str:
    """Returns what a command said without folders of this machine."""
    return text.replace(f"{directory}/", "").replace(f"{tempfile.gettempdir()}/", ".../")


def main() -> None:
    """Measures what the record lacks, stores and prints each row as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of directories; default: all")
    parser.add_argument("--commands", nargs="*", choices=READING, default=list(READING))
    parser.add_argument("--code", type=pathlib.Path, default=ROOT, help="another checkout")
    parser.add_argument("--again", action="store_true", help="replace what the record holds")
    parser.add_argument("--json", type=pathlib.Path, help="file of the record")
    options = parser.parse_args()
    if wrong := [name for name in options.names if name not in COMMANDS]:
        parser.error(f"unknown {', '.join(wrong)}; there are {', '.join(COMMANDS)}")
    record = load_record(options.json)
    done: Measured = record["after" if options.code.samefile(ROOT) else "before"]
    wanted = {
        name: [
            command
            for command in COMMANDS[name]
            if command in options.commands and (options.again or command not in done.get(name, {}))
        ]
        for name in COMMANDS
        if name in (options.names or COMMANDS)
    }
    wanted = {name: commands for name, commands in wanted.items() if commands}
    with tempfile.TemporaryDirectory() as folder:
        for name, command, row in measure(pathlib.Path(folder), wanted, options.code):
            done.setdefault(name, {})[command] = row
            _print(name, command, row)
            if options.json:
                atomic_write(options.json, json_bytes(record))


def _print(name: str, command: str, row: Row) -> None:
    print(
        f"{name:22} {command:15} {row['ended']:>9} {row['seconds']:6.1f} s "
        f"{row['cpu_seconds']:6.1f} s {row['mib']:6,} MiB  "
        f"{'ESCAPES ' * row['escapes']}{row['said'][:90]}",
        flush=True,
    )


if __name__ == "__main__":
    main()
