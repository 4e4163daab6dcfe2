"""What a method costs beside PPO, at the sizes of the protocol `lite`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from algorithms.api import Algorithm, EnvSpec
from algorithms.registry import lookup
from suite.checks.check import Check
from suite.checks.made_up import made_up
from suite.checks.subject import Subject, of_protocol
from suite.configuration.protocol import load_protocol

PROTOCOL, BASELINE = "lite", "ppo"
_SPEC = EnvSpec(obs_size=17, action_size=6)
"""Of CheetahRun."""


class Cost(NamedTuple):
    """Seconds, of the fastest of a few tries.

    Attributes:
        act: of an action in every environment.
        update: of an update of the budget.
    """

    act: float
    update: float


def cost(subject: Subject) -> str:
    """Times actions and updates; a ratio to PPO's, which no method fails."""
    protocol = load_protocol(PROTOCOL)
    own = _measured(subject.build(_SPEC, protocol.pipeline(), own=True))
    entry = lookup(BASELINE)
    if subject.cls is entry.cls:
        beside = own
    else:
        values = of_protocol(entry, protocol)
        beside = _measured(entry.cls(env=_SPEC, pipeline=protocol.pipeline(), **values))
    return (
        f"an action {1e3 * own.act:.2g} ms, {own.act / beside.act:.2g} of {BASELINE}'s; an update"
        f" {own.update:.2g} s, {own.update / beside.update:.2g} of {BASELINE}'s, in"
        f" {protocol.num_envs} environments"
    )


def _measured(algorithm: Algorithm[Any]) -> Cost:
    act = functools.partial(algorithm.act, mode="sample")
    state = jax.jit(algorithm.init)(jax.random.key(0))
    key = jax.random.key(1)
    rollout = jax.jit(lambda state: made_up(algorithm, state, key, act))(state)
    acting, updating = jax.jit(act), jax.jit(algorithm.update)
    return Cost(
        _fastest(lambda: acting(state, rollout.obs[0], key), 10),
        _fastest(lambda: updating(state, rollout, key), 2) * algorithm.rollouts_per_update,
    )


def _fastest(call: Callable[[], object], tries: int) -> float:
    jax.block_until_ready(call())  # compiles
    seconds = []
    for _ in range(tries):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


CHECKS = (
    Check(
        "cost",
        f"what it costs beside {BASELINE}",
        "Nothing is asked here.",
        "",
        cost,
        ("shapes",),
    ),
)
