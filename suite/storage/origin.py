"""What a cell's numbers come from, and whether two cells, or two starts of one, share it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from suite.common.files import json_bytes
from suite.configuration.protocol import Protocol
from suite.storage.records import Configuration

ADDED_HYPERPARAMETERS: Mapping[str, tuple[str, object]] = {
    "stage_policy": ("encoder_restart", "last"),
    "decoder_time_limits": ("decoder_data", True),
    "decoder_start": ("decoder_data", "fresh"),
    "refits": ("decoder_data", True),
    "decoder_last_layer": ("decoder_data", "random"),
    "decoder_noise": ("decoder_data", "prior"),
    "std_form": ("tanh_entropy", "state"),
}
"""Fields that algorithms got after runs had been stored: an older field of the same algorithms,
and what was done before the new one could be set."""

MODEL = ("model_hash", "eval_starts")
"""What of a configuration is known only once the task is loaded."""

ORIGIN = ("seeds_together", "hyperparameters", "engine", "fingerprint", "decoder", *MODEL)
"""What of a configuration every number of a cell depends on."""

_ROUNDING = 1e-4
"""Of the projection of start states: what the rounding of different processors may change of it,
relative to its size where that is above 1."""

_SKETCH_ROUNDING = 0.02
"""Of the sketch of start states, likewise, as a root mean square. A reset of 200 steps (MJX's of
CheetahRun) makes .001 of the roundings of AVX2 and AVX-512; one other episode in 128 makes .06."""


def completed(hyperparameters: Mapping[str, object]) -> dict[str, object]:
    """Returns stored hyper-parameters with those that could not be set yet when they ran."""
    added = {
        field: value
        for field, (beside, value) in ADDED_HYPERPARAMETERS.items()
        if beside in hyperparameters
    }
    return {**added, **hyperparameters}


def hyperparameter_differences(
    stored: Mapping[str, object], now: Mapping[str, object]
) -> list[str]:
    """Lists the hyper-parameters that differ, after those of now passed through JSON."""
    stored, now = completed(stored), json.loads(json_bytes(dict(now)))
    return [
        f"{name} ({stored.get(name, 'unset')} there, {now.get(name, 'unset')} now)"
        for name in sorted({*stored, *now})
        if name not in stored or name not in now or stored[name] != now[name]
    ]


def origin(configuration: Configuration, fields: Sequence[str] = ORIGIN) -> dict[str, object]:
    """Returns some fields of a configuration, as JSON gives them back."""
    plain = json.loads(json_bytes(dataclasses.asdict(configuration)))
    return {name: plain[name] for name in fields}


def origin_differences(stored: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Lists what differs between two origins, of the fields that both have."""
    found = []
    for name in (each for each in now if each in stored):
        before, after = stored[name], now[name]
        if name == "hyperparameters" and isinstance(before, dict) and isinstance(after, dict):
            found += hyperparameter_differences(before, after)
        elif not _same(name, before, after):
            found.append(f"{name} ({before} there, {after} now)")
    return found


def origin_faults(
    facts: Mapping[str, object], index: int, now: Configuration, protocol: Protocol
) -> list[str]:
    """Lists what a checkpoint says that differs from what one of its cells says.

    Args:
        facts: of the checkpoint; those of older versions do not tell.
        index: of the cell in its job.
        now: configuration of the cell.
        protocol: of its run.
    """
    stored = facts.get("origin")
    if stored is None:
        return []
    if not isinstance(stored, list) or len(stored) <= index or not isinstance(stored[index], dict):
        return ["an origin that cannot be read"]
    before = stored[index]
    renewed = {"fingerprint": protocol.renewed(str(before.get("fingerprint")))}
    return origin_differences({**before, **renewed}, origin(now))


def same_starts(one: object, other: object) -> bool:
    """Returns whether two records of start states may be of the same ones.

    Equal records are; of others, processors may have rounded the last bits differently, which
    changes the digest and hardly the sketch. Records of older versions have a projection alone,
    which is judged more strictly, or nothing, which differs from nothing.

    Args:
        one: as `suite.compute.evaluation.describe_starts` gives it; None if not recorded.
        other: likewise.
    """
    if not one or not other or one == other:
        return True
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    if one.get("sha256") == other.get("sha256"):  # else a record was edited
        return all(one[name] == other[name] for name in one if name in other)
    if "sketch" in one and "sketch" in other:
        return _same_sketch(one["sketch"], other["sketch"])
    first, second = one.get("projection"), other.get("projection")
    if not isinstance(first, int | float) or not isinstance(second, int | float):
        return False
    return abs(first - second) <= _ROUNDING * max(1.0, abs(first), abs(second))


def as_recorded(
    now: Mapping[str, object] | None, stored: Mapping[str, object] | None
) -> Mapping[str, object] | None:
    """Returns of a record of start states what an older version, which stored one, recorded."""
    if not now or not stored:
        return stored and now
    return {name: value for name, value in now.items() if name in stored}


def _same_sketch(one: object, other: object) -> bool:
    try:
        first, second = np.asarray(one, float), np.asarray(other, float)
    except (TypeError, ValueError):  # a record that somebody wrote
        return False
    if first.ndim != 1 or first.shape != second.shape:
        return False
    return bool(np.mean((first - second) ** 2) <= _SKETCH_ROUNDING**2)


def _same(name: str, stored: object, now: object) -> bool:
    if name == "eval_starts":
        return same_starts(stored, now)
    return _same_decoder(stored, now) if name == "decoder" else stored == now


def _same_decoder(stored: object, now: object) -> bool:
    """Compares decoders by their content: the run they came from may have been renamed."""
    if stored == now:
        return True
    if isinstance(stored, Mapping) and isinstance(now, Mapping):
        return bool(stored["digest"] == now["digest"])
    return False
