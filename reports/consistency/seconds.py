"""Whether the seconds of a run are ones that a machine could have taken."""

from __future__ import annotations

from collections.abc import Iterator

from reports.consistency.evidence import Contradicted, Evidence

_FASTEST = {"native": 5e6, "cpu": 5e7, "other": 1e10}
"""Steps a second and CPU (of another device: in all) that are beyond every machine: MuJoCo takes
over a microsecond for the smallest model (benchmarks/speed/rollout.py), and a step in JAX costs
more operations than a CPU makes in twenty nanoseconds."""

_SLACK = 1e-3
"""Seconds."""


def impossible_seconds(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields the first sign that the seconds of a curve were not measured."""
    text = _running_back(evidence) or _too_fast(evidence)
    if text:
        yield "seconds", text


def _running_back(evidence: Evidence) -> str:
    before = None
    for row in evidence.rows:
        where = f"at {row.env_steps:,} steps"
        parts = row.train_seconds + row.eval_seconds
        if parts > row.wall_seconds + _SLACK:
            return f"says {row.wall_seconds:g} seconds {where}, of which {parts:g} were spent"
        for name in ("wall_seconds", "train_seconds", "eval_seconds"):
            earlier = 0.0 if before is None else getattr(before, name)
            if getattr(row, name) < earlier:
                return f"says {getattr(row, name):g} {name} {where}, after {earlier:g}"
        before = row
    status = evidence.status
    if before is None or status is None or not evidence.finished:
        return ""
    if status.wall_seconds < before.wall_seconds - _SLACK:
        told = f"{status.wall_seconds:g} seconds in its status"
        return f"says {told}, {before.wall_seconds:g} in its curve"
    return ""


def _too_fast(evidence: Evidence) -> str:
    """Returns which part of the steps was taken faster than any machine could."""
    if not evidence.rows:
        return ""
    last, most = evidence.rows[-1], _most(evidence)
    for name, steps, seconds in (
        ("training", last.env_steps, last.train_seconds),
        ("evaluation", last.eval_steps, last.eval_seconds),
    ):
        if steps > seconds * most + most * _SLACK:
            return f"says {steps:,} steps of {name} in {seconds:g} seconds, which no machine takes"
    return ""


def _most(evidence: Evidence) -> float:
    """Returns the steps a second that nothing of what the cell ran on could exceed."""
    native = evidence.record.configuration.engine == "native"
    rates = [0.0]
    for start in evidence.starts:
        device, count = start.get("device"), start.get("cpus_available")
        platform = device.get("platform") if isinstance(device, dict) else None
        cpus = count if isinstance(count, int) and 0 < count < 10_000 else 10_000
        kind = "native" if native else "cpu"
        rates.append(_FASTEST[kind] * cpus if platform == "cpu" else _FASTEST["other"])
    return max(rates) or _FASTEST["other"]
