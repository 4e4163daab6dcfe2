"""Run directories that a stranger could have made to hurt who reads them; each from a sound one.

What a builder changes is sealed again, as a stranger would: its digests fit. Files of gigabytes are
sparse and take next to no room. `benchmarks.hostile` measures what commands make of them, and
tests/whole/test_hostile.py holds them to a line and an exit code.
"""

from __future__ import annotations

import bz2
import functools
import hashlib
import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Builder = Callable[[Path], None]

ESCAPES = "1.0\x1b[2K\x1b[1A\rok  files  all fit\x9b31m\u202egnorw\u2028\n\nthe audit passed"
"""Wipes a line, goes up, overwrites it, colours by a C1 code, turns the direction, feigns lines."""

_WIDE = 15_700
"""Of a hidden layer: with four of these a policy takes 2.9 GiB."""


def cells(run: Path) -> list[Path]:
    """Returns the directories of a run's cells."""
    return sorted(path.parent for path in run.glob("*/*/seed-*/run.json"))


def checkpoints(run: Path) -> list[Path]:
    """Returns all files that are read as checkpoints."""
    return sorted([*run.glob("*/*/*.ckpt"), *run.glob("*/*/seed-*/policy-*.npz")])


def seal(cell: Path, **digests: str) -> None:
    """Makes the digests of a cell fit what is in it; `digests` need not be computed."""
    files = [each for each in cell.iterdir() if each.is_file() and each.name != "digests.json"]
    found = {
        each.name: digests.get(each.name) or hashlib.sha256(each.read_bytes()).hexdigest()
        for each in files
        if not each.name.startswith(".")
    }
    record = {"files": found, "before": {}, "new": []}
    (cell / "digests.json").write_text(json.dumps(record))


def edit(cell: Path, change: Callable[[dict[str, Any]], None], name: str = "run.json") -> None:
    """Changes a JSON file of a cell, as a program without rules would write it, and seals it."""
    record = json.loads((cell / name).read_text())
    change(record)
    (cell / name).write_text(json.dumps(record))
    seal(cell)


def pipes(run: Path) -> None:
    """Puts a pipe in the place of every checkpoint and policy: opening one waits for ever."""
    for path in checkpoints(run):
        path.with_name(f"{path.name}.prev").unlink(missing_ok=True)
        path.unlink()
        os.mkfifo(path)


def endless_links(run: Path) -> None:
    """Links checkpoints, policies and curves to a device without an end."""
    for path in [*checkpoints(run), *(cell / "curve.csv" for cell in cells(run))]:
        path.with_name(f"{path.name}.prev").unlink(missing_ok=True)
        path.unlink()
        path.symlink_to("/dev/zero")


def sparse_checkpoint(run: Path) -> None:
    """Checkpoints of 3 GiB that are sound archives, with one array too many, of holes."""
    for path in checkpoints(run):
        path.with_name(f"{path.name}.prev").unlink(missing_ok=True)
        _add_hole(path, "leaf999999.npy", 3 << 30)
    for cell in cells(run):
        seal(cell, **{path.name: "0" * 64 for path in cell.glob("policy-*.npz")})


def policy_of_zeros(run: Path) -> None:
    """Policies and checkpoints of kilobytes that name gigabytes of zeros, as run.json does too."""

    def widen(record: dict[str, Any]) -> None:
        values = record["configuration"]["hyperparameters"]
        for name in [name for name in values if name.endswith("_hidden")]:
            values[name] = [_WIDE] * len(values[name])

    for path in checkpoints(run):
        path.with_name(f"{path.name}.prev").unlink(missing_ok=True)
        _widen(path)
    for cell in cells(run):
        edit(cell, widen)


def sparse_extras(run: Path) -> None:
    """A file of 8 TiB in every cell that no run writes, and one that the digests name."""
    for cell in cells(run):
        for name in ("notes.bin", "last-good.ckpt"):
            with open(cell / name, "wb") as file:
                file.truncate(8 << 40)
        seal(cell, **{"notes.bin": "0" * 64, "last-good.ckpt": "0" * 64})
        (cell / "more.bin").symlink_to("notes.bin")
        shutil.copyfile(cell / "run.json", cell / "other.bin")
        os.truncate(cell / "other.bin", 8 << 40)


def long_curve(run: Path) -> None:
    """Curves of 100,000 evaluations, with the episodes that they are the means of."""
    count = 100_000
    for cell in cells(run)[:2]:
        header, first = (cell / "curve.csv").read_text().splitlines()[:2]
        fields = first.split(",")
        lines = [header]
        for index in range(count):
            for mode in ("deterministic", "sample"):
                fields[:4] = [str(640 * index // count), mode, "1.0", "0.0"]
                lines.append(",".join(fields))
        (cell / "curve.csv").write_text("\n".join(lines) + "\n")
        steps = np.arange(count, dtype=np.int64) * 640 // count
        np.savez_compressed(
            cell / "episodes.npz", env_steps=steps, returns=np.ones((count, 2, 2), np.float32)
        )
        seal(cell)


def fat_records(run: Path) -> None:
    """A run.json of 4 MB of empty lists in 30 cells, each of which takes 80 MB when it is read."""
    first = cells(run)[0]
    text = (first / "run.json").read_text()
    fat = text.replace('"provenance": [', f'"provenance": [{{"a": [{"[]," * 1_300_000}[]]}},', 1)
    assert fat != text
    for seed in range(100, 130):
        cell = first.with_name(f"seed-{seed}")
        shutil.copytree(first, cell)
        (cell / "run.json").write_text(fat.replace('"seed": 0', f'"seed": {seed}'))
        seal(cell)


def archive_bombs(run: Path) -> None:
    """Episodes and states that unpack to terabytes, or list a million members."""
    for index, cell in enumerate(cells(run)):
        content = _unpacking() if index % 2 else _listing()
        for name in ("episodes.npz", "states.npz"):
            (cell / name).write_bytes(content)
        seal(cell)


def many_seeds(run: Path) -> None:
    """Ninety thousand seeds trained together."""

    def seeds(record: dict[str, Any]) -> None:
        record["configuration"]["seeds_together"] = list(range(90_000))

    for cell in cells(run):
        edit(cell, seeds)


def many_episodes(run: Path) -> None:
    """A protocol of a million episodes an evaluation, in a run that kept no states."""

    def more(record: dict[str, Any]) -> None:
        (record.get("configuration") or record)["protocol"]["eval_episodes"] = 1_000_000

    record = json.loads((run / "protocol.json").read_text())
    more(record)
    (run / "protocol.json").write_text(json.dumps(record))
    for cell in cells(run):
        (cell / "states.npz").unlink(missing_ok=True)
        edit(cell, more)


def escapes(run: Path) -> None:
    """Texts everywhere that command a terminal, or turn a line around."""

    def everywhere(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: everywhere(each) for name, each in value.items()}
        return [*map(everywhere, value)] if isinstance(value, list) else (
            f"{value}{ESCAPES}" if isinstance(value, str) else value
        )  # fmt: skip

    def change(record: dict[str, Any]) -> None:
        record["provenance"] = everywhere(record["provenance"])
        record["configuration"]["hyperparameters"][f"=cmd{ESCAPES}"] = ESCAPES

    for cell in cells(run):
        edit(cell, change)


def surrogates(run: Path) -> None:
    """Halves of characters in texts, which no file can be written with."""

    def change(record: dict[str, Any]) -> None:
        for start in record["provenance"]:
            start["cpu"] = start["python"] = "\ud800"
        record["configuration"]["hyperparameters"]["\udfff"] = "\ud800"

    for cell in cells(run):
        edit(cell, change)


def wide_metrics(run: Path) -> None:
    """A metrics.csv of 16 MB of columns."""
    for cell in cells(run):
        columns = ["env_steps", *(f"m{index}" for index in range(700_000))]
        (cell / "metrics.csv").write_text(f"{','.join(columns)}\n{','.join('1' * len(columns))}\n")
        seal(cell)


def ablation_of_counts(run: Path) -> None:
    """An ablation with 20,000 metrics and 50,000 seeds."""
    _become_ablation(run, metrics=[f"m{i}" for i in range(20_000)], seeds=[*range(50_000)])


def ablation_without_end(run: Path) -> None:
    """An ablation with an infinite seed."""
    _become_ablation(run, seeds=[0, float("inf")])


def _become_ablation(run: Path, **changes: Any) -> None:
    protocol = json.loads((run / "protocol.json").read_text())["protocol"]
    (run / "all").mkdir()
    for each in [each for each in run.iterdir() if each.name != "all"]:
        each.rename(run / "all" / each.name)
    record = {
        "name": "hostile",
        "description": "",
        "protocol": protocol,
        "source": None,
        "algorithms": ["ppo", "gorl-fm"],
        "tasks": ["CheetahRun"],
        "seeds": [0, 1],
        "engine": "native",
        "settings": [],
        "metrics": [],
        "axes": [],
        "reference": "",
        **changes,
    }
    (run / "ablation.json").write_text(json.dumps(record))


HOSTILE: Mapping[str, Builder] = {
    "pipes": pipes,
    "endless links": endless_links,
    "sparse checkpoints": sparse_checkpoint,
    "policies of zeros": policy_of_zeros,
    "sparse extras": sparse_extras,
    "long curves": long_curve,
    "fat records": fat_records,
    "archive bombs": archive_bombs,
    "many seeds": many_seeds,
    "many episodes": many_episodes,
    "escapes": escapes,
    "surrogates": surrogates,
    "wide metrics": wide_metrics,
    "ablation of counts": ablation_of_counts,
    "ablation without end": ablation_without_end,
}
"""By what hurts in them."""


def hostile_report(report: Path) -> None:
    """A report that shows a file of its reader's, and leads to others and to 8 TiB of nothing."""
    request = json.loads((report / "request.json").read_text())
    request["reference"] = "private.csv"
    (report / "request.json").write_text(json.dumps(request))
    (report / "tables").mkdir(exist_ok=True)
    (report / "tables" / "link.csv").symlink_to("/dev/zero")
    with open(report / "tables" / "large.csv", "wb") as file:
        file.truncate(8 << 40)


@functools.cache
def _unpacking() -> bytes:
    """An archive whose member is small by its list, and 4 GiB by its content."""
    packed = bz2.compress(bytes(64 << 20)) * 64
    name = b"env_steps.npy"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 46, 0, 12, 0, 0, 0, len(packed), 60 << 20, 13, 0)
    listed = struct.pack(
        "<4s6H3L5H2L",
        *(b"PK\1\2", 46, 46, 0, 12, 0, 0, 0, len(packed), 60 << 20, 13, 0, 0, 0, 0, 0, 0),
    )
    begin = len(local + name + packed)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed + name), begin, 0)
    return local + name + packed + listed + name + end


@functools.cache
def _listing() -> bytes:
    """An archive of a million members of nothing."""
    listed = struct.pack(
        "<4s6H3L5H2L", *(b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    )
    members = (listed + b"a") * 1_000_000
    return members + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65534, 65534, len(members), 0, 0)


def _add_hole(path: Path, name: str, size: int) -> None:
    """Adds a member of zeros to an archive, which takes no room on the disk."""
    before = zipfile.ZipFile(path)
    members = {each.filename: before.read(each) for each in before.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    content = path.read_bytes()
    listed, end = content[start:-22], content[-22:]
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    )
    whole, checksum = size + len(head.getvalue()), _checksum(head.getvalue(), size)
    facts = struct.pack("<5H3L2H", 20, 0, 0, 0, 0, checksum, whole, whole, len(name), 0)
    entry = b"PK\1\2" + struct.pack("<H", 20) + facts + struct.pack("<3H2L", 0, 0, 0, 0, start)
    listed += entry + name.encode()
    count = struct.unpack("<H", end[8:10])[0] + 1
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(b"PK\3\4" + facts + name.encode() + head.getvalue())
        file.seek(size, io.SEEK_CUR)
        place = file.tell()
        file.write(listed)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(listed), place, 0))
        file.truncate()


@functools.cache
def _checksum(head: bytes, zeros: int) -> int:
    """Returns the CRC of a beginning and so many zeros, a multiple of 16 MiB."""
    checksum = zlib.crc32(head)
    for _ in range(zeros >> 24):
        checksum = zlib.crc32(bytes(1 << 24), checksum)
    return checksum


def _widen(path: Path) -> None:
    """Makes every layer of a checkpoint wide, and of zeros that are only named."""
    with np.load(path) as archive:
        manifest = json.loads(archive["manifest"].tobytes())
        arrays = {name: archive[name] for name in archive.files if name != "manifest"}
    facts = json.loads(manifest["facts"])
    for index, (_, kind, _, shape) in enumerate(facts["leaves"]):
        wide = [_WIDE if size == 32 else size for size in shape]
        if kind == "array" and wide != shape:
            facts["leaves"][index][3] = wide
            facts["zeros"].append(index)
            arrays.pop(f"leaf{index:06d}", None)
    text = json.dumps(facts, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    sealed = json.dumps({"format": 2, "facts": text, "sha256": digest.hexdigest()})
    manifest = np.frombuffer(sealed.encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, manifest=manifest, **arrays)
