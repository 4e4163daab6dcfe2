"""A plan as a table for people."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from suite.common import formatting
from suite.configuration.selection import format_seeds
from suite.planning.planned_job import PlannedJob
from suite.storage.records import Job

_HEADER = (
    "task",
    "algorithm",
    "seeds",
    "state",
    "updates",
    "steps",
    "warm-up",
    "decoder data",
    "eval steps",
    "points",
    "replay MiB",
    "time",
)
_RARE = ("warm-up", "replay MiB")
"""Columns that are left out where no job has any."""


def _summed(jobs: Sequence[PlannedJob]) -> list[PlannedJob]:
    """Returns the jobs, those of other seeds that are alike in all else put together."""
    groups: dict[object, list[PlannedJob]] = {}
    for planned in jobs:
        alike = (planned.job.task, planned.job.algorithm, planned.state, planned.stages)
        groups.setdefault(alike, []).append(planned)
    return [_sum(group) for group in groups.values()]


def _sum(jobs: Sequence[PlannedJob]) -> PlannedJob:
    first, known = jobs[0], [planned.seconds for planned in jobs if planned.seconds is not None]
    seeds = tuple(sorted(seed for planned in jobs for seed in planned.job.seeds))
    return dataclasses.replace(
        first,
        job=Job(first.job.algorithm, first.job.task, seeds),
        train_steps=sum(planned.train_steps for planned in jobs),
        decoder_data_steps=sum(planned.decoder_data_steps for planned in jobs),
        warmup_steps=sum(planned.warmup_steps for planned in jobs),
        eval_steps=sum(planned.eval_steps for planned in jobs),
        replay_bytes=max(planned.replay_bytes for planned in jobs),  # one after the other
        seconds=sum(known) if len(known) == len(jobs) else None,
    )


def lines(jobs: Sequence[PlannedJob]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns the header and a row for all jobs that differ in their seeds alone."""
    columns = list(zip(_HEADER, *map(_row, _summed(jobs)), strict=True))
    shown = [each for each in columns if each[0] not in _RARE or set(each[1:]) - {"0"}]
    header, *rows = zip(*shown, strict=True)
    return header, rows


def _row(planned: PlannedJob) -> tuple[str, ...]:
    return (
        planned.job.task,
        planned.job.algorithm,
        format_seeds(planned.job.seeds),
        planned.state,
        "+".join(str(stage.updates) for stage in planned.stages),
        formatting.count(planned.env_steps),
        formatting.count(planned.warmup_steps),
        formatting.count(planned.decoder_data_steps),
        formatting.count(planned.eval_steps),
        str(planned.evaluations),
        formatting.count(math.ceil(planned.replay_bytes / 2**20)),
        formatting.duration(planned.seconds),
    )
