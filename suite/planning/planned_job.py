"""One job of a plan, and what it takes."""

from __future__ import annotations

import dataclasses
from typing import Literal

from suite.storage.records import Job

JobState = Literal["new", "partial", "done"]


@dataclasses.dataclass(frozen=True)
class PlannedStage:
    """One stage of one seed.

    Attributes:
        updates: of the budget.
        train_steps: environment steps that policies are updated from.
        decoder_data_steps: further steps at its end, only to fit a decoder on.
        warmup_steps: steps of a warm-up.
    """

    updates: int
    train_steps: int
    decoder_data_steps: int
    warmup_steps: int = 0


@dataclasses.dataclass(frozen=True)
class PlannedJob:
    """One job of a plan; steps are totals over its seeds, seconds are what is left.

    Attributes:
        job: algorithm, task and seeds.
        state: `done` if every seed is finished, `new` if none was started.
        train_steps: steps that policies are updated from.
        decoder_data_steps: steps taken only to fit decoders on.
        eval_steps: steps of evaluation episodes.
        evaluations: points of the learning curve.
        seconds: estimate of the time it still takes, None where nothing is known.
        rough: whether the estimate rests on rough figures instead of measured ones.
        stages: of each seed.
        warmup_steps: steps of a warm-up.
        replay_bytes: memory that replay buffers take; 0 where there are none.
    """

    job: Job
    state: JobState
    train_steps: int
    decoder_data_steps: int
    eval_steps: int
    evaluations: int
    seconds: float | None
    rough: bool
    stages: tuple[PlannedStage, ...]
    warmup_steps: int = 0
    replay_bytes: int = 0

    @property
    def env_steps(self) -> int:
        """Steps that count against the budget."""
        return self.train_steps + self.warmup_steps + self.decoder_data_steps

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return {**dataclasses.asdict(self), "env_steps": self.env_steps}
