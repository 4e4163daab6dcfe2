"""What one step of an environment needs of the state that the step before it left.

A state of Playground's is large: `mjx.Data` with all that is derived from positions and
velocities, metrics, and whatever an environment keeps in `info`. Which of these arrays bear on
observations, rewards and ends, now or at any later step, is read off the traced program, so that
only those are kept between steps and nothing that matters is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval
from mujoco_playground._src.mjx_env import State

from envs.api import EnvError
from envs.engines.environments import observed
from envs.own_tasks import told

Kept = dict[str, jax.Array]
"""Arrays by their place in a state, such as `.info['last_action']`."""


class Carrier:
    """Takes out of an environment's states what has to be kept, and makes states of it again.

    What is not kept is zeros in the states it makes; `kept_places` has shown that no step
    depends on it.
    """

    def __init__(self, start: State, kept: Iterable[str]) -> None:
        """`start` is a state's shapes, as `jax.eval_shape(env.reset, key)` returns them."""
        self._leaves = _by_place(start)
        self._structure = jax.tree.structure(start)
        self.kept = tuple(kept)

    def keep(self, state: State) -> Kept:
        """Returns what a step from `state` needs, apart from the rows of its physics."""
        leaves = _by_place(state)
        return {place: leaves[place] for place in self.kept}

    def restore(self, fields: Mapping[str, jax.Array], kept: Kept) -> State:
        """Returns the state again.

        Args:
            fields: of its `data`, by name; they go before what is kept.
            kept: as `keep` returned it.
        """
        leaves = [
            kept[place] if place in kept else jnp.zeros(leaf.shape, leaf.dtype)
            for place, leaf in self._leaves.items()
        ]
        state: State = jax.tree.unflatten(self._structure, leaves)
        return state.replace(data=state.data.replace(**fields))


def find_carrier(
    name: str,
    reset: Callable[[jax.Array], State],
    step: Callable[[State, jax.Array], State],
    key: jax.Array,
    action_size: int,
    fields: Iterable[str],
) -> Carrier:
    """Traces an environment and returns what keeps its states.

    Args:
        name: of the task, for messages.
        reset: of the environment.
        step: of the environment.
        key: such as `reset` takes.
        action_size: A.
        fields: of the state's `data` that are kept in any case, in another place.

    Raises:
        EnvError: `step` does not return a state like that of `reset`, or one holds what cannot
            be kept.
    """
    start = jax.eval_shape(reset, key)
    _check_state(name, "reset", start)
    action = jax.ShapeDtypeStruct((action_size,), jnp.float32)
    program, after = jax.make_jaxpr(step, return_shape=True)(start, action)
    _check_state(name, "step", after)
    places = list(_by_place(start))
    _check_same(name, start, after)
    elsewhere = {f".data.{field}" for field in fields}
    wanted = {place for place in places if _is_result(place)} | elsewhere
    kept: set[str] = set()
    while True:  # until no kept array needs another
        asked = [place in wanted or place in kept for place in places]
        _, used = partial_eval.dce_jaxpr(program.jaxpr, asked)
        found = {place for place, use in zip(places, used, strict=False) if use} - elsewhere
        if found <= kept:
            return Carrier(start, sorted(kept))
        kept |= found


def _is_result(place: str) -> bool:
    """Whether an array of a state is one that methods get to see."""
    return place in (".obs", ".obs['state']", ".reward", ".done")


def _by_place(state: State) -> dict[str, jax.Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _check_state(name: str, function: str, state: object) -> None:
    if not isinstance(state, State):
        raise EnvError(
            f"{told(name)}: {function} returns a {type(state).__name__}, not an mjx_env.State"
        )
    observed(name, state.obs)
    for field in ("reward", "done"):
        shape = jnp.shape(getattr(state, field))
        if shape != ():
            raise EnvError(
                f"{told(name)}: {function} returns a {field} of shape {list(shape)}; it is one "
                "number, for a state is of one environment"
            )
    for place, leaf in _by_place(state).items():
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise EnvError(
                f"{told(name)}: {function} returns {place[1:]}, a typed random key; keep "
                "jax.random.key_data of it, as the key that reset gets already is"
            )


def _check_same(name: str, start: State, after: State) -> None:
    """Refuses a step whose state has other parts than that of reset."""
    before, now = _by_place(start), _by_place(after)
    odd = sorted(before.keys() ^ now.keys())
    if odd:
        which = "step" if odd[0] in now else "reset"
        raise EnvError(
            f"{told(name)}: only the state that {which} returns has {odd[0][1:]}; reset must "
            "return the entries of info and metrics that step returns, and no others"
        )
    for place, leaf in before.items():
        here, there = (leaf.shape, leaf.dtype), (now[place].shape, now[place].dtype)
        if here != there and place not in (".reward", ".done"):
            raise EnvError(
                f"{told(name)}: {place[1:]} is {leaf.dtype}{list(leaf.shape)} after reset and "
                f"{now[place].dtype}{list(now[place].shape)} after step; make them the same"
            )
