"""Does `ppo-brax` learn as Brax's own PPO does? Both, seed by seed, in one small geometry.

Brax trains on MJX, as MuJoCo Playground has it train, with Playground's settings and fewer
environments; `ppo-brax` trains by the protocol `brax`, changed likewise, on the native engine.
Both are evaluated with sampled actions after 10 and 20 updates, each by its own program. What is
known after a seed is kept, and a seed that is there is not trained again.

    python -m benchmarks.calibration.beside_brax --seeds 5 --out beside-brax.json
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from suite.common.files import atomic_write, json_bytes
from suite.storage.provenance import provenance

TASK = "CheetahRun"
ENVS = 128
UPDATES = (10, 20)
UNROLL, UNROLLS = 30, 16
STEPS = ENVS * UNROLL * UNROLLS
MINIBATCHES = 32

Returns = list[float]
"""Of one seed, after each of `UPDATES`."""


def replicated(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Returns a pytree with a leading axis of as many devices, which JAX 0.10 did for Brax."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * len(devices)), tree)


def train_brax(environment: Any, seed: int, envs: int, evaluations: int, **changes: Any) -> Returns:
    """Trains Brax's PPO with Playground's settings, and returns what it says of its evaluations.

    Args:
        environment: as Brax wants one.
        seed: of everything.
        envs: environments; a minibatch shrinks with them.
        evaluations: how many, the one before training included, which is returned too.
        changes: arguments of Brax's `train` that are other than Playground's.
    """
    from brax.training.agents.ppo import networks, train
    from mujoco_playground import wrapper
    from mujoco_playground.config import dm_control_suite_params

    setattr(jax, "device_put_replicated", replicated)  # noqa: B010 - its type is another
    config = dm_control_suite_params.brax_ppo_config(TASK)
    found: Returns = []
    arguments: Mapping[str, Any] = {
        **{name: value for name, value in config.items() if name != "network_factory"},
        "num_envs": envs,
        "batch_size": envs * UNROLLS // MINIBATCHES,
        "num_evals": evaluations,
        **changes,
    }
    train.train(
        environment=environment,
        wrap_env_fn=wrapper.wrap_for_brax_training,
        network_factory=functools.partial(networks.make_ppo_networks),
        seed=seed,
        progress_fn=lambda _, metrics: found.append(float(metrics["eval/episode_reward"])),
        **arguments,
    )
    return found


def brax_returns(seed: int) -> Returns:
    """Trains Brax's PPO as Playground does, on MJX."""
    from mujoco_playground import registry

    environment = registry.load(TASK, config_overrides={"impl": "jax"})
    changes = {"num_resets_per_eval": UPDATES[0], "num_timesteps": UPDATES[-1] * STEPS}
    found = train_brax(environment, seed, ENVS, 1 + len(UPDATES), **changes)
    return found[1:]  # the first one is before training


def our_returns(seed: int) -> Returns:
    """Trains `ppo-brax`, and returns its evaluations with sampled actions."""
    from suite.planning.run_request import make_request
    from suite.storage.records import Cell
    from suite.training.launch import launch

    changes = {
        "total_steps": UPDATES[-1] * STEPS,
        "num_envs": ENVS,
        "bank_size": ENVS,
        "eval_interval": UPDATES[0],
    }
    texts = [f"protocol.{name}={value}" for name, value in changes.items()]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        request = make_request("ppo-brax", TASK, f"{seed}-{seed}", "brax", "native", out, texts)
        launch(request)
        run = request.open_run()
        assert run is not None
        rows = run.files(Cell("ppo-brax", TASK, seed)).read_curve()
    return [row.return_mean for row in rows if row.mode == "sample" and row.updates in UPDATES]


def compare(brax: Mapping[str, Returns], ours: Mapping[str, Returns]) -> list[dict[str, float]]:
    """Returns a row for each evaluation: means, and Welch's test with its interval."""
    rows = []
    for index, updates in enumerate(UPDATES):
        theirs, mine = ([each[index] for each in found.values()] for found in (brax, ours))
        test = stats.ttest_ind(mine, theirs, equal_var=False)
        low, high = test.confidence_interval(0.95)
        rows.append(
            {
                "updates": updates,
                "brax_mean": float(np.mean(theirs)),
                "brax_std": float(np.std(theirs, ddof=1)),
                "ours_mean": float(np.mean(mine)),
                "ours_std": float(np.std(mine, ddof=1)),
                "difference_low": float(low),
                "difference_high": float(high),
                "p": float(test.pvalue),
            }
        )
    return rows


def main() -> None:
    """Trains what the record lacks, program by program, and prints the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("beside-brax.json"))
    options = parser.parse_args()
    record: dict[str, Any] = {"brax": {}, "ours": {}}
    if options.out.exists():
        record = json.loads(options.out.read_text(encoding="utf-8"))
    for seed in range(options.seeds):
        for name, train in (("ours", our_returns), ("brax", brax_returns)):
            if str(seed) not in record[name]:
                record[name][str(seed)] = train(seed)
                print(name, seed, record[name][str(seed)], flush=True)
                _keep(record, options.out)
    for row in record.get("comparison", ()):
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))


def _keep(record: dict[str, Any], out: Path) -> None:
    both = {seed for seed in record["ours"] if seed in record["brax"]}
    if len(both) > 1:
        record["comparison"] = compare(*({s: record[n][s] for s in both} for n in ("brax", "ours")))
    geometry = {"task": TASK, "envs": ENVS, "steps_an_update": STEPS}
    record.update(geometry=geometry, provenance=provenance())
    atomic_write(out, json_bytes(record))


if __name__ == "__main__":
    main()
