"""Whether metrics, policies and states beside a curve are of the run that the curve is of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from reports.consistency.evidence import DECODER_LEAVES, Contradicted, Evidence
from suite.storage.archives import Manifest

_FITTED = 2
"""The first stage whose decoder is certainly fitted: one before it may be a warm-up, and the
decoder of the first stage that learns is the identity."""


def strange_files(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields which file beside the curve cannot be of the same run."""
    for text in (_metrics(evidence), _policies(evidence), _states(evidence)):
        if text:
            yield "other files", text


def _metrics(evidence: Evidence) -> str:
    """Returns where metrics.csv has not one row for the end of each chunk of updates.

    Chunks end at evaluations and at ends of stages; a warm-up's has no metrics.
    """
    if evidence.metrics is None or not evidence.rows:
        return ""
    steps = [row.get("env_steps", -1.0) for row in evidence.metrics]
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        return "its metrics.csv has rows out of order"
    due = [point.env_steps for point in evidence.points if point.train_steps]
    due = due if evidence.finished else due[:-1]
    lacking = sorted(set(due) - set(steps))
    if lacking:
        return f"its metrics.csv has no row at {lacking[0]:,} steps, where its curve has one"
    return _between(evidence, steps) if evidence.finished else ""


def _between(evidence: Evidence, steps: list[float]) -> str:
    """Returns which rows of metrics.csv are of no chunk: stages end once between evaluations."""
    points = evidence.points
    for before, after in itertools.pairwise(points):
        between = [step for step in steps if before.env_steps < step < after.env_steps]
        if len(between) > after.stage - before.stage:
            return f"its metrics.csv has a row at {between[0]:,.0f} steps, where no chunk ended"
    end = evidence.status.ledger.env_steps if evidence.status else 0
    if steps and steps[-1] > end:
        return f"its metrics.csv goes on to {steps[-1]:,.0f} steps, the run to {end:,}"
    return ""


def _policies(evidence: Evidence) -> str:
    """Returns which kept policy is not of the end of its stage; not all need be kept."""
    for stage, policy in sorted(evidence.policies.items()):
        if text := _policy(evidence, stage, policy):
            return f"its policy-{stage}.npz {text}"
    return ""


def _policy(evidence: Evidence, stage: int, policy: Manifest) -> str:
    meta, size = policy.meta, evidence.protocol.steps_per_update
    numbers = [meta.get(name) for name in ("stage", "updates", "env_steps")]
    if not all(isinstance(number, int) for number in numbers):
        return "does not say when it was kept"
    kept, updates, steps = (int(number or 0) for number in numbers)
    when = f"of stage {kept}, after {updates:,} updates and {steps:,} steps"
    if kept != stage:
        return f"is {when}"
    during = [row for row in evidence.rows if row.stage == stage]
    early = [row for row in evidence.rows if row.stage > stage and row.updates < updates]
    late = [row for row in during if row.updates > updates]
    data = {row.decoder_data_steps for row in during}
    if early or late or (data and steps != updates * size + min(data)):
        row = (early or late or during)[0]
        return (
            f"is {when}, its curve in stage {row.stage} after {row.updates:,} updates and "
            f"{row.env_steps:,} steps"
        )
    status = evidence.status
    if status is not None and evidence.finished and steps > status.ledger.env_steps:
        return f"is {when}, its run ended at {status.ledger.env_steps:,}"
    return ""


def _states(evidence: Evidence) -> str:
    if evidence.seen_steps is None or not evidence.rows or not evidence.finished:
        return ""
    last = evidence.rows[-1].env_steps
    if evidence.seen_steps == last:
        return ""
    return f"its states.npz is of {evidence.seen_steps:,} steps, its last evaluation of {last:,}"


def strange_decoder(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields that a first stage had a decoder that run.json does not name, or lacked it.

    Decoders are refitted between stages, so that a fitted one in the first comes from another
    run, as `suite ablate` gives it to runs that say so.
    """
    configuration = evidence.record.configuration
    if (
        not {"generative_model", "refits", "decoder_rollouts"}
        <= configuration.hyperparameters.keys()
    ):
        return
    found = _first_decoder(evidence)
    if found is None or found == (configuration.decoder is not None):
        return
    if configuration.decoder is not None and configuration.decoder.stage < _FITTED:
        return
    if found:
        text = "has a fitted decoder in its first stage, though run.json names no run that it is "
        yield "decoder", f"{text}from: what it cost there is outside this budget"
    else:
        text = f"run.json names a decoder of {configuration.decoder}, but the first stage had none"
        yield "decoder", text


def _first_decoder(evidence: Evidence) -> bool | None:
    """Returns whether the decoder of the first stage was fitted, None if it is not known."""
    policy = evidence.policies.get(0)
    if policy is not None and all(name in policy.arrays for name in DECODER_LEAVES):
        mean, std = (np.asarray(policy.arrays[name], float) for name in DECODER_LEAVES)
        return bool(mean.any() or (std != 1).any())
    ends = [row.env_steps for row in evidence.rows if row.stage == 0]
    losses = [
        loss
        for row in evidence.metrics or ()
        if ends and row.get("env_steps", np.inf) <= ends[-1]
        for loss in _losses(row)
    ]
    return any(losses) or None if losses else None


def _losses(row: Mapping[str, float]) -> list[float]:
    return [row["decoder_loss"]] if np.isfinite(row.get("decoder_loss", np.nan)) else []
