"""What a directory holds of an ablation.

ABLATION_DIR/ablation.json   what it is, written once
ABLATION_DIR/source/         the run that frozen decoders come from, where there is one
ABLATION_DIR/ARM/            an ordinary run directory for every arm
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from suite.common.convert import JSON, convert
from suite.common.errors import UserError, damage
from suite.common.files import (
    exclusive_write,
    json_bytes,
    make_directory,
    read_object,
)
from suite.configuration.hyperparameters import EVERY_ALGORITHM
from suite.configuration.protocol import Protocol
from suite.configuration.protocol_changes import changed
from suite.configuration.recipe import PROTOCOL, Arm, Axis, make_arms, make_axis
from suite.configuration.selection import MAX_SEEDS

RECORD = "ablation.json"

_MOST = {"metrics": 100, "tasks": 100, "algorithms": 100, "seeds": MAX_SEEDS}
"""Of what a report has a column or a row for each."""

_MAX_BYTES = 1 << 20
"""Of ablation.json, which holds two protocols and a few lists."""


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What ablation.json holds.

    Attributes:
        name: of the ablation.
        description: one line.
        protocol: of the arms, before their axes change it.
        source: protocol of the source run, None without one.
        algorithms, tasks, seeds: what was asked for first; later commands may ask for more.
        engine: what steps the physics.
        settings: `--set` texts of hyper-parameters that hold in every arm.
        metrics: see `Recipe`.
        axes: what is varied.
        reference: see `Recipe`.
    """

    name: str
    description: str
    protocol: Protocol
    source: Protocol | None
    algorithms: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    engine: str
    settings: tuple[str, ...]
    metrics: tuple[str, ...]
    axes: tuple[Axis, ...]
    reference: str = ""

    def __post_init__(self) -> None:
        """Raises UserError if something is listed more often than a report could show."""
        for name, most in _MOST.items():
            if (count := len(getattr(self, name))) > most:
                raise UserError(f"ablation {self.name}: {count:,} {name}; at most {most:,}")

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, the last axis fastest."""
        return make_arms(self.axes)

    def protocol_of(self, arm: Arm) -> Protocol:
        """Returns an arm's protocol, under the ablation's name for it."""
        changes = [
            change
            for axis, value in zip(self.axes, arm.values, strict=True)
            if axis.owners == (PROTOCOL,)
            for change in axis.changes(value, self.algorithms)
        ]
        name = f"{self.protocol.name}-{arm.name}"
        return dataclasses.replace(changed(self.protocol, changes), name=name)

    def settings_of(self, arm: Arm) -> tuple[str, ...]:
        """Returns the `--set` texts of all hyper-parameters that an arm sets, for any algorithm."""
        texts = list(self.settings)
        for axis, value in zip(self.axes, arm.values, strict=True):
            if axis.is_decoder:
                texts += [f"{EVERY_ALGORITHM}.refits=false"] * isinstance(value, int)
            elif axis.owners != (PROTOCOL,):
                texts += axis.changes(value, axis.owners)
        return tuple(texts)

    @property
    def varied_protocol_fields(self) -> frozenset[str]:
        """Fields of the protocol in which the arms differ."""
        chosen = [axis for axis in self.axes if axis.owners == (PROTOCOL,)]
        return frozenset(field.partition(".")[0] for axis in chosen for field in axis.fields)

    def varied_hyperparameters(self, algorithm: str) -> frozenset[str]:
        """Hyper-parameters in which an algorithm's runs may differ between arms."""
        return frozenset(
            field
            for axis in self.axes
            if {algorithm, EVERY_ALGORITHM} & set(axis.owners)
            for field in axis.fields
        )

    def write(self, directory: Path) -> None:
        """Writes ablation.json, or checks that the one there says the same.

        Raises:
            UserError: it says something else; names what.
            OSError: it cannot be written.
        """
        make_directory(directory)
        if not exclusive_write(directory / RECORD, json_bytes(self.to_dict())):
            self.check(read_ablation(directory), directory)

    def check(self, stored: Ablation, directory: Path) -> None:
        """Raises UserError if `stored` has other arms or settings than this."""
        fields = self.protocol.differences(stored.protocol)
        if self.source and stored.source:
            fields += [f"source's {field}" for field in self.source.differences(stored.source)]
        if self.axes != stored.axes:
            fields.append("axes")
        fields += [
            name for name in ("settings", "engine") if getattr(self, name) != getattr(stored, name)
        ]
        if fields:
            raise UserError(
                f"{directory} holds another ablation: it differs in {', '.join(fields)}; "
                "choose another directory with --out"
            )

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        names = [field.name for field in dataclasses.fields(self)]
        plain: dict[str, object] = {name: getattr(self, name) for name in names}
        plain["protocol"] = self.protocol.to_dict()
        plain["source"] = self.source.to_dict() if self.source else None
        # A list, as JSON's objects have no order and the arms do.
        plain["axes"] = [dataclasses.asdict(axis) for axis in self.axes]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str) -> Self:
        """Builds an ablation from parsed JSON.

        Raises:
            UserError: something is missing or not of its type.
        """
        try:
            axes = [make_axis(each["key"], each["values"]) for each in data["axes"]]
            before = data["source"]
            return cls(
                name=str(data["name"]),
                description=str(data["description"]),
                protocol=Protocol.from_dict(data["protocol"], source),
                source=Protocol.from_dict(before, source) if before is not None else None,
                algorithms=_texts(data, "algorithms"),
                tasks=_texts(data, "tasks"),
                seeds=convert(tuple[int, ...], data["seeds"], JSON),
                engine=str(data["engine"]),
                settings=_texts(data, "settings"),
                metrics=_texts(data, "metrics"),
                axes=tuple(axes),
                reference=str(data.get("reference", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{source} is damaged ({damage(error)}); restore it") from None


def is_ablation(directory: Path) -> bool:
    """Returns whether a directory holds an ablation."""
    return (directory / RECORD).is_file()


def read_ablation(directory: Path) -> Ablation:
    """Reads ablation.json.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = directory / RECORD
    if not path.is_file():
        raise UserError(f"{directory} is no ablation: it has no {RECORD}")
    return Ablation.from_dict(read_object(path, _MAX_BYTES), str(path))


def settings_of_arm(run: Path) -> tuple[str, ...] | None:
    """Returns the settings of the arm that a run directory is; None if it is none.

    What its ablation.json says is not known either where that is damaged, nor for the source of
    decoders, whose settings are not in it.
    """
    place = run.resolve()
    try:
        if not is_ablation(place.parent):
            return None
        ablation = read_ablation(place.parent)
        return next((ablation.settings_of(a) for a in ablation.arms if a.name == place.name), None)
    except UserError:
        return None


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return convert(tuple[str, ...], data[key], JSON)
