"""A learning rate of its own for the critic, as DPPO and ReinFlow have it (ALGORITHMS 7)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import optax

from algorithms.bounds import NOT_TUNED, NotNegative, Positive, Range
from algorithms.parts.on_policy import Networks, OnPolicySettings


@dataclasses.dataclass(frozen=True)
class SeparateRates(OnPolicySettings):
    """Settings and optimizer of a method with two rates; to be named before `OnPolicy`.

    Attributes:
        learning_rate: Adam's for the policy, constant; b1 .9, b2 .999, eps 1e-8.
        critic_learning_rate: the same for the critic, which learns on a larger scale.
            Tuned by a factor of three.
        max_grad_norm: off, as in both; not tuned, as the two rates are.
    """

    max_grad_norm: Annotated[NotNegative, NOT_TUNED] = 0.0
    critic_learning_rate: Annotated[Positive, Range(3e-4, 3e-3, log=True)] = 1e-3

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam with one rate for the policy and one for the critic."""
        rates = {
            "policy": optax.adam(self.learning_rate),
            "critic": optax.adam(self.critic_learning_rate),
        }
        return optax.multi_transform(rates, Networks("policy", "critic"))
