"""What a plan has to know of a task: how long its episodes are, how large a replay buffer is."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax

from algorithms.api import Algorithm, EnvSpec
from algorithms.parts import replay
from envs.engines.choice import load_task, source_digest
from envs.names import TASKS

DM_CONTROL_STEPS = 1000
"""Control steps of an evaluation episode, in every dm_control task (ALGORITHMS 1.1)."""


def episode_steps(task: str, engine: str) -> int:
    """Returns how many control steps an evaluation episode has at most.

    Args:
        task: its name. Only tasks outside the dm_control suite are loaded.
        engine: what steps the physics.
    """
    if task in TASKS:
        return DM_CONTROL_STEPS
    return _episode_length(task, engine, source_digest(task))


def replay_bytes(algorithm: Algorithm[Any], task: str, engine: str) -> int:
    """Returns the bytes of replay buffers in one seed's state; computes nothing.

    Args:
        algorithm: for some environment; how large its spaces are does not matter.
        task: its name. It is loaded only if there are buffers at all.
        engine: what steps the physics.
    """
    try:
        return _of_task(algorithm, task, engine) if _of_state(algorithm) else 0
    except Exception:  # it is the user's code: `check_method` says before training what is wrong
        return 0


@functools.lru_cache(maxsize=256)
def _episode_length(task: str, engine: str, digest: str | None) -> int:
    del digest  # another file's task of the same name is another task
    return load_task(task, engine).episode_length


@functools.lru_cache(maxsize=256)
def _of_task(algorithm: Algorithm[Any], task: str, engine: str) -> int:
    loaded = load_task(task, engine)
    spec = EnvSpec(loaded.obs_size, loaded.action_size, algorithm.env.discount)
    return _of_state(dataclasses.replace(algorithm, env=spec))


@functools.lru_cache(maxsize=256)
def _of_state(algorithm: Algorithm[Any]) -> int:
    state = jax.eval_shape(lambda: algorithm.init(jax.random.key(0)))
    return replay.replay_bytes(state)
