"""The contract between an algorithm and the harness.

An algorithm is a frozen dataclass of hyper-parameters with pure functions over a
state pytree. It never steps an environment, never counts steps, and never sees a
task's name, a path or the clock: the harness owns all of those.

The budget is counted in updates, each of the protocol's T x N steps. On-policy methods learn
once from all of them. A method may ask for shorter rollouts and learn as often from those
(`Algorithm.rollout_length`), keep what it has seen in its state (algorithms/parts/replay.py),
and begin with a warm-up (`Stage.warm_up`). None of it changes how many steps it gets, nor where
it is evaluated.

Shapes use one notation throughout: T rollout steps, N environments, O observation
size, A action size, S seeds (added by the harness with `jax.vmap`).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

import jax

from algorithms import bounds

State = TypeVar("State")
"""What an algorithm learns: a pytree of its own, such as a NamedTuple of arrays."""

Tree = TypeVar("Tree")

PyTree = Any
"""Arrays in tuples, dicts and the like, of whatever structure: Python has no type for it."""

Extras = Mapping[str, jax.Array]
Metrics = Mapping[str, jax.Array]
Mode = Literal["deterministic", "sample"]
MODES: tuple[Mode, Mode] = ("deterministic", "sample")


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """What an algorithm may know of the task: sizes and the discount, not its name."""

    obs_size: int
    action_size: int
    discount: float = 0.995


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """What a protocol fixes for all algorithms alike (ALGORITHMS 1.2 to 1.5).

    Attributes:
        updates: in the whole budget, T x N steps each.
        num_envs: parallel environments per seed (N).
        rollout_length: steps per environment and update (T).
        chunk_length: steps of the sub-sequences that advantages are computed on;
            divides `rollout_length`, shorter than an episode.
        num_minibatches: minibatches per epoch; divides the number of chunks.
        num_epochs: passes over each rollout.
        normalizer: `cumulative` is Welford's running variance; `legacy` overwrites
            the sum of squares at every update, as the reference code does.
        normalizer_timing: statistics advance `before` or `after` the SGD pass.
        truncation: time limits are `bootstrapped` from the final observation, or
            `masked` out of the losses.
    """

    updates: int
    num_envs: int
    rollout_length: int
    chunk_length: int = 30
    num_minibatches: int = 32
    num_epochs: int = 16
    normalizer: Literal["cumulative", "legacy"] = "cumulative"
    normalizer_timing: Literal["before", "after"] = "after"
    truncation: Literal["bootstrapped", "masked"] = "bootstrapped"

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length


class Rollout(NamedTuple):
    """What `Algorithm.update` learns from: T is the method's own `rollout_length`.

    Attributes:
        obs: [T, N, O] observation the action was chosen on.
        extras: what `Algorithm.act` returned beside the action, [T, N, ...] each.
        reward: [T, N] as the task gives it, in [0, 1].
        terminated: [T, N] 1.0 where the episode ended for good (value 0 after it).
        truncated: [T, N] 1.0 where the time limit cut the episode.
        next_obs: [T, N, O] observation after the step and before any reset; where
            an episode ended this is its final observation.
    """

    obs: jax.Array
    extras: Extras
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_obs: jax.Array


class Stage(NamedTuple):
    """A part of the budget after which the algorithm may change itself.

    Attributes:
        updates: of the budget that this stage takes, T x N steps each.
        extra_rollouts: as many times T x N steps are taken at the end of the stage with
            the sampled policy and handed to `Algorithm.record`; they are counted as
            decoder data.
        restart_envs: whether the environments start afresh after the stage.
        time_limits: whether the extra rollouts cut episodes at the time limit; if not,
            the environments start afresh before and after them. Alike in all stages with
            extra rollouts.
        select_by: the evaluation mode whose best policy of the stage goes on into the
            next one, its extra rollouts included; None is the stage's last policy.
        warm_up: whether rollouts are taken by `Algorithm.explore` and handed to
            `Algorithm.record` in place of `update`, unless what warms up learns (see
            algorithms/parts/learning_warm_up.py); they are counted as warm-up. Only the
            first stage can be one, and another one follows, which `Algorithm.advance` enters.
    """

    updates: int
    extra_rollouts: int = 0
    restart_envs: bool = False
    time_limits: bool = True
    select_by: Mode | None = None
    warm_up: bool = False


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a method is built from. Subclasses add hyper-parameter fields.

    `env` and `pipeline` come from the harness; every other field is a
    hyper-parameter that `--set ALGORITHM.FIELD=VALUE` may change.

    Hyper-parameters that two methods share are a subclass of their own, with fields and
    no more: a method has them by inheritance, and a method that holds another one as its
    part builds that part from them with `settings_of`.
    """

    env: EnvSpec
    pipeline: Pipeline

    def __post_init__(self) -> None:
        bounds.check(self)


@dataclasses.dataclass(frozen=True)
class Algorithm(Settings, abc.ABC, Generic[State]):
    """Base class of every method, generic in its state: `class Mine(Algorithm[MyState])`.

    A method is its settings and pure functions over a state; it holds nothing that changes.
    """

    @abc.abstractmethod
    def init(self, key: jax.Array) -> State:
        """Returns a fresh state."""

    @abc.abstractmethod
    def act(
        self, state: State, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Chooses actions.

        Args:
            state: as returned by `init`, `update` or `advance`.
            obs: [N, O].
            key: randomness; may be used in either mode only where documented.
            mode: `sample` draws from the policy; `deterministic` is the algorithm's
                noise-free policy.

        Returns:
            Actions [N, A] in [-1, 1], and the extras that `update` needs, [N, ...].
        """

    @abc.abstractmethod
    def update(self, state: State, rollout: Rollout, key: jax.Array) -> tuple[State, Metrics]:
        """Learns from one rollout; metrics are scalars.

        It is called `rollouts_per_update` times in each update of the budget, of which the
        metrics are the mean.
        """

    @abc.abstractmethod
    def parameters(self, state: State) -> PyTree:
        """Returns the trained networks' parameters within a state, a pytree."""

    def stages(self) -> tuple[Stage, ...]:
        """Returns the parts of the budget, in order; one part unless overridden."""
        return (Stage(self.pipeline.updates),)

    def explore(self, state: State, obs: jax.Array, key: jax.Array) -> tuple[jax.Array, Extras]:
        """Chooses actions in a warm-up, for `record`: at random, say; see `act` for the shapes.

        As the policy does in mode `sample` unless overridden.
        """
        return self.act(state, obs, key, "sample")

    def record(self, state: State, rollout: Rollout) -> State:
        """Takes in a rollout of `Stage.extra_rollouts` or `Stage.warm_up`, and does not learn."""
        del rollout
        return state

    def advance(self, state: State, key: jax.Array) -> State:
        """Changes from the current stage to the next (for GoRL: refits the decoder)."""
        del key
        return state

    def policy(self, state: State) -> State:
        """Returns the part of a state that `act` needs: a state with the rest `emptied`.

        The harness keeps it at the end of every stage. The whole state unless overridden.
        """
        return state

    def adopt(self, state: State, policy: State, key: jax.Array) -> State:
        """Puts what stays frozen in this run into a fresh state (for GoRL: a decoder).

        Args:
            state: as returned by `init`.
            policy: as `policy` returned it in another run.
            key: randomness.

        Raises:
            ValueError: the method has no such part.
        """
        del state, policy, key
        raise ValueError(f"{type(self).__name__} has nothing that could come from another run")

    def candidate(self, state: State) -> PyTree:
        """Returns the part of a state, a pytree, that is kept for `Stage.select_by`."""
        return state

    def reinstate(self, state: State, candidate: PyTree) -> State:
        """Puts a candidate of the same stage back into the state at the stage's end."""
        del state
        return cast(State, candidate)

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns what a sampled action was before it was squashed into [-1, 1].

        Args:
            action: [N, A] from `act` in mode `sample`.
            extras: of the same call.

        Returns:
            [N, A]; the action itself unless overridden, for a policy that does not squash.
        """
        del extras
        return action

    @property
    def rollout_length(self) -> int:
        """Steps that each environment takes before `update` is called; divides the protocol's.

        The protocol's itself unless overridden, by a property or by a hyper-parameter.
        """
        return self.pipeline.rollout_length

    @property
    def rollouts_per_update(self) -> int:
        """Rollouts of `rollout_length` in one update of the budget."""
        return self.pipeline.rollout_length // self.rollout_length

    @property
    def gradient_steps(self) -> int | None:
        """Minibatches that one call of `update` learns from, by which its effort is reported.

        Networks that learn from the same minibatch count once, and `advance` does not count.
        None, unless overridden, where the method does not tell.
        """
        return None

    @property
    def evaluations_per_action(self) -> int:
        """Policy-network forward passes needed for one action."""
        return 1


def emptied(tree: Tree) -> Tree:
    """Returns a pytree of the same structure without its arrays: each leaf becomes None."""
    return cast(Tree, jax.tree.map(lambda _: None, tree))


def settings_of(cls: type[Settings], whole: Settings) -> dict[str, Any]:
    """Returns every field of `cls`, with the values that `whole` has.

    Args:
        cls: of a part that a method holds, say GoRL's encoder.
        whole: the method; it has at least the fields of `cls`.
    """
    return {field.name: getattr(whole, field.name) for field in dataclasses.fields(cls)}
