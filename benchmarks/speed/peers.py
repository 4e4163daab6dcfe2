"""Steps a second beside other programs for the same task, with the same settings, in one run.

- EnvPool: its dm_control tasks in C++, 256 environments on as many threads as there are CPUs,
  random actions, beside our rollout with PPO's policy in it, and MuJoCo's batch alone.
- Brax's PPO on MJX, as MuJoCo Playground trains it, beside `ppo` on the native engine; and Brax's
  PPO on our native engine, which tells the engine's share from the update's.
- rejax's PPO on our native engine (it has none with these tasks). Its actor and critic have the
  same size.

Networks, environments, steps, minibatches and epochs are those of `lite`; what differs otherwise
each row says. All train one seed, and ours five in one job too, which neither of the others can.

    pip install envpool rejax
    python -m benchmarks.speed.peers [--task CheetahRun] [--only envpool,brax]

Each program runs in a process of its own, one after the other, twice, in turn; the faster counts.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.api import Task, TaskState
from envs.engines.choice import load_task
from envs.engines.cpus import available_cpus
from suite.common.files import atomic_write, json_bytes
from suite.configuration.protocol import load_protocol
from suite.storage.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "results/benchmarks/peers.json"
ACTOR, CRITIC = (32, 32, 32, 32), (128, 128, 128)
UPDATES = 6
TURNS = 2

_SECONDS = 10.0
_PROTOCOL = load_protocol("lite")

Speeds = Mapping[str, float]


def envpool(task: str) -> Speeds:
    """Random actions in EnvPool."""
    import envpool as peer

    number = _PROTOCOL.num_envs
    envs = peer.make_gymnasium(f"{task}-v1", num_envs=number, num_threads=available_cpus())
    envs.reset()
    low, high = envs.action_space.low, envs.action_space.high
    actions = np.random.default_rng(0).uniform(low, high, (number, *low.shape))
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < _SECONDS:
        envs.step(actions)
        steps += number
    return {"rollout": steps / (time.perf_counter() - began)}


def ours(task: str, seeds: int = 1, actor: tuple[int, ...] = ACTOR) -> Speeds:
    """The suite's own PPO."""
    size = f"--set=ppo.actor_hidden={list(actor)}"
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.pieces",
        "ppo",
        task,
        f"--seeds={seeds}",
        size,
    ]
    text = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = json.loads(text.splitlines()[-1])
    return {name: found[name] for name in ("rollout", "physics")} | {"training": found["whole"]}


class Environment:
    """A task of ours as Brax wants an environment."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.action_size, self.observation_size = task.action_size, task.obs_size
        self.unwrapped = self

    def reset(self, key: jax.Array) -> Any:
        """Returns Brax's state around ours."""
        from mujoco_playground._src.mjx_env import State

        return self._with(State({}, *[jnp.zeros(())] * 3, {}, {}), self._task.reset(key))

    def step(self, state: Any, action: jax.Array) -> Any:
        """Takes a step."""
        return self._with(state, self._task.step(state.data, action))

    def _with(self, state: Any, ours: TaskState) -> Any:
        return state.replace(data=ours, obs=ours.obs, reward=ours.reward, done=ours.done)


def brax(task: str, native: bool = False) -> Speeds:
    """Brax's PPO; the speed is what it says of its last epoch, in which nothing is compiled."""
    from brax.training.agents.ppo import networks, train
    from mujoco_playground import registry, wrapper

    from benchmarks.calibration.beside_brax import replicated

    setattr(jax, "device_put_replicated", replicated)  # noqa: B010 - its type is another
    speeds: list[float] = []
    environment = (
        Environment(load_task(task, "native"))
        if native
        else registry.load(task, config_overrides={"impl": "jax"})
    )
    chunks = _PROTOCOL.steps_per_update // _PROTOCOL.chunk_length
    train.train(
        environment=environment,
        wrap_env_fn=wrapper.wrap_for_brax_training,
        network_factory=functools.partial(
            networks.make_ppo_networks,
            policy_hidden_layer_sizes=ACTOR,
            value_hidden_layer_sizes=CRITIC,
        ),
        num_timesteps=UPDATES * _PROTOCOL.steps_per_update,
        num_evals=1 + UPDATES // 2,
        num_eval_envs=2,
        episode_length=1000,
        num_envs=_PROTOCOL.num_envs,
        unroll_length=_PROTOCOL.chunk_length,
        batch_size=chunks // _PROTOCOL.num_minibatches,
        num_minibatches=_PROTOCOL.num_minibatches,
        num_updates_per_batch=_PROTOCOL.num_epochs,
        normalize_observations=True,
        progress_fn=lambda _, found: speeds.append(float(found.get("training/sps", 0))),
    )
    return {"training": speeds[-1]}


def rejax(task: str) -> Speeds:
    """rejax's PPO on the native engine."""
    from gymnax.environments import environment, spaces
    from rejax.algos.ppo import PPO

    ours = load_task(task, "native")

    class Wrapped(environment.Environment):
        """A task of ours as gymnax wants one; an episode begins where it began before."""

        def step(self, key: Any, state: Any, action: Any, params: Any = None) -> Any:
            first, now, steps = state
            after = ours.step(now, action)
            over = steps + 1 >= ours.episode_length
            now = jax.tree.map(lambda a, b: jnp.where(over, a, b), first, after)
            state = (first, now, jnp.where(over, 0, steps + 1))
            return now.obs, state, after.reward, over, {}

        def reset(self, key: Any, params: Any = None) -> Any:
            first = ours.reset(key)
            return first.obs, (first, first, jnp.int32(0))

        def action_space(self, params: Any = None) -> Any:
            return spaces.Box(-1.0, 1.0, (ours.action_size,))

        def observation_space(self, params: Any = None) -> Any:
            return spaces.Box(-jnp.inf, jnp.inf, (ours.obs_size,))

    steps = UPDATES * _PROTOCOL.steps_per_update
    learner = PPO.create(
        env=Wrapped(),
        env_params=environment.EnvParams(),
        agent_kwargs={"hidden_layer_sizes": CRITIC},
        num_envs=_PROTOCOL.num_envs,
        num_steps=_PROTOCOL.rollout_length,
        num_epochs=_PROTOCOL.num_epochs,
        num_minibatches=_PROTOCOL.num_minibatches,
        normalize_observations=True,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
    ).replace(eval_callback=lambda *_: jnp.zeros(()))
    train = jax.jit(lambda state: learner.train(train_state=state)[0])
    state = jax.jit(learner.init_state)(jax.random.key(0))
    state = jax.block_until_ready(train(state))
    began = time.perf_counter()
    jax.block_until_ready(train(state))
    return {"training": steps / (time.perf_counter() - began)}


PROGRAMS: Mapping[str, tuple[Callable[[str], Speeds], str]] = {
    "ours": (ours, "ppo, native engine, 1 seed"),
    "ours-5-seeds": (functools.partial(ours, seeds=5), "ppo, native engine, 5 seeds in one job"),
    "envpool": (envpool, "EnvPool's task in C++, random actions, no learning"),
    "brax": (brax, "Brax's PPO on MJX, an episode cut into 30 steps as ours"),
    "brax-native": (functools.partial(brax, native=True), "Brax's PPO on our native engine"),
    "rejax": (rejax, "rejax's PPO on our native engine, actor and critic 3 x 128"),
    "ours-rejax-size": (
        functools.partial(ours, actor=CRITIC),
        "ppo, actor and critic 3 x 128, 1 seed",
    ),
}
"""What is compared, and what it is."""


def measured(name: str, task: str) -> Speeds:
    """Runs one program in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.peers", "--task", task, "--one", name]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {}
    found: Speeds = json.loads(done.stdout.splitlines()[-1])
    return found


def faster(one: Speeds, other: Speeds) -> Speeds:
    """Returns the larger of two measurements, speed by speed."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {*one, *other}}


def line(name: str, speeds: Speeds, reference: Speeds) -> str:
    """Formats one line of the table: speeds, and how many times faster ours is."""
    cells = ""
    for piece in ("training", "rollout"):
        speed = speeds.get(piece)
        ratio = f"{reference[piece] / speed:8.1f}x" if speed else f"{'-':>9}"
        cells += f"{speed:12,.0f}{ratio}" if speed else f"{'-':>12}{ratio}"
    return f"{name:22}{cells}  {PROGRAMS[name][1]}"


def main() -> None:
    """Runs all programs in turn, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", default="CheetahRun")
    parser.add_argument("--only", default=",".join(PROGRAMS), help="separated by commas")
    parser.add_argument("--one", choices=PROGRAMS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=RECORD)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(dict(PROGRAMS[options.one][0](options.task))))
        return
    chosen = {"ours", *options.only.split(",")}
    names = [name for name in PROGRAMS if name in chosen]
    found: dict[str, Speeds] = {}
    for _ in range(TURNS):
        for name in names:
            found[name] = faster(found.get(name, {}), measured(name, options.task))
            print(name, dict(found[name]), flush=True)
        record = {"task": options.task, "speeds": found, "provenance": provenance()}
        atomic_write(options.json, json_bytes(record))
    print(f"\n{'':22}{'training/s':>12}{'ours':>9}{'rollout/s':>12}{'ours':>9}")
    for name in names:
        print(line(name, found[name], found["ours"]))


if __name__ == "__main__":
    main()
