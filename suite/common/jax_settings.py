"""Settings of JAX that must be made before it is imported."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path

from suite.common.errors import UserError

_NEEDED: Mapping[str, str] = {
    "JAX_ENABLE_X64": "0",
    "JAX_DISABLE_JIT": "0",
    "JAX_NUMPY_DTYPE_PROMOTION": "standard",
    "JAX_NUMPY_RANK_PROMOTION": "allow",
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_THREEFRY_PARTITIONABLE": "1",
    "JAX_RANDOM_SEED_OFFSET": "0",
    "JAX_TRANSFER_GUARD": "allow",
}
"""What every program here is written for: with other values it fails, or computes other numbers
from the same seed."""

_TRUTHS = {"1": ("1", "true", "yes", "on", "y", "t"), "0": ("0", "false", "no", "off", "n", "f")}
"""How JAX reads a variable that is on or off."""


THREADS = "PJRT_NPROC"
"""The variable that says how many threads of a CPU XLA has; by default one a core."""


def prepare(cache: bool = True, engine: str = "native") -> None:
    """Silences start-up noise, asks for whole float32 products and keeps compiled programs.

    What the user has set in the environment stays as it is, but for what the programs here
    cannot do without, which is said.

    Args:
        cache: whether compiled programs are kept for later runs, in
            `JAX_COMPILATION_CACHE_DIR` or else in the user's cache directory.
        engine: that steps the physics, or `auto`. But for those that run in XLA, XLA gets one
            thread of the CPU: it divides large products among its threads, which shows in the last
            digits, and a run must come out the same on any number of cores.

    Raises:
        UserError: JAX is imported already, with settings that the programs here are not for.
    """
    _require()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Nothing is rendered, and MuJoCo fails to import where the OpenGL that it is to use is broken.
    os.environ["MUJOCO_GL"] = "disable"
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # On NVIDIA's GPUs since Ampere, JAX multiplies float32 with 10 bits of mantissa by default,
    # physics included: mujoco_playground's issue 86 has training that breaks down from it.
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
    if engine in ("native", "auto"):
        os.environ.setdefault(THREADS, "1")
    directory = _cache_directory()
    if not cache or directory is None:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", directory)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")


def has_gpu() -> bool:
    """Returns whether JAX computes on a GPU."""
    import jax

    return jax.default_backend() == "gpu"


def explained(error: BaseException) -> str | None:
    """Returns one line on an error that JAX raises about the environment, None on any other."""
    frames = traceback.extract_tb(error.__traceback__)
    where = Path(frames[-1].filename).as_posix() if frames else ""
    reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
    if where.endswith("jax/_src/config.py"):
        return f"JAX cannot start with this environment{reason}; change or unset the variable"
    if where.endswith("jax/_src/xla_bridge.py"):
        platforms = os.environ.get("JAX_PLATFORMS", "")
        return f"JAX_PLATFORMS={platforms}: no such device here{reason}; set it to cpu, or unset it"
    return None


def _require() -> None:
    """Takes settings back that the programs here are not for, and says so."""
    for name, value in _NEEDED.items():
        found = os.environ.get(name, value)
        if found.lower() not in _TRUTHS.get(value, (value,)):
            del os.environ[name]
            logging.getLogger("suite").warning(
                "%s=%s is passed over: the suite computes with %s", name, found, value
            )
    if changed := changed_setting():
        raise UserError(f"{changed}; set it back before you call the suite")


def changed_setting() -> str:
    """Returns which setting of JAX is not as the programs here need it, "" if all are.

    Before JAX is imported there are none.
    """
    if "jax" not in sys.modules:
        return ""
    import jax

    for name, value in _NEEDED.items():
        found = getattr(jax.config, name.lower(), value)
        wanted = bool(int(value)) if value in _TRUTHS else value
        if found is not None and found not in (value, wanted):
            return f"jax.config.{name.lower()} is {found}, but the suite computes with {wanted}"
    return ""


def _cache_directory() -> str | None:
    """Returns where compiled programs are kept, None for a user without a home directory."""
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return chosen
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a container may run as a user number without a name
        return None
    return str(Path(base) / "gorl-suite" / "jax")
