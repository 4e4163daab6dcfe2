"""How close `suite run --on` comes to the least time for a matrix, with workers that only sleep.

    python -m benchmarks.makespan [--json results/benchmarks/makespan.json]

150 jobs go to 32 workers of this machine through Dask and the loop that hands out jobs, as they
would in earnest; instead of training, a worker sleeps for a share of the seconds that a cell of
results/ took, drawn at random from all of them. No division of the jobs can be faster than the
longest job, nor than all of them together divided by the workers; the makespan is given over that
bound, as it was measured and as it would be if handing out took no time. "Known" are lengths that
the plan knows, as it does where seeds of a method and a task were trained before; where it knows
nothing, jobs go out in any order.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.claims import versions
from suite.cluster.dispatch import Dispatcher
from suite.cluster.opening import opened
from suite.cluster.orders import setup_of
from suite.cluster.places import Place, local_slots
from suite.cluster.sending import job_from
from suite.cluster.sharing import lower_bound, makespan
from suite.common import formatting
from suite.leases.worker import Worker
from suite.planning.run_request import make_request
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory
from suite.training.context import RunContext
from suite.training.launch import Shift
from suite.training.progress import Progress

JOBS, WORKERS = 150, 32
MEAN_SECONDS = 10.0
"""Of a job here."""

_asleep: dict[Job, float] = {}


def measured_seconds(results: pathlib.Path) -> list[float]:
    """Returns the seconds that each finished cell of the stored results took."""
    found = [json.loads(path.read_bytes()) for path in sorted(results.rglob("status.json"))]
    return [each["wall_seconds"] for each in found if each["state"] == "done"]


def nap(order: dict[str, object]) -> dict[str, object]:
    """Sleeps as long as a job takes."""
    plain = order["job"]
    assert isinstance(plain, dict)
    time.sleep(_asleep[job_from(plain)])
    return {"outcome": "done"}


class Sleepers(Dispatcher):
    """Hands out jobs whose lengths are given.

    Attributes:
        expected: of each job, what the plan would say.
    """

    expected: Mapping[Job, float]

    def _look_up(self) -> None:
        self._stale = False
        done = self._shift._tried
        left = {job: length for job, length in self.expected.items() if job not in done}
        self.board.lengths = left
        self.sharing.look_up(left)


def sleep_through(lengths: Mapping[Job, float], known: bool) -> float:
    """Returns the seconds that workers take to sleep for as long as the jobs take."""
    _asleep.clear()
    _asleep.update(lengths)
    place = Place("local", workers=WORKERS)
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "run"
        request = make_request("ppo", "CheetahRun", "1", "smoke", "native", out, ())
        run = RunDirectory.create(out, request.protocol)
        slots = local_slots(place, [], "native")
        with Worker(run.path) as worker, opened(place, WORKERS, slots) as pool:
            context = RunContext(request, run, Progress(), worker)
            setup = setup_of(request, worker.seconds, cache=False)
            sleepers = Sleepers(context, Shift(context, worker, {}), pool, setup, True, nap)
            sleepers.expected = {job: lengths[job] if known else 1.0 for job in lengths}
            began = time.perf_counter()
            sleepers.work()
            return time.perf_counter() - began


def row(name: str, lengths: Mapping[Job, float], known: bool) -> dict[str, object]:
    """Returns the makespan over the lower bound, measured and without handing out."""
    values = list(lengths.values())
    bound = lower_bound(values, WORKERS)
    took = sleep_through(lengths, known)
    ideal = makespan(values, WORKERS) if known else in_order(values, WORKERS)
    return {
        "lengths": name,
        "bound_seconds": round(bound, 2),
        "seconds": round(took, 2),
        "over_bound": round(took / bound, 3),
        "over_bound_without_handing_out": round(ideal / bound, 3),
    }


def in_order(lengths: Sequence[float], workers: int) -> float:
    """Returns the makespan of jobs that go out as they come."""
    ends = [0.0] * workers
    for length in lengths:
        ends[ends.index(min(ends))] += length
    return max(ends)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures both ways; prints a table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("results"))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args(arguments)
    seconds = measured_seconds(options.results)
    drawn = np.random.default_rng(0).choice(seconds, JOBS)
    scaled = MEAN_SECONDS * drawn / drawn.mean()
    jobs = [Job("sleeper", f"Task{index}", (0,)) for index in range(JOBS)]
    lengths = dict(zip(jobs, map(float, scaled), strict=True))
    rows = [row("known", lengths, True), row("unknown", lengths, False)]
    table = [tuple(str(value) for value in each.values()) for each in rows]
    print(formatting.table(tuple(rows[0]), table))
    if options.json:
        facts = {
            "jobs": JOBS,
            "workers": WORKERS,
            "cells_measured": len(seconds),
            "seconds_of_a_cell": [round(min(seconds), 1), round(max(seconds), 1)],
            "rows": rows,
            "versions": versions(),
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
