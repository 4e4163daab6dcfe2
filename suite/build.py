"""Puts an algorithm, a task and a protocol together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from algorithms import registry
from algorithms.api import Algorithm, EnvSpec
from envs.api import Task
from envs.vector import VectorEnv
from suite.errors import UserError
from suite.program import Program
from suite.protocol import Protocol


def build_algorithm(
    name: str, hyperparameters: Mapping[str, Any], task: Task, protocol: Protocol
) -> Algorithm:
    """Returns the named algorithm, fitted to a task's sizes and a protocol's pipeline."""
    spec = EnvSpec(task.obs_size, task.action_size, protocol.discount_for(task.name))
    cls = registry.lookup(name).cls
    return cls(env=spec, pipeline=protocol.pipeline(), **hyperparameters)


def build_program(algorithm: Algorithm, task: Task, protocol: Protocol) -> Program:
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
    return Program(algorithm, envs)
