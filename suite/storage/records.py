"""What is stored of a run: cells and jobs, and the records that their files hold."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Literal

from suite.configuration.selection import MAX_SEEDS, format_seeds

State = Literal["running", "done", "diverged"]
FINISHED: tuple[State, ...] = ("done", "diverged")

DEFAULT_RETURN_BOUNDS = (0.0, 1000.0)
"""Of the tasks of runs that recorded none: a reward in [0, 1] for each of 1000 control steps."""

_LONGEST_NAME = 200
"""Characters of seeds in a file name; endings, of temporary files too, come on top."""


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One independent run: an algorithm on a task with a seed."""

    algorithm: str
    task: str
    seed: int

    def __str__(self) -> str:
        return f"{self.task}/{self.algorithm}/seed-{self.seed:03d}"


@dataclasses.dataclass(frozen=True)
class Job:
    """The seeds of one algorithm and task that are trained together in one program."""

    algorithm: str
    task: str
    seeds: tuple[int, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The job's cells, one per seed, in the order of `seeds`."""
        return tuple(Cell(self.algorithm, self.task, seed) for seed in self.seeds)

    @property
    def name(self) -> str:
        """The job's file name without its ending: `job-000-004`.

        File systems take 255 bytes; of seeds that lie too far apart for that there is a digest.
        """
        seeds = format_seeds(self.seeds, width=3)
        if len(seeds) > _LONGEST_NAME:
            digest = hashlib.sha256(seeds.encode()).hexdigest()[:16]
            seeds = f"{len(self.seeds)}-seeds-{digest}"
        return f"job-{seeds}"

    def __str__(self) -> str:
        return f"{self.task}/{self.algorithm} seeds {format_seeds(self.seeds)}"


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Environment steps of one seed, by purpose.

    Attributes:
        train_steps: steps that policies were updated from.
        warmup_steps: steps of a warm-up, in which another method may learn.
        decoder_data_steps: steps taken only to fit a decoder on.
        eval_steps: steps of evaluation episodes; no part of the budget.
    """

    train_steps: int = 0
    warmup_steps: int = 0
    decoder_data_steps: int = 0
    eval_steps: int = 0

    @property
    def env_steps(self) -> int:
        """The steps that count against the budget."""
        return self.train_steps + self.warmup_steps + self.decoder_data_steps

    def __add__(self, other: Ledger) -> Ledger:
        """Returns the steps of both, purpose by purpose."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Ledger(*(mine + theirs for mine, theirs in pairs))


@dataclasses.dataclass(frozen=True)
class CurveRow:
    """One evaluation in one mode; all counts and seconds are cumulative.

    Attributes:
        env_steps: train + warm-up + decoder-data steps before this evaluation.
        mode: `deterministic` or `sample`.
        return_mean: mean over episodes of the undiscounted return.
        return_std: standard deviation over episodes, with denominator `episodes`.
        episodes: evaluation episodes in this mode.
        wall_seconds: since the cell began, compilation included, pauses not.
        updates: of the budget, those of a warm-up included.
        stage: index of the stage the policy was evaluated in.
        train_steps: see `Ledger`, likewise the three that follow.
        train_seconds: part of `wall_seconds` spent in rollouts and updates.
        eval_seconds: part of `wall_seconds` spent in evaluation.
    """

    env_steps: int
    mode: str
    return_mean: float
    return_std: float
    episodes: int
    wall_seconds: float
    updates: int
    stage: int
    train_steps: int
    warmup_steps: int
    decoder_data_steps: int
    eval_steps: int
    train_seconds: float
    eval_seconds: float


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Where a seed's numbers stopped being finite.

    Attributes:
        step: environment steps at the check that found it.
        leaf: the first array of the state that is not finite.
    """

    step: int
    leaf: str


@dataclasses.dataclass(frozen=True)
class Status:
    """How far a cell is.

    Attributes:
        state: `running` also stands for a cell that was stopped and can go on.
        updates: of the budget that are behind it, out of `total_updates`.
        ledger: environment steps by purpose.
        wall_seconds: as in `CurveRow`; shared by all seeds of the job.
        returns: the last evaluation's mean return by mode.
        divergence: set exactly when `state` is `diverged`.
    """

    state: State
    updates: int
    total_updates: int
    ledger: Ledger
    wall_seconds: float = 0.0
    returns: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    divergence: Divergence | None = None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state in FINISHED


@dataclasses.dataclass(frozen=True)
class DecoderSource:
    """The kept policy that a cell's frozen decoder came from.

    Attributes:
        run: name of the run directory.
        cell: `str` of the cell in it.
        stage: at whose end the policy was kept.
        digest: SHA-256 of the policy's file.
    """

    run: str
    cell: str
    stage: int
    digest: str

    def __str__(self) -> str:
        return f"{self.run}/{self.cell} stage {self.stage}, {self.digest[:8]}"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What a cell ran; a resumed cell must run the same.

    Attributes:
        algorithm: its name.
        task: its name.
        seed: this cell's.
        seeds_together: all seeds of the job.
        hyperparameters: of the algorithm, every one.
        engine: `jax`, `warp` or `native`.
        protocol: `Protocol.to_dict`.
        fingerprint: `Protocol.fingerprint`.
        parameter_count: trainable numbers of all networks together.
        evaluations_per_action: policy-network passes for one action.
        model_hash: of the compiled MuJoCo model.
        decoder: where the decoder came from that the run started with, if from another run.
        eval_starts: of the start states of evaluation, see
            `suite.compute.evaluation.describe_starts`; None in runs of older versions.
        return_bounds: the least and the greatest return that an episode of the task can have,
            from which scores are made; None where the task does not tell. Runs of older
            versions did not record it, and all were of tasks with these.
    """

    algorithm: str
    task: str
    seed: int
    seeds_together: tuple[int, ...]
    hyperparameters: Mapping[str, object]
    engine: str
    protocol: Mapping[str, object]
    fingerprint: str
    parameter_count: int
    evaluations_per_action: int
    model_hash: str
    decoder: DecoderSource | None = None
    eval_starts: Mapping[str, object] | None = None
    return_bounds: tuple[float, ...] | None = DEFAULT_RETURN_BOUNDS

    def __post_init__(self) -> None:
        """Raises ValueError if more seeds are named than a job can have."""
        if len(self.seeds_together) > MAX_SEEDS:
            raise ValueError(f"{len(self.seeds_together):,} seeds_together; at most {MAX_SEEDS:,}")

    @property
    def cell(self) -> Cell:
        """The cell that ran it."""
        return Cell(self.algorithm, self.task, self.seed)


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The content of run.json.

    Attributes:
        configuration: what ran.
        provenance: on what it ran, once per start (see suite/storage/provenance.py).
    """

    configuration: Configuration
    provenance: tuple[Mapping[str, object], ...]

    def started(self, provenance: Mapping[str, object]) -> RunRecord:
        """Returns the record with one start more."""
        return dataclasses.replace(self, provenance=(*self.provenance, provenance))

    def amended(self, facts: Mapping[str, object]) -> RunRecord:
        """Returns the record with more known of its newest start, if it has one."""
        if not self.provenance:
            return self
        *earlier, newest = self.provenance
        return dataclasses.replace(self, provenance=(*earlier, {**newest, **facts}))
