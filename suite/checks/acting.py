"""What a policy does: bounds, modes, extras, and what of a state it needs."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import MODES, Algorithm, PyTree
from suite.checks.check import Check, Failed
from suite.checks.course import OBS_SIZE
from suite.checks.repeating import keystr, leaves
from suite.checks.subject import PIPELINE, Subject
from suite.contract.compiling import compiled
from suite.contract.made_up import acts_alone
from suite.contract.soundness import EXCESS

_SCALES = (1.0, 10.0, 100.0, 0.0)
"""Of the observations that trained policies act on."""

_CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""By which two programs may differ that compute the same."""


def bounds(subject: Subject) -> str:
    """Looks at the actions of fresh and of trained policies, in both modes and in training."""
    subject.wiring.check_actions()
    for seeds, metrics in subject.course.whole:
        excess = np.asarray(metrics[EXCESS])
        if np.nanmax(excess, initial=0.0) > 0:
            updates = int(seeds.states.updates[0])
            raise Failed(f"actions leave [-1, 1] in training, in the first {updates} updates")
    for mode, action in _trained(subject).items():
        most = np.nanmax(np.abs(action))
        if most > 1:
            raise Failed(f"a trained policy's action in mode {mode} is {most:g}, beyond [-1, 1]")
    return ""


def deterministic(subject: Subject) -> str:
    """Lets fresh and trained policies act under two keys."""
    subject.wiring.check_mode()
    actions = _trained(subject)
    if not np.array_equal(actions["deterministic"], actions["other key"], equal_nan=True):
        raise Failed("act in mode deterministic depends on its key, once it is trained")
    return ""


def policy(subject: Subject) -> str:
    """Lets the part of a state that `policy` keeps act in the whole's place."""
    if not acts_alone(subject.wiring.algorithm):
        raise Failed(
            "act fails on what policy returns, so that the harness keeps the whole state, critic,"
            " optimizer and all, at the end of every stage"
        )
    subject.wiring.check_policy()
    actions = _trained(subject)
    for mode in MODES:
        if not np.allclose(actions[mode], actions[f"kept {mode}"], equal_nan=True, **_CLOSE):
            raise Failed(
                f"policy leaves out what act in mode {mode} depends on, once it is trained"
            )
    kept, whole = (_bytes(subject, part) for part in (subject.algorithm.policy, lambda s: s))
    return f"{kept / whole:.0%} of the state"


def extras(subject: Subject) -> str:
    """Compares the extras of a rollout with those of `act` on each of its steps."""
    stored, again = _told_twice(subject)
    for (path, a), (_, b) in zip(leaves(stored), leaves(again), strict=True):
        if not np.allclose(a, b, equal_nan=True, **_CLOSE):
            raise Failed(
                f"{keystr(path)} of a rollout is not what act gives for the same state, observation"
                " and key"
            )
    _hold_unsquashed(subject, stored)
    return f"{len(jax.tree.leaves(stored)) - 1} arrays"


def rows(subject: Subject) -> str:
    """Changes all observations but one, whose action and extras may not care."""
    algorithm, state = subject.algorithm, _state(subject)
    obs, key = _observations(), jax.random.key(3)
    others = jnp.concatenate([obs[:1], 1.0 - 3.0 * obs[1:]])
    for mode in MODES:
        act = compiled(functools.partial(algorithm.act, mode=mode))
        one, other = (
            dict(zip(("action", "extras"), act(state, each, key), strict=True))
            for each in (obs, others)
        )
        for (path, a), (_, b) in zip(leaves(one), leaves(other), strict=True):
            if not np.allclose(a[0], b[0], equal_nan=True, **_CLOSE):
                raise Failed(
                    f"in mode {mode}, {keystr(path)} of the first environment changes with what the"
                    " others observe"
                )
    return ""


def _hold_unsquashed(subject: Subject, stored: PyTree) -> None:
    """Asks for actions that rise with what `unsquashed` says they were before."""
    unsquashed = jax.vmap(subject.algorithm.unsquashed)(stored["action"], stored["extras"])
    size = unsquashed.shape[-1]
    before, after = (np.asarray(each).reshape(-1, size) for each in (unsquashed, stored["action"]))
    for dimension in range(size):
        order = np.argsort(before[:, dimension], kind="stable")
        fall = np.max(-np.diff(after[order, dimension]), initial=0.0)
        if fall > 1e-4:
            raise Failed(
                "unsquashed is not what the action was made of: a larger number there is a smaller"
                " action"
            )


def _told_twice(subject: Subject) -> tuple[PyTree, PyTree]:
    """Acts on T x N observations in one program, as in a rollout, and in steps, [T, N, ...]."""
    algorithm, state = subject.algorithm, _state(subject)
    steps = 8
    obs = jax.random.normal(jax.random.key(5), (steps, PIPELINE.num_envs, OBS_SIZE))
    keys = jax.random.split(jax.random.key(6), steps)

    def act(state: Any, obs: jax.Array, key: jax.Array) -> PyTree:
        action, extras = algorithm.act(state, obs, key, "sample")
        return {"action": action, "extras": extras}

    def step(carry: None, given: tuple[jax.Array, jax.Array]) -> tuple[None, PyTree]:
        return None, act(state, *given)

    stored = compiled(lambda: jax.lax.scan(step, None, (obs, keys))[1])()
    one = compiled(act)
    each = [one(state, o, k) for o, k in zip(obs, keys, strict=True)]
    return stored, jax.tree.map(lambda *parts: jnp.stack(parts), *each)


def _state(subject: Subject) -> Any:
    """Returns the state of the one seed after its first update."""
    seeds, _ = subject.course.single_learned
    return jax.tree.map(lambda leaf: leaf[0], seeds.states.algorithm)


def _observations() -> jax.Array:
    rows = PIPELINE.num_envs
    scale = jnp.resize(jnp.asarray(_SCALES), (rows, 1))
    return scale * jax.random.normal(jax.random.key(1), (rows, OBS_SIZE))


def _trained(subject: Subject) -> dict[str, np.ndarray]:
    """Returns actions [N, A] of the one seed after an update, by what was asked of it."""
    algorithm, state = subject.algorithm, _state(subject)
    return _acted(algorithm, state)


def _acted(algorithm: Algorithm[Any], state: Any) -> dict[str, np.ndarray]:
    first, second = jax.random.split(jax.random.key(2))

    @compiled
    def act(state: Any) -> dict[str, jax.Array]:
        obs = _observations()
        actions: dict[str, jax.Array] = {}
        for mode in MODES:
            actions[mode] = algorithm.act(state, obs, first, mode)[0]
        actions["other key"] = algorithm.act(state, obs, second, "deterministic")[0]
        if acts_alone(algorithm):
            part = algorithm.policy(state)
            kept = {f"kept {mode}": algorithm.act(part, obs, first, mode)[0] for mode in MODES}
            actions.update(kept)
        return actions

    return {name: np.asarray(action) for name, action in act(state).items()}


def _bytes(subject: Subject, part: Any) -> int:
    shapes = jax.eval_shape(lambda key: part(subject.algorithm.init(key)), jax.random.key(0))
    return sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(shapes))


CHECKS = (
    Check(
        "bounds",
        "actions are finite and inside [-1, 1], in both modes",
        "Engines clip what lies beyond, so that the method learns from actions that were never "
        "taken; a run ends at the first of them.",
        "Squash actions with jnp.tanh or jnp.clip, in act and in explore.",
        bounds,
        ("shapes",),
    ),
    Check(
        "deterministic",
        "mode deterministic repeats its actions",
        "It is the noise-free policy that evaluations and videos show; with noise in it the mode "
        "means something else for this method than for the others.",
        "Return the mean, the mode or the action of zero starting noise, whatever the key.",
        deterministic,
        ("shapes",),
    ),
    Check(
        "extras",
        "the stored extras are what act would give again",
        "update learns from them: a log-probability of another draw than the action's makes every "
        "ratio wrong, and nothing crashes.",
        "Compute action and extras from the same draw, and split a key once for each use.",
        extras,
        ("shapes",),
    ),
    Check(
        "rows",
        "an environment's action depends on its own observation alone",
        "Training acts in hundreds of environments at once and evaluation in a few: what averages "
        "over them is another policy there, and leaks what others see.",
        "Reduce over the last axis only, and keep statistics of observations in the state in place "
        "of the batch's.",
        rows,
        ("shapes",),
    ),
    Check(
        "policy",
        "policy(state) is enough to act",
        "It is what is kept at the end of every stage and what `suite eval` and `suite actions` "
        "act with, without buffers and optimizers.",
        "Return the state with all that act reads, and with the rest emptied "
        "(algorithms.api.emptied).",
        policy,
        ("shapes",),
    ),
)
