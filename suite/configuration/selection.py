"""What `--algos` and `--seeds` select, and how a set of seeds is written."""

from __future__ import annotations

from collections.abc import Sequence

from algorithms import names
from suite.common.errors import UserError, unknown

MAX_SEEDS = 1000
MAX_SEED = 2**31 - 1
"""Seeds are 32-bit signed numbers where they become random keys."""


def parse_algorithms(text: str, known: Sequence[str] = names.NAMES) -> tuple[str, ...]:
    """Returns the algorithms that `all`, a name, or a comma-separated list selects, in order.

    Raises:
        UserError: a name is not among `known`.
    """
    selected: list[str] = []
    for name in _items(text, "--algos"):
        if name != "all" and name not in known:
            told = unknown("algorithm", name, ["all", *known])
            raise UserError(f"{told}; a method of your own is given by its file, ./{name}.py")
        selected += names.ALL if name == "all" else [name]
    return tuple(dict.fromkeys(selected))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Returns sorted seeds: `5` is 0 to 4; `5-9` both ends; `0,3,5-7` a mixture.

    Raises:
        UserError: the text is not of these forms, or selects none or too many.
    """
    items = _items(text, "--seeds")
    if len(items) == 1 and items[0].isascii() and items[0].isdigit():
        first, last = 0, _number(items[0]) - 1
        if last < 0:
            raise UserError("--seeds 0 selects no seed; the first N seeds are --seeds N")
        ranges = [(first, last)]
    else:
        ranges = [_seed_range(item, text) for item in items]
    if sum(last - first + 1 for first, last in ranges) > MAX_SEEDS:
        raise UserError(f"--seeds {text}: at most {MAX_SEEDS} seeds in one command")
    return tuple(sorted({seed for first, last in ranges for seed in range(first, last + 1)}))


def format_seeds(seeds: Sequence[int], width: int = 0) -> str:
    """Returns seeds with runs joined, `0,3,5-7`, each padded with zeros to `width` digits."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    parts = (
        f"{run[0]:0{width}d}" + (f"-{run[-1]:0{width}d}" if len(run) > 1 else "") for run in runs
    )
    return ",".join(parts)


def _items(text: str, option: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise UserError(f"{option} {text!r}: an item is empty; separate names with one comma")
    return items


def _number(digits: str) -> int:
    """Returns a number of any length, up to one that is larger than every seed."""
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= len(str(MAX_SEED)) else MAX_SEED + 1


def _seed_range(item: str, text: str) -> tuple[int, int]:
    first, dash, last = item.partition("-")
    ends = (first, last if dash else first)
    if not all(end.isascii() and end.isdigit() for end in ends):
        raise UserError(f"--seeds {text!r}: {item!r} is no seed; write 5, 5-9 or 0,3,5-7")
    low, high = _number(ends[0]), _number(ends[1])
    if high < low:
        raise UserError(f"--seeds {text!r}: {item!r} runs backwards; write {high}-{low}")
    if high > MAX_SEED:
        raise UserError(f"--seeds {text!r}: {high} is larger than the largest seed, {MAX_SEED}")
    return low, high
