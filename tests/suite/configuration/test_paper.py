"""The preset `paper` against the numbers of docs/algorithms.md, transcribed here by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from typing import Any

import jax
import pytest

from algorithms.api import EnvSpec
from algorithms.gorl import GoRL
from algorithms.parts.networks import parameter_count
from envs.names import TASKS
from suite import cli
from suite.configuration.protocol import load_protocol
from suite.planning.run_request import RunRequest, make_request

METHODS = ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff")

PROTOCOL = {  # ALGORITHMS 1.2 to 1.5
    "total_steps": 180_000_000,
    "num_envs": 2048,
    "rollout_length": 480,
    "chunk_length": 30,
    "num_minibatches": 32,
    "num_epochs": 16,
    "normalizer": "legacy",
    "normalizer_timing": "before",
    "truncation": "masked",
    "starts": "own",
    "random_phase": False,
    "eval_interval": 6,
    "eval_episodes": 128,
    "discount": 0.995,
    "task_discount": {"FingerSpin": 0.95},
}

SHARED = {  # ALGORITHMS 1.5 and the head of 2
    "gae_lambda": 0.95,
    "reward_scale": 10.0,
    "value_cost": 0.25,
    "actor_hidden": (32, 32, 32, 32),
    "critic_hidden": (256, 256, 256, 256, 256),
}

GORL = {  # ALGORITHMS 1.5, 2.4 to 2.6
    "learning_rate": 1e-3,
    "clip": 0.15,
    "later_clip": 0.30,
    "max_grad_norm": 0.5,
    "later_max_grad_norm": 1.0,
    "latent_penalty": 5e-4,
    "later_latent_penalty": 1e-3,
    "penalty_form": "code",
    "entropy_cost": 0.01,
    "tanh_entropy": False,
    "stage_shares": (1 / 3, 1 / 3, 1 / 6, 1 / 6),
    "spend_remainder": False,
    "encoder_restart": "fresh",
    "keep_critic": False,
    "keep_statistics": False,
    "restart_envs": True,
    "stage_policy": "best",
    "decoder_hidden": (64, 64, 64, 64),
    "decoder_steps": 10,
    "decoder_data": "extra",
    "decoder_rollouts": 20,
    "decoder_time_limits": False,
    "decoder_samples": 10_000_000,
    "decoder_epochs": 50,
    "decoder_batch_size": 8192,
    "decoder_draws": 8,
    "decoder_learning_rate": 3e-4,
    "decoder_patience": 20,
    "decoder_validation_batches": 50,
}

METHOD: Mapping[str, Mapping[str, Any]] = {
    "ppo": {  # 2.1
        "learning_rate": 3e-4,
        "clip": 0.1,
        "max_grad_norm": 0.0,
        "entropy_cost": 0.01,
        "tanh_entropy": True,
        "latent_penalty": 0.0,
    },
    "fpo": {  # 2.2; the averaged ratio is that of the calibration targets, 1.6
        "learning_rate": 3e-4,
        "clip": 0.05,
        "max_grad_norm": 0.0,
        "flow_steps": 10,
        "output_scale": 0.25,
        "pairs": 8,
        "ratio": "averaged",
    },
    "dppo": {  # 2.3
        "learning_rate": 3e-4,
        "clip": 0.2,
        "max_grad_norm": 0.0,
        "flow_steps": 10,
        "output_scale": 0.25,
        "sigma": 0.05,
    },
    "gorl-fm": {**GORL, "generative_model": "flow"},
    "gorl-diff": {**GORL, "generative_model": "diffusion"},
}


@pytest.fixture(scope="module")
def request_for_paper() -> RunRequest:
    """What `suite run --protocol paper` resolves to."""
    return make_request("all", "CheetahRun", "1", "paper", "native", None, ())


def test_protocol() -> None:
    stored = load_protocol("paper").to_dict()
    assert {field: stored[field] for field in PROTOCOL} == PROTOCOL


def test_every_evaluation_habit() -> None:
    paper = load_protocol("paper")
    modes = {name: paper.published_mode_of(name) for name in METHODS}
    assert modes == {  # 3.3 l
        "ppo": "deterministic",
        "fpo": "sample",
        "dppo": "sample",
        "gorl-fm": "deterministic",
        "gorl-diff": "deterministic",
    }
    # Every 6 updates after the update, the last policy too (1.5, the last column).
    assert paper.evaluation_grid() == (*range(0, 183, 6), 183)


@pytest.mark.parametrize("name", METHODS)
def test_every_number_of_a_method(request_for_paper: RunRequest, name: str) -> None:
    resolved = request_for_paper.hyperparameters[name]
    expected = {**SHARED, **METHOD[name]}
    assert {field: resolved.get(field) for field in expected} == expected


def test_no_hyper_parameter_is_left_unchecked(request_for_paper: RunRequest) -> None:
    # What later additions to the suite do not change in `paper`.
    ours = {
        "decoder_start": "fresh",
        "refits": True,
        "penalty_form": "code",
        "decoder_last_layer": "random",
        "decoder_noise": "prior",
        "std_form": "state",
    }
    for name in METHODS:
        resolved = request_for_paper.hyperparameters[name]
        rest = set(resolved) - set(SHARED) - set(METHOD[name])
        assert {field: resolved[field] for field in rest} == {
            field: value for field, value in ours.items() if field in rest
        }


def test_plan_prints_the_geometry_and_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("plan", "--protocol", "paper", "--tasks", "CheetahRun", "--seeds", "1")
    assert cli.run_command((*command, "--engine", "native")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("an update is 983,040 environment steps")
    by_name = {line.split()[1]: line.split() for line in lines[2:7]}
    for name in ("ppo", "fpo", "dppo"):
        assert by_name[name][4:7] == ["183", "179,896,320", "0"]
    for name in ("gorl-fm", "gorl-diff"):
        assert by_name[name][4:7] == ["61+61+30+30", "237,895,680", "58,982,400"]

    assert cli.run_command((*command, "--engine", "native", "--json")) == 0
    plan = json.loads(capsys.readouterr().out)
    gorl = next(job for job in plan["jobs"] if job["job"]["algorithm"] == "gorl-fm")
    assert gorl["train_steps"] == 178_913_280  # 2.4
    assert [stage["decoder_data_steps"] for stage in gorl["stages"]] == [19_660_800] * 3 + [0]


def test_gradient_steps(request_for_paper: RunRequest) -> None:
    pipeline = request_for_paper.protocol.pipeline()
    assert pipeline.num_epochs * pipeline.num_minibatches == 512
    chunks = pipeline.steps_per_update // pipeline.chunk_length
    assert (chunks, chunks // pipeline.num_minibatches) == (32_768, 1024)


def test_a_decoder_fit_makes_as_many_steps_as_published(request_for_paper: RunRequest) -> None:
    gorl = request_for_paper.algorithms["gorl-fm"]
    assert isinstance(gorl, GoRL)
    transitions = gorl.decoder_rollouts * gorl.pipeline.steps_per_update
    assert transitions == 19_660_800
    # 90% of 10M transitions train; 1098 batches an epoch, 54,900 Adam steps (2.4).
    batches = gorl.fit.steps_per_epoch(transitions * 9 // 10)
    assert (batches, gorl.decoder_epochs * batches) == (1098, 54_900)


def test_discount_of_each_task() -> None:
    paper = load_protocol("paper")
    assert {task: paper.discount_for(task) for task in TASKS} == {
        task: 0.95 if task == "FingerSpin" else 0.995 for task in TASKS
    }


def test_sizes_of_the_networks(request_for_paper: RunRequest) -> None:
    def dense(*widths: int) -> int:
        return sum((i + 1) * o for i, o in itertools.pairwise(widths))

    obs, act, time = 17, 6, 8  # CheetahRun
    spec = EnvSpec(obs, act)
    critic = dense(obs, *[256] * 5, 1)
    gaussian = dense(obs, *[32] * 4, 2 * act)
    flow = dense(obs + act + time, *[32] * 4, act)
    decoder = dense(obs + act + time, *[64] * 4, act)
    expected = {"ppo": gaussian, "fpo": flow, "dppo": flow}
    expected |= dict.fromkeys(("gorl-fm", "gorl-diff"), gaussian + decoder)
    for name, actor in expected.items():
        assert _parameter_count(request_for_paper, name, spec) == actor + critic


def _parameter_count(request: RunRequest, name: str, spec: EnvSpec) -> int:
    algorithm = dataclasses.replace(request.algorithms[name], env=spec)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    return parameter_count(jax.eval_shape(algorithm.parameters, state))
