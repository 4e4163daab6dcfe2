"""`suite tune --like`: the effort of an earlier search, for other methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.engines.choice import resolve_engine
from envs.tasks import resolve_tasks
from suite.common.errors import UserError
from suite.configuration.effort import TUNER, Effort, for_tuning, parse_rungs, search_seeds
from suite.configuration.protocol import TUNING, Protocol, load_protocol
from suite.tuning.directory import is_tuning, read_effort


def effort_like(source: str) -> Effort:
    """Returns what an earlier search spent on a method.

    Args:
        source: its directory, or the name or path of a protocol that tells of it.

    Raises:
        UserError: there is neither, or the protocol does not tell enough.
        EnvError: a task of it is unknown.
    """
    if is_tuning(Path(source)):
        return read_effort(Path(source))
    if Path(source).is_dir():
        raise UserError(f"--like {source}: holds no search for settings; see `suite tune`")
    protocol = load_protocol(source)
    return _recorded(protocol, f"--like {source}")


def _recorded(protocol: Protocol, where: str) -> Effort:
    records = {name: _spent(record) for name, record in protocol.tuning.items()}
    searched = {name: record for name, record in records.items() if "tuner" in record}
    if not searched:
        raise UserError(f"{where}: the protocol tells of no search by `suite tune`")
    first, *others = searched
    if unequal := [name for name in others if searched[name] != searched[first]]:
        raise UserError(f"{where}: {first} and {', '.join(unequal)} had different searches")
    record = searched[first]
    if missing := [key for key in TUNING if key != "digest" and key not in record]:
        raise UserError(f"{where}: tuning.{first} does not tell {', '.join(missing)}")
    if record["tuner"] != TUNER:
        raise UserError(
            f"{where} is of version {record['tuner']} of the search, and this is {TUNER}"
        )
    effort = Effort(
        protocol=for_tuning(protocol),
        tasks=resolve_tasks(record["tasks"]),
        seeds=search_seeds(record["seeds"]),
        trials=record["configurations"],
        rungs=parse_rungs(record["rungs"]),
        eta=record["eta"],
        draw=record["draw"],
        engine=resolve_engine("auto"),
    )
    if effort.steps != record["total_steps"]:
        raise UserError(
            f"{where}: tuning.{first} tells of {record['total_steps']:,} steps in all, but such a "
            f"search takes {effort.steps:,}; the protocol was changed since"
        )
    return effort


def _spent(record: Mapping[str, int | str]) -> dict[str, Any]:
    """Returns a record without what is of its method alone."""
    return {key: value for key, value in record.items() if key != "digest"}
