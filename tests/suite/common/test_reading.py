"""The guard before files that a stranger may have made."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.common import reading
from suite.common.reading import digest_of, opened, parse_json, parse_trusted_json, read_bounded


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain"
    path.write_bytes(b"content")
    return path


def test_a_plain_file_is_read_whole(plain: Path) -> None:
    assert read_bounded(plain, 7) == b"content"
    assert digest_of(plain) == hashlib.sha256(b"content").hexdigest()
    with opened(plain) as file:
        assert file.read() == b"content"
    for read in (read_bounded, digest_of):
        with pytest.raises(ValueError, match="more than 6 bytes"):
            read(plain, 6)


def test_a_directory_on_the_way_may_be_a_link(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(plain.parent, target_is_directory=True)
    assert read_bounded(tmp_path / "way" / "plain", 100) == b"content"


def test_a_link_is_followed_where_a_user_typed_it_alone(plain: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(plain)
    with pytest.raises(ValueError, match="a link, which no run makes"):
        read_bounded(link, 100)
    assert read_bounded(link, 100, links=True) == b"content"


@pytest.mark.parametrize("links", [False, True])
def test_what_is_no_plain_file_is_neither_opened_nor_waited_for(
    tmp_path: Path, links: bool
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero"), Path("/dev/stdin").resolve()):
        if not path.is_file():
            with pytest.raises(ValueError, match="not a regular file"):
                read_bounded(path, 100, links)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "nothing", 100, links)


def test_a_file_of_holes_is_not_read_for_hours(tmp_path: Path) -> None:
    path = tmp_path / "hollow"
    with open(path, "wb") as file:
        file.write(b"begin")
        file.truncate(8 << 40)
    began = time.perf_counter()
    with pytest.raises(ValueError, match="holes"):
        digest_of(path)
    assert time.perf_counter() - began < 1


def test_a_large_file_with_some_holes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_HOLES_FROM", 1 << 20)
    path, block = tmp_path / "file", os.urandom(1 << 20)
    with open(path, "wb") as file:
        file.write(block)
        file.seek(8 << 20)
        file.write(block)
    content = path.read_bytes()
    assert digest_of(path) == hashlib.sha256(content).hexdigest()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


@given(JSON)
@settings(max_examples=60, deadline=None)
def test_json_comes_back_as_it_is_or_fit_to_be_shown(value: object) -> None:
    content = json.dumps(value).encode()
    if "Infinity" in content.decode().replace('"', ""):
        return
    found = parse_json(content)
    assert all(text.isprintable() for text in texts(found))
    if all(text.isprintable() for text in texts(value)):
        assert found == value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the same name twice"),
        ('{"a": 1}'.encode("utf-16"), "not a text in UTF-8"),
        (b'{"a": NaN}', "nan is no number of JSON"),
        (b"[1, -1e999]", "-inf is no number of JSON"),
        (b"[" * 40 + b"]" * 40, "nested too deeply"),
        (b"[" * 100_000, "more than|nested"),
        (b"{", "Expecting"),
        (b"", "Expecting"),
    ],
)
def test_what_no_run_writes_is_no_json(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(content)


@pytest.mark.parametrize("item", [b"[],", b"{},", b"1,", b'"",'])
def test_many_small_values_take_no_memory(item: bytes) -> None:
    content = b"[" + item * 1_300_000 + b"0]"
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 100,000 values"):
        parse_json(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_halves_of_characters_are_shown_as_what_they_are() -> None:
    assert parse_json(rb'["\ud800", "\ud83d\ude00", "a\u001b[2J\u202e\u009b"]') == [
        "\\ud800",
        "\N{GRINNING FACE}",
        "a\\x1b[2J\\u202e\\x9b",
    ]


def test_what_lies_under_a_digest_may_hold_nan() -> None:
    (found,) = parse_trusted_json(b"[NaN]", 10)
    assert math.isnan(found)
    with pytest.raises(ValueError, match="more than 10 values"):
        parse_trusted_json(b"[1,1,1,1,1,1,1,1,1,1,1]", 10)
