"""What `benchmarks.speed.official` measures, each in a process of its own: theirs and ours.

The official programs are the package `flow_policy` of whichever repository PYTHONPATH has first;
its functions are only called. Of `lite`'s sizes they can set all but the critic's layers, so the
critic's parameters are replaced before training begins.

    python -m benchmarks.speed.official_programs "fpo ours native" CheetahRun

Prints one line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from suite.common import jax_settings

jax_settings.prepare()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from algorithms.encoder_decoder.experience import split  # noqa: E402
from algorithms.gorl import GoRL  # noqa: E402
from benchmarks.speed.peers import Environment, Speeds  # noqa: E402
from envs.engines.choice import load_task  # noqa: E402
from suite.compute.build import build_algorithm, build_program  # noqa: E402
from suite.configuration.protocol import Protocol, load_protocol  # noqa: E402
from suite.planning.run_request import make_request  # noqa: E402

UPDATES = 4
FIT_STEPS = 10
COMPILING = 2
"""Calls that are not counted; theirs compiles a second time, as its first state has other types."""

_PROTOCOL = load_protocol("lite")

State = TypeVar("State")


def seconds_of(
    step: Callable[[State], State], state: State, calls: int, uncounted: int = COMPILING
) -> float:
    """Returns the median time of a call, each of which begins where the one before it ended."""
    seconds = []
    for _ in range(uncounted + calls):
        began = time.perf_counter()
        state = jax.block_until_ready(step(state))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[uncounted:])


def sizes(protocol: Protocol) -> dict[str, Any]:
    """Returns a protocol's sizes by the names that the official programs give them.

    Their `batch_size` counts chunks of `unroll_length` steps, and a rollout is as long as all
    minibatches of one epoch need.
    """
    chunks = protocol.steps_per_update // protocol.chunk_length
    return {
        "num_envs": protocol.num_envs,
        "unroll_length": protocol.chunk_length,
        "num_minibatches": protocol.num_minibatches,
        "batch_size": chunks // protocol.num_minibatches,
        "num_updates_per_batch": protocol.num_epochs,
    }


def algorithm_of(method: str, task: str, engine: str) -> Any:
    """Returns ours, with the hyper-parameters of `lite`."""
    request = make_request(method, task, "1", _PROTOCOL, engine, Path("none"), [])
    return build_algorithm(
        method, request.hyperparameters[method], load_task(task, engine), _PROTOCOL
    )


def ours(method: str, task: str, engine: str) -> Speeds:
    """Measures ours, one seed of a job."""
    algorithm = algorithm_of(method, task, engine)
    program = build_program(algorithm, load_task(task, engine), _PROTOCOL)
    state = jax.jit(jax.vmap(program.start))(jnp.zeros(1, jnp.uint32))
    update = jax.jit(jax.vmap(lambda state: program._update(state)[0]))
    seconds = seconds_of(update, state, UPDATES)
    if not isinstance(algorithm, GoRL):
        return speeds(seconds)
    keys = jax.random.split(jax.random.key(0), 1)
    refit = jax.jit(jax.vmap(algorithm.advance))
    fit = seconds_of(lambda state: refit(state, keys), state.algorithm, calls=1, uncounted=1)
    return speeds(seconds, fit, len(algorithm.stages()) - 1)


def official_fpo(task: str, engine: str) -> Speeds:
    """Measures the official FPO."""
    from flow_policy import fpo, networks, rollouts

    mine, environment = algorithm_of("fpo", task, engine), environment_of(task, engine)
    config = fpo.FpoConfig(
        flow_steps=mine.flow_steps, n_samples_per_action=mine.pairs, **sizes(_PROTOCOL)
    )
    learner = fpo.FpoState.init(jax.random.key(0), environment, config)
    agent = resized(learner, networks.mlp_init, mine.critic_hidden)
    return speeds(_seconds_of_official(rollouts.BatchedRolloutState, environment, config, agent))


def official_gorl(task: str, engine: str) -> Speeds:
    """Measures the official GoRL with a flow as its decoder."""
    from flow_policy import decoder_fm, encoder_ppo, networks, rollout_encoder
    from flow_policy.agent import EncoderFMAgent

    mine, environment = algorithm_of("gorl-fm", task, engine), environment_of(task, engine)
    config = encoder_ppo.EncoderConfig(
        **sizes(_PROTOCOL),
        z_dim=environment.action_size,
        action_repeat=1,
        discounting=_PROTOCOL.discount_for(task),
        entropy_cost=0.01,
        episode_length=1000,
        learning_rate=mine.learning_rate,
        normalize_observations=True,
        num_evals=1,
        num_timesteps=_PROTOCOL.total_steps,
        reward_scaling=10.0,
    )
    decoder = decoder_fm.DecoderFMState.init(
        jax.random.key(1),
        environment.observation_size,
        environment.action_size,
        decoder_fm.DecoderFMConfig(
            flow_steps=mine.decoder_steps,
            hidden_dims=tuple(mine.decoder_hidden),
            batch_size=mine.decoder_batch_size,
            n_samples_per_action=mine.decoder_draws,
        ),
    )
    learner = encoder_ppo.EncoderState.init(jax.random.key(0), environment, config)
    encoder = resized(learner, networks.mlp_init, mine.critic_hidden)
    agent = EncoderFMAgent(ppo_z_state=encoder, fm_state=decoder)
    rollout = rollout_encoder.BatchedRolloutStateEncoderFM
    seconds = _seconds_of_official(rollout, environment, config, agent)
    fit = adam_steps(mine) * seconds_of(_fit_step(decoder, mine, environment), decoder, FIT_STEPS)
    return speeds(seconds, fit, len(mine.stages()) - 1)


def _seconds_of_official(rollout_state: Any, environment: Any, config: Any, agent: Any) -> float:
    """Returns the seconds of a rollout and an update of an official program."""
    rollout = rollout_state.init(environment, jax.random.key(2), config.num_envs)
    assert config.iterations_per_env == _PROTOCOL.rollout_length

    def update(state: tuple[Any, Any]) -> tuple[Any, Any]:
        envs, agent = state
        envs, transitions = envs.rollout(
            agent,
            episode_length=config.episode_length,
            iterations_per_env=config.iterations_per_env,
        )
        return envs, agent.training_step(transitions)[0]

    return seconds_of(update, (rollout, agent), UPDATES)


def _fit_step(decoder: Any, mine: GoRL, environment: Any) -> Callable[[Any], Any]:
    """Returns one Adam step of the official decoder, which reads the loss after each."""
    keys, batch = jax.random.split(jax.random.key(3)), mine.decoder_batch_size
    obs = jax.random.normal(keys[0], (batch, environment.observation_size))
    actions = jax.random.normal(keys[1], (batch, environment.action_size))

    def step(state: Any) -> Any:
        state, metrics = state.train_step(obs, actions)
        float(metrics["loss"])
        return state

    return step


def environment_of(task: str, engine: str) -> Any:
    """Returns a task as Playground has it, or ours on the native engine in its place."""
    if engine == "native":
        return Environment(load_task(task, engine))
    from mujoco_playground import registry

    return registry.load(task, config_overrides={"impl": "jax"})


def resized(learner: Any, mlp_init: Callable[..., Any], hidden: tuple[int, ...]) -> Any:
    """Returns an official learner with a critic that has these hidden layers, and a new Adam."""
    value = mlp_init(jax.random.key(4), (learner.env.observation_size, *hidden, 1))
    params = dataclasses.replace(learner.params, value=value)
    return dataclasses.replace(learner, params=params, opt_state=learner.opt.init(params))


def adam_steps(algorithm: GoRL) -> int:
    """Returns the Adam steps of one of our fits, if its patience lasts."""
    fit = algorithm.fit
    transitions = _PROTOCOL.steps_per_update
    recorded = jax.eval_shape(lambda: fit.empty(algorithm.decoder_rollouts, transitions))
    train, _ = jax.eval_shape(split, recorded, jax.random.key(0))
    available = train.source.obs.shape[0] * train.positions.shape[0]
    return fit.epochs * fit.steps_per_epoch(available)


def speeds(update: float, fit: float = 0.0, fits: int = 0) -> Speeds:
    """Returns what is measured, from the seconds of an update and of a fit."""
    training = _PROTOCOL.steps_per_update / update
    if not fits:
        return {"training": training}
    seconds = _PROTOCOL.updates * update + fits * fit
    return {"training": training, "fit": fit, "whole": _PROTOCOL.total_steps / seconds}


OFFICIAL: Mapping[str, Callable[[str, str], Speeds]] = {
    "fpo": official_fpo,
    "gorl-fm": official_gorl,
}


def one(row: str, task: str) -> Speeds:
    """Measures one row in this process: METHOD, `official` or `ours`, and an engine."""
    method, whose, engine = row.split()
    return OFFICIAL[method](task, engine) if whose == "official" else ours(method, task, engine)


def main() -> None:
    """Measures the row of the first argument on the task of the second."""
    print(json.dumps(dict(one(*sys.argv[1:3]))))


if __name__ == "__main__":
    main()
