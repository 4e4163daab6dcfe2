"""The command line: choices, messages and exit codes."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import click
import jax
import numpy as np
import pytest

from algorithms import registry
from algorithms.names import ALL
from envs.tasks import resolve_tasks
from suite import cli
from suite.catalog.listings import LISTINGS
from suite.cluster import places
from suite.commands.look import list_
from suite.common import jax_settings
from suite.common.errors import UserError
from suite.common.files import move
from suite.configuration.protocol import load_protocol
from suite.leases.lease import Lease, LeaseLost
from suite.leases.worker import Worker
from suite.planning.plan import Plan
from suite.planning.run_request import RunRequest, make_request
from suite.storage import run_directory
from suite.storage.records import Cell, Configuration, Divergence, Job, Ledger, Status
from suite.storage.run_directory import RunDirectory
from suite.training import launch, stored_policies
from suite.training.context import JobResult, RunContext
from suite.training.progress import Progress

TWO = ("--seeds-together", "2")
SMOKE = (*TWO, "--protocol", "smoke", "--tasks", "CheetahRun", "--algos", "ppo,gorl-fm",
         "--seeds", "2")  # fmt: skip


class Result(NamedTuple):
    code: int
    out: str
    err: str


Suite = Callable[..., Result]


@pytest.fixture
def suite(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Suite:
    """Runs a command in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        code = cli.run_command(arguments)
        return Result(code, *capsys.readouterr())

    return invoke


class FakeTraining:
    """Stands in for the training loop: writes what it would, and remembers the jobs."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.diverge: tuple[int, ...] = ()
        self.stop_after: int | None = None
        self.fail: BaseException | None = None

    def __call__(self, job: Job, context: RunContext) -> JobResult:
        if self.fail:
            raise self.fail
        with context.run.locked(job, context.worker):
            self.jobs.append(job)
            for cell in job.cells:
                context.run.write_run(self.configuration(cell, job, context), {})
                with context.run.files(cell).batch() as batch:
                    batch.put_status(self.status(cell))
        return JobResult(self.diverge, interrupted=len(self.jobs) == self.stop_after)

    def status(self, cell: Cell) -> Status:
        returns = {"deterministic": 12.5, "sample": 10.0}
        if cell.seed in self.diverge:
            return Status("diverged", 2, 4, Ledger(320), 3.0, returns, Divergence(320, "critic"))
        return Status("done", 4, 4, Ledger(640, eval_steps=8000), 3.0, returns)

    @staticmethod
    def configuration(cell: Cell, job: Job, context: RunContext) -> Configuration:
        return Configuration(
            algorithm=cell.algorithm,
            task=cell.task,
            seed=cell.seed,
            seeds_together=job.seeds,
            hyperparameters=context.request.hyperparameters[cell.algorithm],
            engine=context.request.engine,
            protocol=context.request.protocol.to_dict(),
            fingerprint=context.request.protocol.fingerprint(),
            parameter_count=1,
            evaluations_per_action=1,
            model_hash="",
        )


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr(launch, "run_job", fake)
    return fake


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_costs_less_than_half_a_second_of_cpu() -> None:
    def cpu_seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    python("-m", "suite.cli", "--help")  # writes the byte code
    before = cpu_seconds()
    result = python("-m", "suite.cli", "--help")
    assert cpu_seconds() - before < 0.5
    assert result.returncode == 0
    for command in cli.COMMANDS:
        assert f"  {command} " in result.stdout


def test_nothing_heavy_is_imported_for_help_and_cheap_lists() -> None:
    program = (
        "import sys; from suite.cli import run_command\n"
        "for a in ('--help', 'run --help', 'report --help', 'list tasks', 'list protocols'):\n"
        "    assert run_command(a.split()) == 0\n"
        "heavy = {'jax', 'numpy', 'mujoco', 'pandas', 'flax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = python("-c", program)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "--algos", "gorlfm"), "unknown algorithm 'gorlfm'; did you mean 'gorl-fm'"),
        (("run", "--tasks", "CheetaRun"), "did you mean 'CheetahRun'"),
        (("run", "--protocol", "smok"), "did you mean 'smoke'"),
        (("run", "--protocol", "none.toml"), "none.toml: no such file"),
        (("run", "--engine", "nativ"), "did you mean 'native'"),
        (("run", "--engine", "warp"), "needs an NVIDIA GPU"),
        (("run", "--seeds", "4-2"), "runs backwards"),
        (("run", "--set", "ppo.clp=1"), "did you mean 'clip'"),
        (("run", "--set", "ppo.clip=high"), "'high' is not a finite number"),
        (("run", "--set", "gorl.clip=1"), "did you mean 'gorl-fm'"),
        (("run", "--algos", "ppo", "--set", "fpo.clip=1"), "fpo is not among the --algos"),
        (("run", "--set", "gorl-fm.stage_shares=1,1"), "stage_shares must be positive"),
        (("plan", "--algo", "ppo"), "No such option '--algo'"),
        (("rnu",), "No such command 'rnu'"),
        (("list", "algorithms"), "'algorithms' is not one of 'algos', 'tasks', 'protocols'"),
        (("status", "nowhere"), "nowhere is no run directory"),
        (("eval", "nowhere", "--task", "a", "--algo", "b", "--seed", "0"), "no run directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    suite: Suite, tmp_path: Path, arguments: Sequence[str], expected: str
) -> None:
    result = suite(*arguments)
    assert result.code == 2
    assert result.out == ""
    error = [line for line in result.err.splitlines() if not line.startswith("suite: no GPU")]
    assert len(error) == 1
    assert error[0].startswith("suite: error: ")
    assert expected in error[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[algorithms.ppoo]\nclip = 1', "did you mean 'ppo'"),
        ('[algorithms.ppo]\nclp = 1', "did you mean 'clip'"),
        ('[algorithms.dppo]\nclip = "x"', "'x' is not a finite number"),
        ('[algorithms."*"]\nnothing_has_this = 1', "unknown hyper-parameter of *"),
    ],
)  # fmt: skip
def test_a_protocols_settings_are_checked_for_all_algorithms(
    suite: Suite, tmp_path: Path, table: str, expected: str
) -> None:
    preset = (Path(cli.__file__).parent / "protocols" / "fair.toml").read_text()
    (tmp_path / "mine.toml").write_text(f"{preset}\n{table}\n")
    result = suite("plan", "--protocol", "mine.toml", "--algos", "ppo")
    assert result.code == 2
    assert expected in result.err


def test_without_a_gpu_the_protocol_is_lite_and_that_is_said(suite: Suite) -> None:
    result = suite("plan", "--algos", "ppo", "--json")
    assert json.loads(result.out)["protocol"] == "lite"
    assert json.loads(result.out)["engine"] == "native"
    assert result.err == (
        "suite: no GPU was found: protocol lite; --protocol fair is the full comparison\n"
    )


def test_plan_lists_the_whole_comparison(suite: Suite) -> None:
    result = suite("plan", "--protocol", "fair", "--json")
    jobs = json.loads(result.out)["jobs"]
    pairs = [(name, task) for name in ALL for task in resolve_tasks("dmc6")]
    cells = [
        (each["job"]["algorithm"], each["job"]["task"], *each["job"]["seeds"]) for each in jobs
    ]
    assert sorted(cells) == sorted((*pair, seed) for pair in pairs for seed in range(5))
    assert {job["env_steps"] for job in jobs} == {183 * 2048 * 480}
    assert result.err == ""


def test_the_plan_of_the_humanoids_is_what_the_documentation_says(suite: Suite) -> None:
    options = ("--tasks", "humanoid2", "--protocol", "paper2026", "--algos", "all", "--json")
    plan = json.loads(suite("plan", *options).out)
    tasks = {job["job"]["task"] for job in plan["jobs"]}
    assert tasks == {"HumanoidStand", "HumanoidRun"}
    cells = sum(len(job["job"]["seeds"]) for job in plan["jobs"])
    # 3 methods of 183 updates, and 2 of as many with 3 refits of 480 steps in 2048 environments.
    assert plan["env_steps"] == 2 * 5 * 983_040 * (5 * 183 + 2 * 3)
    said = f"{cells} runs and {plan['env_steps']:,} environment steps"
    text = (Path(cli.__file__).parents[1] / "docs" / "concepts.md").read_text(encoding="utf-8")
    assert said in " ".join(text.split())


def test_run_trains_reports_and_then_skips(suite: Suite, training: FakeTraining) -> None:
    assert suite("run", *SMOKE).code == 0
    assert [str(job) for job in training.jobs] == [
        "CheetahRun/ppo seeds 0-1",
        "CheetahRun/gorl-fm seeds 0-1",
    ]
    assert suite("run", *SMOKE).code == 0
    assert len(training.jobs) == 2
    assert suite("run", *SMOKE[:-1], "3").code == 0
    assert [job.seeds for job in training.jobs[2:]] == [(2,), (2,)]
    result = suite("status", "runs/smoke", "--json")
    cells = json.loads(result.out)
    assert len(cells) == 6
    assert cells[0] == {
        "task": "CheetahRun",
        "algorithm": "gorl-fm",
        "seed": 0,
        "state": "done",
        "updates": 4,
        "total_updates": 4,
        "env_steps": 640,
        "eval_steps": 8000,
        "wall_seconds": 3.0,
        "returns": {"deterministic": 12.5, "sample": 10.0},
        "diverged_at": None,
        "diverged_leaf": None,
        "divergences_kept": 0,
        "worker": None,
    }
    assert "6 cells: 6 done" in suite("status", "runs/smoke").out


def test_status_says_who_trains_a_cell(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite("run", *SMOKE)
    path = Path("runs/smoke/CheetahRun/ppo/seed-000")
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps({**status, "state": "running"}))
    with Worker(Path("runs/smoke"), name="node-7") as worker:
        lease = worker.acquire([path])
        assert "running on node-7" in suite("status", "runs/smoke").out
        lease.release()
    with Worker(Path("runs/smoke"), name="\x1b[2J") as worker:
        lease = worker.acquire([path])
        assert "\x1b" not in suite("status", "runs/smoke").out
        lease.release()
    assert "stopped" in suite("status", "runs/smoke").out


def test_seeds_are_split_only_between_workers(suite: Suite) -> None:
    result = suite("run", *SMOKE, "--split-seeds")
    assert result.code == 2
    assert "--split-seeds goes with --on" in result.err


def test_a_core_trains_a_seed_where_nothing_else_is_said(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "usable_cores", lambda: [0, 1])
    monkeypatch.delenv("SUITE_ON")
    found = json.loads(suite("plan", *SMOKE[2:], "--json").out)
    assert [each["job"]["seeds"] for each in found["jobs"]] == [[0], [1], [0], [1]]
    assert found["workers"]["on"] == "local"
    assert found["workers"]["workers"] == 2
    assert "workers" not in json.loads(suite("plan", *SMOKE[2:], "--on", "here", "--json").out)
    few = json.loads(suite("plan", *SMOKE, "--json").out)  # two jobs, a minute by a rough guess
    assert "workers" not in few


def test_a_plan_says_how_long_with_so_many_workers(suite: Suite) -> None:
    result = suite("plan", *SMOKE, "--on", "local:2")
    assert "on 2 workers (local): 30s, 30s at the least" in result.out
    assert "0-1  new" in result.out
    split = suite("plan", *SMOKE, "--on", "local:4", "--split-seeds", "--json")
    found = json.loads(split.out)
    assert [each["job"]["seeds"] for each in found["jobs"]] == [[0], [1], [0], [1]]
    assert found["workers"]["workers"] == 4
    assert 0 < found["workers"]["bound"] <= found["workers"]["seconds"]


def test_jobs_that_were_given_up_end_the_command_otherwise(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suite.cluster import run_on
    from suite.cluster.sharing import Failure

    job = Job("ppo", "CheetahRun", (0, 1))
    for fault, code in ((True, 70), (False, 2)):
        failure = Failure(job, "ended by SIGSEGV", fault)
        shared = run_on.Shared(launch.Outcome((), interrupted=False), (failure,))
        monkeypatch.setattr(run_on, "launch_on", lambda *_, shared=shared: shared)
        result = suite("run", *SMOKE, "--on", "local")
        assert result.code == code
        assert "given up: CheetahRun/ppo seeds 0-1: ended by SIGSEGV" in result.err


def test_a_method_that_was_changed_since_is_named_before_it_goes_on(
    suite: Suite, training: FakeTraining, caplog: pytest.LogCaptureFixture
) -> None:
    suite("run", *SMOKE)
    path = Path("runs/smoke/CheetahRun/ppo/seed-000/run.json")
    record = json.loads(path.read_text())
    record["provenance"] = [{"method": {"source": "0" * 16}}]
    path.write_text(json.dumps(record))
    suite("run", *SMOKE)
    assert not caplog.records  # nothing is left to train
    suite("run", *SMOKE[:-1], "3")
    (told,) = [each.getMessage() for each in caplog.records]
    assert "the source of ppo was changed since runs/smoke/CheetahRun/ppo/seed-000" in told


def test_dry_run_trains_and_writes_nothing(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    result = suite("run", *SMOKE, "--dry-run")
    assert result.code == 0
    assert "2 jobs, 4 cells, 2,560 environment steps" in result.out
    warning = "warning: too few runs to tell any two of 2 algorithms apart: needs 4 seeds or 3"
    assert result.out.splitlines()[-1] == f"{warning} tasks"
    assert training.jobs == []
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_seed_gives_exit_code_1_and_the_others_go_on(
    suite: Suite, training: FakeTraining
) -> None:
    training.diverge = (1,)
    result = suite("run", *SMOKE)
    assert result.code == 1
    assert len(training.jobs) == 2
    assert "diverged: CheetahRun/ppo/seed-001, CheetahRun/gorl-fm/seed-001;" in result.err
    assert suite("run", *SMOKE).code == 1  # still so when there is nothing left to do
    assert "diverged at 320 in critic" in suite("status", "runs/smoke").out


def test_diverged_seeds_start_afresh_only_when_asked(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    training.diverge = (1,)
    suite("run", *SMOKE)
    training.diverge = ()
    assert suite("run", *SMOKE).code == 1
    assert len(training.jobs) == 2
    result = suite("run", *SMOKE, "--retry-diverged")
    assert result.code == 0
    assert "ppo/seed-001 starts afresh; its diverged run is in runs/smoke" in result.err
    assert [str(job) for job in training.jobs[2:]] == [
        "CheetahRun/ppo seeds 1",
        "CheetahRun/gorl-fm seeds 1",
    ]
    kept = tmp_path / "runs" / "smoke" / "CheetahRun" / "ppo" / "seed-001.diverged-1"
    assert json.loads((kept / "status.json").read_text())["state"] == "diverged"
    assert json.loads((kept / "run.json").read_text())["configuration"]["seeds_together"] == [0, 1]
    assert "done, 1 earlier diverged" in suite("status", "runs/smoke").out
    for options in ((), ("--retry-diverged",)):
        assert suite("run", *SMOKE, *options).code == 0
    assert len(training.jobs) == 4


def test_a_seed_that_diverges_again_is_kept_again(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    training.diverge = (0, 1)
    suite("run", *SMOKE)
    for _ in range(2):
        assert suite("run", *SMOKE, "--retry-diverged").code == 1
    assert [job.seeds for job in training.jobs] == [(0, 1)] * 6
    directory = tmp_path / "runs" / "smoke" / "CheetahRun" / "ppo"
    kept = sorted(path.parent.name for path in directory.glob("seed-000.*/run.json"))
    assert kept == ["seed-000.diverged-1", "seed-000.diverged-2"]
    assert len(RunDirectory.open(tmp_path / "runs" / "smoke").cells()) == 4


def test_two_that_retry_at_once_leave_no_checkpoint_behind(
    suite: Suite, training: FakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one process puts seed 0 away, another tries to put seed 1 away."""
    training.diverge = (0, 1)
    suite("run", *SMOKE)
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    job = Job("ppo", "CheetahRun", (0, 1))
    run.checkpoint_path(job).write_bytes(b"diverged")
    with Worker(run.path) as one, Worker(run.path) as two:
        shifts = [putting_away(run, worker, dict.fromkeys(job.cells, 0)) for worker in (one, two)]
        settled = []

        def moving(path: Path, target: Path) -> None:
            monkeypatch.setattr(run_directory, "move", move)
            settled.append(shifts[1]._put_away(job.cells[1], job))
            move(path, target)

        monkeypatch.setattr(run_directory, "move", moving)
        assert shifts[0]._put_away(job.cells[0], job)
        assert settled == [False]
        assert shifts[1]._put_away(job.cells[1], job)
    directory = run.path / "CheetahRun" / "ppo"
    found = [path.parent.name for path in directory.rglob("*.ckpt")]
    assert found == ["seed-001.diverged-1"]


def test_what_another_process_tried_again_is_not_put_away(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    training.diverge = (0, 1)
    suite("run", *SMOKE)
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    job = Job("ppo", "CheetahRun", (0, 1))
    with Worker(run.path) as late:
        shift = putting_away(run, late, dict.fromkeys(job.cells, 0))
        suite("run", *SMOKE, "--retry-diverged")
        assert all(shift._put_away(cell, job) for cell in job.cells)
    assert [run.divergences_kept(cell) for cell in job.cells] == [1, 1]


def putting_away(run: RunDirectory, worker: Worker, retry: dict[Cell, int]) -> launch.Shift:
    request = make_request("ppo", "CheetahRun", "2", "smoke", "native", run.path, ())
    return launch.Shift(RunContext(request, run, Progress(), worker), worker, retry)


def test_a_seed_taken_by_another_group_is_no_riddle(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    """As older versions could leave it, when a run died before seed 1 had its run.json."""
    suite("run", *SMOKE)
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    alone = run.cell_path(Cell("ppo", "CheetahRun", 1)) / "run.json"
    alone.write_text(alone.read_text().replace('"seeds_together": [\n   0,', '"seeds_together": ['))
    begun = run.cell_path(Cell("ppo", "CheetahRun", 0))
    (begun / "status.json").unlink()
    result = suite("run", *SMOKE, "--lease-seconds", "0.5")
    assert result.code == cli.EXIT_USER_ERROR
    assert "ppo/seed-000 away, and run the same command again" in result.err
    begun.rename(tmp_path / "away")
    assert suite("run", *SMOKE).code == 0
    assert [job.seeds for job in training.jobs] == [(0, 1), (0, 1), (0,)]


@pytest.fixture
def held(suite: Suite, training: FakeTraining, tmp_path: Path) -> Iterator[Lease]:
    """Seed 1 of ppo is another process's, in a run directory where nothing was trained yet."""
    run = RunDirectory.create(tmp_path / "runs" / "smoke", load_protocol("smoke"))
    with Worker(run.path) as other:
        yield other.acquire([run.cell_path(Cell("ppo", "CheetahRun", 1))])


def test_a_job_that_was_taken_over_is_left_or_taken_back(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [LeaseLost("runs/smoke/x was taken over by another process")]

    def lose_once(job: Job, context: RunContext) -> JobResult:
        if lost:
            raise lost.pop()
        return training(job, context)

    monkeypatch.setattr(launch, "run_job", lose_once)
    result = suite("run", *SMOKE)
    assert result.code == 0
    assert (
        result.err.splitlines().count("suite: runs/smoke/x was taken over by another process") == 1
    )
    assert [job.algorithm for job in training.jobs] == ["gorl-fm", "ppo"]


def test_nothing_is_written_where_everything_is_done(
    suite: Suite, training: FakeTraining, tmp_path: Path
) -> None:
    suite("run", *SMOKE)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert suite("run", *SMOKE).code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_what_another_process_trains_is_left_to_it(
    suite: Suite, training: FakeTraining, held: Lease
) -> None:
    assert suite("status", "runs/smoke").out == "no cell was started yet\n"
    result = suite("run", *SMOKE, "--no-wait")
    assert result.code == 3
    assert [job.algorithm for job in training.jobs] == ["gorl-fm"]
    assert result.err.splitlines()[-1] == (
        "suite: left to other processes: CheetahRun/ppo seeds 0-1; everything else is done"
    )
    held.check()


def test_what_another_process_lets_go_of_is_taken_up(
    suite: Suite, training: FakeTraining, held: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = launch.Shift._wait_for

    def wait_once(self: launch.Shift, jobs: list[Job]) -> None:
        wait(self, jobs)
        held.release()

    monkeypatch.setattr(launch.Shift, "_wait_for", wait_once)
    result = suite("run", *SMOKE, "--lease-seconds", "0.5")
    assert result.code == 0
    assert [job.algorithm for job in training.jobs] == ["gorl-fm", "ppo"]
    waiting = "suite: waiting for other processes to finish CheetahRun/ppo seeds 0-1"
    assert result.err.splitlines().count(waiting) == 1


def test_an_arm_that_another_process_trains_is_waited_for_last(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ablate = ("ablate", "normalizer", *SMOKE[2:], "--algos", "ppo", "--seeds", "1", "--out", "out")
    seen: list[str] = []

    def train(job: Job, context: RunContext) -> JobResult:
        result = training(job, context)
        seen.append(context.run.path.name)
        if len(seen) == 3:
            theirs.release()
        return result

    monkeypatch.setattr(launch, "run_job", train)
    with Worker(tmp_path / "out" / "cumulative-after") as other:
        cell = tmp_path / "out" / "cumulative-after" / "CheetahRun" / "ppo" / "seed-000"
        theirs = other.acquire([cell])
        guard = threading.Timer(60.0, theirs.release)  # or a wrong order would wait for ever
        guard.start()
        assert suite(*ablate).code == 0
        guard.cancel()
    assert seen == ["cumulative-before", "legacy-after", "legacy-before", "cumulative-after"]


def test_seeds_that_another_process_has_begun_in_its_own_group_stay_there(
    suite: Suite,
    training: FakeTraining,
    held: Lease,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between this command's plan and its turn, another one finishes seed 1 alone."""
    run = RunDirectory.open(tmp_path / "runs" / "smoke")
    cell, job = Cell("ppo", "CheetahRun", 1), Job("ppo", "CheetahRun", (1,))

    def finish() -> None:
        run.write_run(dataclasses.replace(configuration, seeds_together=job.seeds), {})
        with run.files(cell).batch() as batch:
            batch.put_status(training.status(cell))
        held.release()

    suite("run", *SMOKE, "--no-wait")
    stored = run.files(Cell("gorl-fm", "CheetahRun", 1)).read_run()
    assert stored is not None
    other = make_request("ppo", "CheetahRun", "1", "smoke", "native", None, ())
    configuration = dataclasses.replace(
        stored.configuration, algorithm="ppo", hyperparameters=other.hyperparameters["ppo"]
    )
    checked = RunRequest.check_methods

    def meanwhile(request: RunRequest, plan: Plan) -> None:
        checked(request, plan)
        finish()

    monkeypatch.setattr(RunRequest, "check_methods", meanwhile)
    result = suite("run", *SMOKE, "--lease-seconds", "0.5")
    assert result.code == 0, result.err
    assert [str(each) for each in training.jobs[1:]] == ["CheetahRun/ppo seeds 0"]


def test_an_interrupted_run_gives_exit_code_130_and_goes_on_later(
    suite: Suite, training: FakeTraining
) -> None:
    training.stop_after = 1
    result = suite("run", *SMOKE)
    assert result.code == 130
    assert "the same command goes on from here" in result.err
    assert len(training.jobs) == 1
    assert suite("run", *SMOKE).code == 0
    assert [job.algorithm for job in training.jobs] == ["ppo", "gorl-fm"]


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--set", "ppo.clip=0.3"), "seed-000 was run with another configuration, which differs"),
        (("--engine", "jax"), "engine (native there, jax now)"),
        (("--seeds", "7", "--set", "*.learning_rate=1"), "learning_rate (0.0003 there, 1.0 now)"),
        (("--protocol", "lite", "--out", "runs/smoke"), "made by another protocol: it differs in"),
    ],
)
def test_what_contradicts_the_stored_runs_is_refused(
    suite: Suite, training: FakeTraining, tmp_path: Path, arguments: Sequence[str], expected: str
) -> None:
    suite("run", *SMOKE)
    before = files(tmp_path)
    for command in ("run", "plan"):
        result = suite(command, *SMOKE, *arguments)
        assert result.code == 2
        assert expected in result.err
    assert files(tmp_path) == before
    assert len(training.jobs) == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space", "a/curve.csv"), "a/curve.csv: the disk is full"),
        (PermissionError(errno.EACCES, "Denied", "a"), "a: permission denied"),
        (OSError(errno.EIO, "Input/output error", "a"), "a: Input/output error"),
    ],
)
def test_failing_files_are_told_in_one_line(
    suite: Suite, training: FakeTraining, error: OSError, expected: str
) -> None:
    training.fail = error
    result = suite("run", *SMOKE)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith(f"suite: error: {expected}")


def test_a_run_directory_that_is_a_file(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in ("file", "file/below"):
        result = suite("run", *SMOKE, "--out", out)
        assert result.code == 2
        assert result.err.startswith(f"suite: error: {out}")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_no_permission_to_write(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir(mode=0o500)
    result = suite("run", *SMOKE, "--out", "sealed/run")
    assert result.code == 2
    assert "permission denied" in result.err


def test_a_fault_of_the_program_is_no_divergence_and_keeps_its_traceback(
    suite: Suite, training: FakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.fail = ZeroDivisionError("of a method")
    shown = suite("run", *SMOKE)
    assert shown.code == 70
    assert "Traceback (most recent call last)" in shown.err

    monkeypatch.delenv(cli.SHOW_FAULTS)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = suite("run", *SMOKE)
    assert kept.code == 70
    assert "Traceback" not in kept.err
    line = kept.err.splitlines()[-1]
    assert "ZeroDivisionError: of a method (test_command_line.py, line" in line
    (file,) = tmp_path.glob("suite-traceback-*.txt")
    assert str(file) in line
    assert "raise self.fail" in file.read_text()

    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert "Traceback (most recent call last)" in suite("run", *SMOKE).err


def test_exit_codes_are_documented_and_mean_one_thing_each() -> None:
    codes = {name: value for name, value in vars(cli).items() if name.startswith("EXIT_")}
    del codes["EXIT_CODES"]
    told = [int(line.split()[0]) for line in cli.EXIT_CODES.splitlines() if line[:1].isdigit()]
    assert {0, *codes.values()} <= set(told)
    # What a shell, an interpreter or a fault gives is no verdict on the runs.
    assert cli.EXIT_FAULT not in (cli.EXIT_DIVERGED, cli.EXIT_UNFAIR)
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert all(f"\n| {code} |" in readme for code in told)


@pytest.mark.parametrize("ask", ["jax.config.update('jax_default_matmul_precision', 'x')", ""])
def test_what_jax_refuses_of_the_environment_is_told_in_one_line(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "toaster")
    with pytest.raises((ValueError, RuntimeError)) as caught:
        jax.config.update("jax_default_matmul_precision", "x") if ask else jax.devices("toaster")
    training.fail = caught.value
    result = suite("run", *SMOKE)
    assert result.code == 2
    expected = "change or unset the variable" if ask else "JAX_PLATFORMS=toaster: no such device"
    assert expected in result.err.splitlines()[-1]


def test_a_run_in_a_thread(suite: Suite, training: FakeTraining) -> None:
    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(suite, "run", *SMOKE).result().code == 0
    assert len(training.jobs) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_outside_of_training(suite: Suite, training: FakeTraining) -> None:
    training.fail = KeyboardInterrupt()
    assert suite("run", *SMOKE).code == 130


def test_every_command_is_where_it_is_said_to_be() -> None:
    context = click.Context(cli.cli)
    for name in cli.COMMANDS:
        command = cli.cli.get_command(context, name)
        assert command is not None and command.name == name
        assert command.get_short_help_str()


def test_help_fits_a_narrow_terminal_with_every_command_under_its_theme(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = suite("--help").out.splitlines()
    assert not [line for line in lines[1:] if line.endswith("...")]
    for theme, commands in cli.THEMES.items():
        first = lines.index(f"{theme}:") + 1
        listed = lines[first : first + len(commands)]
        assert [line.split()[0] for line in listed] == list(commands)
        assert max(map(len, listed)) <= 80


def test_every_option_of_every_command_says_what_it_is() -> None:
    context = click.Context(cli.cli)
    commands = {name: cli.cli.get_command(context, name) for name in cli.COMMANDS}
    silent = [
        f"{name} {param.opts[0]}"
        for name, command in commands.items()
        for param in (command.params if command else ())
        if isinstance(param, click.Option) and not param.help
    ]
    assert not silent


def test_what_can_be_listed_is_what_there_are_listings_of() -> None:
    (what,) = (each for each in list_.params if each.name == "what")
    assert isinstance(what.type, click.Choice)
    assert list(what.type.choices) == list(LISTINGS)


def test_list(suite: Suite) -> None:
    algos = json.loads(suite("list", "algos", "--json").out)
    assert [each["name"] for each in algos][:5] == ["ppo", "fpo", "dppo", "gorl-fm", "gorl-diff"]
    fields = {each["name"]: each for each in algos[0]["hyperparameters"]}
    assert fields["learning_rate"]["default"] == 3e-4
    undocumented = [
        f"{algo['name']}.{field['name']}"
        for algo in algos
        for field in algo["hyperparameters"]
        if not field["description"]
    ]
    assert not undocumented
    assert fields["learning_rate"]["tuned"] == "0.0001 to 0.003, logarithmic"
    assert {each["group"] for each in algos} == {"compared", "control", "baseline"}
    text = suite("list", "algos").out
    rows = [line for line in text.splitlines() if line.split()[0] in {a["name"] for a in algos}]
    assert len(rows) == len(algos) and "learning_rate" not in text
    listed = {
        each["name"]: each["sets"] for each in json.loads(suite("list", "tasks", "--json").out)
    }
    assert listed["CheetahRun"] == ["dmc6"]
    assert "Task sets are names for --tasks" in suite("list", "tasks").out
    assert listed["HumanoidRun"] == ["humanoid2"]
    assert listed["HumanoidWalk"] == []
    protocols = json.loads(suite("list", "protocols", "--json").out)
    assert [(each["name"], each["updates"]) for each in protocols][:3] == [
        ("paper", 183),
        ("paper2026", 183),
        ("fair", 183),
    ]


def test_list_of_one_method(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_of_files", {})
    text = suite("list", "algos", "--algo", "ppo").out
    assert "learning_rate = 0.0003  (a finite number; above 0; tuned: 0.0001 to 0.003" in text
    assert "gorl-fm:" not in text
    unknown = suite("list", "algos", "--algo", "ppoo")
    assert unknown.code == 2 and "did you mean 'ppo'" in unknown.err
    assert suite("new-algo", "mine").code == 0
    (own,) = json.loads(suite("list", "algos", "--algo", "./mine.py", "--json").out)
    assert (own["name"], own["group"]) == ("mine", "yours")


def test_eval_of_a_stored_policy(
    suite: Suite, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite("run", *SMOKE)
    asked: list[Any] = []

    def stub(run: RunDirectory, *arguments: Any) -> np.ndarray:
        asked.append(arguments)
        return np.array([1.0, 2.0, 6.0])

    monkeypatch.setattr(stored_policies, "evaluate_stored", stub)
    where = ("--task", "CheetahRun", "--algo", "ppo", "--seed", "1")
    result = suite("eval", "runs/smoke", *where, "--episodes", "3", "--mode", "sample", "--json")
    assert asked == [(Cell("ppo", "CheetahRun", 1), 3, "sample", 0)]
    summary = json.loads(result.out)
    assert (summary["return_mean"], summary["returns"]) == (3.0, [1.0, 2.0, 6.0])
    assert summary["return_std"] == pytest.approx((14 / 3) ** 0.5)
    text = suite("eval", "runs/smoke", *where, "--episodes", "3", "--eval-seed", "9").out
    assert "return 3.0 (std 2.2 over 3 episodes)" in text
    assert asked[1] == (Cell("ppo", "CheetahRun", 1), 3, "deterministic", 9)
    missing = suite("eval", "runs/smoke", *where[:-1], "7")
    assert missing.code == 2
    assert "unknown cell of runs/smoke" in missing.err


def test_output_into_a_closed_pipe_is_no_error_and_no_divergence() -> None:
    command = f"set -o pipefail; {sys.executable} -m suite list tasks | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.returncode in (0, cli.EXIT_CLOSED_PIPE)  # as fast as `true` has ended


def settings_of_jax(*arguments: str, **environment: str) -> list[Any]:
    program = (
        "import json, sys; from suite.common import jax_settings\n"
        "jax_settings.prepare('--no-cache' not in sys.argv)\n"
        "import jax; c = jax.config\n"
        "print(json.dumps([c.jax_enable_compilation_cache, c.jax_compilation_cache_dir,\n"
        "                  c.jax_persistent_cache_min_compile_time_secs,\n"
        "                  c.jax_default_matmul_precision, c.jax_enable_x64,\n"
        "                  c.jax_default_prng_impl]))\n"
    )
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    result = python("-c", program, *arguments, env={**inherited, **environment})
    assert result.returncode == 0, result.stderr
    found: list[Any] = json.loads(result.stdout)
    return found


def test_compiled_programs_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    expected = str(tmp_path / "gorl-suite" / "jax")
    assert settings_of_jax(XDG_CACHE_HOME=str(tmp_path))[:3] == [True, expected, 0.0]
    assert settings_of_jax(JAX_COMPILATION_CACHE_DIR="/elsewhere")[1] == "/elsewhere"
    other = {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
    without_cache = settings_of_jax("--no-cache", **other)
    assert without_cache[0] is False
    # The programs are written for these; with other random numbers a seed means another run.
    assert without_cache[4:] == [False, "threefry2x32"]


def test_no_home_means_no_compiled_programs_and_no_opengl_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    monkeypatch.setattr(os, "environ", {"MUJOCO_GL": "osmesa"})
    jax_settings.prepare()
    assert os.environ["MUJOCO_GL"] == "disable"
    assert os.environ["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_settings_that_a_program_made_itself_are_refused() -> None:
    with jax.enable_x64(True), pytest.raises(UserError, match=r"jax_enable_x64 is True"):
        jax_settings.prepare()


@pytest.mark.parametrize("cache", [(), ("--no-cache",)])
def test_products_are_whole_float32_unless_told_otherwise(cache: tuple[str, ...]) -> None:
    assert settings_of_jax(*cache)[3] == "highest"
    assert (
        settings_of_jax(*cache, JAX_DEFAULT_MATMUL_PRECISION="tensorfloat32")[3] == "tensorfloat32"
    )
