"""What a run records of its method: where it came from, and a digest of its source."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata

from algorithms import registry
from algorithms.api import Algorithm
from suite.methods.sources import combined, source_digests

_NAMING = ("algorithms.registry", "algorithms.registering.registration", "algorithms.names")
"""Modules that name methods and are no part of any."""


def method_facts(name: str) -> dict[str, object]:
    """Returns plain data for run.json, part of each start's provenance.

    Returns:
        `name` and `description` of its entry; `distribution`, `version` and `summary` of the
        installed package that it comes with; `source`, 16 hex digits of the class's name and of
        all `modules`, None where no source is to be read; `modules`, 12 digits of each by
        name (suite/methods/sources.py); and of a method out of a user's file `file`: its name,
        the class, and the SHA-256 of what the cell keeps of it.
    """
    entry = registry.lookup(name)
    version, summary = _distribution(entry.distribution)
    modules = _modules(entry)
    facts: dict[str, object] = {
        "name": name,
        "description": entry.description,
        "distribution": entry.distribution,
        "version": version,
        "summary": summary,
        "source": combined(modules, f"{_module(entry)}.{entry.cls.__qualname__}"),
        "modules": modules,
    }
    if entry.file is None:
        return facts
    digest = hashlib.sha256(entry.file.content).hexdigest()
    file = {"name": entry.file.path.name, "class": entry.cls.__qualname__, "sha256": digest}
    return {**facts, "file": file}


def method_source(name: str) -> bytes | None:
    """Returns what was executed of the user's file that a method is from; None of a package's."""
    file = registry.lookup(name).file
    return file.content if file else None


def _modules(entry: registry.Entry) -> dict[str, str]:
    """Returns the digests by module, a user's file by its own name wherever it lies."""
    digests = _digests(entry.cls)
    return {
        _module(entry) if name == entry.cls.__module__ else name: digest
        for name, digest in digests.items()
    }


def _module(entry: registry.Entry) -> str:
    return entry.file.path.name if entry.file else entry.cls.__module__


@functools.cache  # what was imported stays; a file may be edited while it runs
def _digests(cls: type) -> dict[str, str]:
    return source_digests(cls, Algorithm, without=_NAMING)


def _distribution(name: str) -> tuple[str | None, str | None]:
    try:
        facts = dict(importlib.metadata.metadata(name).json)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None, None
    return str(facts["version"]), str(facts.get("summary", "")) or None
