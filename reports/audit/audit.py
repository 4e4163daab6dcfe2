"""Whether a comparison was fair: the audit of run directories, for a terminal and as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.audit.all_checks import audit
from reports.audit.check import Check, failed
from reports.runs.loading import load_results
from reports.runs.opening import lone_ablation
from suite.common.formatting import aligned
from suite.configuration.recipe import SOURCE
from suite.storage.ablation_directory import read_ablation
from suite.storage.run_directory import is_run


def audit_directories(run_dirs: Sequence[Path]) -> tuple[Check, ...]:
    """Returns every check of run directories that are compared with each other.

    The arms of an ablation, which differ on purpose, are each checked by themselves; the
    names of their checks then begin with the arm's.

    Raises:
        UserError: there are no runs, or there are other directories beside an ablation's.
    """
    directory = lone_ablation(run_dirs)
    if directory is None:
        return audit(load_results(run_dirs, refuse=False))
    ablation = read_ablation(directory)
    names = [*([SOURCE] if ablation.source else []), *(arm.name for arm in ablation.arms)]
    checks: list[Check] = []
    for name in names:
        if is_run(directory / name):
            found = audit(load_results([directory / name], refuse=False))
            checks += [dataclasses.replace(each, name=f"{name}: {each.name}") for each in found]
        else:
            checks.append(Check(f"{name}: every cell", "failed", "no run of it was started"))
    return tuple(checks)


def render(checks: Sequence[Check]) -> str:
    """Returns an audit for a terminal: a line for each check, and the verdict."""
    words = {"ok": "ok", "failed": "FAILED", "warning": "warning", "not recorded": "not recorded"}
    width = max(map(len, words.values()))  # the same for every audit
    cells = [(words[each.verdict].ljust(width), each.name, each.text) for each in checks]
    lines = aligned(cells, [False] * 3)
    bad = failed(checks)
    count = f"{len(checks)} checks, {len(bad)} failed"
    verdict = f"audit failed: {', '.join(check.name for check in bad)}" if bad else "audit passed"
    return "\n".join([*lines, f"{verdict} ({count})"])


def to_plain(checks: Sequence[Check]) -> dict[str, Any]:
    """Returns an audit as plain data for JSON."""
    return {
        "verdict": "failed" if failed(checks) else "ok",
        "checks": [dataclasses.asdict(check) for check in checks],
    }
