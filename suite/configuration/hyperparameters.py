"""Hyper-parameters: defaults, a protocol's settings, and `--set`, checked by type.

Each layer overrides the one before: the class, the registry's defaults, the protocol's
`[algorithms."*"]`, its `[algorithms.NAME]`, `--set *.FIELD=VALUE`, `--set NAME.FIELD=VALUE`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from algorithms import bounds
from suite.common.convert import TYPED, WORDS, Misfit, immutable, is_union
from suite.common.convert import convert as as_type
from suite.common.errors import UserError, unknown

EVERY_ALGORITHM = "*"
_NOT_HYPERPARAMETERS = ("env", "pipeline")
"""Fields of `algorithms.api.Algorithm` that the harness fills in."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One change: `gorl-fm.decoder_epochs=10`, or the same from a protocol file.

    Attributes:
        algorithm: a name, or `*` for every algorithm that has the field.
        field: a hyper-parameter.
        value: a text still to be parsed, or a value from a TOML file.
        source: where it was written, for error messages.
    """

    algorithm: str
    field: str
    value: object
    source: str


def parse_setting(text: str) -> Setting:
    """Splits `ALGORITHM.FIELD=VALUE`.

    Raises:
        UserError: the text is not of this form.
    """
    match = re.fullmatch(r"\s*([^.=\s]+)\.(\w+)\s*=\s*(.*?)\s*", text)
    if not match:
        raise UserError(f"--set {text!r}: write ALGORITHM.FIELD=VALUE, like ppo.learning_rate=1e-3")
    return Setting(match[1], match[2], match[3], f"--set {text}")


def protocol_settings(algorithms: Mapping[str, Mapping[str, object]]) -> list[Setting]:
    """Returns the settings of a protocol's `[algorithms.NAME]` tables."""
    return [
        Setting(name, field, value, f"protocol, [algorithms.{name}] {field}")
        for name, fields in algorithms.items()
        for field, value in fields.items()
    ]


def hyperparameter_fields(algorithm: type) -> dict[str, object]:
    """Returns the type of every field that may be set, from any dataclass."""
    hints = typing.get_type_hints(algorithm)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(algorithm)
        if field.init and field.name not in _NOT_HYPERPARAMETERS
    }


def class_defaults(algorithm: type) -> dict[str, object]:
    """Returns the defaults of a dataclass's hyper-parameters, those out of a factory too."""
    fields = {each.name: each for each in dataclasses.fields(algorithm)}
    defaults = {}
    for name in hyperparameter_fields(algorithm):
        field = fields[name]
        if field.default is not dataclasses.MISSING:
            defaults[name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[name] = field.default_factory()
    return defaults


def hyperparameters(
    name: str, algorithm: type, defaults: Mapping[str, object], *layers: Sequence[Setting]
) -> dict[str, object]:
    """Returns the value of every hyper-parameter of one algorithm.

    Args:
        name: the algorithm's name.
        algorithm: a dataclass.
        defaults: the registry's, over the class's own.
        layers: the protocol's settings, then `--set`'s. Those of other algorithms are
            passed over, and so are those for `*` whose field this algorithm lacks.

    Raises:
        UserError: a field is unknown, or a value is not of the field's type or out of its bounds.
    """
    hints = hyperparameter_fields(algorithm)
    values = {**class_defaults(algorithm), **defaults}
    for layer in layers:
        for setting in sorted(layer, key=lambda each: each.algorithm != EVERY_ALGORITHM):
            if setting.algorithm == name and setting.field not in hints:
                raise _unknown_field(setting, name, list(hints))
            if setting.algorithm in (name, EVERY_ALGORITHM) and setting.field in hints:
                values[setting.field] = _checked(
                    _told_of(name, setting), algorithm, hints[setting.field]
                )
    return {field: immutable(value) for field, value in values.items()}


def check_settings(settings: Sequence[Setting], algorithms: Mapping[str, type]) -> None:
    """Refuses settings that none of the algorithms would take up.

    Args:
        settings: from a protocol or from `--set`.
        algorithms: classes by name.

    Raises:
        UserError: an algorithm or a field is unknown, or a value is not of the field's type or
            out of its bounds, with `*` in every algorithm that has the field.
    """
    for setting in settings:
        if setting.algorithm not in algorithms and setting.algorithm != EVERY_ALGORITHM:
            error = unknown("algorithm", setting.algorithm, [*algorithms, EVERY_ALGORITHM])
            raise UserError(f"{setting.source}: {error}")
        targets = list(algorithms) if setting.algorithm == EVERY_ALGORITHM else [setting.algorithm]
        fields = {name: hyperparameter_fields(algorithms[name]) for name in targets}
        having = [name for name in targets if setting.field in fields[name]]
        if not having:
            known = sorted({field for name in targets for field in fields[name]})
            raise _unknown_field(setting, setting.algorithm, known)
        errors = [
            _refusal(setting, algorithms[name], fields[name][setting.field]) for name in having
        ]
        if all(errors):
            raise UserError(errors[0])


def convert(setting: Setting, hint: Any) -> Any:
    """Returns a setting's value as the type `hint`.

    Texts are parsed: `1e-3`, `true`, `code`, `64,64`, `none`. Values from a TOML file are
    checked: an integer is a float too. A list becomes a tuple, whichever the field's type says.

    Raises:
        UserError: the value is not of that type.
    """
    try:
        return immutable(as_type(hint, setting.value, TYPED))
    except (Misfit, TypeError):
        raise UserError(
            f"{setting.source}: {setting.value!r} is not {describe_type(hint)}"
        ) from None


def describe_type(hint: Any) -> str:
    """Returns a type in words: `a whole number`, `one of code, kl`."""
    if hint in WORDS:
        return WORDS[hint]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if typing.get_origin(hint) in (tuple, list):
        variable = Ellipsis in arguments or typing.get_origin(hint) is list
        length = "any number" if variable else str(len(arguments))
        kinds = {int: "whole numbers", float: "finite numbers", str: "texts"}
        return f"a list of {length} of {kinds.get(arguments[0], 'values')}, like 64,64"
    if is_union(hint):
        return " or ".join(
            "none" if each is types.NoneType else describe_type(each) for each in arguments
        )
    return str(hint)


def field_documents(algorithm: type) -> dict[str, str]:
    """Returns what the `Attributes:` sections of a class and its bases say of each field."""
    documents: dict[str, str] = {}
    for base in reversed(algorithm.__mro__):
        section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("Attributes:\n")[2]
        section = re.split(r"\n(?=\S)", section)[0]
        for entry in re.split(r"\n(?= {4}\S)", "\n" + section)[1:]:
            field, _, text = entry.strip().partition(":")
            documents[field] = " ".join(text.split())
    return documents


def _unknown_field(setting: Setting, owner: str, fields: Sequence[str]) -> UserError:
    return UserError(
        f"{setting.source}: {unknown(f'hyper-parameter of {owner}', setting.field, fields)}"
    )


def _told_of(name: str, setting: Setting) -> Setting:
    """Returns a setting whose messages name the algorithm also where it is one for all."""
    if setting.algorithm != EVERY_ALGORITHM:
        return setting
    return dataclasses.replace(setting, source=f"{setting.source}, of {name}")


def _checked(setting: Setting, algorithm: type, hint: object) -> object:
    """Converts a setting's value, and refuses it if it is out of the field's bounds."""
    value = convert(setting, hint)
    if text := bounds.fault(algorithm, setting.field, value):
        raise UserError(f"{setting.source}: {setting.field} = {_plain(value)} {text}")
    return value


def _refusal(setting: Setting, algorithm: type, hint: object) -> str:
    """Returns why an algorithm does not take a setting's value, "" if it does."""
    try:
        _checked(setting, algorithm, hint)
    except UserError as error:
        return str(error)
    return ""


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) or "nothing" if isinstance(value, tuple) else str(value)
