"""What has to come out the same again: by key, by seed, by checkpoint, without compiling anew."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from algorithms.api import Metrics, PyTree
from suite.checks.check import Check, Failed
from suite.checks.course import Course, Seeds
from suite.checks.subject import Subject
from suite.common.errors import UserError
from suite.storage import checkpoint

_SHARE = 0.02
"""Of what an update changes, by which seeds that are trained together may differ from single
ones. Sums of other batches round otherwise, and optimizers like Adam make much of the last digit
of a small gradient; what mixes seeds changes far more."""


def same_bits(subject: Subject) -> str:
    """Traces twice, and makes the first update twice."""
    subject.wiring.check_noise()
    course = subject.course
    once, again = course.single_learned, course.train(course.ready(course.single), 1)
    if found := first_difference(_parts(once), _parts(again)):
        raise Failed(f"{found} differs between two runs of one seed")
    return ""


def seeds(subject: Subject) -> str:
    """Compares a seed that is trained among others with itself alone.

    Step by step, each from one state: over the many steps of a warm-up rounding alone may become
    larger than what is allowed.
    """
    course = subject.course
    alone, together = course.single, course.start()
    before = alone.states.algorithm
    _hold("before any update", before, _last(together.states.algorithm), before)
    if course.algorithm.stages()[0].warm_up:
        _hold_step("after an update of the warm-up", alone, together, _update(course))
        alone, together = (course.train(each, each.left)[0] for each in (alone, together))
        alone, together = _hold_step(
            "after the warm-up", alone, together, lambda seeds: (course.advance(seeds), {})
        )
    _hold_step("after an update", alone, together, _update(course))
    return "within rounding"


def _update(course: Course) -> Callable[[Seeds], tuple[Seeds, Metrics]]:
    return lambda seeds: course.train(seeds, 1)


def _hold_step(
    when: str, alone: Seeds, others: Seeds, step: Callable[[Seeds], tuple[Seeds, Metrics]]
) -> tuple[Seeds, Seeds]:
    """Takes a step with a single seed and with it among others, from the same state.

    Returns:
        Both after the step.
    """
    put = jax.tree.map(lambda all_, one: all_.at[-1:].set(one), others.states, alone.states)
    expected, found = step(alone), step(others._replace(states=put))
    before = alone, jax.tree.map(jnp.zeros_like, expected[1])
    _hold(when, _parts(expected), _last(_parts(found)), _parts(before))
    return expected[0], found[0]


def _last(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[-1:], tree)


def _hold(when: str, alone: PyTree, among: PyTree, before: PyTree) -> None:
    """Refuses leaves that differ by more than a share of what an update changed."""
    for (path, a), (_, b), (_, old) in zip(*map(leaves, (alone, among, before)), strict=True):
        allowed = 0.0
        if np.issubdtype(a.dtype, np.floating):
            changed = float(np.linalg.norm(a - old))
            allowed = _SHARE * changed + 1e-4 * (float(np.linalg.norm(a)) + 1e-3)
        if not np.linalg.norm((a.astype(np.float64) - b).reshape(-1)) <= allowed:
            found = f"{keystr(path)} is {_short(b)} among other seeds, {_short(a)} alone"
            raise Failed(f"{when}, {found}")


def recompiling(subject: Subject) -> str:
    """Makes several updates, and counts the programs that were compiled."""
    course = subject.course
    seeds, _ = course.single_learned
    before = course.traced
    course.train(seeds, 1)
    if course.traced > before:
        raise Failed("the second update is compiled anew, for a state unlike the first one's")
    return ""


def checkpointing(subject: Subject) -> str:
    """Writes the state after an update, reads it, and goes on from both."""
    course = subject.course
    seeds, _ = course.single_learned
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.npz"
        checkpoint.save(path, seeds.states, {})
        template = jax.eval_shape(lambda: seeds.states)
        try:
            states, _ = checkpoint.load(path, template)
        except UserError as error:
            raise Failed(f"the state cannot be read back: {_without(error, path)}") from None
        size = path.stat().st_size
    if found := first_difference(seeds.states, states):
        raise Failed(f"{found} comes back otherwise than it was written")
    went_on, resumed = course.train(seeds, 1), course.train(seeds._replace(states=states), 1)
    if found := first_difference(_parts(went_on), _parts(resumed)):
        raise Failed(f"the next update gives another {found} after a checkpoint than without one")
    return f"{size / 1024:.0f} KiB here"


def _without(error: UserError, path: Path) -> str:
    return str(error).removeprefix(f"{path} does not fit this program: ").partition(";")[0]


def _parts(learned: tuple[Seeds, Metrics]) -> PyTree:
    seeds, metrics = learned
    return {"state": seeds.states.algorithm, "metrics": metrics}


def first_difference(one: PyTree, other: PyTree) -> str:
    """Returns the path of the first leaf in which two pytrees differ in a bit, "" if none does."""
    for (path, a), (_, b) in zip(leaves(one), leaves(other), strict=True):
        if a.tobytes() != b.tobytes():
            return keystr(path)
    return ""


def leaves(tree: PyTree) -> Iterator[tuple[tuple[object, ...], np.ndarray]]:
    """Yields the path and the numbers of each leaf, those of random keys too."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        yield path, np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def keystr(path: tuple[object, ...]) -> str:
    """Returns a leaf's path as the first name, then what leads on: `state.weights`."""
    text = jax.tree_util.keystr(path)
    first, _, rest = text.removeprefix("['").partition("']")
    return f"{first}{rest}" if text.startswith("['") else text


def _short(leaf: np.ndarray) -> str:
    flat = np.asarray(leaf).reshape(-1)
    numbers = ", ".join(f"{each:.4g}" for each in flat[:3])
    return f"{numbers}, ..." if flat.size > 3 else numbers


CHECKS = (
    Check(
        "same bits",
        "the same key gives the same numbers, to the last bit",
        "A seed that cannot be repeated cannot be resumed or checked by others, and noise that is "
        "drawn while a program is compiled is the same at every step.",
        "Draw with jax.random from the key that the function is given, and nothing from NumPy, "
        "random or a host callback.",
        same_bits,
        ("shapes",),
    ),
    Check(
        "seeds",
        "a seed among others is the seed alone",
        "The harness trains the seeds of a cell in one program with jax.vmap; if they touch each "
        "other, no interval over seeds is honest.",
        "Look for a rule of your own for jax.vmap, and for callbacks that see all seeds at once.",
        seeds,
        ("shapes",),
    ),
    Check(
        "compiling",
        "nothing is compiled anew at the second update",
        "The harness compiles a method once for the whole run; a state of another type than the "
        "one before would need a second program, minutes long on a large network.",
        "Give each number of init's state the type that update returns, with jnp.float32(...) "
        "or jnp.asarray(..., jnp.float32) in place of a Python number.",
        recompiling,
        ("shapes",),
    ),
    Check(
        "checkpoint",
        "the whole state goes through a checkpoint, and goes on to the bit",
        "Runs are stopped and resumed; what a checkpoint does not hold is lost, and the resumed "
        "run is another one.",
        "Keep all that changes in the state, as arrays, and give the children of a class of your "
        "own that is a pytree names of their own.",
        checkpointing,
        ("shapes",),
    ),
)
