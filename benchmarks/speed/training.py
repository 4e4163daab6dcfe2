"""How fast training is, piece by piece, and how near to what this machine could do at most.

For each method and task, five seeds in a process on all CPUs, and a seed in a process on each as
`suite run` has it: environment steps a second end to end, of the rollout, the update and the
evaluation alone, of the physics alone, and the share of the roof (see pieces.py here); where a
run's time goes; what compiling takes. With --scaling also one method and task on one CPU, and
against the number of seeds in a job, of environments and the width of the critic, with the peak
memory. One table last, and a record.

    python -m benchmarks.speed.training --methods ppo,fpo --tasks CheetahRun,WalkerWalk --scaling

What the record holds of the same code, versions and machine is kept and not measured again, so
that a stopped measurement goes on; with --again it is replaced. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.common.files import atomic_write, json_bytes
from suite.storage.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "results/benchmarks/training.json"
METHODS = ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff")
TASKS = ("CheetahRun", "HopperStand", "WalkerWalk", "FishSwim")

Row = dict[str, Any]

_KEPT = ("commit", "python", "cpu", "packages")
"""What rows of one record must have in common to be kept."""


def sizes(method: str, task: str) -> dict[str, tuple[str, ...]]:
    """Returns the arguments of pieces.py for each size of a job that is compared."""
    job = (method, task)
    return {
        **{f"{seeds} seeds": (*job, f"--seeds={seeds}") for seeds in (1, 2, 5, 10)},
        **{
            f"{envs} environments": (*job, f"--set=protocol.num_envs={envs}")
            for envs in (64, 128, 512, 1024)
        },
        **{
            f"critic 3 x {width}": (*job, f"--set={method}.critic_hidden=[{width},{width},{width}]")
            for width in (32, 64, 256)
        },
    }


def measured(arguments: Sequence[str], cpus: Sequence[Sequence[int]]) -> list[Row]:
    """Runs pieces.py in processes at once, one for each set of CPUs; returns their rows.

    Raises:
        RuntimeError: a process failed.
    """
    here, command = (
        os.sched_getaffinity(0),
        [sys.executable, "-m", "benchmarks.speed.pieces", *arguments],
    )
    running = []
    for allowed in cpus:
        os.sched_setaffinity(0, allowed)  # a child begins with its parent's
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    os.sched_setaffinity(0, here)
    outputs = [process.communicate()[0] for process in running]
    if failed := [process.args for process in running if process.returncode]:
        raise RuntimeError(f"failed: {failed[0]!r}")
    load = round(os.getloadavg()[0], 1)
    return [{**json.loads(text.splitlines()[-1]), "load_after": load} for text in outputs]


def one_each(arguments: Sequence[str]) -> Row:
    """Returns what as many processes as CPUs do together, one on each, of one seed."""
    rows = measured((*arguments, "--seeds=1"), [[cpu] for cpu in sorted(os.sched_getaffinity(0))])
    summed = ("whole", "rollout", "update", "evaluation", "physics", "roof", "peak_memory_mb")
    total = {**rows[0], **{name: sum(row[name] for row in rows) for name in summed}}
    return {**total, "share_of_roof": total["whole"] / total["roof"]}


def line(name: str, row: Mapping[str, Any]) -> str:
    """Formats one line of a table."""
    speeds = "".join(
        f"{row[piece]:>11,.0f}"
        for piece in ("whole", "rollout", "update", "evaluation", "physics", "roof")
    )
    time = "".join(f"{100 * share:>7.0f}" for share in row["time"].values())
    tail = f"{row['compile_seconds']:>9.1f}{row['peak_memory_mb']:>8,.0f}"
    return f"{name:<30}{speeds}{100 * row['share_of_roof']:>7.0f}{time}{tail}"


def heading() -> str:
    """The line above the lines of a table."""
    speeds = "".join(
        f"{name:>11}"
        for name in ("all/s", "rollout/s", "update/s", "eval/s", "physics/s", "roof/s")
    )
    shares = "".join(
        f"{name:>7}" for name in ("%roof", "%phys", "%polic", "%updat", "%rest", "%eval")
    )
    return f"{'':<30}{speeds}{shares}{'compile':>9}{'MB':>8}"


def facts() -> dict[str, Any]:
    """Returns what a row depends on."""
    found: dict[str, Any] = dict(provenance())
    return {**found, "commit": found["git"]["commit"], "date": datetime.date.today().isoformat()}


class Record:
    """The rows measured so far, kept in a file after each."""

    def __init__(self, path: Path, again: bool) -> None:
        """Reads `path`; rows of other code, versions or machines are left out."""
        self.path, self.facts = path, facts()
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        same = all(stored.get("facts", {}).get(name) == self.facts[name] for name in _KEPT)
        self.rows: dict[str, Row] = stored.get("rows", {}) if same and not again else {}

    def add(self, rows: Mapping[str, Row]) -> None:
        """Keeps rows and prints them."""
        self.rows.update(rows)
        atomic_write(self.path, json_bytes({"facts": self.facts, "rows": self.rows}))
        for name, row in rows.items():
            print(line(name, row), flush=True)


def main() -> None:
    """Measures what the record lacks, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--protocol", default="lite")
    parser.add_argument("--scaling", action="store_true", help="against threads, seeds, sizes too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--json", type=Path, default=RECORD)
    options = parser.parse_args()
    record = Record(options.json, options.again)
    common = (f"--protocol={options.protocol}", f"--repeats={options.repeats}")
    everything = [sorted(os.sched_getaffinity(0))]
    methods, tasks = options.methods.split(","), options.tasks.split(",")
    print(heading())
    jobs: dict[str, tuple[str, ...]] = {f"{m} {t}": (m, t) for t in tasks for m in methods}
    if options.scaling:
        first = (methods[0], tasks[0])
        jobs |= {f"{' '.join(first)}, {size}": job for size, job in sizes(*first).items()}
        one_cpu = "1 CPU, 1 seed"
        if one_cpu not in record.rows:
            row = measured((*first, *common, "--seeds=1"), [everything[0][:1]])[0]
            record.add({one_cpu: row})
    for name, job in jobs.items():
        if name not in record.rows:
            record.add({name: measured((*job, *common), everything)[0]})
        apart = f"{name}, a seed on each CPU"
        if len(job) == 2 and apart not in record.rows:
            record.add({apart: one_each((*job, *common))})
    print("\n".join(["", heading(), *(line(name, row) for name, row in record.rows.items())]))


if __name__ == "__main__":
    main()
