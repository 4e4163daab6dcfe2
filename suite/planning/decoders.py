"""Frozen decoders: those in the policies that another run has kept."""

from __future__ import annotations

import dataclasses

from suite.common import formatting
from suite.common.errors import UserError
from suite.common.reading import digest_of
from suite.storage.records import Cell, DecoderSource
from suite.storage.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Decoders:
    """Where the cells of a run get their decoders: each from the same cell of another run.

    Attributes:
        run: the other run.
        stage: whose decoder, out of the policies kept at the ends of stages.
    """

    run: RunDirectory
    stage: int

    def has(self, cell: Cell) -> bool:
        """Returns whether the other run kept the policy: it has none after a divergence."""
        return self.stage in self.run.files(cell).kept_stages()

    def source(self, cell: Cell) -> DecoderSource:
        """Returns what run.json records of a cell's decoder.

        Raises:
            UserError: the other run has not kept the policy.
        """
        if not self.has(cell):
            raise UserError(
                f"{self.run.path}/{cell} has no policy of the end of stage {self.stage}, which "
                "the decoder comes from; restore it"
            )
        path = self.run.files(cell).policy_path(self.stage)
        try:
            digest = digest_of(path)
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); restore it") from None
        return DecoderSource(
            formatting.readable(self.run.path.resolve().name), str(cell), self.stage, digest
        )

    def check(self, cell: Cell, stored: DecoderSource | None) -> None:
        """Raises UserError if a cell that was started has another decoder than it would get.

        A finished cell does not need the policy any more, so that a lost one is no error here.
        """
        if self.has(cell) and stored != self.source(cell):
            raise UserError(
                f"{cell} was started with the decoder {stored or 'of its own'}, which now is "
                f"{self.source(cell)}; restore the source run, or choose another directory"
            )
