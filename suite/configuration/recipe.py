"""What an ablation varies: the axes, the arms that are their product, and the file that says so.

An arm is named by its values; what is stored of an ablation is in
suite/storage/ablation_directory.py.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from suite.common.convert import STORED, TOML, Misfit, convert, field_types
from suite.common.errors import UserError, unknown
from suite.common.formatting import typed
from suite.common.reading import MAX_TOML_BYTES, read_bounded
from suite.configuration.hyperparameters import EVERY_ALGORITHM

PRESETS: tuple[str, ...] = ("kl", "stages", "prior", "restart", "normalizer", "controls")
SOURCE = "source"
"""Directory of the run that frozen decoders come from."""

PROTOCOL, DECODER = "protocol", "decoder"
"""Owners of an axis that are no algorithm's name; `*` is every algorithm's."""

Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...]
"""What an axis can set a field to."""

_RESERVED = (SOURCE, "report")
"""Directories of an ablation that are no arms."""

_MAX_ARMS = 1000


@dataclasses.dataclass(frozen=True)
class Axis:
    """What is varied, and the values it takes.

    Attributes:
        key: `protocol.FIELD`; `ALGORITHMS.FIELDS`, either a list with commas, whose fields
            all take the same value; or `decoder.stage`, a snapshot of another run.
        values: at least one, all different.

    Raises:
        UserError: the key or a value is of none of these forms.
    """

    key: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^.\s]+\.\S+", self.key):
            raise UserError(
                f"axis {self.key!r}: write protocol.FIELD, ALGORITHM.FIELD or decoder.stage"
            )
        names = [value_name(value) for value in self.values]
        if not names:
            raise UserError(f"axis {self.key}: has no values")
        if len(set(names)) < len(names):
            raise UserError(f"axis {self.key}: a value is given twice: {', '.join(names)}")
        if self.owners == (DECODER,) and self.fields != ("stage",):
            raise unknown("axis", self.key, ["decoder.stage"])
        if self.is_decoder and not all(type(v) is int and v >= 0 for v in self.values):
            raise UserError(f"axis {self.key}: its values are stages: 0, 1, 2 and so on")

    @property
    def owners(self) -> tuple[str, ...]:
        """`protocol`, `decoder`, or names of algorithms."""
        return tuple(self.key.partition(".")[0].split(","))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that take the axis's value."""
        return tuple(self.key.partition(".")[2].split(","))

    @property
    def is_decoder(self) -> bool:
        """Whether it says which snapshot of another run the decoder is."""
        return self.owners == (DECODER,)

    def overlaps(self, other: Axis) -> bool:
        """Returns whether two axes vary the same field of the same algorithm, or protocol."""
        mine, theirs = set(self.owners), set(other.owners)
        algorithms = not {PROTOCOL, DECODER} & (mine | theirs)
        same = mine & theirs or (algorithms and EVERY_ALGORITHM in mine | theirs)
        return bool(same and set(self.fields) & set(other.fields))

    def changes(self, value: Value, algorithms: Sequence[str]) -> list[str]:
        """Returns a value as `--set` takes it, for those of its algorithms that are selected.

        Raises:
            UserError: none of them is.
        """
        if self.is_decoder:
            return []
        everyone = (PROTOCOL, EVERY_ALGORITHM)
        owners = [name for name in self.owners if name in everyone or name in algorithms]
        if not owners:
            listed = ", ".join(algorithms)
            raise UserError(f"axis {self.key}: concerns none of the algorithms {listed}")
        return [f"{name}.{field}={typed(value)}" for name in owners for field in self.fields]


def make_axis(key: str, values: Iterable[Value | list[Scalar]]) -> Axis:
    """Returns an axis from what a file holds, whose lists become tuples."""
    return Axis(key, tuple(tuple(each) if isinstance(each, list) else each for each in values))


@dataclasses.dataclass(frozen=True)
class Arm:
    """One place on every axis.

    Attributes:
        name: of its run directory.
        values: one per axis.
    """

    name: str
    values: tuple[Value, ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What an ablation's file says; texts are as on the command line.

    Attributes:
        name: the file's, without ending.
        description: one line.
        protocol: name or path of what the arms' protocols are made from.
        algos, tasks, seeds: what every arm trains.
        settings: `--set` texts for every arm.
        metrics: columns of metrics.csv whose last values the report shows.
        source_settings: `--set` texts for the source run alone.
        axes: none for a comparison of algorithms alone.
        reference: the arm that the report compares the others with, the first if empty.

    Raises:
        UserError: two of them set the same field, or two arms have one name.
    """

    name: str
    description: str = ""
    protocol: str = "lite"
    algos: str = "all"
    tasks: str = "dmc6"
    seeds: str = "5"
    settings: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    source_settings: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    reference: str = ""

    def __post_init__(self) -> None:
        for one, other in itertools.combinations(self.axes, 2):
            if one.overlaps(other):
                raise UserError(f"axes {one.key} and {other.key} set the same field")
        for axis, text in itertools.product(self.axes, self.settings):
            if axis.overlaps(Axis(text.partition("=")[0].strip(), (0,))):
                raise UserError(f"axis {axis.key} and the setting {text} set the same field")
        if self.source_settings and not self.needs_source:
            raise UserError("[source] goes with an axis decoder.stage, and there is none")
        arms = [arm.name for arm in make_arms(self.axes)]
        if self.reference and self.reference not in arms:
            raise UserError(f"reference: {unknown('arm', self.reference, arms)}")

    def with_choices(self, selection: Mapping[str, str | None], settings: Sequence[str]) -> Recipe:
        """Returns the recipe with what the command line says instead, and settings added.

        Args:
            selection: `protocol`, `algos`, `tasks` and `seeds`; None leaves the file's. With
                another protocol the file's changes of its own do not fit and are left out.
            settings: further `--set` texts for every arm.

        Raises:
            UserError: a setting sets the field of an axis.
        """
        given = {name: text for name, text in selection.items() if text is not None}
        recipe = self
        if given.get("protocol", self.protocol) != self.protocol:
            kept = [text for text in self.settings if not text.startswith(f"{PROTOCOL}.")]
            recipe = dataclasses.replace(self, settings=tuple(kept), source_settings=())
        recipe = dataclasses.replace(recipe, settings=(*recipe.settings, *settings))
        return dataclasses.replace(recipe, **given)  # type: ignore[arg-type]

    @property
    def needs_source(self) -> bool:
        """Whether decoders come from another run."""
        return any(axis.is_decoder for axis in self.axes)


def make_arms(axes: Sequence[Axis]) -> tuple[Arm, ...]:
    """Returns the product of the axes, the last one fastest; one arm `all` without any.

    Raises:
        UserError: two arms would have the same name, or one a name that is taken.
    """
    if not axes:
        return (Arm("all", ()),)
    count = math.prod(len(axis.values) for axis in axes)
    if count > _MAX_ARMS:
        raise UserError(f"the axes make {count} arms; at most {_MAX_ARMS} are possible")
    arms = [
        Arm("-".join(_part(axis, value) for axis, value in zip(axes, values, strict=True)), values)
        for values in itertools.product(*(axis.values for axis in axes))
    ]
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two arms would be called {name}; give one axis other values")
        if name in _RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UserError(f"an arm cannot be called {name!r}; give an axis another value")
    return tuple(arms)


def load_recipe(name_or_path: str) -> Recipe:
    """Loads a preset by its name, or a user's TOML file by its path.

    Raises:
        UserError: there is no such preset or file, or it is no valid recipe.
    """
    path = Path(name_or_path)
    if name_or_path in PRESETS:
        preset = resources.files("suite") / "ablations" / f"{name_or_path}.toml"
        return _parse(preset.read_text(encoding="utf-8"), f"ablation {name_or_path}", name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        error = unknown("ablation", name_or_path, PRESETS)
        raise UserError(f"{error}; your own is given by its path, ending in .toml")
    try:
        text = read_bounded(path, MAX_TOML_BYTES, links=True).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"ablation {path}: not a text file in UTF-8") from None
    except ValueError as error:
        raise UserError(f"ablation {path}: {error}") from None
    return _parse(text, f"ablation {path}", re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem))


def value_name(value: Any) -> str:
    """Returns a value as a part of a file's name."""
    text = f"{value:g}" if isinstance(value, float) else typed(value)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)


def _part(axis: Axis, value: Value) -> str:
    return f"stage-{value}" if axis.is_decoder else value_name(value)


def _parse(text: str, source: str, name: str) -> Recipe:
    try:
        data = tomllib.loads(text)
        return _recipe(data, name)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source}: not valid TOML: {error}") from None
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


@dataclasses.dataclass(frozen=True)
class _File:
    """The keys of an ablation's file, and what each holds."""

    description: str = ""
    protocol: str = "lite"
    algos: str = "all"
    tasks: str = "dmc6"
    seeds: str = "5"
    reference: str = ""
    set: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    source: Mapping[str, object] = dataclasses.field(default_factory=dict)
    axes: Mapping[str, object] = dataclasses.field(default_factory=dict)


def _recipe(data: Mapping[str, object], name: str) -> Recipe:
    try:
        file = convert(_File, data, TOML)
    except Misfit as misfit:
        raise _mended(misfit.path[0], data) from None
    return Recipe(
        name=name,
        description=file.description,
        protocol=file.protocol,
        algos=file.algos,
        tasks=file.tasks,
        seeds=file.seeds,
        settings=(*_protocol_settings(file.changes), *file.set),
        metrics=file.metrics,
        source_settings=tuple(_protocol_settings(file.source)),
        axes=tuple(_axis(key, values) for key, values in file.axes.items()),
        reference=file.reference,
    )


def _mended(key: str, data: Mapping[str, object]) -> UserError:
    """Says what a key of the file has to hold."""
    kinds = field_types(_File)
    if key not in kinds:
        return unknown("key", key, list(kinds))
    if kinds[key] is str:
        return UserError(f"{key} = {data[key]!r}: must be a text, in quotes")
    if typing.get_origin(kinds[key]) is tuple:
        return UserError(f"{key} = {data[key]!r}: must be a list of texts")
    return UserError(f"{key} = {data[key]!r}: must be a table, [{key}]")


def _protocol_settings(table: Mapping[str, object]) -> list[str]:
    return [f"{PROTOCOL}.{field}={typed(value)}" for field, value in table.items()]


def _axis(key: str, values: object) -> Axis:
    if isinstance(values, dict):
        raise UserError(f'axis {key}: put its whole name in quotes, like "{key}.FIELD" = [...]')
    if not isinstance(values, list):
        raise UserError(f"axis {key} = {values!r}: must be a list of values, in brackets")
    try:
        return make_axis(key, convert(list[Value], values, STORED))
    except Misfit as misfit:
        wrong = values[int(misfit.path[0])]
        raise UserError(
            f"axis {key}: {wrong!r} is no number, text, true, false or list of them"
        ) from None
