"""From the same initial parameters, do Brax's PPO and `ppo-brax` learn alike?

Two programs that are one differ seed by seed because they draw other initial networks, and a bad
draw is still behind after ten updates. So here both begin with Brax's: its PPO with Playground's
settings, its wrappers and its evaluation, on our native engine; `ppo-brax` by the protocol
`brax` with the networks that Brax draws for the seed; and `ppo-brax` with its own. The return of
sampled actions after every update, and the mean difference with its interval, paired by seed where
the networks are the same ones.

    python -m benchmarks.calibration.same_start --seeds 12 --json results/benchmarks/same-start.json

What is known after a seed is kept, and a seed that is there is not trained again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from algorithms.parts.networks import Params
from benchmarks.calibration.beside_brax import TASK, UNROLL, UNROLLS, train_brax
from benchmarks.speed.peers import Environment
from envs.api import Task
from envs.engines.choice import load_task
from suite.common.files import atomic_write, json_bytes
from suite.compute.build import build_algorithm, build_program
from suite.compute.evaluation import start_states
from suite.compute.program import Program, SeedState
from suite.planning.run_request import make_request
from suite.storage.provenance import provenance

ENVS = 64
UPDATES = 4
EPISODES = 128
STEPS = ENVS * UNROLL * UNROLLS

ARMS = ("brax", "ours", "ours, own networks")

Curve = list[float]
"""Returns before training and after each update."""


def networks(task: Task) -> Any:
    """Returns Brax's networks for a task."""
    from brax.training.agents.ppo.networks import make_ppo_networks

    return make_ppo_networks(task.obs_size, task.action_size)


def brax_curve(task: Task, seed: int) -> Curve:
    """Trains Brax's PPO."""
    changes = {
        "num_timesteps": UPDATES * STEPS,
        "num_resets_per_eval": 1,
        "num_eval_envs": EPISODES,
    }
    return train_brax(Environment(task), seed, ENVS, 1 + UPDATES, **changes)


def our_curves(task: Task, seeds: Sequence[int], theirs: bool) -> dict[int, Curve]:
    """Trains `ppo-brax` from Brax's initial networks, or from its own."""
    program, protocol = _program(task)
    state: SeedState = jax.jit(jax.vmap(program.start))(jnp.asarray(seeds, jnp.uint32))
    if theirs:
        state = _with_networks(task, state, seeds)
    update = jax.jit(jax.vmap(program._update))
    evaluate = jax.jit(jax.vmap(program.evaluate, in_axes=(0, None)))
    starts = start_states(task, EPISODES, protocol.eval_seed)
    curves = [_sampled(evaluate(state, starts))]
    for _ in range(UPDATES):
        state = update(state)[0]
        curves.append(_sampled(evaluate(state, starts)))
    by_seed = np.stack(curves, axis=1).tolist()
    return dict(zip(seeds, by_seed, strict=True))


def compare(record: Mapping[str, Mapping[str, Curve]]) -> list[dict[str, float]]:
    """Returns a row for each evaluation: means, and our difference with its 95% interval."""
    rows = []
    for update in range(1 + UPDATES):
        arms = {
            arm: np.array([curve[update] for _, curve in sorted(record[arm].items())])
            for arm in ARMS
        }
        paired = stats.ttest_rel(arms["ours"], arms["brax"]).confidence_interval(0.95)
        apart = stats.ttest_ind(arms["ours, own networks"], arms["brax"], equal_var=False)
        interval = apart.confidence_interval(0.95)
        rows.append(
            {
                "update": update,
                **{f"{arm} mean": float(values.mean()) for arm, values in arms.items()},
                "low": float(paired.low),
                "high": float(paired.high),
                "own networks low": float(interval.low),
                "own networks high": float(interval.high),
            }
        )
    return rows


def _program(task: Task) -> tuple[Program, Any]:
    changes = {"num_envs": ENVS, "bank_size": ENVS, "total_steps": UPDATES * STEPS}
    texts = [f"protocol.{name}={value}" for name, value in changes.items()]
    request = make_request("ppo-brax", TASK, "1", "brax", "native", Path("none"), texts)
    values = request.hyperparameters["ppo-brax"]
    algorithm = build_algorithm("ppo-brax", values, task, request.protocol)
    return build_program(algorithm, task, request.protocol), request.protocol


def _with_networks(task: Task, state: SeedState, seeds: Sequence[int]) -> SeedState:
    def draw(seed: jax.Array) -> tuple[Params, Params]:
        policy_key, value_key = jax.random.split(jax.random.split(jax.random.PRNGKey(seed))[0])
        theirs = networks(task)
        return theirs.policy_network.init(policy_key), theirs.value_network.init(value_key)

    policy, value = jax.vmap(draw)(jnp.asarray(seeds))
    ours = state.algorithm.networks
    ours = ours._replace(policy=_renamed(policy, ours.policy), critic=_renamed(value, ours.critic))
    return state._replace(algorithm=state.algorithm._replace(networks=ours))


def _renamed(theirs: Params, ours: Params) -> Params:
    """Returns Brax's layers under our names, in order."""

    def ordered(params: Params) -> list[str]:
        return sorted(params["params"], key=lambda name: int(name.rpartition("_")[2]))

    pairs = zip(ordered(ours), ordered(theirs), strict=True)
    return {"params": {mine: dict(theirs["params"][their]) for mine, their in pairs}}


def _sampled(episodes: Any) -> np.ndarray:
    """Returns mean returns [S] of sampled actions."""
    return np.asarray(episodes.returns[:, 1].mean(axis=-1))


def main() -> None:
    """Trains what the record lacks, and prints the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--json", type=Path, default=Path("same-start.json"))
    options = parser.parse_args()
    task, path = load_task(TASK, "native"), options.json
    record: dict[str, Any] = {arm: {} for arm in ARMS}
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
    seeds = range(options.seeds)
    for arm, theirs in (("ours", True), ("ours, own networks", False)):
        if lacking := [seed for seed in seeds if str(seed) not in record[arm]]:
            found = our_curves(task, lacking, theirs)
            record[arm].update({str(seed): curve for seed, curve in found.items()})
            _keep(record, path)
    for seed in seeds:
        if str(seed) not in record["brax"]:
            record["brax"][str(seed)] = brax_curve(task, seed)
            _keep(record, path)
            print(seed, *(np.round(record[arm][str(seed)], 1).tolist() for arm in ARMS), flush=True)
    for row in record.get("comparison", ()):
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))


def _keep(record: dict[str, Any], path: Path) -> None:
    known = set(record["brax"]) & set(record["ours"]) & set(record["ours, own networks"])
    if len(known) > 1:
        chosen = {arm: {seed: record[arm][seed] for seed in known} for arm in ARMS}
        record["comparison"] = compare(chosen)
    geometry = {"task": TASK, "envs": ENVS, "steps_an_update": STEPS, "episodes": EPISODES}
    record.update(geometry=geometry, provenance=provenance())
    atomic_write(path, json_bytes(record))


if __name__ == "__main__":
    main()
