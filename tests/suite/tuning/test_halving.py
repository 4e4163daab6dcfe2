"""Who goes on, and what it takes: against a slow reference, and to the step."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
from typing import Any

import pytest

from suite.common.errors import UserError
from suite.configuration.effort import Effort, for_tuning, parse_rungs, search_seeds, shares
from suite.configuration.protocol import load_protocol
from suite.tuning.halving import best, halve

LITE = for_tuning(load_protocol("lite"))


def effort(**changes: Any) -> Effort:
    values: dict[str, Any] = {
        "protocol": LITE,
        "tasks": ("CartpoleSwingup", "ReacherHard"),
        "seeds": search_seeds(2),
        "trials": 8,
        "rungs": (0.5, 1.0),
        "eta": 4,
        "draw": 0,
        "engine": "native",
    }
    return Effort(**{**values, **changes})


def slow_halving(scores: list[list[float]], counts: tuple[int, ...]) -> list[list[int]]:
    """Who goes on from each rung, by comparing every pair: better, or equal and earlier."""
    alive, kept = list(range(counts[0])), []
    for rung, following in enumerate((*counts[1:], 1)):
        beaten = {
            one: sum(
                scores[other][rung] > scores[one][rung]
                or (scores[other][rung] == scores[one][rung] and other < one)
                for other in alive
                if other != one
            )
            for one in alive
        }
        alive = sorted((one for one in alive if beaten[one] < following), key=lambda n: beaten[n])
        kept.append(alive)
    return kept


@pytest.mark.parametrize("seed", range(30))
def test_halving_agrees_with_a_slow_reference(seed: int) -> None:
    generator = random.Random(seed)
    trials, eta = generator.randint(2, 20), generator.randint(2, 5)
    counts = effort(trials=trials, eta=eta, rungs=(0.25, 0.5, 1.0)).candidates
    # Few different scores, so that there are many ties.
    scores = [[generator.choice((0.0, 0.2, 0.4, 0.9)) for _ in counts] for _ in range(trials)]
    rounds = halve(counts, lambda number, rung: scores[number][rung])
    assert [list(each.kept) for each in rounds] == slow_halving(scores, counts)
    assert [len(each.scores) for each in rounds] == list(counts)


def test_equals_go_to_the_defaults_then_to_the_lower_number() -> None:
    assert best({3: 0.5, 0: 0.5, 1: 0.7, 2: 0.5}, 3) == (1, 0, 2)
    assert best({5: 0.0, 0: 0.0}, 1) == (0,)


def test_nobody_is_dropped_before_all_are_there() -> None:
    def score(number: int, rung: int) -> float | None:
        return None if (number, rung) == (2, 1) else float(number)

    rounds = halve((4, 3, 1), score)
    assert [each.kept for each in rounds] == [(3, 2, 1), ()]
    assert rounds[1].missing == (2,) and rounds[1].scores == {1: 1.0, 2: None, 3: 3.0}


def test_a_rung_ends_at_an_evaluation_and_the_last_at_the_end() -> None:
    assert effort().ends == (130, 260)
    assert effort(rungs=(0.3, 1.0)).ends == (78, 260)  # 78 of 260 is the first not before it
    assert effort(rungs=(1 / 3, 1.0)).ends == (104, 260)
    odd = dataclasses.replace(LITE, total_steps=15_360 * 10, eval_interval=4)
    assert effort(protocol=odd, rungs=(0.4, 0.5, 1.0)).ends == (4, 8, 10)
    thirds = dataclasses.replace(LITE, total_steps=15_360 * 180, eval_interval=1)
    assert effort(protocol=thirds, rungs=parse_rungs("1/3,2/3,1")).ends == (60, 120, 180)


@pytest.mark.parametrize(
    ("trials", "eta", "rungs", "counts"),
    [
        (8, 4, (0.5, 1.0), (8, 2)),
        (9, 3, (0.1, 0.3, 1.0), (9, 3, 2)),  # of one finalist alone the end would decide nothing
        (3, 2, (1.0,), (3,)),
        (2, 2, (0.5, 1.0), (2, 2)),
        (7, 2, (0.25, 0.5, 1.0), (7, 4, 2)),
    ],
)
def test_steps_are_those_of_every_candidate_update_for_update(
    trials: int, eta: int, rungs: tuple[float, ...], counts: tuple[int, ...]
) -> None:
    mine = effort(trials=trials, eta=eta, rungs=rungs)
    assert mine.candidates == counts
    taken = sum(
        sum(rung < end for end, count in zip(mine.ends, counts, strict=True) if number < count) > 0
        for number, rung in itertools.product(range(trials), range(260))
    )
    assert mine.updates == taken
    assert mine.steps == taken * 15_360 * 2 * 2
    assert mine.record()["total_steps"] == mine.steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 1}, "--trials 1: at least 2"),
        ({"eta": 1}, "--eta 1: at least 2"),
        ({"rungs": ()}, "rising shares"),
        ({"rungs": (0.5, 0.9)}, "--rungs 0.5,0.9: give rising shares of the budget that end"),
        ({"rungs": (0.5, 0.5, 1.0)}, "rising shares"),
        ({"rungs": (0.0, 1.0)}, "rising shares"),
        ({"rungs": (1e-5, 1.0)}, "the first ends before any update"),
        ({"rungs": (0.49, 0.5, 1.0)}, "two rungs end at the same evaluation"),
    ],
)
def test_impossible_efforts_end_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        effort(**changes)


@pytest.mark.parametrize("text", ["", "a", "1/0", "0.5;1", "nan"])
def test_rungs_that_are_no_shares_end_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="--rungs"):
        effort(rungs=parse_rungs(text))


def test_rungs_are_read_as_they_are_told() -> None:
    for text in ("1/3,1", "0.05,0.123456789,1", "1"):
        assert parse_rungs(shares(parse_rungs(text))) == parse_rungs(text)
    assert not math.isnan(parse_rungs("1/3")[0])


def test_a_search_has_start_states_of_its_own_and_the_fields_of_no_other() -> None:
    lite = load_protocol("lite")
    assert lite.differences(LITE) == ["eval_seed"]
    assert LITE.algorithms == lite.algorithms and not LITE.tuning
    assert search_seeds(3) == (100, 101, 102)


def test_an_effort_is_read_as_it_was_written() -> None:
    mine = effort(rungs=parse_rungs("1/3,1"))
    plain = json.loads(json.dumps(mine.to_dict()))
    assert Effort.from_dict(plain, "tuning.json") == mine
    assert mine.differences(effort(trials=9)) == ["trials", "rungs"]
    with pytest.raises(UserError, match=r"tuning\.json is of version 0"):
        Effort.from_dict({**plain, "tuner": 0}, "tuning.json")
    for name in plain.keys() - {"tuner"}:
        with pytest.raises(UserError, match=r"^tuning\.json"):
            Effort.from_dict({**plain, name: {}}, "tuning.json")
        with pytest.raises(UserError, match=r"^tuning\.json"):
            Effort.from_dict({k: v for k, v in plain.items() if k != name}, "tuning.json")
    with pytest.raises(UserError, match=r"^tuning\.json: --trials 1"):
        Effort.from_dict({**plain, "trials": 1}, "tuning.json")
