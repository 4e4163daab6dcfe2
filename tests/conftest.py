"""Settings that every test shares.

They are environment variables, so that programs which a test starts inherit them, and
they are set before JAX is imported: its compilation cache ignores a later setting.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


def _cache_directory() -> Path:
    """Returns the user's cache directory for compiled programs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gorl-suite" / "jax"


os.environ.setdefault("SUITE_TRACEBACK", "1")
os.environ["JAX_ENABLE_X64"] = "0"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache_directory()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_configure(config: pytest.Config) -> None:
    """Has the fast tests compile without optimization: that takes half of their time.

    The slow tests compile as users do, and so do fast ones that use `optimized`.
    """
    if "not slow" in config.option.markexpr:
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


@pytest.fixture
def optimized() -> Iterator[None]:
    """Compiles as users do, for what must hold to the bit however sums are reordered."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


# Under nohup this signal is ignored, and by design a run then goes on; tests want it obeyed.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
