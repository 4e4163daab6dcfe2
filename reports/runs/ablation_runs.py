"""The runs of all arms of an ablation, read as one set of results.

The arms' protocols and hyper-parameters differ along the ablation's axes and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reports.runs.choice import EVERYTHING, Choice
from reports.runs.loading import load_results
from reports.runs.names import Label, algorithm_order
from reports.runs.results import Finding, Results
from suite.common.errors import UserError
from suite.configuration.protocol import Protocol
from suite.configuration.recipe import Arm
from suite.storage.ablation_directory import Ablation
from suite.storage.origin import completed
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory, is_run


def arm_label(method: str, arm: Arm, ablation: Ablation) -> Label:
    """Returns what an arm's runs of a method are called where all arms are side by side."""
    return Label(method).with_change(arm.name) if ablation.axes else Label(method)


def merge_arms(
    ablation: Ablation, directory: Path, choice: Choice = EVERYTHING
) -> tuple[Ablation, Results]:
    """Reads the runs of every arm that was started.

    Args:
        ablation: what the directory holds.
        directory: with a run directory for each arm.
        choice: of tasks and algorithms; labels are names, as arms have no variants.

    Returns:
        The ablation as far as it was chosen, and the runs.

    Raises:
        UserError: no arm has a run, something differs that is no axis, or what was chosen is
            not there; names what.
    """
    cells = {arm: _cells(directory / arm.name) for arm in ablation.arms}
    stored = [cell for found in cells.values() for cell in found]
    choice.check(
        {*ablation.algorithms, *(cell.algorithm for cell in stored)},
        {*ablation.tasks, *(cell.task for cell in stored)},
    )
    loaded = {
        arm: load_results([directory / arm.name], choice=choice.within(found))
        for arm, found in cells.items()
        if any(choice.takes(cell.algorithm, cell.task) for cell in found)
    }
    if not loaded:
        raise UserError(f"{directory}: no arm has a run yet; train them with `suite ablate`")
    for arm, results in loaded.items():
        _check_protocol(ablation, arm, results.protocol)
    _check_settings(ablation, loaded)
    chosen = dataclasses.replace(
        ablation,
        algorithms=tuple(filter(choice.takes_algorithm, ablation.algorithms)),
        tasks=tuple(task for task in ablation.tasks if task in (choice.tasks or ablation.tasks)),
    )
    return chosen, _merge(ablation, loaded)


def _cells(path: Path) -> list[Cell]:
    """Returns the cells of an arm, none if it was not started."""
    if not is_run(path):
        return []
    stored = RunDirectory.open(path)
    return [*stored.cells(), *stored.incomplete_cells()]


def _check_protocol(ablation: Ablation, arm: Arm, protocol: Protocol) -> None:
    expected = ablation.protocol_of(arm)
    fields = expected.differences(protocol)
    if fields:
        mine, theirs = expected.to_dict(), protocol.to_dict()
        listed = ", ".join(f"{name} ({theirs[name]}, not {mine[name]})" for name in fields)
        raise UserError(
            f"arm {arm.name} is not what ablation.json says: its protocol has another {listed}; "
            "put the right runs there"
        )


def _check_settings(ablation: Ablation, loaded: Mapping[Arm, Results]) -> None:
    """Raises UserError if a method ran with other hyper-parameters in one arm than in another."""
    first: dict[str, tuple[Arm, dict[str, Any]]] = {}
    for arm, results in loaded.items():
        for label in results.algorithms:
            if label.is_variant:
                raise UserError(
                    f"arm {arm.name} holds {label.method} in several settings, one of them "
                    f"{label}; put the runs of one setting there"
                )
        for run in results.runs:
            if run.configuration is None:
                continue
            method = run.algorithm.method
            varied = ablation.varied_hyperparameters(method)
            values = completed(run.configuration.hyperparameters)
            values = {name: value for name, value in values.items() if name not in varied}
            values["engine"] = run.configuration.engine
            earlier, before = first.setdefault(method, (arm, values))
            fields = sorted(n for n in {*before, *values} if before.get(n) != values.get(n))
            if fields:
                raise UserError(
                    f"{method} differs between the arms {earlier.name} and {arm.name} in "
                    f"{', '.join(fields)}, which is no axis of the ablation"
                )


def _merge(ablation: Ablation, loaded: Mapping[Arm, Results]) -> Results:
    runs = [
        dataclasses.replace(run, algorithm=arm_label(run.algorithm.method, arm, ablation))
        for arm, results in loaded.items()
        for run in results.runs
    ]
    runs.sort(key=lambda run: (algorithm_order(run.algorithm), run.task, run.seed))
    findings = [each for arm, results in loaded.items() for each in _findings(arm, results)]
    names = tuple(arm.name for arm in loaded)
    protocol = next(iter(loaded.values())).protocol if len(loaded) == 1 else ablation.protocol
    return Results(protocol, names, tuple(runs), tuple(findings))


def _findings(arm: Arm, results: Results) -> Iterator[Finding]:
    for finding in results.findings:
        is_run = any(run.run_id == finding.where for run in results.runs)
        where = finding.where if is_run else f"{arm.name}: {finding.where}"
        yield dataclasses.replace(finding, where=where)
