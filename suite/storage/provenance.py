"""On what a run was made: program, versions, machine and numerics, but no person or host."""

from __future__ import annotations

import getpass
import importlib.metadata
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.engines.cpus import available_cpus
from suite.common.formatting import readable
from suite.common.jax_settings import THREADS

PACKAGES = (
    "gorl-suite",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "distrax",
    "mujoco",
    "mujoco-mjx",
    "playground",
    "warp-lang",
    "numpy",
)

ENVIRONMENT = (
    "XLA_FLAGS",
    "JAX_PLATFORMS",
    "JAX_ENABLE_X64",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_THREEFRY_PARTITIONABLE",
    "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)
"""Variables that change results or speed; no others are recorded."""

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("algorithms", "envs", "suite", "reports")


def provenance() -> dict[str, object]:
    """Returns plain data for run.json; what cannot be found out is None.

    What a start used up is added as it goes on: `wall_seconds`, `compile_seconds`,
    `peak_memory_bytes` and `device_peak_memory_bytes` (suite/training/resources.py).
    """
    return {
        "command": [Path(sys.argv[0]).name, *_anonymous(sys.argv[1:])],
        "git": _git_state(),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpus_available": available_cpus(),
        "device": _device(),
        "environment": {name: value for name in ENVIRONMENT if (value := _variable(name))},
    }


def _variable(name: str) -> str | None:
    value = os.environ.get(name)
    return None if value is None else _anonymous_words(value)


def _anonymous_words(text: str) -> str:
    """As `_anonymous`, of words that are apart from each other, as flags are."""
    return "".join(_anonymous(re.split(r"(\s+)", text)))


def _anonymous(texts: Sequence[str]) -> list[str]:
    """Replaces directories of this machine, and the user's and the host's name as words.

    Of any other absolute path only the last part stays: `.../name`. Any character may stand in the
    name of a directory, so a path goes on to the last `/` of a text, whatever is in between.
    """
    words = {"USER": _user_name(), "HOST": socket.gethostname()}
    known = {_place(Path.cwd): ".", _ROOT: ".", _place(Path.home): "~"}
    places = {str(place): label for place, label in known.items() if place not in (None, Path("/"))}
    result = []
    for text in texts:
        text = "".join(_shortened(part, places) for part in _parts(text, places))
        for label, word in words.items():
            if word:
                text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", label, text)
        result.append(readable(text))
    return result


_PATH = re.compile(r"(?<![\w.~/])/")
"""Where an absolute path may begin; `a/b`, `./b` and `~/b` are none."""

_HOMES = re.compile(r"/+(?:home|Users)/+[^/]+")


def _parts(text: str, places: Mapping[str, str]) -> Iterator[str]:
    """Yields what is before a text's first absolute path, then paths and what is between them."""
    begins = [match.start() for match in _PATH.finditer(text)]
    last = 0
    for begin in begins:
        # `/a,/b` may be a list, or a directory called `a,`; what there is on this machine tells.
        if begin == begins[0] or _is_whole(text[last : begin - 1], places):
            end = begin if begin == begins[0] else begin - 1
            yield text[last:end]
            yield text[end:begin]
            last = begin
    yield text[last:]


def _is_whole(path: str, places: Mapping[str, str]) -> bool:
    """Returns whether a path ends where a text might have another one after it."""
    return not _shortened(path, places).startswith(("/", "...")) or os.path.exists(path)


def _shortened(path: str, places: Mapping[str, str]) -> str:
    """Returns a path without what it tells of this machine; what is none as it is."""
    for place, label in places.items():
        if path == place or path.startswith(f"{place}/"):
            return f"{label}{path[len(place) :]}"
    if home := _HOMES.match(path):
        return f"~{path[home.end() :]}"
    parts = path.rstrip("/")
    above, _, name = parts.rpartition("/")
    return f".../{name}{path[len(parts) :]}" if path.startswith("/") and above else path


def _place(find: Callable[[], Path]) -> Path | None:
    """Returns a directory of this machine unless it has none: a deleted one, a nameless user's."""
    try:
        return find()
    except (OSError, RuntimeError):
        return None


def _user_name() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user number without a name
        return None


def _git_state() -> dict[str, object] | None:
    """Returns commit and cleanness of the checkout that this very file belongs to.

    Clean are its packages: a report or a method of one's own beside them changes no run.
    """
    top = _git("rev-parse", "--show-toplevel")
    commit = _git("rev-parse", "HEAD")
    if top is None or commit is None or Path(top).resolve() != _ROOT:
        return None
    return {"commit": commit, "clean": _git("status", "--porcelain", "--", *_PACKAGES) == ""}


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    return _first_match(Path("/proc/cpuinfo"), r"^model name\s*:\s*(.+)$") or platform.processor()


def _device() -> dict[str, object]:
    import jax

    device = jax.devices()[0]
    driver = Path("/proc/driver/nvidia/version")
    return {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": jax.device_count(),
        "backend": _anonymous_words(str(getattr(device.client, "platform_version", ""))).strip(),
        "driver": _first_match(driver, r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s"),
        "matmul_precision": str(_jax_setting("jax_default_matmul_precision") or "default"),
        "x64": bool(_jax_setting("jax_enable_x64")),
        "threads": _threads() if device.platform == "cpu" else None,
    }


def _threads() -> int | None:
    """Returns how many threads XLA has, None if the variable for it holds no number."""
    chosen = os.environ.get(THREADS, str(available_cpus()))
    return int(chosen) if chosen.isdecimal() else None


def threads_of(start: Mapping[str, Any]) -> object:
    """Returns how many threads of a CPU XLA had at a start, which large products depend on.

    Older starts do not say: it was one a core. None on other devices.
    """
    device = start.get("device")
    if not isinstance(device, Mapping) or device.get("platform") != "cpu":
        return None
    return device.get("threads", start.get("cpus_available"))


def _jax_setting(name: str) -> object:
    import jax

    found: object = getattr(jax.config, name, None)
    return found


def _first_match(path: Path, pattern: str) -> str | None:
    try:
        match = re.search(pattern, path.read_text(errors="replace"), flags=re.MULTILINE)
    except OSError:
        return None
    return match[1].strip() if match else None
