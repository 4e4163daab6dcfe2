"""Checks of where runs ran: the simulated models, the engine, numbers, and machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.audit.check import Check, agreement, of_starts
from reports.runs.cross_checks import different_models
from reports.runs.merging import effective_flags
from reports.runs.results import Results, Run
from suite.common.formatting import plain


def task_models(results: Results) -> Check:
    """All runs on a task simulated the same model."""

    def model(run: Run) -> str | None:
        return run.configuration.model_hash[:16] if run.configuration else None

    check = agreement("task models", results, model, "failed", per_task=True)
    same = [
        not different_models([run for run in results.runs if run.task == task])
        for task in results.tasks
    ]
    if check.verdict == "failed" and all(same):
        text = f"compiled by different MuJoCo versions, so their digests tell nothing: {check.text}"
        return Check(check.name, "warning", text)
    return check


def engine(results: Results) -> Check:
    """All runs were simulated by the same engine."""

    def name(run: Run) -> str | None:
        return run.configuration.engine if run.configuration else None

    return agreement("engine", results, name, "failed")


def numerics(results: Results) -> Check:
    """All runs computed with numbers and products of one width, whatever the setting is called."""

    def numerics(start: Mapping[str, Any]) -> str | None:
        device = start.get("device")
        if not isinstance(device, Mapping) or "matmul_precision" not in device:
            return None
        return f"{'64-bit' if device.get('x64') else '32-bit'} numbers, {_products(device)}"

    return agreement("numerics", results, of_starts(numerics), "failed")


def _products(device: Mapping[str, Any]) -> str:
    """Returns what a device makes of its setting of the precision of products.

    A CPU multiplies whole numbers whatever the setting (tests/reports/runs/test_merging.py).
    """
    setting = str(device["matmul_precision"])
    precision = _PRECISIONS.get(setting, setting)
    if device.get("platform") == "cpu" or precision == "highest":
        return "whole products"
    return f"products at precision {precision}"


_PRECISIONS: Mapping[str, str] = {
    "default": "default",
    "bfloat16": "default",
    "fastest": "default",
    "high": "high",
    "tensorfloat32": "high",
    "bfloat16_3x": "high",
    "highest": "highest",
    "float32": "highest",
}
"""What `jax.lax.Precision` makes of the names that JAX takes."""


def machines_and_flags(results: Results) -> Check:
    """All runs had the same kind of machine, and the same flags of its compiler."""

    def machine(start: Mapping[str, Any]) -> str | None:
        device = start.get("device")
        if not isinstance(device, Mapping):
            return None
        flags = effective_flags(start)
        parts = [device.get("kind"), start.get("cpu"), f"Python {start.get('python')}"]
        return ", ".join(map(plain, [*parts, *([flags] if flags else [])]))

    return agreement("machines and flags", results, of_starts(machine), "warning")
