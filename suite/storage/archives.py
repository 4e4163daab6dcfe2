"""Reading npz archives that a stranger may have made: no pickles, no more memory than promised.

A compressed archive of a few kilobytes can claim to hold terabytes, and an array's header
can claim any shape; both are checked before anything is allocated.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Archive(Mapping[str, np.ndarray]):
    """The arrays of an npz archive by name; each is read when it is asked for.

    Args:
        archive: the open zip file.
        max_bytes: of all arrays together, uncompressed.

    Raises:
        ValueError: the archive claims to hold more.
    """

    def __init__(self, archive: zipfile.ZipFile, max_bytes: int) -> None:
        self._archive = archive
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        claimed = sum(info.file_size for info in archive.infolist())
        if claimed > max_bytes:
            raise ValueError(f"it holds {claimed:,} bytes, more than the {max_bytes:,} expected")

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

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@contextmanager
def open_archive(file: BinaryIO, max_bytes: int) -> Iterator[Archive]:
    """Opens an npz archive.

    Args:
        file: the open file.
        max_bytes: of all its arrays together, uncompressed.

    Raises:
        ValueError: it is no archive, or claims to hold more.
    """
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from None
    with archive:
        yield Archive(archive, max_bytes)
