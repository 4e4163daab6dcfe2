"""Whether a cell ran on what is here: only then must all of its bits come out again."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from suite.common.formatting import readable
from suite.methods.method_record import method_facts
from suite.storage.provenance import provenance, threads_of

_PACKAGES = (
    *("gorl-suite", "jax", "jaxlib", "flax", "optax", "distrax"),
    *("mujoco", "mujoco-mjx", "playground", "numpy"),
)
"""Whose versions may change a last bit."""

_UNHEEDED = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "XLA_PYTHON_CLIENT_MEM_FRACTION")
"""Recorded variables that change where or how fast a run is, not what comes out."""

_LONGEST = 60
"""Characters of a value that a stranger's file tells."""


def elsewhere(
    starts: Sequence[Mapping[str, object]], algorithm: str, engine: str
) -> tuple[str, ...]:
    """Lists what of machine, versions and code is not here as it was at some start of a cell.

    Args:
        starts: of its run.json.
        algorithm: that it ran, known here.
        engine: likewise.

    Returns:
        Texts, none if every bit must come out again.
    """
    here = {**_facts(_provenance()), "source of the method": method_facts(algorithm)["source"]}
    found: dict[str, None] = {}
    if engine == "warp":
        found["its engine's physics is not deterministic"] = None
    if not any(_facts(start) for start in starts):
        found["its run.json does not tell where it ran"] = None
    for start in starts:
        method = start.get("method")
        source = method.get("source") if isinstance(method, Mapping) else None
        there = {**_facts(start), "source of the method": source}
        for name, value in there.items():
            if value is not None and here.get(name) is not None and value != here[name]:
                found[f"{name} {_short(value)} ({_short(here[name])} here)"] = None
    return tuple(found)


def machine() -> str:
    """Returns what this machine and its most important version are called."""
    facts = _facts(_provenance())
    return f"{_short(facts['processor'])}, JAX {_short(facts['jax'])}"


@functools.cache
def _provenance() -> Mapping[str, object]:
    return provenance()


def _facts(start: Mapping[str, object]) -> dict[str, object]:
    """Returns what bits depend on of a start, by name; what it does not tell is None."""
    device, packages = _part(start, "device"), _part(start, "packages")
    on_cpu = device.get("platform") == "cpu"
    git, flags = _part(start, "git"), _part(start, "environment")
    facts: dict[str, object] = {name: packages.get(name) for name in _PACKAGES}
    facts |= {
        "processor": start.get("cpu"),
        "threads of XLA": threads_of(start),
        "device": device.get("kind"),
        "64-bit numbers": device.get("x64"),
        "precision of products": None if on_cpu else device.get("matmul_precision"),
        "commit": _commit(git),
        "flags": _flags(flags, on_cpu) if "environment" in start else None,
    }
    return facts if any(value is not None for value in facts.values()) else {}


def _flags(flags: Mapping[str, object], on_cpu: bool) -> str:
    unheeded = (*_UNHEEDED, "JAX_DEFAULT_MATMUL_PRECISION") if on_cpu else _UNHEEDED
    kept = {name: value for name, value in flags.items() if name not in unheeded}
    return " ".join(f"{name}={value}" for name, value in sorted(kept.items())) or "none"


def _commit(git: Mapping[str, object]) -> str | None:
    commit = git.get("commit")
    return None if commit is None else str(commit)[:8]


def _part(start: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = start.get(name)
    return part if isinstance(part, Mapping) else {}


def _short(value: object) -> str:
    return readable(str(value)[:_LONGEST])
