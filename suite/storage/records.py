"""What is stored of a run: cells and jobs, and the records that their files hold."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from suite.configuration.selection import format_seeds
from suite.storage.files import json_bytes

State = Literal["running", "done", "diverged"]
FINISHED: tuple[State, ...] = ("done", "diverged")

DEFAULT_RETURN_BOUNDS = (0.0, 1000.0)
"""Of the tasks of runs that recorded none: a reward in [0, 1] for each of 1000 control steps."""

_LARGEST = 2**63 - 1


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
        """The job's file name without its ending: `job-000-004`."""
        return f"job-{format_seeds(self.seeds, width=3)}"

    def __str__(self) -> str:
        return f"{self.task}/{self.algorithm} seeds {format_seeds(self.seeds)}"


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Environment steps of one seed, by purpose.

    Attributes:
        train_steps: steps that policies were updated from.
        warmup_steps: steps of a warm-up, before the first update.
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
    hyperparameters: Mapping[str, Any]
    engine: str
    protocol: Mapping[str, Any]
    fingerprint: str
    parameter_count: int
    evaluations_per_action: int
    model_hash: str
    decoder: DecoderSource | None = None
    eval_starts: Mapping[str, Any] | None = None
    return_bounds: tuple[float, ...] | None = DEFAULT_RETURN_BOUNDS


ADDED_HYPERPARAMETERS: Mapping[str, tuple[str, Any]] = {
    "stage_policy": ("encoder_restart", "last"),
    "decoder_time_limits": ("decoder_data", True),
    "decoder_start": ("decoder_data", "fresh"),
    "refits": ("decoder_data", True),
}
"""Fields that algorithms got after runs had been stored: an older field of the same algorithms,
and what was done before the new one could be set."""


def completed(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns stored hyper-parameters with those that could not be set yet when they ran."""
    added = {
        field: value
        for field, (beside, value) in ADDED_HYPERPARAMETERS.items()
        if beside in hyperparameters
    }
    return {**added, **hyperparameters}


def hyperparameter_differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists the hyper-parameters that differ, after those of now passed through JSON."""
    stored, now = completed(stored), json.loads(json_bytes(dict(now)))
    return [
        f"{name} ({stored.get(name, 'unset')} there, {now.get(name, 'unset')} now)"
        for name in sorted({*stored, *now})
        if name not in stored or name not in now or stored[name] != now[name]
    ]


MODEL = ("model_hash", "eval_starts")
"""What of a configuration is known only once the task is loaded."""

ORIGIN = ("seeds_together", "hyperparameters", "engine", "fingerprint", "decoder", *MODEL)
"""What of a configuration every number of a cell depends on."""

_ROUNDING = 1e-4
"""Of the projection of start states, relative: what different rounding may change."""


def origin(configuration: Configuration, fields: Sequence[str] = ORIGIN) -> dict[str, Any]:
    """Returns some fields of a configuration, as JSON gives them back."""
    plain = json.loads(json_bytes(dataclasses.asdict(configuration)))
    return {name: plain[name] for name in fields}


def origin_differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists what differs between two origins, of the fields that both have."""
    found = []
    for name in (each for each in now if each in stored):
        if name == "hyperparameters":
            found += hyperparameter_differences(stored[name], now[name])
        elif not _SAME.get(name, operator.eq)(stored[name], now[name]):
            found.append(f"{name} ({stored[name]} there, {now[name]} now)")
    return found


def _same_starts(stored: Any, now: Any) -> bool:
    """Compares start states; what an older version did not record differs from nothing."""
    if not stored or not now or stored == now:
        return True
    try:
        return math.isclose(stored["projection"], now["projection"], rel_tol=_ROUNDING)
    except (KeyError, TypeError):
        return False


def _same_decoder(stored: Any, now: Any) -> bool:
    """Compares decoders by their content: the run they came from may have been renamed."""
    return bool(stored == now or (stored and now and stored["digest"] == now["digest"]))


_SAME: Mapping[str, Callable[[Any, Any], bool]] = {
    "eval_starts": _same_starts,
    "decoder": _same_decoder,
}


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The content of run.json.

    Attributes:
        configuration: what ran.
        provenance: on what it ran, once per start (see suite/storage/provenance.py).
    """

    configuration: Configuration
    provenance: tuple[Mapping[str, Any], ...]


def from_plain(kind: Any, value: Any) -> Any:
    """Turns parsed JSON back into the dataclass `kind`; raises ValueError where it does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if type(None) in arguments:
        return None if value is None else from_plain(arguments[0], value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _record_from_plain(kind, _of_type(value, dict))
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{value!r} is not one of {', '.join(arguments)}")
        return value
    if origin is tuple:
        return tuple(from_plain(arguments[0], each) for each in _of_type(value, list))
    if origin is Mapping:
        table = _of_type(value, dict)
        return {key: from_plain(arguments[1], each) for key, each in table.items()}
    return _number_or_text(kind, value)


def _record_from_plain(kind: type, table: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    for name in table:
        if name not in hints:
            raise ValueError(f"{name!r} is no field of {kind.__name__}")
    return kind(**{name: from_plain(hints[name], each) for name, each in table.items()})


def _number_or_text(kind: type, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in (int, float) and number and not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"the number {str(value)[:20]} is out of range")
    return float(value) if kind is float and number else _of_type(value, kind)


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{str(value)[:40]!r} is not of type {kind.__name__}")
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(f"{value[:40]!r} cannot be shown")
    return value
