"""Checks of the stored files: as their runs wrote them, and holding possible numbers."""

from __future__ import annotations

from collections.abc import Mapping

from reports.audit.check import Check, Word, from_findings
from reports.runs.names import listed
from reports.runs.results import FindingKind, Results, run_name


def files(results: Results) -> Check:
    """Every file of every cell is what its run wrote."""
    name = "files"
    faults = [
        f"{run_name(run)}: {finding.text}"
        for run in results.runs
        for finding in results.findings_for(run.run_id)
        if finding.kind in ("damaged", "edited")
    ]
    faults += [
        f"{run_name(run)}: {fault}"
        for run in results.runs
        for fault in run.files.faults
        if run.state != "running"
    ]
    if faults:
        return Check(name, "failed", listed(list(dict.fromkeys(faults)), "; "))
    unrecorded = [run_name(run) for run in results.runs if not run.files.recorded]
    if len(unrecorded) == len(results.runs):
        return Check(name, "not recorded", "no run has digests of its files")
    if unrecorded:
        return Check(name, "warning", f"no digests in {listed(unrecorded)}")
    unknown = [f"{run_name(run)}/{file}" for run in results.runs for file in run.files.unknown]
    if unknown:
        return Check(name, "warning", f"written by no run: {listed(unknown)}")
    return Check(name, "ok", f"every file of {len(results.runs)} cells is what its run wrote")


def curves(results: Results) -> Check:
    """Every return is a possible one, and the mean of the episodes stored with it."""
    verdicts: Mapping[FindingKind, Word] = {
        "out of bounds": "failed",
        "edited": "failed",
        "damaged": "failed",
        "not finite": "warning",
        "unequal lengths": "warning",
    }
    text = "every point of every curve is the mean of the episodes stored with it"
    return from_findings(results, "curves", verdicts, text)
