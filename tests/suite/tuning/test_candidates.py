"""What a search tries: drawn from what methods declare, the defaults first, alike for all."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import pytest
from counting import Counter

from algorithms.bounds import NOT_TUNED, Choice, Positive, Range, Tunable, ranges_of
from algorithms.names import NAMES
from algorithms.parts.on_policy import OnPolicySettings
from algorithms.registry import lookup
from suite.common.errors import UserError
from suite.configuration.hyperparameters import class_defaults, hyperparameter_fields
from suite.configuration.protocol import PRESETS, load_protocol
from suite.planning.run_request import make_request
from suite.tuning.candidates import check_defaults, describe_ranges, draw_candidates


def defaults_of(name: str) -> dict[str, Any]:
    entry = lookup(name)
    return {**class_defaults(entry.cls), **entry.defaults}


@pytest.mark.parametrize("name", NAMES)
def test_every_method_declares_ranges_that_hold_its_defaults(name: str) -> None:
    cls = lookup(name).cls
    ranges = ranges_of(cls)
    assert 2 <= len(ranges) <= 5 and "learning_rate" in ranges
    check_defaults(name, cls, defaults_of(name))
    # Candidate 0 is what the protocol makes of a method, and is to be among what is tried.
    for preset in PRESETS:
        if preset in ("smoke", "paper2026"):
            continue  # nothing is searched for them: paper2026 has no latent penalty, by its text
        values = make_request(name, "dmc6", "1", preset, "native", None, ()).hyperparameters[name]
        check_defaults(name, cls, values)


def test_no_field_of_a_protocol_is_tuned() -> None:
    fields = {field.name for field in dataclasses.fields(load_protocol("lite"))}
    for name in NAMES:
        assert not fields & set(ranges_of(lookup(name).cls))


def test_a_subclass_keeps_replaces_or_withdraws_a_range() -> None:
    ours = ranges_of(OnPolicySettings)
    gorl = ranges_of(lookup("gorl-fm").cls)
    assert ranges_of(lookup("ppo").cls)["learning_rate"] == ours["learning_rate"]  # plain float
    assert ranges_of(lookup("fpo").cls)["clip"] == Range(0.0125, 0.2, log=True)
    assert "max_grad_norm" in ours and not {"max_grad_norm", "entropy_cost"} & set(gorl)
    assert gorl["clip"].also == ("later_clip",)
    assert list(ours) == ["learning_rate", "clip", "max_grad_norm"]  # as the fields stand


def test_defaults_that_the_same_draw_found_do_not_shorten_a_search() -> None:
    """As lite's settings of FPO are: a search again must not end with candidates alike."""
    cls, defaults = lookup("fpo").cls, defaults_of("fpo")
    first = draw_candidates("fpo", cls, defaults, 6, 0)
    again = draw_candidates("fpo", cls, {**defaults, **first[3]}, 6, 0)
    assert again[0] == first[3]
    assert len({tuple(sorted(each.items())) for each in again}) == 6
    others = [each for each in first[1:] if each != first[3]]
    assert list(again[1:5]) == others  # those of the draw stay; one is added at the end


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [2, 8])
def test_candidates_are_the_defaults_and_one_in_each_stratum(name: str, count: int) -> None:
    cls, defaults = lookup(name).cls, defaults_of(name)
    found = draw_candidates(name, cls, defaults, count, draw=3)
    assert found == draw_candidates(name, cls, defaults, count, draw=3)
    assert found[1:] != draw_candidates(name, cls, defaults, count, draw=4)[1:]
    assert len(found) == count
    hints = hyperparameter_fields(cls)
    for field, each in ranges_of(cls).items():
        assert found[0][field] == defaults[field]
        drawn = [candidate[field] for candidate in found[1:]]
        assert all(each.holds(value) for value in drawn)
        if hints[field] is float and isinstance(each, Range):
            assert sorted(map(stratum(each, count - 1), drawn)) == list(range(count - 1))
        for other in each.also:
            for candidate in found:
                factor = candidate[field] / defaults[field]
                assert candidate[other] == pytest.approx(defaults[other] * factor, rel=5e-3)


def stratum(each: Range, count: int) -> Any:
    """Returns in which of `count` equal parts of the range a value lies; rounding is not to tell.

    By bisection, as `Range.at` goes the other way.
    """
    edges = [each.at(k / count) for k in range(1, count)]
    return lambda value: sum(value > edge * (1 + 3e-3) for edge in edges)


def test_methods_with_the_same_range_try_the_same_values() -> None:
    rates = {
        tuple(c["learning_rate"] for c in draw_candidates(n, lookup(n).cls, defaults_of(n), 8, 0))[
            1:
        ]
        for n in NAMES
    }
    assert len(rates) == 1


def test_ends_and_means_are_those_declared() -> None:
    assert [Range(2, 8).at(x) for x in (0, 0.5, 1)] == [2, 5, 8]
    assert [Range(1e-4, 1e-2, log=True).at(x) for x in (0, 0.5, 1)] == pytest.approx(
        [1e-4, 1e-3, 1e-2]
    )
    assert [Choice((1, "a", None)).at(x) for x in (0, 0.34, 0.99)] == [1, "a", None]
    assert not Range(1, 2).holds(None) and Choice((None, 1.0)).holds(None)


def method(default: Any, kind: Any, each: Tunable) -> type:
    """Returns a method with one field, `size`, that is tuned."""
    annotation = Annotated[kind, each]
    made = dataclasses.make_dataclass(
        "Mine", [("size", annotation, default)], bases=(Counter,), frozen=True
    )
    made.__module__ = __name__
    return made


def test_whole_numbers_stay_whole() -> None:
    found = draw_candidates("mine", method(8, int, Range(4, 64, log=True)), {"size": 8}, 5, 0)
    assert all(type(each["size"]) is int and 4 <= each["size"] <= 64 for each in found)


@pytest.mark.parametrize(
    ("default", "kind", "each", "message"),
    [
        (0.5, float, Range(1.0, 0.5), "must have a low end below its high end"),
        (0.5, float, Range(0.0, 1.0, log=True), "must begin above 0 to be logarithmic"),
        (0.5, Positive, Range(0.0, 1.0), "must be above 0"),
        (0.5, float, Choice((0.5,)), "must have two values or more"),
        (0.5, float, Range(0.1, 1.0, also=("width",)), "moves width, of which it has no field"),
        (0.0, float, Range(0.0, 1.0, also=("size",)), "by a factor, but it begins at 0"),
        (0.5, float, Choice((0.5, 0.7)), "only 2 of 4 candidates differ"),
    ],
)
def test_declarations_that_cannot_be_end_in_one_line(
    default: Any, kind: Any, each: Tunable, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        draw_candidates("mine", method(default, kind, each), {"size": default}, 4, 0)


def test_nothing_to_tune_and_defaults_outside_are_told() -> None:
    with pytest.raises(UserError, match="counter declares nothing to tune; write"):
        draw_candidates("counter", Counter, {}, 4, 0)
    with pytest.raises(UserError, match=r"mine.size = 3.0, its default, lies outside .* 1 to 2"):
        check_defaults("mine", method(3.0, float, Range(1, 2)), {"size": 3.0})
    withdrawn = method(3.0, float, NOT_TUNED)  # type: ignore[arg-type]
    assert not ranges_of(withdrawn) and not describe_ranges(withdrawn)
