"""Every check of an audit, in the order in which a reader sees them.

What makes a comparison unfair fails. What a reader should merely know of is a warning.
What an older version did not store is said to be not recorded, never to be fine.
"""

from __future__ import annotations

from collections.abc import Collection

from reports.audit import (
    budgets_and_evaluation,
    numbers,
    settings_and_code,
    stored_files,
    what_ran,
    where_it_ran,
)
from reports.audit.check import Check
from reports.runs.results import Results


def audit(results: Results, varied: Collection[str] = ()) -> tuple[Check, ...]:
    """Returns every check.

    Args:
        results: stored runs, loaded with `refuse=False` or without findings of the kind
            `protocol`.
        varied: fields of the protocol in which the arms of an ablation differ on purpose.
    """
    return (
        what_ran.every_cell(results),
        what_ran.repeated_cells(results),
        what_ran.finished(results),
        what_ran.first_tries(results),
        budgets_and_evaluation.equal_steps(results),
        budgets_and_evaluation.one_protocol(results),
        *budgets_and_evaluation.protocol_rules(results, varied),
        budgets_and_evaluation.episodes(results),
        budgets_and_evaluation.evaluation_starts(results),
        where_it_ran.task_models(results),
        where_it_ran.engine(results),
        where_it_ran.numerics(results),
        where_it_ran.machines_and_flags(results),
        settings_and_code.code_version(results),
        settings_and_code.package_versions(results),
        settings_and_code.reward_scale(results),
        settings_and_code.hyperparameters(results),
        settings_and_code.parameter_counts(results),
        settings_and_code.tuning_effort(results),
        stored_files.files(results),
        stored_files.curves(results),
        *numbers.consistency(results),
    )
