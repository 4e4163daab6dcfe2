"""What stored policies' actions look like: a finding for each policy, state and side of tanh.

Shapes: K states, N samples, A action size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from reports.analysis.action_shape import (
    Component,
    Shape,
    describe,
    describe_along,
    first_component,
)
from reports.analysis.bootstrap import holm
from suite.common.claim_floor import LEVEL
from suite.storage.action_samples import ActionSamples, PolicyActions

Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = get_args(Side)
SIDE_WORDS: Mapping[Side, str] = {"before": "before squashing", "after": "after squashing"}


@dataclasses.dataclass(frozen=True)
class ActionFinding:
    """What one policy does in one state.

    Attributes:
        policy: which.
        state: its index.
        side: before the squash, or after it.
        shape: in all dimensions.
        joint: along the first principal component of all policies' actions in that state.
        own: along the first principal component of this policy's.
        gaussian_p: of `shape`, Holm-corrected over all findings of the side.
    """

    policy: PolicyActions
    state: int
    side: Side
    shape: Shape
    joint: Component
    own: Component
    gaussian_p: float

    @property
    def multimodal_dimensions(self) -> int:
        """Action dimensions whose dip is significant, Holm-corrected within the finding."""
        return int(np.sum(self.shape.adjusted_dip_p < LEVEL))


def action_findings(samples: ActionSamples) -> list[ActionFinding]:
    """Returns a finding for each side, state and policy."""
    findings: list[ActionFinding] = []
    for side in SIDES:
        found = [
            finding
            for state in range(len(samples.states))
            for finding in _analyse_state(samples.policies, state, side)
        ]
        known = [each for each in found if not math.isnan(each.gaussian_p)]
        adjusted = iter(holm([each.gaussian_p for each in known]))
        findings += [
            each
            if math.isnan(each.gaussian_p)
            else dataclasses.replace(each, gaussian_p=next(adjusted))
            for each in found
        ]
    return findings


def _analyse_state(
    policies: Sequence[PolicyActions], state: int, side: Side
) -> Iterator[ActionFinding]:
    clouds = [np.asarray(getattr(policy, side)[state], np.float64) for policy in policies]
    joint = first_component(np.concatenate(clouds))
    for policy, cloud in zip(policies, clouds, strict=True):
        shape = describe(cloud)
        yield ActionFinding(
            policy=policy,
            state=state,
            side=side,
            shape=shape,
            joint=describe_along(cloud, *joint),
            own=describe_along(cloud, *first_component(cloud)),
            gaussian_p=shape.gaussian_p,
        )


def samples_each(samples: ActionSamples) -> int:
    """Returns how many actions each policy took in each state."""
    return int(samples.policies[0].before.shape[1])
