"""Checkpoints: exact, verified, and never both copies lost."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from suite.common import files
from suite.common.errors import UserError
from suite.storage import checkpoint, digests

META = {"updates": 3, "name": "é", "ledger": {"train": 2**40}, "rows": [[1.5, None]]}


def tree() -> dict[str, Any]:
    return {
        "params": [jnp.arange(6, dtype=jnp.float32).reshape(2, 3), jnp.zeros((0, 4))],
        "key": jax.random.key(7),
        "keys": jax.random.split(jax.random.key(8), 3),
        "rbg": jax.random.key(9, impl="rbg"),
        "half": jnp.array([1.5, -2.25, jnp.nan], jnp.bfloat16),
        "count": jnp.int32(5),
        "flag": jnp.array([True, False]),
        "wide": np.array([2**40], np.int64),
        "number": 2**40,
        "real": 0.1,
        "nothing": None,
    }


def bits(value: Any) -> Any:
    """Turns a tree into plain data, equal exactly when all bits, types and shapes are."""

    def leaf(each: Any) -> tuple[str, ...]:
        kind = str(getattr(each, "dtype", type(each).__name__))
        if kind.startswith("key<"):
            each = jax.random.key_data(each)
        array = np.asarray(each)
        return kind, str(array.shape), array.tobytes().hex()

    return jax.tree.map(leaf, value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "job.ckpt"


def test_round_trip_is_exact(path: Path) -> None:
    checkpoint.save(path, tree(), META)
    loaded, meta = checkpoint.load(path, tree())
    assert bits(loaded) == bits(tree())
    assert meta == META
    assert checkpoint.read_meta(path) == META
    restored = jax.random.normal(loaded["rbg"], (4,))
    np.testing.assert_array_equal(restored, jax.random.normal(tree()["rbg"], (4,)))


def test_shapes_alone_serve_as_template(path: Path) -> None:
    state = {"a": jnp.ones((2, 2)), "keys": jax.random.split(jax.random.key(1), 2)}
    checkpoint.save(path, state, {})
    template = jax.eval_shape(lambda: state)
    assert bits(checkpoint.load(path, template)[0]) == bits(state)


def test_the_file_holds_no_pickle(path: Path) -> None:
    checkpoint.save(path, tree(), META)
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype.hasobject is False for name in archive.files)
    with pytest.raises(TypeError, match=r"\['x'\]"):
        checkpoint.save(path, {"x": object()}, {})
    assert checkpoint.read_meta(path) == META


def changed(**changes: Any) -> dict[str, Any]:
    return {**tree(), **changes}


@pytest.mark.parametrize(
    ("template", "leaf", "problem"),
    [
        (changed(extra=jnp.ones(2)), "['extra']", "is missing, expected float32[2]"),
        (changed(count=None), "['count']", "is int32[], expected no such leaf"),
        (changed(count=jnp.zeros(2, jnp.int32)), "['count']", "is int32[], expected int32[2]"),
        (changed(count=jnp.float32(0)), "['count']", "is int32[], expected float32[]"),
        (changed(key=jnp.zeros(2, jnp.uint32)), "['key']", "is key<fry> keys[], expected uint32"),
        (changed(rbg=jax.random.key(0)), "['rbg']", "is key<rbg> keys[], expected key<fry>"),
        (changed(params=[jnp.ones((3, 2)), jnp.zeros((0, 4))]), "['params'][0]", "float32[2, 3]"),
    ],
)
def test_a_template_that_does_not_fit(path: Path, template: Any, leaf: str, problem: str) -> None:
    checkpoint.save(path, tree(), META)
    with pytest.raises(UserError) as caught:
        checkpoint.load(path, template)
    assert f"leaf {leaf} " in str(caught.value)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_flipped_bit_changes_what_is_loaded(path: Path) -> None:
    """Each flip either is noticed, or hit a byte of the archive that carries nothing."""
    state = {"a": jnp.arange(40, dtype=jnp.float32), "key": jax.random.key(1)}
    checkpoint.save(path, state, META)
    good, expected = path.read_bytes(), bits(state)
    noticed = 0
    for position in np.random.default_rng(0).permutation(len(good))[:400]:
        damaged = bytearray(good)
        damaged[position] ^= 1 << (int(position) % 8)
        path.write_bytes(damaged)
        try:
            loaded, meta = checkpoint.load(path, state)
        except UserError as error:
            assert str(path) in str(error)
            noticed += 1
        else:
            assert (bits(loaded), meta) == (expected, META)
    assert noticed > 200


@pytest.mark.parametrize("entry", ["leaf000000.npy", "manifest.npy"])
def test_a_forged_entry_with_a_right_crc_is_noticed(path: Path, entry: str) -> None:
    """The archive's own checksums are rewritten, so that only the digest can tell."""
    checkpoint.save(path, {"a": jnp.zeros(8)}, {"updates": 3})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    content = bytearray(entries[entry])
    if entry.startswith("leaf"):
        content[-1] ^= 1
    else:
        where = content.index(b'updates\\": 3') + len(b'updates\\": ')
        content[where : where + 1] = b"4"
    entries[entry] = bytes(content)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(UserError, match="digest"):
        checkpoint.load(path, {"a": jnp.zeros(8)})


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_truncation_falls_back_to_the_previous_and_says_so(
    path: Path, caplog: pytest.LogCaptureFixture, keep: int
) -> None:
    checkpoint.save(path, {"a": jnp.zeros(99)}, {"updates": 1})
    checkpoint.save(path, {"a": jnp.ones(99)}, {"updates": 2})
    path.write_bytes(path.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        loaded, meta = checkpoint.load(path, {"a": jnp.zeros(99)})
    assert meta == {"updates": 1}
    assert checkpoint.read_meta(path) == {"updates": 1}
    np.testing.assert_array_equal(loaded["a"], np.zeros(99))
    assert "job.ckpt is damaged" in caplog.text
    assert "job.ckpt.prev" in caplog.text


@pytest.mark.parametrize("lost", [True, False])
def test_a_kill_after_a_fallback_leaves_a_good_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """Dies in the save after it, between keeping the former file and replacing it."""
    template = {"a": jnp.zeros(99)}
    for updates in (1, 2):
        checkpoint.save(path, template, {"updates": updates})
    if lost:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    left = path.read_bytes() if path.exists() else None
    assert checkpoint.load(path, template)[1] == {"updates": 1}
    assert (path.read_bytes() if path.exists() else None) == left  # a reader changes nothing
    assert checkpoint.load(path, template, contextlib.nullcontext())[1] == {"updates": 1}
    replace = os.replace

    def die_at_the_last(source: Path, target: Path) -> None:
        if target == path:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(path, template, {"updates": 2})
    assert checkpoint.load(path, template)[1] == {"updates": 1}


def test_large_zeros_take_no_room_and_come_back(path: Path) -> None:
    size = 1 << 19
    big: dict[str, Any] = {
        "first": jnp.zeros((4, size), jnp.bfloat16),
        "minus": jnp.full(size, -0.0),
        "one": jnp.zeros(size).at[-1].set(1e-45),  # the least that float32 can hold
        "small": jnp.zeros(9),
        "last": np.zeros((2, size), bool),
    }
    checkpoint.save(path, big, META)
    loaded, meta = checkpoint.load(path, big)
    assert bits(loaded) == bits(big) and meta == META == checkpoint.read_meta(path)
    assert path.stat().st_size < big["minus"].nbytes + big["one"].nbytes + 10_000


def test_the_room_that_zeros_take_is_promised_by_the_program_not_by_the_file(path: Path) -> None:
    checkpoint.save(path, {"a": jnp.zeros(1 << 19)}, META)
    with zipfile.ZipFile(path) as archive:
        manifest = np.load(archive.open("manifest.npy"))
    claim = manifest.tobytes().replace(str(1 << 19).encode(), b"9" * 15)
    facts = json.loads(claim)["facts"]
    forged = json.dumps({**json.loads(claim), "sha256": hashlib.sha256(facts.encode()).hexdigest()})
    with open(path, "wb") as file:
        np.savez(file, manifest=np.frombuffer(forged.encode(), np.uint8))
    with pytest.raises(UserError, match=r"leaf \['a'\] is float32\[999999999999999\], expected"):
        checkpoint.load(path, {"a": jnp.zeros(1 << 19)})


def set_format(path: Path, number: int | None) -> None:
    """Rewrites the number of the file's format, or takes it out as older files lack it."""
    with np.load(path) as archive:
        entries = {name: archive[name] for name in archive.files}
    manifest = json.loads(entries["manifest"].tobytes())
    manifest["format"] = number
    if number is None:
        del manifest["format"]
    entries["manifest"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **entries)


def test_a_file_of_another_format_is_refused_and_one_without_a_number_read(path: Path) -> None:
    for updates in (1, 2):
        checkpoint.save(path, {"a": jnp.zeros(9)}, {"updates": updates})
    for older in (1, None):
        set_format(path, older)
        assert checkpoint.load(path, {"a": jnp.zeros(9)})[1] == {"updates": 2}
    set_format(path, 7)
    for read in (checkpoint.read_meta, lambda p: checkpoint.load(p, {"a": jnp.zeros(9)})):
        with pytest.raises(UserError, match=r"format 7 .* go on with the version that wrote it"):
            read(path)


def test_both_damaged(path: Path) -> None:
    for updates in (1, 2):
        checkpoint.save(path, {"a": jnp.zeros(9)}, {"updates": updates})
    path.write_bytes(b"")
    checkpoint.previous_path(path).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"no good job\.ckpt\.prev"):
        checkpoint.load(path, {"a": jnp.zeros(9)})


def test_missing(path: Path) -> None:
    with pytest.raises(UserError, match=r"job\.ckpt is missing"):
        checkpoint.load(path, {})


def test_a_failing_save_keeps_both_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for updates in (1, 2):
        checkpoint.save(path, {"a": jnp.zeros(9)}, {"updates": updates})

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match=r"job\.ckpt"):
        checkpoint.save(path, {"a": jnp.zeros(9)}, {"updates": 3})
    assert checkpoint.read_meta(path) == {"updates": 2}
    assert checkpoint.read_meta(checkpoint.previous_path(path)) == {"updates": 1}


@pytest.mark.parametrize("kind", ["pipe", "link", "directory", "device"])
def test_what_is_no_plain_file_is_damage_and_not_waited_for(path: Path, kind: str) -> None:
    checkpoint.save(path, {"a": 1}, {"n": 1})
    checkpoint.save(path, {"a": 2}, {"n": 2})
    good = path.rename(path.with_name("good"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(good if kind == "link" else "/dev/zero")
    assert checkpoint.load(path, {"a": 0})[1] == {"n": 1}
    assert checkpoint.read_meta(path) == {"n": 1}
    checkpoint.previous_path(path).unlink()
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path, {"a": 0})


def test_no_more_is_read_than_the_template_takes(path: Path) -> None:
    template = {"a": np.zeros(4, np.float32)}
    checkpoint.save(path, {"a": np.ones(4, np.float32), "b": np.ones(16 << 20, np.uint8)}, {})
    tracemalloc.start()
    with pytest.raises(UserError, match="expected no such leaf"):
        checkpoint.load(path, template)
    with zipfile.ZipFile(path) as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist()}
    checkpoint.save(path, {"a": np.ones(4, np.float32)}, {}, keep_previous=False)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("leaf000009.npy", members["leaf000001.npy"])
    del members
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with pytest.raises(UserError, match="bytes that fit"):
        checkpoint.load(path, template)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 8 << 20


def test_saves_that_fail_again_and_again_leave_the_files_known(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has no room for the copy of the old file; the list holds four digests."""
    announce = functools.partial(digests.announce_checkpoint, path, digests.CHECKPOINTS)

    def save(number: int) -> None:
        checkpoint.save(path, {"a": np.arange(3)}, {"number": number}, announce=announce)

    save(0)
    save(1)
    with monkeypatch.context() as patch:
        patch.setattr(files, "keep_copy", _no_room)
        for number in range(2, 8):
            with pytest.raises(OSError, match="No space"):
                save(number)
    own = functools.partial(digests.is_own_checkpoint, path)
    assert own(path) and own(checkpoint.previous_path(path))
    assert checkpoint.load(path, {"a": np.arange(3)}, is_own=own)[1]["number"] == 1


def _no_room(path: Path, copy: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(copy))


def test_what_is_compressed_is_no_checkpoint(path: Path) -> None:
    path.parent.mkdir()
    with path.open("wb") as file:
        np.savez_compressed(file, manifest=np.frombuffer(os.urandom(10_000), np.uint8))
    with pytest.raises(UserError, match="compressed in a way that no run uses"):
        checkpoint.load(path, {"a": 0})
