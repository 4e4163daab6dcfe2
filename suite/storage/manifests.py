"""What a checkpoint or a kept policy says of itself, read without JAX and almost without arrays.

Whoever reads a stranger's directory wants to know what a file is before anything is made of it;
`suite.storage.checkpoint` writes these files and reads them whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from suite.common.reading import opened, parse_trusted_json
from suite.storage.archives import Archive, open_archive

ENTRY = "manifest"
"""Of the archive, with the JSON text below."""

MAX_BYTES = 1 << 30
"""Of that text: the return of every episode so far is in it, of all seeds."""

MAX_VALUES = 1 << 26
"""Likewise."""

_MAX_ARRAY_BYTES = 16 << 20
"""Of an array that is asked for: statistics of observations and the like."""


class Manifest(NamedTuple):
    """What a file says of itself.

    Attributes:
        meta: the facts that were saved with the arrays.
        layout: 16 hex digits of the paths, types and shapes of all leaves.
        digest: SHA-256 over facts and arrays, as its writer reckoned it.
        arrays: those that were asked for and are there, by the path of their leaf.
    """

    meta: Mapping[str, Any]
    layout: str
    digest: str
    arrays: Mapping[str, np.ndarray]


def read_manifest(path: Path, wanted: Sequence[str] = ()) -> Manifest:
    """Reads what a file says of itself.

    Args:
        path: of a checkpoint or a kept policy.
        wanted: paths of leaves, as JAX writes them, whose arrays are read as well.

    Raises:
        ValueError: it is no such file, or damaged.
        OSError: it cannot be read.
    """
    with opened(path) as file:
        try:
            with open_archive(file, compressed=False) as archive:
                manifest = parse_trusted_json(
                    _bounded(archive, ENTRY, MAX_BYTES).tobytes(), MAX_VALUES
                )
                facts = parse_trusted_json(manifest["facts"].encode(), MAX_VALUES)
                leaves = [list(leaf) for leaf in facts["leaves"]]
                zeros = frozenset(facts.get("zeros", ()))
                arrays = {
                    str(leaf[0]): _bounded(archive, entry(index), _MAX_ARRAY_BYTES)
                    for index, leaf in enumerate(leaves)
                    if leaf[0] in wanted and index not in zeros
                }
                layout = hashlib.sha256(json.dumps(leaves).encode()).hexdigest()[:16]
                meta = facts["meta"]
                if not isinstance(meta, dict):
                    raise ValueError("its facts are no object")
                return Manifest(meta, layout, str(manifest["sha256"]), arrays)
        except OSError:
            raise
        except Exception as error:  # a flipped bit may fail anywhere in zipfile, zlib or NumPy
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(reason) from None


def _bounded(archive: Archive, name: str, max_bytes: int) -> np.ndarray:
    if archive.size_of(name) > max_bytes:
        raise ValueError(f"{name} takes more than {max_bytes:,} bytes")
    return archive[name]


def entry(index: int) -> str:
    """Returns the name in the archive of one leaf's array."""
    return f"leaf{index:06d}"
