"""Damage to run directories: what disks, people and strangers do to files, by seed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path, random.Random], None]

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, -(2**70), 1e308, float("nan"), float("inf"), 0.5),
    *("", "x", "\x1b[31m", "<script>", "../../x", "9" * 5000, [], {}, [[]], {"a": {"b": 1}}),
)


def damage(directory: Path, seed: int) -> str:
    """Damages one to three things in a run directory; returns what, for messages."""
    generator = random.Random(seed)
    told = []
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        path = _choose(files, generator)
        kind = generator.choice([*ANY_FILE, *(ANY_JSON if path.suffix == ".json" else ANY_TEXT)])
        told.append(f"{kind.__name__} {path.relative_to(directory)}")
        kind(path, generator)
    return ", ".join(told)


def _choose(files: list[Path], generator: random.Random) -> Path:
    """Chooses a kind of file first, so that leases and policies do not get all the damage."""
    name = generator.choice(sorted({path.name for path in files}))
    return generator.choice([path for path in files if path.name == name])


def flip_bits(path: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes()) or bytearray(b"x")
    for _ in range(generator.choice((1, 1, 8))):
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def change_digit(path: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    digits = [index for index, byte in enumerate(content) if 48 <= byte < 58]
    if digits:
        content[generator.choice(digits)] = 48 + generator.randrange(10)
    path.write_bytes(content)


def cut(path: Path, generator: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: generator.randrange(len(content) + 1)])


def empty(path: Path, generator: random.Random) -> None:
    path.write_bytes(b"")


def delete(path: Path, generator: random.Random) -> None:
    path.unlink()


def scramble(path: Path, generator: random.Random) -> None:
    path.write_bytes(generator.randbytes(generator.choice((1, 100, 10_000))))


def append(path: Path, generator: random.Random) -> None:
    path.write_bytes(path.read_bytes() + generator.choice((b"\n", b"x", b"\0", path.read_bytes())))


def become_directory(path: Path, generator: random.Random) -> None:
    path.unlink()
    path.mkdir()


def become_link(path: Path, generator: random.Random) -> None:
    """Links to itself, to nothing, to a device or to a file of another place."""
    path.unlink()
    path.symlink_to(generator.choice((path.name, "nowhere", "/dev/zero", __file__)))


def swap_with_namesake(path: Path, generator: random.Random) -> None:
    """Swaps a file with that of another cell, as an absent-minded copy does."""
    others = [each for each in _root(path).rglob(path.name) if each != path and each.is_file()]
    if others:
        other = generator.choice(sorted(others))
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)


def copy_over_another(path: Path, generator: random.Random) -> None:
    others = sorted(each for each in _root(path).rglob("*") if each.is_file() and each != path)
    shutil.copyfile(path, generator.choice(others))


def swap_directories(path: Path, generator: random.Random) -> None:
    here, aside = path.parent, path.parent.with_name("aside")
    others = sorted(each for each in here.parent.iterdir() if each.is_dir() and each != here)
    if others:
        other = generator.choice(others)
        here.rename(aside)
        other.rename(here)
        aside.rename(other)


def edit_lines(path: Path, generator: random.Random) -> None:
    """Removes, repeats, swaps or cuts lines, or changes a field of one."""
    lines = path.read_bytes().split(b"\n")
    index = generator.randrange(len(lines))
    action = generator.randrange(5)
    if action == 0:
        del lines[index]
    elif action == 1:
        lines.insert(index, lines[index])
    elif action == 2:
        other = generator.randrange(len(lines))
        lines[index], lines[other] = lines[other], lines[index]
    elif action == 3:
        lines[index] = lines[index][: generator.randrange(len(lines[index]) + 1)]
    else:
        fields = lines[index].split(b",")
        odd = (b"", b"nan", b"inf", b"-1", b"1e400", b"9" * 400, b"1_0", b'"', b"sample")
        fields[generator.randrange(len(fields))] = generator.choice(odd)
        lines[index] = b",".join(fields)
    path.write_bytes(b"\n".join(lines))


def edit_json(path: Path, generator: random.Random) -> None:
    """Removes, renames or replaces a value anywhere in a JSON file."""
    try:
        data = json.loads(path.read_bytes())
    except ValueError:
        return
    places = list(_places(data))
    if not places:
        return
    holder, key = generator.choice(places)
    action = generator.randrange(4)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder["odd"] = holder.pop(key)
    else:
        holder[key] = generator.choice(ODD_VALUES)
    path.write_text(json.dumps(data))


def nest(path: Path, generator: random.Random) -> None:
    depth = generator.choice((40, 900, 200_000))
    path.write_text("[" * depth + "]" * depth)


def _places(data: Any) -> list[tuple[Any, Any]]:
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    return [each for key in keys for each in ((data, key), *_places(data[key]))]


def _root(path: Path) -> Path:
    return next(each for each in path.parents if (each.parent / "fuzzed-here").exists())


ANY_FILE: tuple[Damage, ...] = (
    *(flip_bits, flip_bits, change_digit, change_digit, cut, empty, delete, scramble, append),
    *(become_directory, become_link, swap_with_namesake, copy_over_another, swap_directories),
)
ANY_JSON: tuple[Damage, ...] = (edit_json, edit_json, edit_json, edit_json, edit_lines, nest)
ANY_TEXT: tuple[Damage, ...] = (edit_lines, edit_lines, edit_lines)
