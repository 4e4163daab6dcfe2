"""The rule by which lite's size is chosen, and what is compared."""

from __future__ import annotations

import pytest

from benchmarks.lite_size import BETTER, RESULTS, SIZES, TASKS, chosen
from envs.names import TASK_SETS
from suite.configuration.protocol import load_protocol


@pytest.mark.parametrize(
    ("scores", "size"),
    [
        ((400.0, 400.0 + BETTER - 1, 300.0), 256),
        ((400.0, 400.0 + BETTER, 300.0), 128),
        ((400.0, 460.0, 470.0), 64),
        ((400.0, 0.0, 0.0), 256),
    ],
)
def test_a_smaller_size_must_be_clearly_better(scores: tuple[float, ...], size: int) -> None:
    assert chosen(dict(zip(SIZES, scores, strict=True))) == size


def test_sizes_differ_in_environments_alone_and_use_no_task_of_a_comparison() -> None:
    protocols = [load_protocol(str(RESULTS / f"envs-{size}.toml")) for size in SIZES]
    assert [each.num_envs for each in protocols] == list(SIZES)
    assert len({each.updates * each.steps_per_update for each in protocols}) == 1
    lite = load_protocol("lite")
    assert {field for each in protocols for field in lite.differences(each)} <= {
        "num_envs",
        "eval_interval",
        "eval_episodes",
        "eval_seed",
    }
    assert {len(each.evaluation_grid()) for each in protocols} == {11}
    assert not {*TASKS} & {*TASK_SETS["dmc6"]}
