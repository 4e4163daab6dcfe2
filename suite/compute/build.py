"""Puts an algorithm, a task and a protocol together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from algorithms.api import MODES, Algorithm, EnvSpec, State
from envs.api import Task
from envs.vector import VectorEnv
from suite.common.errors import UserError
from suite.compute.program import Program
from suite.configuration.protocol import Protocol
from suite.contract.made_up import acts_alone
from suite.methods.build_method import build_method


def build_algorithm(
    name: str, hyperparameters: Mapping[str, Any], task: Task, protocol: Protocol
) -> Algorithm[Any]:
    """Returns the named algorithm, fitted to a task's sizes and a protocol's pipeline.

    Raises:
        UserError: a value is out of its bounds, or the class refuses it.
    """
    spec = EnvSpec(task.obs_size, task.action_size, protocol.discount_for(task.name))
    return build_method(name, hyperparameters, protocol, spec)


def build_program(algorithm: Algorithm[Any], task: Task, protocol: Protocol) -> Program:
    """Returns the computation of one seed.

    Raises:
        UserError: a chunk could hold two time limits.
    """
    if protocol.chunk_length > task.episode_length:
        raise UserError(
            f"protocol {protocol.name}: chunk_length {protocol.chunk_length} is longer than an"
            f" episode of {task.name}, {task.episode_length} steps; make it shorter"
        )
    envs = VectorEnv(
        task,
        num_envs=protocol.num_envs,
        starts=protocol.starts,
        bank_size=protocol.bank_size,
        random_phase=protocol.random_phase,
    )
    return Program(algorithm, envs, protocol.restart_interval)


def worlds_of(protocol: Protocol, seeds: int) -> int:
    """Returns how many environments one call steps at most for `seeds` seeds of a protocol."""
    evaluated = len(MODES) * protocol.eval_episodes
    bank = protocol.num_envs if protocol.starts == "own" else protocol.bank_size
    return seeds * max(protocol.num_envs, bank, evaluated)


def acting_part(algorithm: Algorithm[State]) -> Callable[[State], State]:
    """Returns what makes of a state the part that acts, which is kept at the end of a stage.

    It is `Algorithm.policy`, or the whole state of a method that cannot act with that: one whose
    actions need its critic, say, on top of a base class that empties it.
    """
    return algorithm.policy if acts_alone(algorithm) else lambda state: state
