"""What SAC, GoRL's SAC encoder and other methods with replay share: the buffer, the
statistics, twin critics and the gradient steps of a turn. A method adds networks and `loss`.

Shapes: transitions [B, ...].
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Annotated, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
import optax

from algorithms.api import Metrics, Rollout, Settings, emptied
from algorithms.bounds import Bounds, Count, Positive, Range, UnitInterval, Widths
from algorithms.off_policy.critics import Critics, polyak
from algorithms.off_policy.lone_seed import without_lone_seed
from algorithms.parts import normalizer, replay
from algorithms.parts.networks import Params
from algorithms.parts.normalizer import Normalizer
from algorithms.parts.replay import Replay


class ActorCritic(Protocol):
    """What gradients train, a NamedTuple with at least these."""

    @property
    def policy(self) -> Params:
        """The policy's parameters."""
        ...

    @property
    def critic(self) -> Params:
        """Those of the critics."""
        ...


Networks = TypeVar("Networks", bound=ActorCritic)


Trained: TypeAlias = tuple[Networks, Params, optax.OptState]
"""What gradient steps change: the networks, the critics' targets and Adam's moments."""


class Transition(NamedTuple):
    """What is replayed, [B, ...]: raw observations, as statistics are those of their use."""

    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_obs: jax.Array


class OffPolicyState(NamedTuple, Generic[Networks]):
    """State of a learner with replay.

    Attributes:
        networks: what is trained.
        target: the critics' targets.
        optimizer: Adam's moments.
        normalizer: observation statistics.
        replay: the newest transitions.
        stage: [] int32, the part of the budget being trained, where there are several.
    """

    networks: Networks
    target: Params
    optimizer: optax.OptState
    normalizer: Normalizer
    replay: Replay[Transition]
    stage: jax.Array


class Held(NamedTuple, Generic[Networks]):
    """What a loss depends on without a gradient.

    Attributes:
        target: the critics' targets.
        normalizer: observation statistics, the same for all gradient steps of a turn.
        before: the networks as they were before the turn's first gradient step.
    """

    target: Params
    normalizer: Normalizer
    before: Networks


@dataclasses.dataclass(frozen=True)
class OffPolicySettings(Settings):
    """Hyper-parameters of learning from replay.

    The defaults are SAC's, of its paper (Haarnoja et al. 2018) or of MuJoCo Playground's tuned
    Brax SAC for these tasks; the numbers of both stand in ALGORITHMS 10.

    Attributes:
        learning_rate: Adam's, of all that is trained, as in SAC's paper, which has 3e-4; 1e-3
            is Playground's SAC's. Tuned around both, as far as the other methods' rates are.
        critic_hidden: widths of each critic's hidden layers; two of 256 in SAC's paper and in
            Playground's SAC.
        critic_layer_norm: layer normalization in the critics, as Playground's SAC has it.
        batch_size: transitions per gradient step; Playground's SAC's, SAC's paper has 256.
        replay_capacity: transitions kept, as in SAC's paper; Playground's SAC keeps four times as
            many. No more than the budget has are ever given room.
        rollout_length: steps of each environment between two turns of learning.
        update_to_data: gradient steps per environment step, rounded to whole ones per turn and
            at least one; Playground's SAC takes 8 per step of 128 environments, SAC's paper 1 per
            step.
        learning_starts: transitions in the buffer from which on there is learning, at most one
            update of the budget; Playground's SAC's.
        target_rate: share of the critics that goes into their targets at each gradient step;
            that of SAC's paper and of Playground's SAC. Tuned within a factor of four to five.
        reward_scale: rewards are multiplied by this before learning; Playground's SAC's.
    """

    learning_rate: Annotated[Positive, Range(1e-4, 3e-3, log=True)] = 1e-3
    critic_hidden: Widths = (256, 256)
    critic_layer_norm: bool = True
    batch_size: Count = 512
    replay_capacity: Count = 1_000_000
    rollout_length: Count = 1
    update_to_data: Annotated[float, Bounds(0, 1000, above=True)] = 0.0625
    learning_starts: Count = 8192
    target_rate: Annotated[UnitInterval, Range(0.001, 0.02, log=True)] = 0.005
    reward_scale: Positive = 1.0


@dataclasses.dataclass(frozen=True)
class OffPolicy(OffPolicySettings, abc.ABC, Generic[Networks]):
    """Learning from replay; `act` and stages are a method's own.

    What a rollout's extras call `action` is what the critics are asked about: for GoRL's
    encoder a latent.
    """

    @abc.abstractmethod
    def fresh_networks(self, key: jax.Array) -> Networks:
        """Returns fresh parameters of all that is trained."""

    @abc.abstractmethod
    def loss(
        self, networks: Networks, held: Held[Networks], batch: Transition, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Loss [] of a minibatch [B, ...], with metrics."""

    @property
    def critics(self) -> Critics:
        return Critics(self.critic_hidden, self.critic_layer_norm)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    @property
    def gradient_steps(self) -> int:
        """Minibatches that one call of `update` learns from; see `update_to_data`."""
        steps = self.update_to_data * self.pipeline.num_envs * self.rollout_length
        return max(1, round(steps))

    def init(self, key: jax.Array) -> OffPolicyState[Networks]:
        """Returns fresh networks, an empty buffer and empty statistics."""
        return self._fresh(key, normalizer.initial(self.env.obs_size), jnp.int32(0))

    def record(self, state: OffPolicyState[Networks], rollout: Rollout) -> OffPolicyState[Networks]:
        """Takes a rollout into buffer and statistics, and does not learn."""
        stats = normalizer.advance(state.normalizer, rollout.obs, self.pipeline.normalizer)
        return state._replace(normalizer=stats, replay=state.replay.add(_transitions(rollout)))

    def update(
        self, state: OffPolicyState[Networks], rollout: Rollout, key: jax.Array
    ) -> tuple[OffPolicyState[Networks], Metrics]:
        """Takes in a rollout, then takes gradient steps on minibatches out of the buffer."""
        recorded = self.record(state, rollout)
        early = self.pipeline.normalizer_timing == "before"
        stats = recorded.normalizer if early else state.normalizer
        return self._learn(recorded, stats, key)

    def policy(self, state: OffPolicyState[Networks]) -> OffPolicyState[Networks]:
        """Returns the policy's network with its observation statistics."""
        kept = emptied(state)
        return kept._replace(
            networks=cast(Any, kept.networks)._replace(policy=state.networks.policy),
            normalizer=state.normalizer,
            stage=state.stage,
        )

    def parameters(self, state: OffPolicyState[Networks]) -> Networks:
        """Returns all that is trained."""
        return state.networks

    def weight(self, batch: Transition) -> jax.Array:
        """Returns the weight [B] of each transition in the critics' loss.

        Bootstrapped time limits are steps like others; masked ones are left out.
        """
        if self.pipeline.truncation == "masked":
            return 1.0 - batch.truncated
        return jnp.ones_like(batch.truncated)

    def _learn(
        self, state: OffPolicyState[Networks], stats: Normalizer, key: jax.Array
    ) -> tuple[OffPolicyState[Networks], Metrics]:
        """Takes the gradient steps, which count for nothing while the buffer is too empty."""
        before: Trained[Networks] = (state.networks, state.target, state.optimizer)
        steps = without_lone_seed(self._take_steps)
        keys = jax.random.split(key, self.gradient_steps)
        after, metrics = steps(before, state.replay, stats, keys)
        enough = min(self.learning_starts, self.pipeline.steps_per_update, self._capacity)
        ready = state.replay.size >= enough
        kept = jax.tree.map(lambda new, old: jnp.where(ready, new, old), after, before)
        networks, target, optimizer = kept
        state = state._replace(networks=networks, target=target, optimizer=optimizer)
        return state, jax.tree.map(jnp.mean, metrics)

    def _take_steps(
        self,
        before: Trained[Networks],
        transitions: Replay[Transition],
        stats: Normalizer,
        keys: jax.Array,
    ) -> tuple[Trained[Networks], Metrics]:
        """Takes a gradient step for each of some keys."""

        def step(carry: Trained[Networks], key: jax.Array) -> tuple[Trained[Networks], Metrics]:
            networks, target, optimizer = carry
            draw_key, loss_key = jax.random.split(key)
            batch = transitions.sample(draw_key, self.batch_size)
            held = Held(target, stats, before[0])
            gradient, metrics = jax.grad(self.loss, has_aux=True)(networks, held, batch, loss_key)
            change, optimizer = self.optimizer.update(gradient, optimizer)
            networks = cast(Networks, optax.apply_updates(cast(Any, networks), change))
            target = polyak(target, networks.critic, self.target_rate)
            return (networks, target, optimizer), metrics

        return jax.lax.scan(step, before, keys)

    @property
    def _capacity(self) -> int:
        """Transitions that the buffer has room for."""
        return min(self.replay_capacity, self.pipeline.updates * self.pipeline.steps_per_update)

    def _fresh(
        self, key: jax.Array, stats: Normalizer, stage: jax.Array
    ) -> OffPolicyState[Networks]:
        networks = self.fresh_networks(key)
        obs, action = jnp.zeros(self.env.obs_size), jnp.zeros(self.env.action_size)
        number = jnp.zeros(())
        slot = Transition(obs, action, number, number, number, obs)
        return OffPolicyState(
            networks=networks,
            # A copy: no two parts of a state may share a buffer that is donated.
            target=jax.tree.map(jnp.copy, networks.critic),
            optimizer=self.optimizer.init(cast(Any, networks)),
            normalizer=stats,
            replay=replay.empty(slot, self._capacity),
            stage=stage,
        )


def _transitions(rollout: Rollout) -> Transition:
    return Transition(
        rollout.obs,
        rollout.extras["action"],
        rollout.reward,
        rollout.terminated,
        rollout.truncated,
        rollout.next_obs,
    )
