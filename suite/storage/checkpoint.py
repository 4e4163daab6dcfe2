"""Checkpoints: a pytree of arrays and a few facts in one verified file.

The file is an uncompressed npz archive without pickles: one entry per leaf, and a JSON
manifest with each leaf's path, shape and dtype, the caller's facts, and a SHA-256 digest
over all of it. Large arrays of zeros, such as a buffer in which nothing was recorded yet, are
only named. The file that a save replaces is kept beside it with the ending `.prev` and takes
over if the newest turns out damaged.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from suite.common.errors import UserError
from suite.common.files import atomic_writer, keep_copy, make_directory
from suite.common.reading import opened, parse_trusted_json
from suite.storage.archives import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_MANIFEST_VALUES,
    Archive,
    entry,
    open_archive,
)

Tree = TypeVar("Tree")
"""A pytree of arrays, or of what tells their shapes and types."""

logger = logging.getLogger(__name__)

FORMAT = 2
"""Of the file; one more with every change that older programs cannot read. Files of format 1,
and those without a number, which are older still, have no array left out."""

_READABLE = (1, FORMAT)

_LARGE = 1 << 20
"""Bytes from which an array of zeros is left out of the file."""

_HEADER = 1 << 12
"""Bytes that an array's own description may take."""

_KEY_NUMBERS = 4
"""Of a random key at most, in JAX's implementations."""

_PLAIN = "array"
"""Kind of a leaf that is no random key; the kind of a key is its implementation's name."""


class _Leaf(NamedTuple):
    """What the manifest says of one leaf."""

    path: str
    kind: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        kind = self.dtype if self.kind == _PLAIN else f"{self.kind} keys"
        return f"{kind}{list(self.shape)}"


class _Content(NamedTuple):
    """A file's leaves and facts; `zeros` are the indices of those left out of the file."""

    leaves: list[_Leaf]
    zeros: frozenset[int]
    arrays: list[np.ndarray]
    meta: dict[str, Any]


class _Damaged(Exception):
    """A file that is not the whole of what was saved."""


def save(
    path: Path,
    tree: object,
    meta: Mapping[str, object],
    keep_previous: bool = True,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Writes a checkpoint; a crash at any moment leaves a good one behind.

    The same tree and facts give the same bytes.

    Args:
        path: the file to replace.
        tree: a pytree of JAX arrays, typed random keys, NumPy arrays or numbers.
        meta: facts that JSON can hold.
        keep_previous: whether to keep the file that is replaced.
        announce: told the SHA-256 of the new file before it takes its place.

    Raises:
        OSError: with `filename` set; the former checkpoint is then untouched.
        TypeError: a leaf is a Python object.
    """
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    leaves = [_describe(jax.tree_util.keystr(where), leaf) for where, leaf in pairs]
    arrays = [_to_numpy(leaf) for _, leaf in pairs]
    zeros = [
        index
        for index, (leaf, array) in enumerate(zip(leaves, arrays, strict=True))
        if leaf.kind == _PLAIN and _is_large_zero(array)
    ]
    facts = json.dumps({"leaves": leaves, "zeros": zeros, "meta": meta}, sort_keys=True)
    kept = {index: array for index, array in enumerate(arrays) if index not in zeros}
    digest = _digest(facts, kept.values())
    manifest = json.dumps({"format": FORMAT, "facts": facts, "sha256": digest})
    entries: dict[str, Any] = {entry(index): array for index, array in kept.items()}
    entries[MANIFEST] = np.frombuffer(manifest.encode(), np.uint8)
    make_directory(path.parent)
    previous = previous_path(path) if keep_previous else None
    with atomic_writer(path, previous=previous, announce=announce) as file:
        np.savez(file, **entries)


def load(
    path: Path,
    template: Tree,
    mending: AbstractContextManager[None] | None = None,
    is_own: Callable[[Path], bool] | None = None,
) -> tuple[Tree, dict[str, Any]]:
    """Reads a checkpoint; if it is damaged, the one before it, with a logged warning.

    Args:
        path: as given to `save`.
        template: a pytree of the same structure, its leaves arrays or
            `jax.ShapeDtypeStruct`s.
        mending: entered while the one before takes the place of a damaged one, which the next
            save would else keep in its place; by default nothing is written.
        is_own: asked of a file before it is read; one that is not is damaged.

    Returns:
        The tree and the facts. Leaves are JAX arrays, or NumPy arrays and numbers where
        the template has those.

    Raises:
        UserError: no good file is left, it is of another format, or it does not fit the
            template.
    """
    pairs, structure = jax.tree_util.tree_flatten_with_path(template)
    expected = [_describe(jax.tree_util.keystr(where), leaf) for where, leaf in pairs]
    read = functools.partial(_read_own, expected=expected, is_own=is_own)
    source, content = _read_newest(path, read)
    _check_fit(path, content.leaves, expected)
    if mending is not None and source != path:
        with mending:
            keep_copy(source, path)
    leaves = [
        _from_numpy(array, stored, like)
        for array, stored, (_, like) in zip(content.arrays, content.leaves, pairs, strict=True)
    ]
    tree: Tree = jax.tree_util.tree_unflatten(structure, leaves)
    return tree, content.meta


def read_meta(path: Path) -> dict[str, Any]:
    """Reads only the facts, without the arrays and so without their digest.

    Raises:
        UserError: no good file is left.
    """
    return _read_newest(path, _read_facts)[1].meta


def size_of(template: object) -> int:
    """Returns the bytes that the leaves of a template take."""
    leaves = jax.tree_util.tree_leaves(template)
    return sum(_room(_describe("", leaf)) - _HEADER for leaf in leaves)


def previous_path(path: Path) -> Path:
    """Returns where the checkpoint before `path` is kept."""
    return path.with_name(f"{path.name}.prev")


def part_path(path: Path) -> Path:
    """Returns where a state between two that `path` holds is kept."""
    return path.with_name(f"{path.name}.part")


def _read_newest(path: Path, read: Callable[[Path], _Content]) -> tuple[Path, _Content]:
    """Returns the file that was good, and what it holds."""
    previous = previous_path(path)
    try:
        return path, read(path)
    except (_Damaged, FileNotFoundError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
    try:
        content = read(previous)
    except (_Damaged, FileNotFoundError):
        raise UserError(
            f"{path} is {reason} and there is no good {previous.name}; "
            "delete the job's files to start it again"
        ) from None
    logger.warning("%s is %s; going on from %s", path, reason, previous.name)
    return previous, content


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that may be a stranger's; one that is no plain file counts as damaged."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(opened(path))
        except ValueError as error:
            raise _as_damage(error) from None
        yield file


def _read_facts(path: Path) -> _Content:
    with _opened(path) as file:
        try:
            with open_archive(file, compressed=False) as archive:
                return _parse_facts(_parse_manifest(path, archive)["facts"])
        except UserError:
            raise
        except Exception as error:
            raise _as_damage(error) from None


def _read_own(
    path: Path, expected: Sequence[_Leaf], is_own: Callable[[Path], bool] | None
) -> _Content:
    if is_own is not None and not is_own(path):
        raise _Damaged("it is not what this run wrote")
    return _read_all(path, expected)


def _read_all(path: Path, expected: Sequence[_Leaf]) -> _Content:
    """Reads a file, but no more of arrays than the leaves that are expected take."""
    with _opened(path) as file:
        try:
            with open_archive(file, compressed=False) as archive:
                manifest = _parse_manifest(path, archive)
                content = _parse_facts(manifest["facts"])
                if _held(archive) > (limit := sum(map(_room, expected)) + _HEADER):
                    _check_fit(path, content.leaves, expected)  # which tells better what is wrong
                    raise ValueError(f"it holds more than the {limit:,} bytes that fit")
                stored = {
                    index: archive[entry(index)]
                    for index in range(len(content.leaves))
                    if index not in content.zeros
                }
                zeros = {index: _zeros(content.leaves[index]) for index in content.zeros}
        except UserError:
            raise
        except Exception as error:
            raise _as_damage(error) from None
    if _digest(manifest["facts"], stored.values()) != manifest["sha256"]:
        raise _Damaged("its digest does not fit")
    return content._replace(arrays=[array for _, array in sorted({**stored, **zeros}.items())])


def _as_damage(error: Exception) -> _Damaged:
    """Wraps an error of parsing: a flipped bit may fail anywhere in zipfile, zlib or NumPy."""
    return _Damaged(str(error).partition("\n")[0] or type(error).__name__)


def _held(archive: Archive) -> int:
    """Returns the bytes of all arrays in a file."""
    return sum(archive.size_of(name) for name in archive if name != MANIFEST)


def _room(leaf: _Leaf) -> int:
    """Returns the most bytes that a leaf takes in a file; a random key has up to four numbers."""
    numbers = 1 if leaf.kind == _PLAIN else _KEY_NUMBERS
    return math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize * numbers + _HEADER


def _parse_manifest(path: Path, archive: Archive) -> dict[str, str]:
    if archive.size_of(MANIFEST) > MAX_MANIFEST_BYTES:
        raise ValueError(f"its facts take more than {MAX_MANIFEST_BYTES:,} bytes")
    manifest: dict[str, str] = parse_trusted_json(archive[MANIFEST].tobytes(), MAX_MANIFEST_VALUES)
    found = manifest.get("format", 1)
    if found not in _READABLE:
        raise UserError(
            f"{path} has format {found} of another version of this program, which reads "
            f"{' and '.join(map(str, _READABLE))}; "
            "go on with the version that wrote it, or choose another directory with --out"
        )
    return manifest


def _parse_facts(facts: str) -> _Content:
    parsed = parse_trusted_json(facts.encode(), MAX_MANIFEST_VALUES)
    leaves = [
        _Leaf(path, kind, dtype, tuple(shape)) for path, kind, dtype, shape in parsed["leaves"]
    ]
    if not isinstance(parsed["meta"], dict):
        raise ValueError("its facts are no object")
    return _Content(leaves, frozenset(parsed.get("zeros", ())), [], parsed["meta"])


def _is_large_zero(array: np.ndarray) -> bool:
    # By bits, since -0.0 is no zero here.
    return array.nbytes >= _LARGE and not np.ascontiguousarray(array).view(np.uint8).any()


def _zeros(leaf: _Leaf) -> np.ndarray:
    """Returns zeros that take no memory, however many a file claims there to be."""
    return np.broadcast_to(np.zeros((), jnp.dtype(leaf.dtype)), leaf.shape)


def _digest(facts: str, arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256(facts.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _is_key(leaf: object) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _describe(path: str, leaf: Any) -> _Leaf:
    if _is_key(leaf):
        return _Leaf(path, str(leaf.dtype), "uint32", tuple(leaf.shape))
    like = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    if like.dtype.hasobject:
        raise TypeError(f"leaf {path} is no array but {type(leaf).__name__}")
    return _Leaf(path, _PLAIN, jnp.dtype(like.dtype).name, tuple(like.shape))


def _to_numpy(leaf: Any) -> np.ndarray:
    if _is_key(leaf):
        return np.asarray(jax.random.key_data(leaf))
    array = np.asarray(leaf)
    # NumPy's format forgets the name of types like bfloat16; their bits survive as integers.
    return array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array


def _from_numpy(array: np.ndarray, stored: _Leaf, like: Any) -> Any:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=_implementation(like))
    array = array.view(jnp.dtype(stored.dtype))
    if isinstance(like, np.ndarray | np.generic):
        return array
    return jnp.asarray(array) if hasattr(like, "dtype") else array.item()


def _implementation(like: Any) -> Any:
    """Returns how the template's random keys are implemented, be they arrays or shapes."""
    zeros = like if isinstance(like, jax.Array) else jnp.zeros(like.shape, like.dtype)
    return jax.random.key_impl(zeros)


def _check_fit(path: Path, stored: Sequence[_Leaf], expected: Sequence[_Leaf]) -> None:
    """Raises UserError that names the first leaf in which file and template differ."""
    there = {leaf.path: leaf for leaf in stored}
    wanted = {leaf.path: leaf for leaf in expected}
    for leaf in expected:
        if leaf.path not in there:
            raise _misfit(path, leaf.path, f"is missing, expected {leaf}")
        if there[leaf.path] != leaf:
            raise _misfit(path, leaf.path, f"is {there[leaf.path]}, expected {leaf}")
    for leaf in stored:
        if leaf.path not in wanted:
            raise _misfit(path, leaf.path, f"is {leaf}, expected no such leaf")


def _misfit(path: Path, leaf: str, problem: str) -> UserError:
    return UserError(
        f"{path} does not fit this program: leaf {leaf or 'at the root'} {problem}; "
        "go on with the version that wrote it, or use another directory"
    )
