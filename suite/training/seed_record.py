"""What is known of a job besides the state of its seeds; all of it is kept in the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from algorithms.api import MODES
from suite.common.convert import STORED, convert
from suite.compute.compiled import Chunk
from suite.contract.soundness import EXCESS, check_metrics
from suite.storage.records import CurveRow, Divergence, Ledger
from suite.training.clock import Clock
from suite.training.schedule import Position

Number = int | float
"""A metric, or a count of steps, which a table shows without a fraction."""


@dataclasses.dataclass
class SeedRecord:
    """What is known of one seed.

    Attributes:
        rows: the curve so far.
        episodes: [modes][episodes] returns of each evaluation.
        metrics: mean training metrics of each chunk.
        ledger: environment steps by purpose.
        divergence: set once the seed's numbers stopped being finite; it is then frozen.
        seen: `Episodes.obs` [K][G][O] of the newest evaluation.
    """

    rows: list[CurveRow] = dataclasses.field(default_factory=list)
    episodes: list[list[list[float]]] = dataclasses.field(default_factory=list)
    metrics: list[dict[str, Number]] = dataclasses.field(default_factory=list)
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    divergence: Divergence | None = None
    seen: list[list[list[float]]] = dataclasses.field(default_factory=list)

    @classmethod
    def from_plain(cls, plain: Mapping[str, object]) -> SeedRecord:
        """Restores what `dataclasses.asdict` gave.

        Raises:
            KeyError: something is missing; only `seen` may be, which older versions did not keep.
            TypeError: likewise.
            ValueError: a part of it is not of its type.
        """
        fields = {"seen": [], **plain}
        known = {field.name: fields[field.name] for field in dataclasses.fields(cls)}
        return convert(cls, known, STORED)

    def count(self, steps: Ledger) -> None:
        """Enters environment steps into the ledger, unless the seed is frozen."""
        if not self.divergence:
            self.ledger += steps

    def add_point(
        self, returns: np.ndarray, seen: np.ndarray, position: Position, spent: Clock
    ) -> None:
        """Adds an evaluation to the curve.

        Args:
            returns: [M, E] of its episodes; M modes in the order of `MODES`.
            seen: `Episodes.obs` [K, G, O].
            position: of the policy that was evaluated.
            spent: so far.
        """
        for mode, mode_returns in zip(MODES, returns, strict=True):
            row = CurveRow(
                env_steps=self.ledger.env_steps,
                mode=mode,
                return_mean=float(mode_returns.mean(dtype=np.float64)),
                return_std=float(mode_returns.std(dtype=np.float64)),
                episodes=len(mode_returns),
                wall_seconds=spent.wall,
                updates=position.updates,
                stage=position.stage,
                **dataclasses.asdict(self.ledger),
                train_seconds=spent.train,
                eval_seconds=spent.evaluate,
            )
            self.rows.append(row)
        self.episodes.append(returns.tolist())
        self.seen = seen.tolist()


@dataclasses.dataclass
class JobRecord:
    """What is known of a job.

    Attributes:
        seeds: one record each, in the order of the job's seeds.
        position: how far it is.
        chunk: metrics of a chunk that is under way.
    """

    seeds: list[SeedRecord]
    position: Position = dataclasses.field(default_factory=Position)
    chunk: Chunk | None = None

    @property
    def is_between(self) -> bool:
        """Whether a chunk or a change of stage is under way."""
        return self.chunk is not None or self.position.collected > 0

    @property
    def env_steps(self) -> int:
        """Steps of a seed that count against the budget; frozen seeds took fewer."""
        return max(record.ledger.env_steps for record in self.seeds)

    def live(self) -> Iterator[tuple[int, SeedRecord]]:
        """Yields the index and the record of every seed that is not frozen."""
        for index, record in enumerate(self.seeds):
            if not record.divergence:
                yield index, record

    def end_chunk(self, seeds: Sequence[str], warm_up: bool = False) -> None:
        """Enters the mean metrics of the chunk that was under way; a warm-up's has none.

        Args:
            seeds: what they are called in messages.
            warm_up: whether it was one's.

        Raises:
            UserError: the metrics of the first chunk are not finite.
        """
        assert self.chunk is not None
        means = {name: np.asarray(each) for name, each in self.chunk.means.items()}
        del means[EXCESS]  # the harness's own
        first = not any(record.metrics for record in self.seeds)
        for index, record in () if warm_up else self.live():
            row = {name: float(values[index]) for name, values in means.items()}
            check_metrics(row, seeds[index], first)
            record.metrics.append({"env_steps": record.ledger.env_steps, **row})
        self.chunk = None

    def to_plain(self, spent: Clock) -> dict[str, Any]:
        """Returns the facts of a checkpoint, as JSON can hold them."""
        plain: dict[str, Any] = {
            "updates": self.position.updates,
            "stage": self.position.stage,
            "evaluated": self.position.evaluated,
            "clock": dataclasses.asdict(spent),
            "records": [dataclasses.asdict(record) for record in self.seeds],
        }
        if self.position.collected:
            plain["collected"] = self.position.collected
        if self.chunk:
            sums = {name: np.asarray(each).tolist() for name, each in self.chunk.sums.items()}
            plain["chunk"] = {"updates": self.chunk.updates, "sums": sums}
        return plain


def position_of(facts: Mapping[str, Any]) -> Position:
    """Returns how far the job of a checkpoint was, from its facts."""
    return Position(facts["updates"], facts["stage"], facts["evaluated"], facts.get("collected", 0))
