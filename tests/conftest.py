"""Settings that every test shares.

They are environment variables, so that programs which a test starts inherit them, and
they are set before JAX is imported: its compilation cache ignores a later setting.
"""

from __future__ import annotations

import os
from pathlib import Path


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
