"""The tidy table with what ran beside every evaluation, for readers who have nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.runs.results import CURVE_COLUMNS, Results, Run, budget_of
from suite.configuration.protocol import Protocol
from suite.storage.origin import completed
from suite.storage.records import Configuration

RUN_COLUMNS: Mapping[str, str] = {
    "protocol": "object",
    "fingerprint": "object",
    "budget_steps": "Int64",
    "algorithm": "object",
    "label": "object",
    "task": "object",
    "seed": "Int64",
    "state": "object",
    "diverged_at": "Int64",
    "engine": "object",
    "hyperparameters": "object",
    "parameter_count": "Int64",
    "seeds_together": "Int64",
    "commit": "object",
    "clean": "boolean",
    "python": "object",
    "jax": "object",
    "mujoco": "object",
    "mujoco_mjx": "object",
    "playground": "object",
    "cpu": "object",
    "device": "object",
    "run_id": "object",
}
"""What is the same in every row of a run, and its type; blank where run.json does not tell."""

_PACKAGES = ("jax", "mujoco", "mujoco-mjx", "playground")


def described(results: Results) -> pd.DataFrame:
    """Returns `Results.tidy` with everything that tells its runs apart.

    Returns:
        `directory`, `RUN_COLUMNS`, then the columns of a curve; rows in the order of `tidy`.
    """
    keys = ["directory", "run_id"]
    runs = pd.DataFrame([_described(run) for run in results.runs], columns=[keys[0], *RUN_COLUMNS])
    rows = results.tidy()[[*keys, *CURVE_COLUMNS]]
    table = rows.merge(runs.astype(RUN_COLUMNS), how="left", on=keys, validate="many_to_one")
    return table[[keys[0], *RUN_COLUMNS, *CURVE_COLUMNS]]


def _described(run: Run) -> dict[str, Any]:
    """Returns a run's `RUN_COLUMNS`, and its directory."""
    status, configuration = run.status, run.configuration
    divergence = status.divergence if status else None
    return {
        "directory": run.directory,
        "run_id": run.run_id,
        "algorithm": run.algorithm.method,
        "label": str(run.algorithm),
        "task": run.task,
        "seed": run.seed,
        "state": run.state,
        "diverged_at": divergence.step if divergence else None,
        **(_configured(configuration) if configuration else {}),
        **_origins(run.record.provenance if run.record else ()),
    }


def _configured(configuration: Configuration) -> dict[str, Any]:
    protocol = Protocol.from_dict(configuration.protocol, "run.json")
    settings = completed(configuration.hyperparameters)
    return {
        "protocol": protocol.name,
        # Older versions made another one of the same protocol: only one of today's can be compared.
        "fingerprint": protocol.renewed(configuration.fingerprint),
        "budget_steps": budget_of(protocol),
        "engine": configuration.engine,
        "hyperparameters": json.dumps(settings, sort_keys=True, separators=(",", ":")),
        "parameter_count": configuration.parameter_count,
        "seeds_together": len(configuration.seeds_together),
    }


def _origins(starts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns on what a run was made; where its starts differ, one after the other."""
    clean = [each for each in _values(starts, "git", "clean") if isinstance(each, bool)]
    return {
        "commit": _told(starts, "git", "commit"),
        "clean": all(clean) if clean else None,
        "python": _told(starts, "python"),
        **{name.replace("-", "_"): _told(starts, "packages", name) for name in _PACKAGES},
        "cpu": _told(starts, "cpu"),
        "device": _told(starts, "device", "kind"),
    }


def _told(starts: Sequence[Mapping[str, Any]], *place: str) -> str | None:
    return " then ".join(dict.fromkeys(map(str, _values(starts, *place)))) or None


def _values(starts: Sequence[Mapping[str, Any]], *place: str) -> Iterator[object]:
    """Yields what each start says at a place; a file of an older version may lack it."""
    for start in starts:
        found: object = start
        for name in place:
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is not None:
            yield found
