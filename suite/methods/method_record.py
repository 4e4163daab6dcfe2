"""What a run records of its method: where it came from, and a digest of its source."""

from __future__ import annotations

import functools
import importlib.metadata

from algorithms import registry
from algorithms.api import Algorithm
from suite.methods.sources import combined, source_digests

_NAMING = ("algorithms.registry", "algorithms.registration", "algorithms.names")
"""Modules that name methods and are no part of any."""


def method_facts(name: str) -> dict[str, object]:
    """Returns plain data for run.json, part of each start's provenance.

    Returns:
        `name` and `description` of its entry; `distribution`, `version` and `summary` of the
        installed package that it comes with; `source`, 16 hex digits of the class's name and of
        all `modules`, None where no source is to be read; and `modules`, 12 digits of each by
        name (suite/methods/sources.py).
    """
    entry = registry.lookup(name)
    version, summary = _distribution(entry.distribution)
    modules = _modules(entry.cls)
    return {
        "name": name,
        "description": entry.description,
        "distribution": entry.distribution,
        "version": version,
        "summary": summary,
        "source": combined(modules, f"{entry.cls.__module__}.{entry.cls.__qualname__}"),
        "modules": modules,
    }


@functools.cache  # what was imported stays; a file may be edited while it runs
def _modules(cls: type) -> dict[str, str]:
    return source_digests(cls, Algorithm, without=_NAMING)


def _distribution(name: str) -> tuple[str | None, str | None]:
    try:
        facts = dict(importlib.metadata.metadata(name).json)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None, None
    return str(facts["version"]), str(facts.get("summary", "")) or None
