"""What is written of one cell, in batches: see suite/storage/cell_files.py."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from suite.common.files import json_bytes
from suite.storage.records import CurveRow, RunRecord, Status

if TYPE_CHECKING:
    import numpy as np

METHOD = "method.py"
STATES = "states.npz"


class Batch:
    """Files of one cell that are to be written together.

    Attributes:
        contents: of each file by its name, in the order in which they were put.
    """

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put_run(self, record: RunRecord) -> None:
        """Replaces run.json."""
        self.contents["run.json"] = json_bytes(dataclasses.asdict(record))

    def put_method(self, source: bytes) -> None:
        """Replaces method.py."""
        self.contents[METHOD] = source

    def put_status(self, status: Status) -> None:
        """Replaces status.json."""
        self.contents["status.json"] = json_bytes(dataclasses.asdict(status))

    def put_curve(self, rows: Sequence[CurveRow]) -> None:
        """Replaces curve.csv by all rows so far."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(field.name for field in dataclasses.fields(CurveRow))
        writer.writerows(dataclasses.astuple(row) for row in rows)
        self.contents["curve.csv"] = text.getvalue().encode()

    def put_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replaces metrics.csv by the mean training metrics of all chunks so far."""
        text = io.StringIO(newline="")
        # A method of one's own may have been changed between two starts, its metrics too.
        names = ["env_steps", *sorted({name for row in rows for name in row} - {"env_steps"})]
        writer = csv.DictWriter(text, names, restval="nan", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.contents["metrics.csv"] = text.getvalue().encode()

    def put_episodes(self, env_steps: np.ndarray, returns: np.ndarray) -> None:
        """Replaces episodes.npz.

        Args:
            env_steps: [P] as in `CurveRow`, one per evaluation.
            returns: [P, M, E] of every episode; M modes in the order of `algorithms.api.MODES`.
        """
        import numpy as np

        file = io.BytesIO()
        np.savez_compressed(file, env_steps=env_steps, returns=returns)
        self.contents["episodes.npz"] = file.getvalue()

    def put_states(self, env_steps: int, steps: Sequence[int], obs: np.ndarray) -> None:
        """Replaces states.npz.

        Args:
            env_steps: of the evaluation they are from, as in `CurveRow`.
            steps: [K] of its episodes.
            obs: [K, G, O] what G noise-free episodes saw at these steps.
        """
        import numpy as np

        file = io.BytesIO()
        np.savez_compressed(
            file, env_steps=np.int64(env_steps), steps=np.asarray(steps, np.int64), obs=obs
        )
        self.contents[STATES] = file.getvalue()
