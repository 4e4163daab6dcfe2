"""What a hyper-parameter can be: declared beside its field, refused before anything runs."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from tiny import make

from algorithms import bounds
from algorithms.api import EnvSpec, Pipeline
from algorithms.encoder_decoder.decoder import Fit
from algorithms.names import NAMES
from algorithms.parts.flow import Flow
from algorithms.ppo import PPO
from algorithms.registry import lookup
from suite.common.errors import UserError
from suite.configuration.hyperparameters import hyperparameter_fields
from suite.planning.run_request import make_request

IMPOSSIBLE: dict[str, Any] = {
    **dict.fromkeys(("learning_rate", "clip", "reward_scale", "later_clip", "sigma"), (0.0, -1.0)),
    **dict.fromkeys(("decoder_learning_rate", "output_scale"), (0.0, -1e-9)),
    **dict.fromkeys(("max_grad_norm", "later_max_grad_norm", "value_cost"), (-0.5,)),
    **dict.fromkeys(("entropy_cost", "latent_penalty", "later_latent_penalty"), (-1e-3,)),
    **dict.fromkeys(("actor_hidden", "critic_hidden", "decoder_hidden"), ((0,), (), (64, -1))),
    **dict.fromkeys(("flow_steps", "pairs", "decoder_steps", "decoder_rollouts"), (0, -1)),
    **dict.fromkeys(("decoder_samples", "decoder_epochs", "decoder_batch_size"), (0, -1)),
    **dict.fromkeys(("decoder_draws", "decoder_patience", "decoder_validation_batches"), (0, -1)),
    **dict.fromkeys(("batch_size", "replay_capacity", "rollout_length", "learning_starts"), (0,)),
    **dict.fromkeys(("update_to_data", "initial_temperature", "latent_bound"), (0.0, -1.0)),
    **dict.fromkeys(("actor_learning_rate", "temperature"), (0.0, -1.0)),
    **dict.fromkeys(("actor_states", "particles", "value_samples"), (0,)),
    **dict.fromkeys(("straightness", "trust"), (-0.1,)),
    "warm_up": (-1,),
    "target_rate": (-0.1, 1.01),
    "target_entropy": (-100.0, 81.0),
    **dict.fromkeys(("critic_learning_rate", "max_loss", "max_log_ratio"), (0.0, -1.0)),
    **dict.fromkeys(("min_noise", "max_noise", "max_log_prob", "min_std"), (0.0, -1.0)),
    **dict.fromkeys(("first_clip", "clip_rate"), (0.0, -1.0)),
    **dict.fromkeys(("action_noise", "weight_decay"), (-1e-3,)),
    **dict.fromkeys(("noise_hold", "noise_decay", "denoising_discount"), (-0.1, 1.01)),
    **dict.fromkeys(("noise_hidden", "ppo_critic_hidden"), ((0,), (), (64, -1))),
    **dict.fromkeys(("ppo_learning_rate", "ppo_clip", "fit_learning_rate"), (0.0, -1.0)),
    **dict.fromkeys(("fit_epochs", "fit_batch_size"), (0, -1)),
    "critic_steps": (-1,),
    "warm_up_share": (-0.1, 1.01),
    "denoising_steps": (1, 0, -1),
    "gae_lambda": (-2.0, 1.01),
    "stage_shares": ((), (1.5, -0.5), (0.0, 1.0)),
}
"""By hyper-parameter; `decoder_epochs=0` once counted as a method that had diverged."""


def numeric(hint: Any) -> bool:
    parts = typing.get_args(hint) or (hint,)
    return hint is not bool and any(part in (int, float) for part in parts)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_bounds_and_keeps_to_them(name: str) -> None:
    cls = lookup(name).cls
    numbers = {field for field, hint in hyperparameter_fields(cls).items() if numeric(hint)}
    assert numbers == set(bounds.bounds_of(cls))
    assert numbers <= set(IMPOSSIBLE)
    for field in numbers:
        for value in IMPOSSIBLE[field]:
            with pytest.raises(ValueError, match=f"^{field} = .* must be "):
                make(name, **{field: value})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("gorl-fm.decoder_epochs=0", "decoder_epochs = 0 must be at least 1"),
        ("*.decoder_draws=0", "decoder_draws = 0 must be at least 1"),
        ("ppo.actor_hidden=", "actor_hidden = nothing must be a list of numbers at least 1"),
        ("ppo.clip=-1", "clip = -1.0 must be above 0"),
        ("ppo.gae_lambda=-2", "gae_lambda = -2.0 must be at least 0 and at most 1"),
        ("ppo.learning_rate=1e300", "must be above 0 and at most 3.4e+38, the largest float32"),
        ("gorl-diff.decoder_steps=1", "a diffusion needs at least 2"),
        ("sac.update_to_data=1e30", "must be above 0 and at most 1000"),
        ("dppo-ren.clip_rate=100", "clip_rate = 100.0 must be above 0 and at most 80"),
        ("rldt.rollout_length=7", "rollout_length is 7, which does not divide the protocol's"),
        ("sac.warm_up=4", "warm_up = 4: leaves no update of 4 to learn in"),
        ("protocol.eval_episodes=2000000", "eval_episodes = 2000000: at most 10,000"),
        ("protocol.eval_interval=0", "eval_interval = 0: must be at least 1"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_runs(setting: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        names = "all,sac,dppo-ren,rldt"
        make_request(names, "CheetahRun", "1", "smoke", "native", None, (setting,)).plan(None)
    assert expected in str(caught.value)


def test_steps_that_a_counter_cannot_hold() -> None:
    changes = ("protocol.total_steps=4000000000", "protocol.eval_interval=100000000")
    with pytest.raises(UserError, match="must leave at most 2,147,483,647 environment steps"):
        make_request("ppo", "CheetahRun", "1", "smoke", "native", None, changes)


def test_one_transition_is_too_few_for_a_decoder() -> None:
    fit = Fit(Flow(2, 1, (4,)), 1e-3, 4, 1, 1, 10, 1, 1)
    assert fit.empty(1, 2).obs.shape == (1, 2, 2)
    with pytest.raises(ValueError, match="at least 2 transitions"):
        fit.empty(1, 1)


@dataclasses.dataclass(frozen=True)
class Bolder(PPO):
    """Changes a default, and redeclares one type with other bounds."""

    clip: float = 0.3
    gae_lambda: bounds.Positive = 1.5

    def __post_init__(self) -> None:
        """Checks nothing."""


def test_a_subclass_inherits_bounds_unless_it_declares_its_own() -> None:
    found = bounds.bounds_of(Bolder)
    assert found["clip"] == bounds.Bounds(0, above=True)
    assert str(found["gae_lambda"]) == "above 0"
    spec, pipeline = EnvSpec(1, 1), Pipeline(1, 1, 1)
    bounds.check(Bolder(spec, pipeline))
    with pytest.raises(ValueError, match=r"clip = -0\.3: must be above 0"):
        bounds.check(Bolder(spec, pipeline, clip=-0.3))
