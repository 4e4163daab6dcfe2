"""The preset `paper2026` against ALGORITHMS 8.1, transcribed here by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from algorithms.gorl import EncoderDecoder
from suite.configuration.protocol import load_protocol
from suite.planning.run_request import RunRequest, make_request

ENCODER = {
    "learning_rate": 1e-3,
    "clip": 0.2,
    "later_clip": 0.2,
    "std_form": "shared",
    "entropy_cost": 0.01,
    "value_cost": 0.25,
    "gae_lambda": 0.95,
    "latent_penalty": 0.0,
    "later_latent_penalty": 0.0,
    "actor_hidden": (32, 32, 32, 32),
    "encoder_restart": "gaussian",
    "stage_policy": "last",
}
DECODER = {
    "decoder_hidden": (32, 32, 32, 32),
    "decoder_data": "extra",
    "decoder_time_limits": True,
    "decoder_epochs": 50,
    "decoder_batch_size": 8192,
    "decoder_learning_rate": 3e-4,
    "decoder_noise": "prior",
    "decoder_last_layer": "zero",
    "decoder_samples": 512_000,
}
SAC_ENCODER = {
    "learning_rate": 3e-4,
    "batch_size": 256,
    "target_rate": 0.005,
    "stage_shares": (0.5, 0.25, 0.25),  # 2M, 1M and 1M steps
    "encoder_restart": "gaussian",
    "stage_policy": "last",
}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "ppo": {"learning_rate": 1e-3, "clip": 0.2, "entropy_cost": 0.01, "std_form": "shared"},
    "fpo": {"learning_rate": 3e-4, "clip": 0.05, "flow_steps": 10, "pairs": 8},
    "dppo": {"learning_rate": 3e-4, "clip": 0.2, "flow_steps": 10, "sigma": 0.05},
    "gorl-fm": {**ENCODER, **DECODER},
    "gorl-diff": {**ENCODER, **DECODER},
    "gorl-gauss": {**ENCODER, **DECODER},
    "gorl-sac-fm": {**SAC_ENCODER, **DECODER, "generative_model": "flow"},
    "gorl-sac-diff": {**SAC_ENCODER, **DECODER, "generative_model": "diffusion"},
    "gorl-identity": ENCODER,
    "ppo-matched": {"learning_rate": 1e-3, "clip": 0.2, "latent_penalty": 0.0},
    "ppo-matched-reset": {"clip": 0.2, "later_clip": 0.2, "later_latent_penalty": 0.0},
}


@pytest.fixture(scope="module")
def request_for_2026() -> RunRequest:
    """What `suite run --protocol paper2026` resolves to, with the controls."""
    names = ",".join(METHODS)
    return make_request(names, "CheetahRun", "1", "paper2026", "native", None, ())


@pytest.mark.parametrize("name", METHODS)
def test_every_number_of_a_method(request_for_2026: RunRequest, name: str) -> None:
    resolved = request_for_2026.hyperparameters[name]
    assert {field: resolved[field] for field in METHODS[name]} == METHODS[name]


def test_pipeline() -> None:
    protocol = load_protocol("paper2026")
    assert protocol.total_steps == 180_000_000
    assert (protocol.num_envs, protocol.chunk_length, protocol.num_epochs) == (2048, 30, 16)
    chunks = protocol.steps_per_update // protocol.chunk_length
    assert chunks // protocol.num_minibatches == 1024
    assert protocol.normalizer == "cumulative"
    assert (protocol.discount_for("FingerSpin"), protocol.eval_episodes) == (0.995, 128)
    assert protocol.fingerprint() != load_protocol("paper").fingerprint()


def test_decoders_take_ten_steps_and_are_refitted_on_extra_data(
    request_for_2026: RunRequest,
) -> None:
    for name in ("gorl-fm", "gorl-diff", "gorl-sac-fm", "gorl-sac-diff"):
        gorl = request_for_2026.algorithms[name]
        assert isinstance(gorl, EncoderDecoder)
        assert gorl.decoder_model.evaluations == 10
        *refitted, last = [stage.extra_rollouts for stage in gorl.stages()]
        assert set(refitted) == {2} and not last
        # Nine tenths of 512,000 transitions an epoch, whatever was taken.
        assert gorl.fit.steps_per_epoch(gorl.pipeline.steps_per_update * 9 // 10) == 56
    extra = 3 * 2 * load_protocol("paper2026").steps_per_update
    assert extra == 5_898_240 and extra / 180e6 < 0.033


def test_rollouts_for_a_decoder_are_about_an_episode_long(request_for_2026: RunRequest) -> None:
    """Environments run in phase, so that each of them has to be."""
    protocol = request_for_2026.protocol
    refitted = [name for name, values in METHODS.items() if "decoder_data" in values]
    assert not protocol.random_phase and len(refitted) == 5
    for name in refitted:
        for stage in request_for_2026.algorithms[name].stages()[:-1]:
            assert 950 <= stage.extra_rollouts * protocol.rollout_length <= 1000
