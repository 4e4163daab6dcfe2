"""Draws actions from stored policies in states of their evaluations, for `suite actions`.

Shapes: K states, N samples, O observation size, A action size, Q steps and G episodes that a
run keeps observations of.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm, PyTree, State
from envs.api import Task
from envs.engines.choice import AUTO
from suite.common.errors import UserError, unknown
from suite.compute.evaluation import (
    KEPT_EPISODES,
    KEPT_STEPS,
    kept_steps,
    run_episodes,
    start_states,
)
from suite.configuration.selection import format_seeds, parse_algorithms, parse_seeds
from suite.methods.select_methods import method_name
from suite.storage import checkpoint
from suite.storage.action_samples import ActionSamples, PolicyActions, SampledState
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.stored_policies import kept_policy, stored_policy, trust_files

MIN_SAMPLES, MAX_SAMPLES = 100, 100_000
"""Fewer actions say nothing of a distribution's shape; more say nothing new."""


@dataclasses.dataclass(frozen=True)
class StoredPolicy:
    """A policy on the disk; `stage` is None for the newest of a checkpoint."""

    cell: Cell
    stage: int | None

    def __str__(self) -> str:
        return f"{self.cell} stage {'newest' if self.stage is None else self.stage}"

    def load(self, run: RunDirectory, engine: str = "") -> tuple[Algorithm[Any], Task, PyTree]:
        """Reads it; raises UserError if it is damaged. See `kept_policy` for `engine`."""
        if self.stage is None:
            return stored_policy(run, self.cell)
        return kept_policy(run, self.cell, self.stage, engine)

    def env_steps(self, run: RunDirectory) -> int:
        """Returns the steps it was trained for."""
        if self.stage is not None:
            path = run.files(self.cell).policy_path(self.stage)
            steps = checkpoint.read_meta(path).get("env_steps")
            if not isinstance(steps, int) or not 0 <= steps < 2**63:
                raise UserError(f"{path} is damaged (it tells no environment steps); restore it")
            return steps
        status = run.files(self.cell).read_status()
        return status.ledger.env_steps if status else 0


class _Seen(NamedTuple):
    """Steps [Q] of episodes, what was observed at them [Q, G, O], and whether just now."""

    steps: np.ndarray
    obs: np.ndarray
    replayed: bool


def sample_actions(
    run: RunDirectory,
    task: str,
    algorithms: str | None = None,
    seeds: str | None = None,
    states: int = 4,
    samples: int = 10_000,
    seed: int = 0,
    trust: bool = False,
) -> ActionSamples:
    """Draws actions of every stored policy of a task, in the same states.

    Args:
        run: where the policies are.
        task: its name.
        algorithms: as in `select_methods`; all that were run by default.
        seeds: as in `parse_seeds`; likewise.
        states: K. They are drawn without replacement from what the selected runs' evaluations
            saw, every run and episode alike, at the start of an episode, at a quarter, a half
            and three quarters of it in turn.
        samples: N actions of each policy in each state, in mode `sample`.
        seed: draws the states and the actions. What a policy does depends on this, the
            states and the policy alone, not on what else is selected.
        trust: whether methods' files that the run keeps may be executed.

    Raises:
        UserError: nothing stored is selected, a number is out of range, or a file is damaged.
    """
    if not MIN_SAMPLES <= samples <= MAX_SAMPLES:
        raise UserError(f"--samples {samples}: choose from {MIN_SAMPLES} to {MAX_SAMPLES}")
    cells = select_cells(run, task, algorithms, seeds)
    if trust:
        trust_files(run, cells)
    stored = {cell: stored_policies(run, cell) for cell in cells}
    notes = [f"{cell} has no stored policy." for cell in cells if not stored[cell]]
    if len(notes) == len(cells):
        raise UserError(
            f"{run.path} has no stored policy of {task} by {_names(cells)}; "
            "policies lie beside the curves where they were trained, not in copies of results"
        )
    playable = {cell: policies for cell, policies in stored.items() if policies}
    newest = {cell: policies[-1] for cell, policies in playable.items()}
    chosen = _choose_states(run, newest, states, seed)
    obs = jnp.asarray(np.stack([state.obs for state in chosen]))
    drawn = []
    for policy in (policy for policies in playable.values() for policy in policies):
        actions = _draw(run, policy, obs, samples, seed)
        if np.isfinite(actions.before).all() and np.isfinite(actions.after).all():
            drawn.append(actions)
        else:
            notes.append(f"{policy} is left out: its actions are not finite.")
    if not drawn:
        raise UserError(f"{run.path}: no policy of {task} has finite actions; all have diverged")
    return ActionSamples(task, chosen, tuple(drawn), tuple(notes), seed)


def _choose_states(
    run: RunDirectory, newest: Mapping[Cell, StoredPolicy], count: int, seed: int
) -> tuple[SampledState, ...]:
    """Draws the states, as `sample_actions` says, from the runs of the given policies."""
    episodes = min(KEPT_EPISODES, run.protocol.eval_episodes)
    candidates = [(cell, episode) for cell in newest for episode in range(episodes)]
    if not 1 <= count <= KEPT_STEPS * len(candidates):
        raise UserError(
            f"--states {count}: from 1 to {KEPT_STEPS * len(candidates)} can be drawn from the"
            f" {len(newest)} selected runs"
        )
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(candidates)) for _ in range(KEPT_STEPS)]
    seen: dict[Cell, _Seen] = {}
    chosen = []
    for index in range(count):
        quarter = index % KEPT_STEPS
        cell, episode = candidates[orders[quarter][index // KEPT_STEPS]]
        if cell not in seen:
            seen[cell] = _kept(run, cell, episodes) or _replay(run, newest[cell], episodes)
        steps, obs, replayed = seen[cell]
        chosen.append(
            SampledState(cell, episode, int(steps[quarter]), obs[quarter, episode], replayed)
        )
    return tuple(chosen)


def _kept(run: RunDirectory, cell: Cell, episodes: int) -> _Seen | None:
    """Returns what the run kept; None in a run of an older version."""
    stored = run.files(cell).read_states()
    if stored is None:
        return None
    _, steps, obs = stored
    if obs.shape[:2] != (KEPT_STEPS, episodes):
        raise UserError(
            f"{run.cell_path(cell)}/states.npz holds {obs.shape[0]} steps of {obs.shape[1]}"
            f" episodes, expected {KEPT_STEPS} of {episodes}; delete it, and they are played again"
        )
    return _Seen(steps, obs, replayed=False)


def _replay(run: RunDirectory, policy: StoredPolicy, episodes: int) -> _Seen:
    """Plays the first noise-free evaluation episodes again."""
    algorithm, task, state = policy.load(run)
    protocol = run.protocol
    starts = start_states(task, protocol.eval_episodes, protocol.eval_seed)
    starts = jax.tree.map(lambda leaf: leaf[:episodes], starts)
    key = jax.random.key(protocol.eval_seed)
    play = jax.jit(lambda s, b, k: run_episodes(algorithm, task, s, b, k, MODES[:1]))
    obs = np.asarray(play(state, starts, key).obs)
    return _Seen(np.asarray(kept_steps(task)), obs, replayed=True)


def _draw(
    run: RunDirectory, policy: StoredPolicy, obs: jax.Array, samples: int, seed: int
) -> PolicyActions:
    """Draws one policy's actions in the states obs [K, O]."""
    # A run on a GPU may be looked at without one: whatever engine there is will do to act.
    algorithm, task, state = policy.load(run, engine=AUTO)
    if obs.shape[-1] != task.obs_size:
        raise UserError(
            f"{run.path}: states have {obs.shape[-1]} numbers where {task.name} has"
            f" {task.obs_size}; delete the states.npz of the runs, and they are played again"
        )
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(str(policy).encode()))
    before, after = _sample(algorithm, samples, state, obs, jax.random.split(key, len(obs)))
    return PolicyActions(
        cell=policy.cell,
        stage=policy.stage,
        env_steps=policy.env_steps(run),
        before=np.asarray(before),
        after=np.asarray(after),
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample(
    algorithm: Algorithm[State], samples: int, state: State, obs: jax.Array, keys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws actions [K, N, A] before and after the squash in states obs [K, O], keys [K]."""

    def in_one_state(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        seen, key = pair
        copies = jnp.broadcast_to(seen, (samples, seen.size))
        action, extras = algorithm.act(state, copies, key, "sample")
        return algorithm.unsquashed(action, extras), action

    return jax.lax.map(in_one_state, (obs, keys))


def select_cells(
    run: RunDirectory, task: str, algorithms: str | None, seeds: str | None
) -> tuple[Cell, ...]:
    """Returns the started cells that the user means."""
    there = run.cells()
    tasks = sorted({cell.task for cell in there})
    if task not in tasks:
        raise unknown(f"task of {run.path}", task, tasks)
    there = [cell for cell in there if cell.task == task]
    if algorithms is not None:
        listed = ",".join(method_name(each.strip()) for each in algorithms.split(","))
        names = parse_algorithms(listed, tuple(dict.fromkeys(c.algorithm for c in there)))
        there = [cell for cell in there if cell.algorithm in names]
    known = sorted({cell.seed for cell in there})
    if seeds is not None:
        there = [cell for cell in there if cell.seed in parse_seeds(seeds)]
    if not there:
        raise UserError(
            f"{run.path} has no such runs of {task}: --seeds {seeds} is not among its seeds"
            f" {format_seeds(known)}"
        )
    return tuple(there)


def stored_policies(run: RunDirectory, cell: Cell) -> tuple[StoredPolicy, ...]:
    """Returns a cell's policies, oldest first: those of its stages, or else the newest."""
    kept = tuple(StoredPolicy(cell, stage) for stage in run.files(cell).kept_stages())
    if kept:
        return kept
    job = run.stored_job(cell)
    path = run.checkpoint_path(job) if job else None
    there = path is not None and (path.exists() or checkpoint.previous_path(path).exists())
    return (StoredPolicy(cell, None),) if there else ()


def _names(cells: Sequence[Cell]) -> str:
    return ", ".join(dict.fromkeys(cell.algorithm for cell in cells))
