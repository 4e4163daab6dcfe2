"""`--set protocol.FIELD=VALUE`: one field of a protocol changed without a file of its own."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from suite.common.errors import UserError, unknown
from suite.configuration.hyperparameters import Setting, convert
from suite.configuration.protocol import Protocol

PREFIX = "protocol."
_NOT_BY_FLAG = ("name", "description", "algorithms", "tuning")
"""Fields that describe a protocol, or that `--set ALGORITHM.FIELD` changes."""


def is_protocol_change(change: str) -> bool:
    """Returns whether a text after `--set` is about the protocol."""
    return change.lstrip().startswith(PREFIX)


def changed(protocol: Protocol, changes: Sequence[str]) -> Protocol:
    """Returns a protocol with fields changed and named after the changes.

    Args:
        protocol: what to change.
        changes: texts like `protocol.normalizer=legacy`; an entry of a table is
            `protocol.task_discount.FingerSpin=0.995`.

    Raises:
        UserError: a field is unknown, or a value is ill-typed or impossible.
    """
    values: dict[str, Any] = {}
    names = [protocol.name]
    for change in changes:
        field, key, text = _parse(change)
        before = values[field] if field in values else getattr(protocol, field, None)
        values[field] = _value(field, key, text, before, f"--set {change}")
        names += [part for part in (field, key, text) if part]
    # All at once: fields that must fit each other may be changed together.
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(names))
    try:
        return dataclasses.replace(protocol, name=name, **values)
    except UserError as error:
        raise UserError(f"--set {' --set '.join(changes)}: {error}") from None


def _parse(change: str) -> tuple[str, str | None, str]:
    match = re.fullmatch(r"\s*protocol\.(\w+)(?:\.([\w-]+))?\s*=\s*(.*?)\s*", change)
    if not match:
        raise UserError(
            f"--set {change!r}: write protocol.FIELD=VALUE, like protocol.normalizer=legacy"
        )
    return match[1], match[2], match[3]


def _value(field: str, key: str | None, text: str, before: object, source: str) -> object:
    """Returns the new value of a field, given its text and the field's value before."""
    hints = typing.get_type_hints(Protocol)
    known = [each for each in hints if each not in _NOT_BY_FLAG]
    if field not in known:
        raise UserError(f"{source}: {unknown('field of a protocol', field, known)}")
    if not isinstance(before, Mapping):
        if key is not None:
            raise UserError(f"{source}: {field} has no entries; write {PREFIX}{field}={text}")
        return convert(Setting("protocol", field, text, source), hints[field])
    if key is None:
        raise UserError(f"{source}: {field} is a table; write {PREFIX}{field}.NAME={text}")
    entry = Setting("protocol", f"{field}.{key}", text, source)
    return {**before, key: convert(entry, typing.get_args(hints[field])[1])}
