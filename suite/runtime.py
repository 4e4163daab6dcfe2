"""Settings of JAX that must be made before it is imported."""

from __future__ import annotations

import os
import warnings
from pathlib import Path


def prepare(cache: bool = True) -> None:
    """Silences start-up noise, asks for whole float32 products and keeps compiled programs.

    What the user has set in the environment stays as it is.

    Args:
        cache: whether compiled programs are kept for later runs, in
            `JAX_COMPILATION_CACHE_DIR` or else in the user's cache directory.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # On NVIDIA's GPUs since Ampere, JAX multiplies float32 with 10 bits of mantissa by default,
    # physics included: mujoco_playground's issue 86 has training that breaks down from it.
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
    if not cache:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache_directory()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")


def has_gpu() -> bool:
    """Returns whether JAX computes on a GPU."""
    import jax

    return jax.default_backend() == "gpu"


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gorl-suite" / "jax"
