"""Whether a cell's counts of updates and steps agree with each other and with its protocol."""

from __future__ import annotations

from collections.abc import Iterator

from reports.consistency.evidence import Contradicted, Evidence
from suite.storage.records import CurveRow

_COUNTS = (
    "updates",
    "stage",
    "train_steps",
    "warmup_steps",
    "decoder_data_steps",
    "eval_steps",
)
"""Columns of a curve that never fall."""


def contradicted_counts(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields the first row of the curve, and what of the status, that cannot be counted so.

    An update of the budget is N x T steps whatever a method does with them; only data for a
    decoder are taken besides, at the end of a stage, and a warm-up before all others.
    """
    for text in (_curve(evidence), _status(evidence)):
        if text:
            yield "ledger", text


def _curve(evidence: Evidence) -> str:
    """Returns what is wrong with the first row that is, nothing if none is."""
    steps, before = evidence.protocol.steps_per_update, None
    for row in evidence.rows:
        text = _sums(row, steps) or (_progress(before, row) if before is not None else "")
        if text:
            return f"its curve says {text} (row of {row.env_steps:,} steps, {row.mode})"
        before = row
    return ""


def _sums(row: CurveRow, steps: int) -> str:
    """Returns which numbers of one row do not make each other."""
    budgeted = row.train_steps + row.warmup_steps
    if row.updates * steps != budgeted:
        made = f"{row.updates:,} updates, which are {row.updates * steps:,} steps"
        return f"{made}, and {budgeted:,} of training and warm-up"
    if row.env_steps != budgeted + row.decoder_data_steps:
        total = budgeted + row.decoder_data_steps
        return f"{row.env_steps:,} steps where its purposes come to {total:,}"
    if row.decoder_data_steps % steps:
        return f"{row.decoder_data_steps:,} steps of decoder data, no whole rollouts of {steps:,}"
    return ""


def _progress(before: CurveRow, row: CurveRow) -> str:
    """Returns which count cannot have become what it is since the row before."""
    for name in _COUNTS:
        earlier, later = getattr(before, name), getattr(row, name)
        if later < earlier:
            return f"{later:,} {name} after {earlier:,}"
    if before.train_steps and row.warmup_steps != before.warmup_steps:
        return (
            f"{row.warmup_steps:,} steps of warm-up after {before.warmup_steps:,}, "
            "though training had begun"
        )
    if row.stage == before.stage and row.decoder_data_steps != before.decoder_data_steps:
        had = f"{before.decoder_data_steps:,}"
        return (
            f"{row.decoder_data_steps:,} steps of decoder data after {had} within stage {row.stage}"
        )
    return ""


def _status(evidence: Evidence) -> str:
    """Returns which counts of the status do not make each other."""
    status, protocol = evidence.status, evidence.protocol
    if status is None:
        return ""
    ledger, steps = status.ledger, protocol.steps_per_update
    if not 0 < status.total_updates <= protocol.updates:
        most = f"the budget holds {protocol.updates:,}"
        return f"its status says {status.total_updates:,} updates in all, where {most}"
    if status.updates > status.total_updates:
        return f"its status says {status.updates:,} of {status.total_updates:,} updates"
    if status.state == "done" and status.updates != status.total_updates:
        made = f"{status.updates:,} of {status.total_updates:,} updates"
        return f"its status says done after {made}"
    budgeted, due = ledger.train_steps + ledger.warmup_steps, status.updates * steps
    # What goes on without a seed that diverged goes on counting updates.
    if budgeted > due or (budgeted != due and status.state != "diverged") or budgeted % steps:
        made = f"{status.updates:,} updates, which are {due:,} steps"
        return f"its status says {made}, and {budgeted:,} of training and warm-up"
    return ""
