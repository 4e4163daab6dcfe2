"""What a search for settings spends on a method; equal for all methods, to the step.

Candidates run in rounds, the rungs: all of them for the first part of the budget, the better ones
on to the next, the last of them to the end of it (successive halving: Karnin et al. 2013, Jamieson
and Talwalkar 2016). A rung's run is the first part of a whole one, which goes on from there: what
a method does by the length of its budget, as GoRL divides it into stages, it does in a rung too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

from suite.common.convert import JSON, Misfit, convert
from suite.common.errors import UserError, damage
from suite.configuration.protocol import Protocol

RECORD = "tuning.json"
"""File in a search's directory that tells of the effort."""

TUNER = 1
"""Version of the search, of which the record tells: another draws or scores otherwise."""

FIRST_SEED = 100
"""Seeds of a search begin here, far from those that comparisons begin with."""

EVAL_SEED_SHIFT = 1
"""From the protocol's seed of evaluation to the search's: no run of the protocol starts there."""

FINALISTS = 2
"""Candidates, at least, that train to the end: of one alone, the end would decide nothing."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """What is spent on every method alike.

    Attributes:
        protocol: what everything is trained by; `for_tuning` of the protocol that is tuned.
        tasks: that candidates are judged on.
        seeds: of every candidate and task.
        trials: candidates, the method's defaults among them.
        rungs: shares of the budget after which candidates are dropped; the last is 1.
        eta: of how many candidates one goes on.
        draw: seed of the candidates.
        engine: what steps the physics.

    Raises:
        UserError: something of it is impossible.
    """

    protocol: Protocol
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: int
    rungs: tuple[float, ...]
    eta: int
    draw: int
    engine: str

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise UserError(f"--trials {self.trials}: at least 2, the defaults being one of them")
        if self.eta < 2:
            raise UserError(f"--eta {self.eta}: at least 2, or no candidate is ever dropped")
        rising = all(a < b for a, b in zip(self.rungs, self.rungs[1:], strict=False))
        if not self.rungs or not rising or self.rungs[0] <= 0 or self.rungs[-1] != 1:
            listed = shares(self.rungs)
            raise UserError(f"--rungs {listed}: give rising shares of the budget that end with 1")
        if self.ends[0] < 1:
            raise UserError(f"--rungs {shares(self.rungs)}: the first ends before any update")
        if len(set(self.ends)) < len(self.ends):
            raise UserError(
                f"--rungs {shares(self.rungs)}: two rungs end at the same evaluation, of which "
                f"there is one every {self.protocol.eval_interval} of {self.protocol.updates} "
                "updates; give fewer"
            )

    @property
    def ends(self) -> tuple[int, ...]:
        """Updates after which each rung ends: at the first evaluation not before its share."""
        interval, total = self.protocol.eval_interval, self.protocol.updates
        # A hair is taken off so that a third of 180, to six digits, is not beyond 60.
        wanted = [math.ceil(share * total / interval - 1e-3) * interval for share in self.rungs]
        return tuple(min(total, each) for each in wanted)

    @property
    def candidates(self) -> tuple[int, ...]:
        """How many candidates each rung trains."""
        counts = [self.trials]
        for _ in self.rungs[1:]:
            counts.append(max(math.ceil(counts[-1] / self.eta), min(FINALISTS, counts[-1])))
        return tuple(counts)

    @property
    def updates(self) -> int:
        """Updates of one method's search, for one task and one seed."""
        begins = (0, *self.ends[:-1])
        parts = zip(self.candidates, begins, self.ends, strict=True)
        return sum(count * (end - begin) for count, begin, end in parts)

    @property
    def steps(self) -> int:
        """Environment steps of one method's search, for all tasks and seeds."""
        cells = len(self.tasks) * len(self.seeds)
        return self.updates * cells * self.protocol.steps_per_update

    def record(self) -> dict[str, int | str]:
        """Returns what a protocol tells of it, by the names of `TUNING`."""
        return {
            "configurations": self.trials,
            "seeds": len(self.seeds),
            "steps": self.protocol.updates * self.protocol.steps_per_update,
            "total_steps": self.steps,
            "tasks": ",".join(self.tasks),
            "rungs": shares(self.rungs),
            "eta": self.eta,
            "draw": self.draw,
            "tuner": TUNER,
        }

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        names = [field.name for field in dataclasses.fields(self)]
        plain: dict[str, object] = {name: getattr(self, name) for name in names}
        return {**plain, "protocol": self.protocol.to_dict(), "tuner": TUNER}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str) -> Self:
        """Builds an effort from parsed JSON.

        Raises:
            UserError: something is missing or not of its type, or another version wrote it.
        """
        fields = dict(data)
        if (version := fields.pop("tuner", None)) != TUNER:
            raise UserError(f"{source} is of version {version} of the search, this is {TUNER}")
        try:
            protocol = Protocol.from_dict(fields.pop("protocol"), source)
            numbers = convert(_Numbers, fields, JSON)
        except (AttributeError, KeyError, TypeError, Misfit) as error:
            raise UserError(f"{source} is damaged ({damage(error)}); restore it") from None
        try:
            return cls(protocol=protocol, **numbers.__dict__)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    def differences(self, other: Effort) -> list[str]:
        """Returns what is not equal in two efforts, fields of the protocol by their names."""
        fields = [field.name for field in dataclasses.fields(self) if field.name != "protocol"]
        mine = [name for name in fields if getattr(self, name) != getattr(other, name)]
        return [*mine, *self.protocol.differences(other.protocol)]


@dataclasses.dataclass(frozen=True)
class _Numbers:
    """All of an `Effort` but its protocol, as JSON has it."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: int
    rungs: tuple[float, ...]
    eta: int
    draw: int
    engine: str


def for_tuning(protocol: Protocol) -> Protocol:
    """Returns the protocol of a search: the same, from other start states than its runs have.

    What it tells of earlier searches is left out.
    """
    return dataclasses.replace(
        protocol,
        name=f"{protocol.name}-tuning",
        description=f"search for settings of {protocol.name}",
        eval_seed=(protocol.eval_seed + EVAL_SEED_SHIFT) % 2**31,
        tuning={},
    )


def search_seeds(count: int) -> tuple[int, ...]:
    """Returns the seeds of a search."""
    return tuple(range(FIRST_SEED, FIRST_SEED + count))


def shares(rungs: tuple[float, ...]) -> str:
    """Returns rungs as they are typed: `0.5,1`."""
    return ",".join(f"{share:.6g}" for share in rungs)


def parse_rungs(text: str) -> tuple[float, ...]:
    """Returns rungs as they were typed: `0.5,1`, or `1/3,1`.

    Raises:
        UserError: the text is no list of numbers.
    """
    try:
        parts = [each.partition("/") for each in text.split(",")]
        # To the digits that `shares` gives, so that what is stored is what is read.
        return tuple(float(f"{float(a) / float(b or 1):.6g}") for a, _, b in parts)
    except (ValueError, ZeroDivisionError):
        raise UserError(f"--rungs {text!r}: write shares of the budget, like 0.5,1") from None
