"""Whether what a cell says that it ran is explained by what it says of its protocol and start."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from reports.consistency.evidence import Contradicted, Evidence
from suite.catalog import deviations
from suite.common.convert import TYPED, Misfit, convert
from suite.common.errors import UserError
from suite.common.formatting import plain
from suite.configuration.hyperparameters import EVERY_ALGORITHM, Setting, parse_setting
from suite.configuration.protocol_changes import is_protocol_change
from suite.storage.origin import completed

_PLAIN_PRESET: Literal["fair"] = "fair"
"""The preset that sets no hyper-parameter: what it comes to are the defaults."""


def wrong_fingerprint(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields that run.json has not the fingerprint of the protocol in it."""
    stored = evidence.record.configuration.fingerprint
    expected = evidence.fingerprint
    if stored != expected and evidence.protocol.renewed(stored) != expected:
        yield "fingerprint", f"run.json says {stored}, the protocol in it makes {expected}"


def unexplained_settings(
    evidence: Evidence, settings: Sequence[str] | None = None
) -> Iterator[Contradicted]:
    """Yields the hyper-parameters that neither protocol, command nor defaults explain.

    Only what `suite run` was told is known in full: an ablation's or a search's settings are
    not in its command, and of other packages' methods the defaults are not known.

    Args:
        evidence: of a cell.
        settings: `--set` texts of the arm of an ablation that the cell is in, None if of none.
    """
    configuration = evidence.record.configuration
    stored = completed(configuration.hyperparameters)
    told = _told(evidence, settings)
    if told is None:
        return
    explained = {
        **_defaults().get(configuration.algorithm, {}),
        **evidence.protocol.algorithms.get(EVERY_ALGORITHM, {}),
        **evidence.protocol.algorithms.get(configuration.algorithm, {}),
    }
    given = _given(told, configuration.algorithm)
    wrong = []
    for field, value in sorted(stored.items()):
        if field in given:
            if not _reads_as(given[field], value):
                wrong.append(f"{field} = {plain(value)}, where --set says {given[field]}")
        elif field in explained and _listed(explained[field]) != _listed(value):
            due = plain(explained[field])
            wrong.append(f"{field} = {plain(value)}, where protocol and defaults say {due}")
    if wrong:
        yield "unexplained", f"ran with {'; '.join(wrong)}"


def impossible_engine(evidence: Evidence) -> Iterator[Contradicted]:
    """Yields that a cell cannot have been simulated by the engine that it names."""
    engine = evidence.record.configuration.engine
    for start in evidence.starts:
        device = start.get("device")
        platform = device.get("platform") if isinstance(device, Mapping) else None
        if engine == "native" and platform not in (None, "cpu"):
            text = f"says engine native, which runs on JAX's CPU backend alone, on {platform}"
            yield "impossible engine", text
            return
        if engine == "warp" and platform == "cpu":
            yield "impossible engine", "says engine warp, which needs an NVIDIA GPU, on a CPU"
            return
        asked = _option(_command(start), "--engine")
        if asked not in (None, "auto", engine):
            text = f"says engine {engine}, its command asked for {asked}"
            yield "impossible engine", text
            return


def _told(evidence: Evidence, settings: Sequence[str] | None) -> list[Setting] | None:
    """Returns the settings that a cell was started with, None where they are not known in full."""
    command = _command(evidence.starts[0]) if evidence.starts else []
    texts = _options(command, "--set")
    if settings is not None and command[1:2] in (["run"], ["ablate"]):
        texts = list(settings)
    elif command[1:2] != ["run"]:
        return None
    with contextlib.suppress(UserError):
        return [parse_setting(text) for text in texts if not is_protocol_change(text)]
    return None


def _command(start: Mapping[str, Any]) -> list[str]:
    command = start.get("command")
    return [str(word) for word in command] if isinstance(command, list | tuple) else []


def _options(command: Sequence[str], name: str) -> list[str]:
    """Returns all values of an option of a command: `--set X` and `--set=X`."""
    following = [b for a, b in itertools.pairwise(command) if a == name]
    return following + [w.partition("=")[2] for w in command if w.startswith(f"{name}=")]


def _option(command: Sequence[str], name: str) -> str | None:
    return next(iter(_options(command, name)), None)


def _given(settings: Sequence[Setting], algorithm: str) -> dict[str, str]:
    """Returns what settings say of one algorithm, those for all of them first."""
    layers = sorted(settings, key=lambda each: each.algorithm != EVERY_ALGORITHM)
    mine = [each for each in layers if each.algorithm in (EVERY_ALGORITHM, algorithm)]
    return {each.field: str(each.value) for each in mine}


def _reads_as(text: str, value: object) -> bool:
    """Returns whether a text after `--set` may be a stored value."""
    try:
        read = convert(_kind(value), text, TYPED)
    except (Misfit, TypeError):
        return False
    return _listed(read) == _listed(value)


def _kind(value: object) -> Any:
    """Returns the type to read a text as that may be a stored value."""
    if isinstance(value, bool | str | None):
        return type(value)
    if isinstance(value, list | tuple):
        numbers = all(isinstance(each, int | float) for each in value)
        return tuple[float, ...] if numbers else tuple[str, ...]
    return float


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@functools.cache
def _defaults() -> Mapping[str, Mapping[str, object]]:
    """Returns the defaults of the suite's own methods."""
    return deviations.stored(_PLAIN_PRESET).hyperparameters
