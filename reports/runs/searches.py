"""What a search for settings leaves unfinished on purpose."""

from __future__ import annotations

from suite.common.errors import UserError
from suite.common.files import read_object
from suite.configuration.effort import RECORD, Effort
from suite.storage.run_directory import RunDirectory

_MAX_BYTES = 1 << 20


def dropped_after(directory: RunDirectory) -> tuple[int, ...]:
    """Returns the updates after which the search that a directory is of drops candidates.

    None if no record of a search lies beside the directory, or one that cannot be read or that
    trained by other rules: its runs are then unfinished like others.
    """
    record = directory.path.resolve().parent / RECORD
    if not record.is_file():
        return ()
    try:
        effort = Effort.from_dict(read_object(record, _MAX_BYTES), record.name)
    except UserError:
        return ()
    same = effort.protocol.fingerprint() == directory.protocol.fingerprint()
    return effort.ends[:-1] if same else ()
