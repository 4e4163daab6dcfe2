"""Whether a method learns: finite numbers, parameters that change, probe environments solved."""

from __future__ import annotations

import jax
import numpy as np

from suite.checks.check import Check, Failed
from suite.checks.course import PROBE_NAMES
from suite.checks.repeating import keystr, leaves
from suite.checks.subject import Subject

SOLVED = ("ActionReward", "ObsActionReward")
"""The probe environments in which actions matter; in the others the rewards are the same
whatever is done, and only a critic could tell, which the contract does not know."""

_NEAR = 0.02
"""Mean reward that a policy may fall short of the best. Standard normal actions before tanh lose
.10 to .15, and zeros .05 to .06."""


def finite(subject: Subject) -> str:
    """Looks at every state and metric of training in all probe environments."""
    for seeds, metrics in subject.course.whole:
        for path, leaf in leaves({"state": seeds.states.algorithm, "metric": metrics}):
            if not np.issubdtype(leaf.dtype, np.floating):
                continue
            good = np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1)
            if not good.all():
                where = PROBE_NAMES[int(np.argmin(good))]
                raise Failed(
                    f"{keystr(path)} is not finite in {where}, in the first"
                    f" {int(seeds.states.updates[0])} updates"
                )
    return ""


def changing(subject: Subject) -> str:
    """Compares the parameters at the end with those at the start, array by array."""
    course = subject.course
    parameters = jax.vmap(course.algorithm.parameters)
    before = parameters(course.start().states.algorithm)
    after = parameters(course.whole[-1][0].states.algorithm)
    pairs = list(zip(leaves(before), leaves(after), strict=True))
    for (path, old), (_, new) in pairs:
        if np.array_equal(old, new, equal_nan=True):
            raise Failed(f"parameters{jax.tree_util.keystr(path)} never changes in a whole run")
    return f"all {len(pairs)} arrays"


def probes(subject: Subject) -> str:
    """Asks for the best actions, in both modes, after any tenth of training."""
    found = np.stack([subject.course.shortfalls(seeds) for seeds, _ in subject.course.whole])
    best = np.nanmin(np.where(np.isfinite(found), found, np.inf).max(axis=-1), axis=0)
    texts = []
    for name in SOLVED:
        lost = float(best[PROBE_NAMES.index(name)])
        if not lost <= _NEAR:
            raise Failed(
                f"in {name} the policy loses {lost:.3f} of the best reward at its best, of which"
                f" {_NEAR} are allowed"
            )
        texts.append(f"{name} to {lost:.3f}")
    return ", ".join(texts)


CHECKS = (
    Check(
        "finite",
        "state and metrics stay finite",
        "A seed whose state is not finite counts as diverged, and as 0 in a comparison.",
        "Look at the first leaf that is named: a logarithm or a root of 0, a division by a "
        "variance of 0, a buffer that is read before anything is in it.",
        finite,
        ("shapes",),
    ),
    Check(
        "learning",
        "every array of parameters changes",
        "What `parameters` returns is counted and reported as the trained networks; an array that "
        "gets no gradient is not trained.",
        "Check that the loss reaches the array, and that the optimizer's result is in the state "
        "that update returns; leave out of `parameters` what is not trained.",
        changing,
        ("shapes",),
    ),
    Check(
        "probes",
        "the probe environments are solved",
        "Their best actions are known and found in seconds by a method that is wired right: "
        "ActionReward needs a policy that follows the reward, ObsActionReward one that also "
        "follows the observation.",
        "Look for the first that fails (envs/probes.py), with a larger learning rate or smaller "
        "networks by --set; signs of losses, stale log-probabilities and shifted observations "
        "are the usual causes. A bonus for entropy has to become small within 57,600 steps: start "
        "with less of it.",
        probes,
        ("shapes",),
    ),
)
