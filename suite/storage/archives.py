"""Reading npz archives that a stranger may have made: no pickles, no more memory than promised.

A compressed archive of a few kilobytes can claim to hold terabytes, and an array's header
can claim any shape; both are checked before anything is allocated.

A checkpoint or a kept policy is one too, with a manifest: who reads a stranger's directory wants
to know what it says of itself before anything is made of it, without JAX and almost without
arrays. `suite.storage.checkpoint` writes these and reads them whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

import numpy as np

from suite.common.reading import opened, parse_trusted_json

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_MAX_LIST = 4 << 20
"""Bytes of an archive's list of members, some sixty for each array."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


MANIFEST = "manifest"
"""Of the archive, with the JSON text below."""

MAX_MANIFEST_BYTES = 1 << 30
"""Of that text: the return of every episode so far is in it, of all seeds."""

MAX_MANIFEST_VALUES = 1 << 26
"""Likewise."""

_MAX_ARRAY_BYTES = 16 << 20
"""Of an array that is asked for: statistics of observations and the like."""


class Archive(Mapping[str, np.ndarray]):
    """The arrays of an npz archive by name; each is read when it is asked for.

    Args:
        archive: the open zip file.
        max_bytes: of all arrays together, uncompressed.
        compressions: in which they may be stored.

    Raises:
        ValueError: the archive claims to hold more, or is compressed in another way.
    """

    def __init__(
        self, archive: zipfile.ZipFile, max_bytes: int, compressions: Container[int] = _COMPRESSIONS
    ) -> None:
        self._archive = archive
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        claimed = sum(info.file_size for info in archive.infolist())
        if claimed > max_bytes:
            raise ValueError(f"it holds {claimed:,} bytes, more than the {max_bytes:,} expected")
        # The others of zipfile unpack a block whole, however much it is.
        if any(info.compress_type not in compressions for info in archive.infolist()):
            raise ValueError("it is compressed in a way that no run uses")

    def __getitem__(self, name: str) -> np.ndarray:
        """Reads one array.

        Raises:
            KeyError: there is none of that name.
            ValueError: it is damaged, or of Python objects.
        """
        info = self._members[name]
        # Asked for so many bytes, zipfile unpacks no more, whatever the compressed data hold.
        with self._archive.open(info) as file:
            content = file.read(info.file_size)
        stream = io.BytesIO(content)
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"array {name} is of an unknown format")
        shape, fortran_order, dtype = _HEADERS[version](stream)
        if dtype.hasobject or not dtype.itemsize:
            raise ValueError(f"array {name} holds {dtype}, which is never loaded")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != (
            len(content) - stream.tell()
        ):
            raise ValueError(f"array {name} is not as long as its header says")
        flat = np.frombuffer(content, dtype, offset=stream.tell())
        return flat.copy().reshape(shape, order="F" if fortran_order else "C")

    def size_of(self, name: str) -> int:
        """Returns the bytes of one array with its header; raises KeyError if there is none."""
        return self._members[name].file_size

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@contextmanager
def open_archive(
    file: BinaryIO, max_bytes: int | None = None, compressed: bool = True
) -> Iterator[Archive]:
    """Opens an npz archive.

    Args:
        file: the open file.
        max_bytes: of all its arrays together, uncompressed; the file's own size if not given.
        compressed: whether they may be.

    Raises:
        ValueError: it is no archive, or claims to hold more.
    """
    try:
        # It lists the members as it is opened, and the list may be all there is to a file.
        limited = _Limited(file)
        archive = zipfile.ZipFile(cast(IO[bytes], limited))
        limited.limit = None
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from None
    if max_bytes is None:
        max_bytes = file.seek(0, io.SEEK_END)
    with archive:
        yield Archive(archive, max_bytes, _COMPRESSIONS if compressed else _COMPRESSIONS[:1])


class _Limited:
    """An open file that refuses to be read in larger pieces than a list of members is.

    Attributes:
        limit: bytes of a piece; None for any.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.limit: int | None = _MAX_LIST
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close
        self.seekable, self.flush = file.seekable, file.flush

    def read(self, size: int = -1) -> bytes:
        """Reads as `io.RawIOBase.read` does.

        Raises:
            ValueError: that is more than the limit.
        """
        if self.limit is None:
            return self._file.read(size)
        content = self._file.read(self.limit + 1 if size < 0 else min(size, self.limit + 1))
        if len(content) > self.limit:
            raise ValueError(f"its list of members is longer than {self.limit:,} bytes")
        return content


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
                    _bounded(archive, MANIFEST, MAX_MANIFEST_BYTES).tobytes(), MAX_MANIFEST_VALUES
                )
                facts = parse_trusted_json(manifest["facts"].encode(), MAX_MANIFEST_VALUES)
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
