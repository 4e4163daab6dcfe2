"""What `suite check-algo` says of every built-in method, and what that costs.

    python -m benchmarks.check_algo [ppo sac ...] [--again] [--json FILE]

Without names all methods, one after the other, each in a process of its own that compiles
everything anew. What the record (results/benchmarks/check-algo.json) holds is kept and not done
again, so that a stopped measurement goes on; with --again it is replaced. docs/reference/checks.md
shows the record, and tests/benchmarks/test_check_algo.py says where it is not of this code.

Seconds of the clock are those of a machine that may have done other things, and the ratios to
PPO's are of such times, of the fastest of a few tries each; what counts is the seconds of the CPU,
summed over its cores. `load_before` is the machine's load average when a method's turn came.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from algorithms.names import NAMES
from suite.common.errors import UserError
from suite.common.files import atomic_write, json_bytes
from suite.storage.provenance import provenance

RECORD = pathlib.Path(__file__).resolve().parents[1] / "results/benchmarks/check-algo.json"

Row = Mapping[str, Any]

_RATIO = re.compile(r"an action [^,]+, (\S+) of \w+'s; an update [^,]+, (\S+) of \w+'s")
_SAME = ("python", "platform", "cpu", "packages")
"""What all methods of one record are measured with."""


def examined(name: str) -> dict[str, Any]:
    """Runs `suite check-algo` on a method; returns its row of the record.

    Raises:
        UserError: it ended otherwise than by passing or failing.
    """
    command = [sys.executable, "-m", "suite", "check-algo", name, "--json", "--no-cache"]
    load, began, before = os.getloadavg()[0], time.perf_counter(), _cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, cwd=RECORD.parents[2])
    if done.returncode not in (0, 1):
        raise UserError(f"check-algo {name} ended with {done.returncode}: {done.stderr[-500:]}")
    (report,) = json.loads(done.stdout)
    return {
        "date": datetime.date.today().isoformat(),
        "git": provenance()["git"],
        "load_before": round(load, 1),
        "wall_seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(_cpu_seconds() - before, 1),
        **told(report),
    }


def _cpu_seconds() -> float:
    """Returns what processes that have ended used, in all cores together."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def told(report: Row) -> dict[str, Any]:
    """Returns states, what failures say, and ratios to PPO's, of a method's JSON."""
    checks = cast(Sequence[Row], report["checks"])
    states = {each["check"]: each["result"] for each in checks}
    reasons = {each["check"]: each["text"] for each in checks if each["result"] != "ok"}
    (cost,) = (each["text"] for each in checks if each["check"] == "cost")
    ratios = match.groups() if (match := _RATIO.match(cost)) else (None, None)
    act, update = (None if ratio is None else float(ratio) for ratio in ratios)
    return {"states": states, "reasons": reasons, "act_ratio": act, "update_ratio": update}


def load_record(path: pathlib.Path) -> dict[str, Any]:
    """Returns what is stored, or a record of this machine without methods.

    Raises:
        UserError: what is stored was measured with something else.
    """
    here = {key: value for key, value in provenance().items() if key not in ("git", "command")}
    if not path.exists():
        return {"command": "python -m benchmarks.check_algo", "where": here, "methods": {}}
    record = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    others = [key for key in _SAME if record["where"][key] != here[key]]
    if others:
        raise UserError(f"{path} is of another {' and '.join(others)}; move it away to begin anew")
    return record


def table(record: Row) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the rows of a record, a method each, as NAMES has them."""
    header = ["method", "ok", "failed", "skipped", "CPU s", "clock s", "action", "update"]
    return header, [_cells(name, record["methods"][name]) for name in _named(record)]


def _named(record: Row) -> list[str]:
    return [name for name in NAMES if name in record["methods"]]


def _cells(name: str, row: Row) -> list[str]:
    states = row["states"]
    ok = str(sum(state == "ok" for state in states.values()))
    others = [
        ", ".join(check for check, state in states.items() if state == wanted) or "-"
        for wanted in ("FAIL", "skipped")
    ]
    seconds = [f"{row[each]:.0f}" for each in ("cpu_seconds", "wall_seconds")]
    ratios = ["-" if row[each] is None else f"{row[each]:g}" for each in _RATIOS]
    return [name, ok, *others, *seconds, *ratios]


_RATIOS = ("act_ratio", "update_ratio")


def print_table(record: Row) -> None:
    """Prints it, and what failures say."""
    header, rows = table(record)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for cells in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)))
    for name in _named(record):
        for check, reason in record["methods"][name]["reasons"].items():
            print(f"{name}, {check}: {reason}")


def main() -> None:
    """Measures what the record lacks, stores each method as it comes, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every method")
    parser.add_argument("--again", action="store_true", help="replace what the record holds")
    parser.add_argument("--json", type=pathlib.Path, default=RECORD, help="file of the record")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"unknown method {name}; there are {', '.join(NAMES)}")
    try:
        _measure(options.names or NAMES, options.json, options.again)
    except UserError as error:
        sys.exit(f"error: {error}")


def _measure(names: Sequence[str], path: pathlib.Path, again: bool) -> None:
    record = load_record(path)
    for name in names:
        if again or name not in record["methods"]:
            print(f"{name} ...", flush=True)
            record["methods"][name] = examined(name)
            atomic_write(path, json_bytes(record))
    print_table(record)


if __name__ == "__main__":
    main()
