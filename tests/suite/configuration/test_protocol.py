"""Protocols: the presets' numbers, and what a user's file may not say."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.common.errors import UserError
from suite.configuration.protocol import MAX_RETURNS, PRESETS, Protocol, load_protocol
from suite.planning.run_request import make_request
from suite.storage.bounded_files import MAX_ARRAY_BYTES

VALID = {
    "name": "mine",
    "total_steps": 1000,
    "num_envs": 4,
    "rollout_length": 20,
    "chunk_length": 10,
    "num_minibatches": 2,
    "eval_interval": 3,
}


def protocol(**changes: Any) -> Protocol:
    return Protocol(**{**VALID, **changes})


def load_text(path: Path, text: str) -> Protocol:
    path.write_text(text, encoding="utf-8")
    return load_protocol(str(path))


VALID_TEXT = "\n".join(f"{k} = {v}" for k, v in VALID.items() if k != "name") + "\n"


def test_paper_is_the_papers_geometry() -> None:
    paper = load_protocol("paper")
    assert paper.updates == 183  # ALGORITHMS 1.2
    assert paper.steps_per_update == 983_040
    assert paper.steps_per_update // paper.chunk_length // paper.num_minibatches == 1024
    assert (paper.normalizer, paper.normalizer_timing) == ("legacy", "before")
    assert (paper.truncation, paper.starts, paper.random_phase) == ("masked", "own", False)


def test_fair_differs_from_paper_in_rules_but_not_in_budget() -> None:
    fields = ["bank_size", "normalizer", "normalizer_timing", "random_phase", "starts"]
    assert load_protocol("fair").differences(load_protocol("paper")) == [*fields, "truncation"]


def test_lite_is_fair_in_small() -> None:
    lite, fair = load_protocol("lite"), load_protocol("fair")
    geometry = {"total_steps", "num_envs", "rollout_length", "num_minibatches", "num_epochs"}
    sizes = {"bank_size", "eval_interval", "eval_episodes"}
    assert set(lite.differences(fair)) == geometry | sizes
    assert lite.total_steps == lite.updates * lite.steps_per_update
    assert 3.9e6 < lite.total_steps < 4.1e6
    assert len(lite.evaluation_grid()) == 11


@pytest.mark.parametrize("name", PRESETS)
def test_presets_agree_on_discounts(name: str) -> None:
    preset = load_protocol(name)
    assert preset.name == name
    # The text of the paper of 2026 names no exception; its code has this one.
    assert preset.discount_for("FingerSpin") == (0.995 if name == "paper2026" else 0.95)
    assert preset.discount_for("CheetahRun") == 0.995


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_a_copy_to_a_file(name: str, tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "suite" / "protocols" / f"{name}.toml"
    copied = load_text(tmp_path / "copy.toml", source.read_text(encoding="utf-8"))
    assert copied.name == "copy"
    assert copied.fingerprint() == load_protocol(name).fingerprint()
    assert Protocol.from_dict(copied.to_dict(), "copy") == copied


def test_pipeline_carries_every_shared_field() -> None:
    pipeline = load_protocol("paper").pipeline()
    assert dataclasses.asdict(pipeline) == {
        "updates": 183,
        "num_envs": 2048,
        "rollout_length": 480,
        "chunk_length": 30,
        "num_minibatches": 32,
        "num_epochs": 16,
        "normalizer": "legacy",
        "normalizer_timing": "before",
        "truncation": "masked",
    }


def test_fingerprint_sees_all_that_must_be_equal_and_nothing_else() -> None:
    base = protocol(task_discount={"FingerSpin": 0.95})
    same = dataclasses.replace(base, name="x", description="y", algorithms={"ppo": {"clip": 1.0}})
    same = dataclasses.replace(same, published_mode={"ppo": "sample"})
    assert (base.fingerprint(), base.differences(same)) == (same.fingerprint(), [])
    others: dict[str, Any] = {
        "total_steps": 2000,
        "num_envs": 8,
        "rollout_length": 40,
        "chunk_length": 20,
        "num_minibatches": 1,
        "num_epochs": 3,
        "normalizer": "legacy",
        "normalizer_timing": "before",
        "restart_interval": 1,
        "truncation": "masked",
        "starts": "own",
        "bank_size": 7,
        "random_phase": False,
        "eval_interval": 1,
        "eval_episodes": 9,
        "eval_seed": 1,
        "discount": 0.9,
        "task_discount": {},
    }
    fields = {field.name for field in dataclasses.fields(Protocol)}
    assert fields == {*others, "name", "description", "algorithms", "tuning", "published_mode"}
    for field, value in others.items():
        other = dataclasses.replace(base, **{field: value})
        assert other.differences(base) == [field]
        assert other.fingerprint() != base.fingerprint()


def as_written(protocol: Protocol) -> str:
    """What versions that hashed the fields as they stand in the file called a protocol."""
    later = {*Protocol.descriptive_fields(), "restart_interval"}
    fields = {name: v for name, v in protocol.to_dict().items() if name not in later}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    "change",
    [
        {"total_steps": 1039},  # 12 updates of 80 steps, and a part of one
        {"eval_interval": 12},
        {"task_discount": {"FingerSpin": 0.95, "FishSwim": 0.995}},
        {"starts": "own", "bank_size": 7},
    ],
)
def test_what_does_the_same_has_one_fingerprint(change: dict[str, Any]) -> None:
    same = {"total_steps": 960, "eval_interval": 99, "task_discount": {"FingerSpin": 0.95}}
    base = protocol(**same, starts=change.get("starts", "bank"))
    other = dataclasses.replace(base, **change)
    assert other.differences(base) == []
    assert other.fingerprint() == base.fingerprint()
    assert as_written(other) != as_written(base)
    # Older versions told the two apart; what they wrote is still known for its own protocol only.
    assert other.renewed(as_written(other)) == base.fingerprint()
    assert other.renewed(as_written(protocol(num_epochs=3))) == as_written(protocol(num_epochs=3))


def test_environments_that_would_start_afresh_at_the_end_only_never_do() -> None:
    never = protocol(total_steps=960)  # 12 updates
    for interval, same in ((11, False), (12, True), (99, True)):
        other = dataclasses.replace(never, restart_interval=interval)
        assert (other.fingerprint() == never.fingerprint()) is same
        assert (other.differences(never) == []) is same
        as_before = hashlib.sha256(
            json.dumps(
                {k: v for k, v in other.to_dict().items() if k not in never.descriptive_fields()},
                sort_keys=True,
                separators=(",", ":"),
            ).encode()
        ).hexdigest()[:16]
        assert other.renewed(as_before) == other.fingerprint()


@pytest.mark.parametrize(
    ("updates", "interval", "grid"),
    [(12, 3, (0, 3, 6, 9, 12)), (12, 5, (0, 5, 10, 12)), (12, 12, (0, 12)), (2, 9, (0, 2))],
)
def test_evaluation_grid(updates: int, interval: int, grid: tuple[int, ...]) -> None:
    assert protocol(eval_interval=interval).evaluation_grid(updates) == grid


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"chunk_length": 7}, "chunk_length"),
        ({"num_minibatches": 3}, "num_minibatches"),
        ({"total_steps": 79}, "total_steps"),
        ({"total_steps": 10**20}, "total_steps"),
        ({"eval_interval": 0}, "eval_interval"),
        ({"num_envs": -4}, "num_envs"),
        ({"num_epochs": 0}, "num_epochs"),
        ({"bank_size": 0}, "bank_size"),
        ({"eval_seed": -1}, "eval_seed"),
        ({"discount": 1.0}, "discount"),
        ({"discount": float("nan")}, "discount"),
        ({"task_discount": {"FingerSpin": -0.1}}, "task_discount.FingerSpin"),
        ({"task_discount": {"../FingerSpin": 0.9}}, r"task_discount.*no task has such"),
        ({"task_discount": {"dmc6": 0.9}}, "task_discount.dmc6"),
        ({"name": "../x"}, "name"),
        ({"name": ""}, "name"),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError, match=f"^{field}"):
        protocol(**changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("num_epoch = 3", "unknown field 'num_epoch'; did you mean 'num_epochs'"),
        ("num_epochs = 3.0", "num_epochs = 3.0: must be a whole number"),
        ("num_epochs = true", "num_epochs = True: must be a whole number"),
        ("random_phase = 1", "random_phase = 1: must be true or false"),
        ("normalizer = 'welford'", "normalizer = 'welford': must be one of 'cumulative', 'legacy'"),
        ("discount = 'high'", "discount = 'high': must be a finite number"),
        ("discount = nan", "discount = nan: must be a finite number"),
        ("task_discount = 0.9", "must be a table"),
        ("[task_discount]\nFingerSpin = 'x'", "task_discount.FingerSpin = 'x'"),
        ("[algorithms]\nppo = 3", "algorithms.ppo = 3: must be a table"),
        ("description = 3", "description = 3: must be a text"),
        ("= 3", "not valid TOML"),
        ("eval_episodes = -1", "eval_episodes = -1"),
    ],
)
def test_bad_files_are_refused_with_file_and_field(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_text(tmp_path / "mine.toml", VALID_TEXT + text)
    assert str(tmp_path / "mine.toml") in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_run_would_write_can_be_read_again() -> None:
    lite = load_protocol("lite")
    with pytest.raises(UserError, match="evaluate fewer, or less often"):
        dataclasses.replace(lite, total_steps=40_000_000, eval_interval=1, eval_episodes=10_000)
    assert MAX_RETURNS * np.float32().itemsize <= MAX_ARRAY_BYTES


def test_missing_fields_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="num_envs is missing"):
        load_text(tmp_path / "mine.toml", VALID_TEXT.replace("num_envs = 4\n", ""))


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        load_protocol(str(tmp_path / "mine.toml"))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + VALID_TEXT.encode())
    assert load_protocol(str(tmp_path / "mine.toml")) == protocol()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tuning.pppo]\nseeds = 1", "tuning: unknown algorithm 'pppo'; did you mean 'ppo'"),
        ("[tuning.ppo]\nseed = 1", "tuning.ppo: unknown entry 'seed'; did you mean 'seeds'"),
        ("[tuning.ppo]\nsteps = -1", "tuning.ppo.steps = -1: must be at least 0"),
    ],
)
def test_tuning_is_of_known_methods_where_something_is_to_run(
    tmp_path: Path, text: str, expected: str
) -> None:
    # Who only reads what was run need not have the methods.
    assert load_text(tmp_path / "mine.toml", VALID_TEXT + text).tuning
    asked = ("ppo", "CheetahRun", "1", str(tmp_path / "mine.toml"), "native", None, ())
    with pytest.raises(UserError, match=re.escape(expected)):
        make_request(*asked)


def test_unknown_name_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'smoke'"):
        load_protocol("smok")
    with pytest.raises(FileNotFoundError):
        load_protocol(str(tmp_path / "none.toml"))
