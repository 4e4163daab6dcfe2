"""Protocols: everything that must be equal for algorithms that are compared.

A protocol is a small TOML file, one of the presets in `suite/protocols` or a user's
copy. Its keys are the fields of `Protocol`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import tomllib
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from envs.names import TASK_SETS, is_name
from suite.common.convert import TOML, WORDS, Misfit, convert, field_types
from suite.common.errors import UserError, unknown
from suite.common.reading import MAX_TOML_BYTES, read_bounded

if TYPE_CHECKING:
    from algorithms.api import Pipeline

PRESETS: tuple[str, ...] = ("paper", "paper2026", "fair", "brax", "lite", "smoke")

_DESCRIPTIVE = ("name", "description", "algorithms", "tuning", "published_mode")
"""Fields that two comparable runs may differ in."""

_ADDED: Mapping[str, object] = {"restart_interval": 0}
"""Fields that came after runs had been stored, and what those did: at this value a field is left
out of the fingerprint, so that it stays theirs."""
TUNING: Mapping[str, type] = {
    "configurations": int,
    "seeds": int,
    "steps": int,
    "total_steps": int,
    "tasks": str,
    "rungs": str,
    "eta": int,
    "draw": int,
    "tuner": int,
    "digest": str,
}
"""What a protocol may tell of how the values of an algorithm were found; all but the first three
only of a search by `suite tune` (suite/configuration/effort.py)."""

Mode = Literal["deterministic", "sample"]

_MAX_COUNT = 2**31 - 1
MAX_EPISODES = 10_000
"""Of an evaluation in one mode. A stranger's protocol sets how many are played again."""

MAX_RETURNS = 8_000_000
"""Of the episodes of all evaluations of a run, in both modes: what is written must be readable."""

MAX_EVALUATIONS = 10_000
"""Of a run. Every one is a point of every curve that is read, stored and drawn."""

_POSITIVE = (
    "total_steps",
    "num_envs",
    "rollout_length",
    "chunk_length",
    "num_minibatches",
    "num_epochs",
    "bank_size",
    "eval_interval",
    "eval_episodes",
)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Budget, rollout geometry, shared pipeline, reset rule and evaluation rule.

    Attributes:
        name: short name; also the default run directory, `runs/NAME`.
        description: one line for `suite list protocols`.
        total_steps: environment steps per seed, of all purposes but evaluation;
            rounded down to whole updates.
        num_envs: parallel environments per seed (N).
        rollout_length: steps per environment and update (T).
        chunk_length: steps of the sub-sequences that advantages are computed on.
        num_minibatches: minibatches per epoch.
        num_epochs: passes over each rollout.
        normalizer: observation variance, `cumulative` (Welford) or `legacy` (the
            reference code's, whose variance is not accumulated).
        normalizer_timing: statistics advance `before` or `after` the gradient steps.
        truncation: time limits are `bootstrapped` or `masked` out of the losses.
        starts: where an ended episode restarts: `bank`, a random state out of
            `bank_size`; `own`, the environment's own first state every time.
        bank_size: start states in the bank, per seed.
        random_phase: whether environments start at random points of an episode.
        restart_interval: updates after which all environments start afresh from new start
            states, as Brax's `num_resets_per_eval` has it; 0 is never.
        eval_interval: updates between evaluations; 0 and the end are always evaluated.
        eval_episodes: episodes per evaluation and mode.
        eval_seed: seed of the start states, common to all evaluations and algorithms.
        published_mode: evaluation mode of an algorithm's published numbers, `deterministic`
            where none is named. Every run is evaluated in both modes; this only says which
            of them `suite report --mode published` reads.
        discount: discount factor per control step.
        task_discount: discount of single tasks where it differs.
        algorithms: hyper-parameters by algorithm name, `*` for all of them.
        tuning: how their values were found, by algorithm name: `configurations` tried,
            `seeds` and `steps` of each, and what `suite tune` adds to that; nothing where it is
            not known.

    Raises:
        UserError: a value is impossible; the message begins with the field.
    """

    name: str
    total_steps: int
    num_envs: int
    rollout_length: int
    eval_interval: int
    description: str = ""
    chunk_length: int = 30
    num_minibatches: int = 32
    num_epochs: int = 16
    normalizer: Literal["cumulative", "legacy"] = "cumulative"
    normalizer_timing: Literal["before", "after"] = "after"
    truncation: Literal["bootstrapped", "masked"] = "bootstrapped"
    starts: Literal["bank", "own"] = "bank"
    bank_size: int = 4096
    random_phase: bool = True
    restart_interval: int = 0
    eval_episodes: int = 128
    eval_seed: int = 0
    published_mode: Mapping[str, Mode] = dataclasses.field(
        default_factory=lambda: {"fpo": "sample", "dppo": "sample"}
    )
    discount: float = 0.995
    task_discount: Mapping[str, float] = dataclasses.field(default_factory=dict)
    algorithms: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    tuning: Mapping[str, Mapping[str, int | str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for field in _POSITIVE:
            if getattr(self, field) < 1:
                raise UserError(f"{field} = {getattr(self, field)}: must be at least 1")
        if self.restart_interval < 0:
            raise UserError(f"restart_interval = {self.restart_interval}: must be at least 0")
        if not 0 <= self.eval_seed < 2**31:
            raise UserError(f"eval_seed = {self.eval_seed}: must be between 0 and 2^31 - 1")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise UserError(f"name = {self.name!r}: use letters, digits, '.', '_' and '-' only")
        self._check_discounts()
        self._check_geometry()
        self._check_counts()

    def _check_discounts(self) -> None:
        for task in self.task_discount:
            _check_task(task)
        for task, value in {"": self.discount, **self.task_discount}.items():
            if not 0 <= value < 1:
                field = f"task_discount.{task}" if task else "discount"
                raise UserError(f"{field} = {value}: must be at least 0 and below 1")

    def _check_geometry(self) -> None:
        if self.rollout_length % self.chunk_length:
            raise UserError(
                f"chunk_length = {self.chunk_length}: "
                f"must divide rollout_length = {self.rollout_length}"
            )
        chunks = self.steps_per_update // self.chunk_length
        if chunks % self.num_minibatches:
            raise UserError(
                f"num_minibatches = {self.num_minibatches}: must divide the {chunks} chunks of "
                "an update (num_envs * rollout_length / chunk_length)"
            )
        if self.total_steps < self.steps_per_update:
            raise UserError(
                f"total_steps = {self.total_steps}: less than one update of "
                f"{self.steps_per_update} steps (num_envs * rollout_length)"
            )

    def _check_counts(self) -> None:
        """Refuses what 32-bit counters, or a list of all evaluations, cannot hold."""
        interval = min(self.eval_interval, self.updates)
        if interval * self.steps_per_update > _MAX_COUNT:
            raise UserError(
                f"eval_interval = {self.eval_interval}: must leave at most {_MAX_COUNT:,} "
                "environment steps between evaluations"
            )
        if self.updates // self.eval_interval > MAX_EVALUATIONS:
            raise UserError(
                f"total_steps = {self.total_steps}: makes more than {MAX_EVALUATIONS:,} "
                "evaluations; raise eval_interval"
            )
        if self.eval_episodes > MAX_EPISODES:
            raise UserError(f"eval_episodes = {self.eval_episodes}: at most {MAX_EPISODES:,}")
        evaluations = 1 + math.ceil(self.updates / self.eval_interval)
        returns = evaluations * self.eval_episodes * len(typing.get_args(Mode))
        if returns > MAX_RETURNS:
            raise UserError(
                f"eval_episodes = {self.eval_episodes}: {returns:,} episodes of {evaluations:,} "
                f"evaluations, more than {MAX_RETURNS:,}; evaluate fewer, or less often"
            )

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update, N * T."""
        return self.num_envs * self.rollout_length

    @property
    def updates(self) -> int:
        """Policy updates in the whole budget."""
        return self.total_steps // self.steps_per_update

    def evaluation_grid(self, updates: int | None = None) -> tuple[int, ...]:
        """Returns after how many updates to evaluate: 0, every `eval_interval`, and the end.

        Args:
            updates: the algorithm's updates if they are not the whole budget's.
        """
        end = self.updates if updates is None else updates
        return (*range(0, end, self.eval_interval), end)

    def pipeline(self) -> Pipeline:
        """Returns the part of the protocol that algorithms may know."""
        from algorithms.api import Pipeline

        shared = {field.name for field in dataclasses.fields(Pipeline)} - {"updates"}
        return Pipeline(updates=self.updates, **{field: getattr(self, field) for field in shared})

    def discount_for(self, task: str) -> float:
        """Returns the discount factor of one task."""
        return self.task_discount.get(task, self.discount)

    def published_mode_of(self, algorithm: str) -> Mode:
        """Returns the evaluation mode of one algorithm's published numbers."""
        return self.published_mode.get(algorithm, "deterministic")

    def effective(self) -> dict[str, object]:
        """Returns what the fields come to, as plain data: equal values do the same.

        Steps beyond the last whole update are never taken, an interval beyond the end evaluates
        at the end, environments that would start afresh only there never do, with `own` starts
        every environment has one, and a task's discount may be the common one.
        """
        own = {task: value for task, value in self.task_discount.items() if value != self.discount}
        restarts = self.restart_interval if self.restart_interval < self.updates else 0
        return {
            **self.to_dict(),
            "total_steps": self.updates * self.steps_per_update,
            "eval_interval": min(self.eval_interval, self.updates),
            "restart_interval": restarts,
            "bank_size": self.num_envs if self.starts == "own" else self.bank_size,
            "task_discount": own,
        }

    def fingerprint(self) -> str:
        """Returns 16 hex digits that are equal exactly for comparable protocols."""
        return _digest(self.effective())

    def renewed(self, fingerprint: str) -> str:
        """Returns this protocol's fingerprint for the one that older versions gave it.

        They took the fields as they are written. Any other fingerprint is returned as it is.
        """
        return self.fingerprint() if fingerprint == _digest(self.to_dict()) else fingerprint

    def differences(self, other: Protocol) -> list[str]:
        """Returns the fields, in alphabetical order, that make two protocols incomparable."""
        mine, theirs = self.effective(), other.effective()
        as_written, as_theirs = self.to_dict(), other.to_dict()
        return sorted(
            field
            for field in mine.keys() - set(_DESCRIPTIVE)
            if mine[field] != theirs[field] and as_written[field] != as_theirs[field]
        )

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str) -> Protocol:
        """Builds a protocol from a parsed file.

        Args:
            data: field names and values.
            source: the file, for error messages.

        Raises:
            UserError: a field is unknown, missing, of the wrong type or impossible.
        """
        try:
            _check_names(cls, data)
            return convert(cls, data, TOML)
        except Misfit as error:
            raise UserError(f"{source}: {_mended(error)}") from None
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    @staticmethod
    def descriptive_fields() -> tuple[str, ...]:
        """Returns the fields that two comparable runs may differ in."""
        return _DESCRIPTIVE


def load_protocol(name_or_path: str) -> Protocol:
    """Loads a preset by its name, or a user's TOML file by its path.

    Raises:
        UserError: there is no such preset or file, or the file is not a valid protocol.
    """
    path = Path(name_or_path)
    if name_or_path in PRESETS:
        preset = resources.files("suite") / "protocols" / f"{name_or_path}.toml"
        return _parse(preset.read_text(encoding="utf-8"), name_or_path, name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        error = unknown("protocol", name_or_path, PRESETS)
        raise UserError(f"{error}; your own is given by its path, ending in .toml")
    return _parse(_read_text(path), str(path), path.stem)


def _digest(fields: Mapping[str, object]) -> str:
    comparable = {
        name: value
        for name, value in fields.items()
        if name not in _DESCRIPTIVE and (name not in _ADDED or value != _ADDED[name])
    }
    text = json.dumps(comparable, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_text(path: Path) -> str:
    try:
        return read_bounded(path, MAX_TOML_BYTES, links=True).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"protocol {path}: not a text file in UTF-8") from None
    except ValueError as error:
        raise UserError(f"protocol {path}: {error}") from None


def _parse(text: str, source: str, default_name: str) -> Protocol:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"protocol {source}: not valid TOML: {error}") from None
    return Protocol.from_dict({"name": default_name, **data}, f"protocol {source}")


def _check_names(cls: type[Protocol], data: Mapping[str, object]) -> None:
    for name in data:
        if name not in field_types(cls):
            raise unknown("field", name, field_types(cls))
    for field in dataclasses.fields(cls):
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and field.name not in data:
            raise UserError(f"{field.name} is missing; add the line `{field.name} = ...`")


def _mended(error: Misfit) -> UserError:
    """Returns what to write instead of a value that is not of its field's type."""
    field, choices = ".".join(error.path), typing.get_args(error.kind)
    if typing.get_origin(error.kind) is Literal:
        right = f"one of {', '.join(map(repr, choices))}"
    else:
        right = WORDS.get(error.kind, f"a table, [{field}]")
    return UserError(f"{field} = {error.value!r}: must be {right}")


def _check_task(task: str) -> None:
    """Refuses what can be no task's name; whether there is such a task is another matter."""
    if task in TASK_SETS:
        raise UserError(f"task_discount.{task}: must be one task, not a set of tasks")
    if not is_name(task):
        raise UserError(f"task_discount.{task}: no task has such a name")
