"""A flow for a policy, trained on-policy: what FPO, DPPO, FPO++ and ReinFlow share."""

from __future__ import annotations

import dataclasses

import jax

from algorithms.bounds import Count, Positive
from algorithms.parts.flow import Flow
from algorithms.parts.networks import Params
from algorithms.parts.on_policy import OnPolicy


@dataclasses.dataclass(frozen=True)
class FlowPolicy(OnPolicy):
    """Base of the methods whose policy is a flow over the pre-tanh action.

    Attributes:
        flow_steps: Euler steps from noise to action (ALGORITHMS 2.2).
        output_scale: factor on the velocity network's output; .25 keeps the first policy
            close to N(0, I) (ALGORITHMS 2.2).
    """

    flow_steps: Count = 10
    output_scale: Positive = 0.25

    @property
    def flow(self) -> Flow:
        """The policy's flow."""
        return Flow(
            self.env.obs_size,
            self.env.action_size,
            self.actor_hidden,
            self.flow_steps,
            self.output_scale,
        )

    def init_policy(self, key: jax.Array) -> Params:
        """Returns fresh parameters of the velocity network."""
        return self.flow.init(key)

    @property
    def evaluations_per_action(self) -> int:
        """Policy-network forward passes needed for one action."""
        return self.flow.evaluations
