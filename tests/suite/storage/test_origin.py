"""Whether two runs started their evaluations alike: one judgement, for resuming and for audits."""

from __future__ import annotations

from typing import Any

import pytest

from suite.storage.origin import as_recorded, origin_differences, same_starts


def starts(projection: float, digest: str = "0") -> dict[str, Any]:
    return {"sha256": digest, "projection": projection}


def sketched(*sketch: object) -> dict[str, Any]:
    return {**starts(float(len(str(sketch))), str(sketch)), "sketch": list(sketch)}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (starts(12.5), starts(12.5), True),
        (starts(12.5), starts(12.501, "1"), True),  # 1e-4 of it is 0.00125
        (starts(12.5), starts(12.502, "1"), False),
        (starts(-1e6), starts(-1000099.0, "1"), True),
        (starts(-1e6), starts(-1000101.0, "1"), False),
        # A sum that cancels to nearly nothing is rounded like its terms, not like itself.
        (starts(0.0), starts(0.0001, "1"), True),
        (starts(0.0), starts(0.001, "1"), False),
        (None, starts(1.0), True),
        ({}, starts(1.0), True),
        ({"sha256": "1"}, starts(1.0), False),
        ({"sha256": "1"}, {"sha256": "1"}, True),
        ({"sha256": "1"}, {"sha256": "2"}, False),
        (starts(float("nan")), starts(1.0), False),
        ([1], starts(1.0), False),
        # Of sketches the root mean square decides, whatever the projections are.
        (sketched(0.5, -1.0), sketched(0.5, -1.0279), True),
        (sketched(0.5, -1.0), sketched(0.5, -1.0284), False),
        (sketched(0.5, -1.0), sketched(0.5), False),
        (sketched(0.5), sketched("half"), False),
        (sketched(0.5), sketched(float("nan")), False),
        (sketched(0.5), {**sketched(0.5), "sketch": 0.5}, False),
        (starts(12.5), {**sketched(0.5), "projection": 12.501}, True),
        (sketched(0.5), {**sketched(0.5), "projection": -1.0}, False),  # edited
    ],
)
def test_same_starts(one: object, other: object, same: bool) -> None:
    assert same_starts(one, other) == same_starts(other, one) == same
    found = origin_differences({"eval_starts": one}, {"eval_starts": other})
    assert bool(found) != same


def test_what_an_older_version_recorded_of_start_states() -> None:
    now = sketched(0.5)
    assert as_recorded(now, starts(1.0)) == starts(now["projection"], now["sha256"])
    assert as_recorded(now, None) is None
    assert as_recorded(None, now) is None


def test_a_decoder_is_known_by_its_content() -> None:
    decoder = {"run": "a", "digest": "0"}
    assert not origin_differences({"decoder": decoder}, {"decoder": {**decoder, "run": "b"}})
    assert origin_differences({"decoder": decoder}, {"decoder": {**decoder, "digest": "1"}})
    assert origin_differences({"decoder": decoder}, {"decoder": None})


def test_hyperparameters_are_named_one_by_one() -> None:
    found = origin_differences(
        {"hyperparameters": {"clip": 0.1, "hidden": [1]}, "engine": "jax"},
        {"hyperparameters": {"clip": 0.2, "hidden": [1]}, "engine": "jax", "new": 1},
    )
    assert found == ["clip (0.1 there, 0.2 now)"]
