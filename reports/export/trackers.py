"""`suite export --to`: stored runs as those of experiment trackers, written offline.

Every tracker is an optional extra and is imported only here. Each run goes along with its
id, its configuration and its protocol. Exporting again replaces what was exported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import math
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.runs.results import Results, Run
from suite.common.errors import UserError, unknown
from suite.common.files import atomic_writer, make_directory

PROJECT = "gorl-suite"
"""The name under which trackers file the runs."""

_COMMON = ("wall_seconds", "updates", "stage")
"""Columns of a curve that are the same in every evaluation mode."""

_PER_MODE = ("return_mean", "return_std")


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """One run as trackers want it.

    Attributes:
        name: `ppo/CheetahRun/seed-000`, with the label of a variant.
        run: what is stored.
        config: configuration, protocol, run id and state, as plain data.
        points: environment steps and what was measured there, in order; only finite numbers.
    """

    name: str
    run: Run
    config: Mapping[str, Any]
    points: tuple[tuple[int, Mapping[str, float]], ...]

    @property
    def key(self) -> str:
        """The name in letters that every tracker and file system takes, different for each."""
        plain = re.sub(r"[^A-Za-z0-9_.=-]+", "-", self.name)[:80]
        return f"{plain}-{zlib.crc32(self.name.encode()):08x}"


def write_tracked(results: Results, tracker: str, out: Path) -> int:
    """Writes every run for a tracker.

    Args:
        results: what to write.
        tracker: a name of `TRACKERS`.
        out: a directory; made if missing.

    Returns:
        The number of runs.

    Raises:
        UserError: there is no such tracker, its package is not installed, or it refuses.
        OSError: a file cannot be written.
    """
    if tracker not in TRACKERS:
        raise unknown("tracker", tracker, TRACKERS)
    if importlib.util.find_spec(tracker) is None:
        raise UserError(
            f"--to {tracker} needs a package that is missing; `pip install -e '.[{tracker}]'`"
        )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a directory for {tracker}'s files")
    make_directory(out)
    runs = [track(run) for run in results.runs]
    TRACKERS[tracker](runs, out)
    return len(runs)


def track(run: Run) -> TrackedRun:
    """Returns a run as trackers want it."""
    stored = dataclasses.asdict(run.configuration) if run.configuration else {}
    config = {**stored, "label": run.algorithm, "run_id": run.run_id, "state": run.state}
    name = f"{run.algorithm}/{run.task}/seed-{run.seed:03d}"
    return TrackedRun(name, run, json.loads(json.dumps(config)), tuple(_points(run)))


def _points(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    for steps, rows in run.curve.groupby("env_steps", sort=True):
        first = rows.iloc[0]
        measured = {name: float(first[name]) for name in _COMMON}
        for _, row in rows.iterrows():
            measured |= {f"{row['mode']}/{name}": float(row[name]) for name in _PER_MODE}
        yield int(steps), {name: x for name, x in measured.items() if math.isfinite(x)}


def _write_tensorboard(runs: Sequence[TrackedRun], out: Path) -> None:
    """Writes one event file a run, whose times are seconds since the run began."""
    for tracked in runs:
        directory = out / tracked.key
        make_directory(directory)
        with atomic_writer(directory / "events.out.tfevents.0.suite") as file:
            file.write(_events(tracked))


def _events(tracked: TrackedRun) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    writer = RecordWriter(content)
    text = "    " + json.dumps(tracked.config, indent=2).replace("\n", "\n    ")
    writer.write(Event(file_version="brain.Event:2").SerializeToString())
    for summary in (text_pb("configuration", text), hparams_pb(_flat(tracked), tracked.key, 0.0)):
        writer.write(Event(summary=summary).SerializeToString())
    for steps, measured in tracked.points:
        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in measured.items()]
        seconds = measured.get("wall_seconds", 0.0)
        event = Event(step=steps, wall_time=seconds, summary=Summary(value=values))
        writer.write(event.SerializeToString())
    return content.getvalue()


def _flat(tracked: TrackedRun) -> dict[str, bool | float | str]:
    """Returns what tells runs apart, in the types that TensorBoard's table of them takes."""
    names = ("label", "task", "seed", "engine", "fingerprint", "state")
    chosen = {name: tracked.config.get(name, "") for name in names}
    chosen |= tracked.config.get("hyperparameters", {})
    simple = (bool, int, float, str)
    return {name: x if isinstance(x, simple) else json.dumps(x) for name, x in chosen.items()}


def _write_wandb(runs: Sequence[TrackedRun], out: Path) -> None:
    """Writes one offline run each, to send with `wandb sync`."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # offline means that nothing is sent
    import wandb

    # Nothing of the machine that exports: it is not the one that trained.
    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_save_requirements=False,
    )
    for tracked in runs:
        for earlier in (out / "wandb").glob(f"offline-run-*-{tracked.key}"):
            shutil.rmtree(earlier)
        try:
            run = wandb.init(
                mode="offline",
                dir=str(out),
                project=PROJECT,
                id=tracked.key,
                name=tracked.name,
                group=f"{tracked.run.algorithm}/{tracked.run.task}",
                config=dict(tracked.config),
                settings=settings,
            )
            run.define_metric("*", step_metric="env_steps")
            for steps, measured in tracked.points:
                run.log({"env_steps": steps, **measured})
            run.finish()
        except wandb.Error as error:
            raise UserError(f"{out}: wandb refused {tracked.name}: {error}") from None


def _write_trackio(runs: Sequence[TrackedRun], out: Path) -> None:
    """Writes trackio's local database; show it with TRACKIO_DIR set to its directory."""
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        os.environ.pop(name, None)  # these would send the runs away
    os.environ["TRACKIO_DIR"] = str(out.resolve())  # read when trackio is imported
    with contextlib.redirect_stdout(io.StringIO()):
        import trackio

        finish: Callable[[], None] = trackio.finish  # which has no types
        names = {tracked.name for tracked in runs}
        with contextlib.suppress(ValueError):  # there is no such project yet
            for earlier in [run for run in trackio.Api().runs(PROJECT) if run.name in names]:
                earlier.delete()
        for tracked in runs:
            run = trackio.init(
                PROJECT,
                name=tracked.name,
                group=f"{tracked.run.algorithm}/{tracked.run.task}",
                config=dict(tracked.config),
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
            for steps, measured in tracked.points:
                run.log(dict(measured), step=steps)
            finish()


TRACKERS: Mapping[str, Callable[[Sequence[TrackedRun], Path], None]] = {
    "tensorboard": _write_tensorboard,
    "wandb": _write_wandb,
    "trackio": _write_trackio,
}
"""Packages, each the name of an extra too, and what writes their files."""
