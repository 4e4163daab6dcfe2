"""Labels of settings: whatever ran with other hyper-parameters, engine or decoder has its own.

No label depends on the order in which the runs come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.runs.names import Label
from reports.runs.results import Finding, Run
from suite.common.files import json_bytes
from suite.storage.origin import completed

_MAX_CHANGES_IN_LABEL = 3
"""With more differing settings than this a variant is called by its directory."""


@dataclasses.dataclass(eq=False)
class _Variant:
    """The runs of one method in one setting."""

    settings: Mapping[str, Any]
    runs: list[Run] = dataclasses.field(default_factory=list)

    def order(self, others: Sequence[_Variant]) -> tuple[int, int, int, int, bytes]:
        """Sorts the setting of most finished cells first, then that nearest to the others."""
        cells = {(run.task, run.seed) for run in self.runs}  # also if several directories hold it
        finished = {(r.task, r.seed) for r in self.runs if r.state in ("done", "diverged")}
        changes = sum(len(_changes(self.settings, other.settings)) for other in others)
        settings = dict(self.settings)
        return -len(finished), -len(cells), changes, len(settings), json_bytes(settings)


def label_variants(runs: Sequence[Run]) -> tuple[list[Run], list[Finding]]:
    """Gives runs of one name but different settings different labels.

    The setting with most finished cells keeps the name alone. A run whose settings cannot be
    read goes with those of its directory, if they are the same in all of it.

    Returns:
        The runs in their order with their labels, and a finding for each label but the names.
    """
    labels: dict[int, Label] = {}
    findings: list[Finding] = []
    for algorithm in dict.fromkeys(run.algorithm for run in runs):
        variants = _variants([run for run in runs if run.algorithm == algorithm])
        names = _names(algorithm, variants)
        for label, variant in zip(names, variants, strict=True):
            labels |= {id(run): label for run in variant.runs}
            if label != algorithm:
                changes = _changes(variants[0].settings, variant.settings)
                text = f"differs from {algorithm} in {', '.join(changes)}"
                findings.append(Finding("variant", label, text))
    return [dataclasses.replace(run, algorithm=labels[id(run)]) for run in runs], findings


def _variants(runs: Sequence[Run]) -> list[_Variant]:
    """Returns the settings of one method's runs, the commonest first."""
    variants: list[_Variant] = []
    unknown: list[Run] = []
    for run in runs:
        settings = _settings(run)
        if settings is None:
            unknown.append(run)
            continue
        variant = next((each for each in variants if each.settings == settings), None)
        if variant is None:
            variant = _Variant(settings)
            variants.append(variant)
        variant.runs.append(run)
    variants = sorted(variants, key=lambda each: each.order(variants))
    for run in unknown:
        beside = [v for v in variants if any(r.directory == run.directory for r in v.runs)]
        chosen = beside if len(beside) == 1 else variants[:1]
        if not chosen:
            chosen = variants = [_Variant({})]
        chosen[0].runs.append(run)
    return variants


def _settings(run: Run) -> dict[str, Any] | None:
    """Returns everything that was chosen for a run, None where run.json does not tell."""
    configuration = run.configuration
    if configuration is None or configuration.algorithm != run.algorithm:
        return None
    settings = {**completed(configuration.hyperparameters), "engine": configuration.engine}
    decoder = configuration.decoder
    if decoder is not None:
        # Which policy of the source it was goes with the seed; the stage does not.
        source = decoder.cell.split("/")[1:2]
        method = "" if source in ([], [run.algorithm]) else f" {source[0]}"
        settings["decoder"] = f"{decoder.run}{method} stage {decoder.stage}"
    return settings


def _names(algorithm: Label, variants: Sequence[_Variant]) -> Iterator[Label]:
    """Yields a label for each setting, no two alike."""
    if variants:
        yield algorithm
    short = [_short(variants[0].settings, variant) for variant in variants[1:]]
    for index, text in enumerate(short):
        if short.count(text) > 1:
            text = f"{text}, settings {short[: index + 1].count(text)}"
        yield algorithm.with_change(text)


def _short(base: Mapping[str, Any], variant: _Variant) -> str:
    changes = _changes(base, variant.settings)
    if len(changes) <= _MAX_CHANGES_IN_LABEL:
        return ", ".join(changes)
    return f"as in {min(run.directory for run in variant.runs)}"


def _changes(base: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}={fields.get(name, 'unset')}"
        for name in sorted({*base, *fields})
        if base.get(name, "unset") != fields.get(name, "unset")
    ]
