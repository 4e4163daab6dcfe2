"""Tests of the extra [cluster]: without Dask they are skipped."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


class _Skipped(pytest.File):
    """A file of tests that needs Dask, as one test that is skipped."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip("needs the extra [cluster]", allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Puts a skipped file in the place of one that could not be imported."""
    if importlib.util.find_spec("distributed") is not None:
        return None
    return _Skipped.from_parent(parent, path=module_path)
