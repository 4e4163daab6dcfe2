"""RLDT that begins with a PPO policy, put into a flow by flow matching (ALGORITHMS 6.1)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax

from algorithms.api import Algorithm, Extras, Metrics, Mode, PyTree, Rollout, Stage, settings_of
from algorithms.bounds import NOT_TUNED, Count, Positive, Range, UnitInterval, WholeNumber, Widths
from algorithms.off_policy.critics import polyak
from algorithms.off_policy.learner import Held, Transition
from algorithms.parts.learning_warm_up import LearningWarmUp
from algorithms.parts.networks import Params
from algorithms.parts.on_policy import Learner
from algorithms.parts.replay import Replay
from algorithms.ppo import PPO
from algorithms.rldt import RLDT, RLDTSettings, RLDTState


class WarmState(NamedTuple):
    """State of RLDT with the policy that it begins with.

    Attributes:
        learner: RLDT's; in the warm-up only its buffer and statistics change.
        teacher: PPO's; after the warm-up nothing of it changes.
    """

    learner: RLDTState
    teacher: Learner


@dataclasses.dataclass(frozen=True)
class RLDTWarmSettings(RLDTSettings):
    """Hyper-parameters of RLDT and its warm start; sources are in ALGORITHMS 6.1.

    Attributes:
        actor_learning_rate: Adam's, of the flow; that of `rldt`, so that the start is all that
            differs. Tuned from half of the official code's 2e-5.
        target_rate: as of `rldt`; not tuned here, as the warm-up's share is.
        warm_up_share: share of the budget that PPO has, at least one update. Ten to
            twenty million steps of 180 are 6 to 11%. Tuned from half of that to twice it.
        ppo_learning_rate: PPO's Adam's, as `ppo` has it by default and in each preset.
        ppo_clip: PPO's clip range, likewise.
        ppo_critic_hidden: widths of PPO's value network, likewise.
        fit_epochs: passes of the flow's fit over the observations in the buffer; by default those
            of GoRL's decoders, as how RLDT's own start is fitted is not told.
        fit_batch_size: observations per step of it, likewise.
        fit_learning_rate: Adam's in it, likewise.
        critic_steps: gradient steps of the critics alone after it; the official code's
            two iterations of 512.
    """

    actor_learning_rate: Annotated[Positive, Range(1e-5, 1e-3, log=True)] = 3e-4
    target_rate: Annotated[UnitInterval, NOT_TUNED] = 0.005
    warm_up_share: Annotated[UnitInterval, Range(0.03, 0.2, log=True)] = 0.1
    ppo_learning_rate: Positive = 3e-4
    ppo_clip: Positive = 0.1
    ppo_critic_hidden: Widths = (256, 256, 256, 256, 256)
    fit_epochs: Count = 50
    fit_batch_size: Count = 8192
    fit_learning_rate: Positive = 3e-4
    critic_steps: WholeNumber = 1024


@dataclasses.dataclass(frozen=True)
class RLDTWarm(RLDTWarmSettings, LearningWarmUp[WarmState], Algorithm[WarmState]):
    """PPO for a share of the budget, and RLDT from a flow that acts as PPO does.

    The warm-up is PPO as `ppo` is, with rollouts of the protocol's length; RLDT's buffer keeps what
    it sees. Then a flow learns to draw what PPO's Gaussian draws, the critics learn what that flow
    is worth, and RLDT goes on with both. The policy that is evaluated in the warm-up is PPO's.
    """

    @property
    def rldt(self) -> RLDT:
        """What learns after the warm-up."""
        return RLDT(**settings_of(RLDTSettings, self), warm_up=0)

    @property
    def ppo(self) -> PPO:
        """What learns in the warm-up."""
        return PPO(
            env=self.env,
            pipeline=self.pipeline,
            learning_rate=self.ppo_learning_rate,
            clip=self.ppo_clip,
            critic_hidden=self.ppo_critic_hidden,
        )

    @property
    def warm_up(self) -> int:
        """Updates of the budget that PPO has."""
        return max(1, int(self.warm_up_share * self.pipeline.updates + 1e-6))

    @property
    def warm_up_rollout_length(self) -> int:
        """The protocol's, as PPO's."""
        return self.pipeline.rollout_length

    @property
    def gradient_steps(self) -> int:
        """RLDT's."""
        return self.rldt.gradient_steps

    @property
    def evaluations_per_action(self) -> int:
        """The flow's Euler steps, and PPO's network, which is asked in every stage."""
        return self.rldt.evaluations_per_action + self.ppo.evaluations_per_action

    @property
    def fit_steps(self) -> int:
        """Gradient steps of the flow's fit."""
        seen = min(self.replay_capacity, self.warm_up * self.pipeline.steps_per_update)
        return max(1, self.fit_epochs * seen // self.fit_batch_size)

    def stages(self) -> tuple[Stage, ...]:
        """PPO's part of the budget, a warm-up, and RLDT's.

        Raises:
            ValueError: nothing is left of the budget after the warm-up.
        """
        updates = self.pipeline.updates
        if self.warm_up >= updates:
            share = f"warm_up_share = {self.warm_up_share:g}"
            raise ValueError(f"{share}: leaves no update of {updates} to learn in")
        return Stage(self.warm_up, warm_up=True), Stage(updates - self.warm_up)

    def init(self, key: jax.Array) -> WarmState:
        """Returns a random flow and critics, and a fresh PPO."""
        learner_key, teacher_key = jax.random.split(key)
        return WarmState(self.rldt.init(learner_key), self.ppo.init(teacher_key))

    def act(
        self, state: WarmState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Acts by PPO's policy in the warm-up, and as RLDT does after it."""
        warm = state.learner.stage == 0
        first, _ = self.ppo.act(state.teacher, obs, key, mode)
        action, extras = self.rldt.act(state.learner, obs, key, mode)
        # What PPO draws is squashed, and uncut is the same.
        extras = {name: jnp.where(warm, first, each) for name, each in extras.items()}
        return jnp.where(warm, first, action), extras

    def explore(self, state: WarmState, obs: jax.Array, key: jax.Array) -> tuple[jax.Array, Extras]:
        """Samples PPO's policy, and notes what PPO and the buffer need."""
        action, extras = self.ppo.act(state.teacher, obs, key, "sample")
        return action, {**extras, "action": action}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns what the policy gave, uncut [N, A]."""
        return extras["action"]

    def warm_up_update(self, state: WarmState, rollout: Rollout, key: jax.Array) -> WarmState:
        """Updates PPO, and keeps the rollout in RLDT's buffer and statistics."""
        teacher, _ = self.ppo.update(state.teacher, rollout, key)
        return WarmState(self.rldt.record(state.learner, rollout), teacher)

    def advance(self, state: WarmState, key: jax.Array) -> WarmState:
        """Fits the flow to PPO's policy, then the critics to the flow; Adam begins anew."""
        flow_key, critic_key = jax.random.split(key)
        learner, teacher = state
        policy = self.fitted_flow(learner.networks.policy, learner.replay, teacher, flow_key)
        # Statistics count batches, and those of the rollouts that follow are smaller.
        shorter = self.warm_up_rollout_length // self.rollout_length
        stats = learner.normalizer._replace(batches=learner.normalizer.batches * shorter)
        networks = learner.networks._replace(policy=policy)
        learner = learner._replace(networks=networks, normalizer=stats, stage=learner.stage + 1)
        learner = self.with_critics(learner, critic_key)
        fresh = self.rldt.optimizer.init(learner.networks)
        return WarmState(learner._replace(optimizer=fresh), teacher)

    def update(
        self, state: WarmState, rollout: Rollout, key: jax.Array
    ) -> tuple[WarmState, Metrics]:
        """Updates RLDT."""
        learner, metrics = self.rldt.update(state.learner, rollout, key)
        return state._replace(learner=learner), metrics

    def parameters(self, state: WarmState) -> PyTree:
        """Returns RLDT's and PPO's."""
        return state.learner.networks, state.teacher.networks

    def policy(self, state: WarmState) -> WarmState:
        """Returns both policies with their statistics."""
        return WarmState(self.rldt.policy(state.learner), self.ppo.policy(state.teacher))

    def fitted_flow(
        self, flow: Params, seen: Replay[Transition], teacher: Learner, key: jax.Array
    ) -> Params:
        """Fits a flow to PPO's Gaussian by flow matching, at the observations in the buffer.

        Every step draws observations, and for each of them a new action, tanh of a draw of the
        Gaussian, a noise and a time: the policy is known, so no action has to serve twice.

        Args:
            flow: parameters to begin with.
            seen: the buffer.
            teacher: PPO, with the statistics of its observations.
            key: of all that is drawn.
        """
        optimizer = optax.adam(self.fit_learning_rate)

        def step(
            carry: tuple[Params, optax.OptState], key: jax.Array
        ) -> tuple[tuple[Params, optax.OptState], None]:
            params, moments = carry
            obs_key, action_key, loss_key = jax.random.split(key, 3)
            obs = teacher.normalizer(seen.sample(obs_key, self.fit_batch_size).obs)
            drawn = self.ppo.gaussian(teacher.networks.policy, obs).sample(seed=action_key)
            action = jnp.tanh(drawn)
            gradient = jax.grad(self.rldt.flow.loss)(params, obs, action, 1, loss_key)
            change, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(params, change), moments), None

        keys = jax.random.split(key, self.fit_steps)
        (fitted, _), _ = jax.lax.scan(step, (flow, optimizer.init(flow)), keys)
        return fitted

    def with_critics(self, state: RLDTState, key: jax.Array) -> RLDTState:
        """Lets the critics and their targets learn from the buffer, with the flow as it is.

        Args:
            state: of RLDT, with something in its buffer.
            key: of all that is drawn.
        """
        rldt, optimizer = self.rldt, optax.adam(self.learning_rate)

        def step(
            carry: tuple[Params, Params, optax.OptState], key: jax.Array
        ) -> tuple[tuple[Params, Params, optax.OptState], None]:
            critic, target, moments = carry
            batch_key, loss_key = jax.random.split(key)
            batch = state.replay.sample(batch_key, self.batch_size)
            held = Held(target, state.normalizer, state.networks)

            def loss(critic: Params) -> jax.Array:
                """RLDT's; of its parts only the critics' own has a gradient for them."""
                return rldt.loss(state.networks._replace(critic=critic), held, batch, loss_key)[0]

            change, moments = optimizer.update(jax.grad(loss)(critic), moments)
            critic = optax.apply_updates(critic, change)
            return (critic, polyak(target, critic, self.target_rate), moments), None

        critic = state.networks.critic
        start = critic, state.target, optimizer.init(critic)
        (critic, target, _), _ = jax.lax.scan(step, start, jax.random.split(key, self.critic_steps))
        return state._replace(networks=state.networks._replace(critic=critic), target=target)
