"""Settings that every test shares.

They are environment variables, so that programs which a test starts inherit them, and
they are set before JAX is imported: its compilation cache ignores a later setting.
"""

from __future__ import annotations

import gc
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
os.environ.setdefault("PJRT_NPROC", "1")  # as `jax_settings.prepare` has it in every program
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache_directory()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["SUITE_ON"] = "here"  # what a test replaces must be replaced where training happens
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


MANY_MAPS = 20_000
"""Of memory. Linux allows a process 65,530, and a compiled program takes six or seven: with those
of all tests together, the next one to be loaded ended the process by a segmentation fault."""


@pytest.fixture(autouse=True, scope="module")
def _few_programs() -> Iterator[None]:
    """Forgets compiled programs after a file of tests, once there are many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


# Under nohup this signal is ignored, and by design a run then goes on; tests want it obeyed.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
