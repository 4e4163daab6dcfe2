"""The files of one cell: what each holds, how it is read, and how several are written as one.

    CELL/run.json      configuration and provenance
         status.json   how far the cell is
         curve.csv     one row per evaluation and mode
         episodes.npz  the return of every evaluation episode
         states.npz    some observations of the newest evaluation
         metrics.csv   training metrics, a row per chunk
         policy-0.npz  what acts at the end of stage 0, and so on
         method.py     the user's file that the method is from, if it is from one
         digests.json  of all of these (suite/storage/digests.py)

All but the policies are written in batches: what the body of `CellFiles.batch` puts is written
at its end, in that order, after the digests of all of it. A reader takes nothing on trust, as the
files may be a stranger's.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from suite.common.convert import convert, field_types, from_texts, number
from suite.common.errors import UserError
from suite.common.files import (
    atomic_write,
    check_inside,
    keep_copy,
    make_directory,
)
from suite.common.formatting import readable
from suite.common.reading import read_bounded
from suite.configuration.protocol import MAX_EVALUATIONS, Mode
from suite.storage import digests
from suite.storage.bounded_files import (
    MAX_ARRAY_BYTES,
    MAX_CURVE_BYTES,
    csv_reader,
    damaged,
    read_json_object,
)
from suite.storage.cell_batch import METHOD, STATES, Batch
from suite.storage.records import Cell, CurveRow, RunRecord, Status

if TYPE_CHECKING:
    import numpy as np

    from suite.storage.archives import Manifest

Record = TypeVar("Record", RunRecord, Status)

_STAGE = re.compile("[0-9]{1,9}")
_MODES = typing.get_args(Mode)
_MAY_BE_ANYTHING = ("mode", "return_mean", "return_std")
_LARGEST_COUNT = 2**63 - 1


class CellFiles:
    """Reads and writes the files of one cell.

    Args:
        run_path: the run directory; no file outside of it is touched.
        cell: whose files.

    Attributes:
        path: the cell's directory.
    """

    def __init__(self, run_path: Path, cell: Cell) -> None:
        self.path = cell_path(run_path, cell)
        self._run_path = run_path

    @contextlib.contextmanager
    def batch(self) -> Iterator[Batch]:
        """Writes what its body puts, at its end and in that order, digests first.

        Nothing is written if the body fails.

        Raises:
            UserError: the cell's directory is a link that leads out of the run directory.
            OSError: a file cannot be written; those after it are then as before.
        """
        batch = Batch()
        yield batch
        check_inside(self.path, self._run_path)
        make_directory(self.path)
        digests.announce(self.path, batch.contents)
        for name, content in batch.contents.items():
            atomic_write(self.path / name, content)

    def check_digests(self) -> digests.Verdict:
        """Compares the files with their digests.

        Raises:
            UserError: the cell's directory is a link that leads out of the run directory.
        """
        check_inside(self.path, self._run_path)
        return digests.check(self.path)

    def read_run(self) -> RunRecord | None:
        """Returns run.json, or None for a cell that was never started.

        Raises:
            UserError: the file is damaged.
        """
        return self._read_record("run.json", RunRecord)

    def read_status(self) -> Status | None:
        """Returns status.json, or None where there is none yet.

        Raises:
            UserError: the file is damaged.
        """
        return self._read_record("status.json", Status)

    def has_reached(self, updates: int) -> bool:
        """Returns whether the cell is finished, or was evaluated after `updates`.

        Raises:
            UserError: a file is damaged.
        """
        status = self.read_status()
        if status is None:
            return False
        if status.finished or status.updates > updates:
            return True
        # The checkpoint that a chunk ends with is one before the evaluation that follows.
        rows = self.read_curve() if status.updates == updates else []
        return bool(rows) and rows[-1].updates == updates

    def read_curve(self) -> list[CurveRow]:
        """Returns the rows of curve.csv, none where there is no file yet.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path / "curve.csv"
        if not path.is_file():
            return []
        try:
            reader = self._table(path)
            rows = list(reader)
            if reader.fieldnames != list(field_types(CurveRow)):
                raise ValueError("its columns are not those of a curve")
            if len(rows) > (most := MAX_EVALUATIONS * len(_MODES)):
                raise ValueError(f"{len(rows):,} rows, more than the {most:,} of the longest run")
            return [_curve_row(row) for row in rows]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise damaged(path, error) from None

    def read_metrics(self) -> list[dict[str, float]]:
        """Returns the rows of metrics.csv, none where there is no file yet.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path / "metrics.csv"
        if not path.is_file():
            return []
        try:
            rows = self._table(path)
            names = rows.fieldnames or ()
            if len({*names}) < len(names):
                raise ValueError("two columns have one name")
            return [
                {readable(name): number(float, value) for name, value in row.items()}
                for row in rows
            ]
        except (TypeError, ValueError, csv.Error) as error:
            raise damaged(path, error) from None

    def read_episodes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns what `Batch.put_episodes` took, or None where there is no file yet.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path / "episodes.npz"
        if not path.is_file():
            return None
        env_steps, returns = self._arrays(path, "env_steps", "returns")
        if env_steps.ndim != 1 or len(returns) != len(env_steps):
            raise damaged(path, ValueError("its arrays do not fit each other"))
        return env_steps, returns

    def read_states(self) -> tuple[int, np.ndarray, np.ndarray] | None:
        """Returns what `Batch.put_states` took, or None in a run of an older version.

        Raises:
            UserError: the file is damaged.
        """
        import numpy as np

        path = self.path / STATES
        if not path.is_file():
            return None
        env_steps, steps, obs = self._arrays(path, "env_steps", "steps", "obs")
        fits = obs.ndim == 3 and env_steps.ndim == 0 and steps.shape == obs.shape[:1]
        if not fits or not np.isfinite(obs).all():
            raise damaged(path, ValueError("its arrays do not fit each other, or are not finite"))
        return int(env_steps), steps, obs

    def method_path(self) -> Path | None:
        """Returns the user's file that the method is from, None where it is a package's.

        Raises:
            UserError: it is a link that leads out of the run directory.
        """
        path = self.path / METHOD
        if not path.is_file():
            return None
        check_inside(path, self._run_path)
        return path

    def policy_path(self, stage: int) -> Path:
        """Returns the file of the policy that the cell had when a stage's updates were over.

        A stage that selects one goes on from another: this is the one before that is put back.
        """
        return self.path / f"policy-{stage}.npz"

    def kept_stages(self) -> tuple[int, ...]:
        """Returns the stages whose policy was kept, in order; runs of older versions kept none."""
        names = (path.stem.removeprefix("policy-") for path in self.path.glob("policy-*.npz"))
        return tuple(sorted(int(name) for name in names if _STAGE.fullmatch(name)))

    def read_policy(self, stage: int, wanted: Sequence[str] = ()) -> Manifest | None:
        """Returns what the policy of a stage says of itself, None where there is no file.

        Args:
            stage: index.
            wanted: see `read_manifest`.

        Raises:
            UserError: the file is damaged.
        """
        from suite.storage.archives import read_manifest

        path = self.policy_path(stage)
        if not path.is_file():
            return None
        try:
            check_inside(path, self._run_path)
            return read_manifest(path, wanted)
        except ValueError as error:
            raise damaged(path, error) from None

    def keep_checkpoint(self, checkpoint: Path) -> None:
        """Copies a job's checkpoint to the cell as `last-good.ckpt`, before it diverged."""
        keep_copy(checkpoint, self.path / "last-good.ckpt")

    def _content(self, path: Path, max_bytes: int) -> bytes:
        """Reads a file of the cell; raises ValueError if it cannot be one that a run wrote."""
        check_inside(path, self._run_path)
        return read_bounded(path, max_bytes)

    def _table(self, path: Path) -> csv.DictReader[str]:
        return csv_reader(self._content(path, MAX_CURVE_BYTES))

    def _arrays(self, path: Path, *names: str) -> tuple[np.ndarray, ...]:
        """Reads arrays of numbers; raises UserError where the file is damaged."""
        from suite.storage.archives import open_archive

        try:
            content = io.BytesIO(self._content(path, MAX_ARRAY_BYTES))
            with open_archive(content, MAX_ARRAY_BYTES) as archive:
                arrays = tuple(archive[name] for name in names)
            if any(array.dtype.kind not in "fiu" for array in arrays):
                raise ValueError("an array does not hold numbers")
            return arrays
        except (OSError, UserError):
            raise
        except Exception as error:  # a damaged archive fails in zipfile, zlib or numpy
            raise damaged(path, error) from None

    def _read_record(self, name: str, kind: type[Record]) -> Record | None:
        path = self.path / name
        if not path.is_file():
            return None
        try:
            check_inside(path, self._run_path)
            return convert(kind, read_json_object(path))
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from None


def cell_path(run_path: Path, cell: Cell) -> Path:
    """Returns the directory of one cell."""
    return run_path / cell.task / cell.algorithm / f"seed-{cell.seed:03d}"


def _curve_row(row: Mapping[str, str]) -> CurveRow:
    if None in row:
        raise ValueError("a line has too many columns")
    found = from_texts(CurveRow, row)
    if found.mode not in _MODES:
        raise ValueError(f"{found.mode[:20]!r} is no evaluation mode")
    for name, value in vars(found).items():
        if name not in _MAY_BE_ANYTHING and not 0 <= value <= _LARGEST_COUNT:
            raise ValueError(f"{name} = {str(value)[:20]} is out of range")
    return found
