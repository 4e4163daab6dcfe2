"""RLDT, density transport for flow policies (Lei et al. 2026, arXiv 2606.08602; ALGORITHMS 6)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax

from algorithms.api import Algorithm, Extras, Metrics, Mode
from algorithms.bounds import Count, NotNegative, Positive, Range, Widths
from algorithms.off_policy import transport
from algorithms.off_policy.critics import one_step_target
from algorithms.off_policy.learner import (
    Held,
    OffPolicy,
    OffPolicySettings,
    OffPolicyState,
    Transition,
)
from algorithms.off_policy.warm_up import RandomWarmUp
from algorithms.parts.flow import Flow
from algorithms.parts.networks import Params

LATE_STEPS = 2
"""Exploration measures a flow's straightness at one of so many last Euler steps."""


class FlowNetworks(NamedTuple):
    """What gradients train: a velocity network and critics."""

    policy: Params
    critic: Params


RLDTState = OffPolicyState[FlowNetworks]


class Particles(NamedTuple):
    """P actions of the flow for each state, and a point on the way to each.

    Attributes:
        start: [B, P, A] x_t at a random step of the particle's own path.
        t: [B, P, 1] its time.
        end: [B, P, A] the particle, uncut.
    """

    start: jax.Array
    t: jax.Array
    end: jax.Array


@dataclasses.dataclass(frozen=True)
class RLDTSettings(OffPolicySettings):
    """Hyper-parameters of RLDT, of its official code where nothing else is said (ALGORITHMS 6).

    The code's values are those of fine-tuning a policy that was cloned from demonstrations, for
    which it has results; its configurations for learning from nothing, of which none are known,
    differ in some.

    Attributes:
        learning_rate: Adam's, of the critics; half of it there from nothing.
        actor_learning_rate: Adam's, of the flow; 2e-5 there, from nothing too. Tuned above that,
            to what the critics have.
        critic_hidden: widths of each critic's hidden layers.
        critic_layer_norm: none there.
        actor_hidden: widths of the flow's hidden layers; as those of GoRL's decoders.
        flow_steps: Euler steps K; 8 there, 32 from nothing, 10 as for all flows here.
        output_scale: factor on the flow's output; .25 keeps the first policy near N(0, I).
        rollout_length: steps between two turns, after each of which the trust region moves; at
            2,048 environments its 512 critic steps an iteration come of it.
        actor_states: states of a minibatch from which the flow learns, at most.
        particles: P actions for each.
        temperature: tau as a share of the gradients' mean length; 1e-3 there. Tuned up
            to where two modes of a known Q are kept (ALGORITHMS 6).
        straightness: weight of the distance between landing point and particle; 1 there from
            nothing.
        trust: weight of the distance to the flow of the turn's beginning. Tuned up to 2, as the
            temperature is.
        value_samples: actions over which the value of the next state is the mean.
    """

    actor_learning_rate: Annotated[Positive, Range(3e-5, 1e-3, log=True)] = 3e-4
    critic_hidden: Widths = (256, 256, 256)
    critic_layer_norm: bool = False
    actor_hidden: Widths = (64, 64, 64, 64)
    flow_steps: Count = 10
    output_scale: Positive = 0.25
    rollout_length: Count = 4
    actor_states: Count = 128
    particles: Count = 8
    temperature: Annotated[Positive, Range(1e-4, 0.3, log=True)] = 1e-3
    straightness: NotNegative = 0.5
    trust: Annotated[NotNegative, Range(0.05, 2.0, log=True)] = 0.2
    value_samples: Count = 2


@dataclasses.dataclass(frozen=True)
class RLDT(RandomWarmUp, RLDTSettings, OffPolicy[FlowNetworks], Algorithm[RLDTState]):
    """A flow whose landing points are moved along a field that leads to exp(Q / tau).

    No gradient passes through the chain of Euler steps: each step learns by itself where the
    action that it leads to should be. The flow is over the action itself, which is cut to
    [-1, 1] when it is executed; the critics judge it uncut, so that their slope does not vanish
    where a flow may have to come back from. The deterministic mode starts the flow at zero;
    `sample` starts it at N(0, I) and adds noise that is as wide as the flow is bent.
    """

    @property
    def flow(self) -> Flow:
        """The policy's flow over the action."""
        sizes = self.env.obs_size, self.env.action_size, self.actor_hidden
        return Flow(*sizes, self.flow_steps, self.output_scale)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        rates = {"policy": self.actor_learning_rate, "critic": self.learning_rate}
        each = {name: optax.adam(rate) for name, rate in rates.items()}
        return optax.partition(each, FlowNetworks("policy", "critic"))

    @property
    def evaluations_per_action(self) -> int:
        """The Euler steps."""
        return self.flow.evaluations

    def fresh_networks(self, key: jax.Array) -> FlowNetworks:
        """Returns a random flow and critics."""
        policy_key, critic_key = jax.random.split(key)
        critic = self.critics.init(critic_key, self.env.obs_size, self.env.action_size)
        return FlowNetworks(self.flow.init(policy_key), critic)

    def act(
        self, state: RLDTState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Integrates the flow from zero, or from Gaussian noise and with exploration."""
        policy, flow = state.networks.policy, self.flow
        normalized = state.normalizer(obs)
        start = jnp.zeros((*obs.shape[:-1], self.env.action_size))
        if mode == "deterministic":
            end = flow.decode(policy, flow.schedule(), normalized, start)
            return jnp.clip(end, -1.0, 1.0), {}
        start_key, late_key, noise_key = jax.random.split(key, 3)
        start = jax.random.normal(start_key, start.shape)
        seen = self._path(policy, normalized, start)
        drawn = self.explored(policy, normalized, seen, late_key, noise_key)
        return jnp.clip(drawn, -1.0, 1.0), {"action": drawn}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns where the flow ended, with what was added [N, A]."""
        return extras["action"]

    def explored(
        self,
        policy: Params,
        obs: jax.Array,
        path: jax.Array,
        late_key: jax.Array,
        noise_key: jax.Array,
    ) -> jax.Array:
        """Adds noise to the end of each path [N, K + 1, A]: [N, A].

        Its std is the distance between the end and the landing estimate at one of the last two
        Euler steps. The estimate of the very last is the end itself, so that half of the
        actions have no noise.
        """
        first = max(0, self.flow_steps - LATE_STEPS)
        index = jax.random.randint(late_key, path.shape[:-2], first, self.flow_steps)
        late = self._at(path, index)
        end = path[..., -1, :]
        landing = self._landing(policy, obs, late.start, late.t)
        std: jax.Array = jnp.linalg.norm(end - landing, axis=-1, keepdims=True)
        return end + std * jax.random.normal(noise_key, end.shape)

    def loss(
        self, networks: FlowNetworks, held: Held[FlowNetworks], batch: Transition, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """The critics' loss on a minibatch and the flow's on its first states."""
        obs = held.normalizer(batch.obs)
        target_key, particle_key, policy_key = jax.random.split(key, 3)
        target = self._critic_target(networks, held, batch, target_key)
        value_loss = self.critics.loss(
            networks.critic, obs, batch.action, target, self.weight(batch)
        )
        states = obs[: self.actor_states]
        fixed = jax.lax.stop_gradient(networks)
        particles = self.draw_particles(fixed.policy, states, particle_key)
        gradient = self.q_gradient(fixed.critic, states, particles.end)
        policy_loss, metrics = self.policy_loss(
            networks.policy, held.before.policy, states, particles, gradient, policy_key
        )
        metrics = {**metrics, "policy_loss": policy_loss, "value_loss": value_loss}
        return value_loss + policy_loss, {**metrics, "target": jnp.mean(target)}

    def draw_particles(self, policy: Params, obs: jax.Array, key: jax.Array) -> Particles:
        """Draws P actions for each of normalized obs [B, O], and a step of each one's path."""
        noise_key, index_key = jax.random.split(key)
        shape = (obs.shape[0], self.particles, self.env.action_size)
        path = self._path(policy, obs[:, None], jax.random.normal(noise_key, shape))
        return self._at(path, jax.random.randint(index_key, shape[:-1], 0, self.flow_steps))

    def q_gradient(self, critic: Params, obs: jax.Array, action: jax.Array) -> jax.Array:
        """Gradient [B, P, A] of the critics' mean Q(s, a) at actions [B, P, A]."""
        states = jnp.broadcast_to(obs[:, None], (*action.shape[:-1], obs.shape[-1]))

        def total(action: jax.Array) -> jax.Array:
            return self.critics.values(critic, states, action).mean(axis=0).sum()

        slope: jax.Array = jax.grad(total)(action)
        return slope

    def policy_loss(
        self,
        policy: Params,
        before: Params,
        obs: jax.Array,
        particles: Particles,
        gradient: jax.Array,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Transport, straightness and trust region (ALGORITHMS 6), with time from 1 to 0.

        Args:
            policy: the flow that learns.
            before: the flow that it is to stay near.
            obs: [B, O] normalized.
            particles: of these states, by the flow as it is.
            gradient: [B, P, A] of Q at the particles.
            key: of the trust region's points.
        """
        states, (start, t, end) = obs[:, None], particles
        velocity = self.flow.velocity(policy, states, start, t)
        landing = start - t * velocity
        temperature = transport.relative_temperature(gradient, self.temperature)
        phi = transport.field(landing, end, gradient, temperature)
        scale = self.flow_steps * t
        pushed = jnp.mean(jnp.sum(velocity * jax.lax.stop_gradient(phi) / scale, axis=-1))
        bent = jnp.mean(jnp.sum(jnp.square((landing - end) / scale), axis=-1))
        noise_key, time_key = jax.random.split(key)
        between = jax.random.uniform(time_key, t.shape)
        mixed = between * jax.random.normal(noise_key, end.shape) + (1.0 - between) * end
        drift = self.flow.velocity(policy, states, mixed, between)
        drift -= self.flow.velocity(before, states, mixed, between)
        moved = jnp.mean(jnp.sum(jnp.square(drift), axis=-1))
        return pushed + self.straightness * bent + self.trust * moved, {
            "field": jnp.mean(jnp.linalg.norm(phi, axis=-1)),
            "straightness": bent,
            "drift": moved,
        }

    def _critic_target(
        self, networks: FlowNetworks, held: Held[FlowNetworks], batch: Transition, key: jax.Array
    ) -> jax.Array:
        """r + gamma (1 - terminated) mean over actions of min_k Q_k(s', a'), [B]."""
        obs = held.normalizer(batch.next_obs)
        obs = jnp.broadcast_to(obs, (self.value_samples, *obs.shape))
        noise = jax.random.normal(key, (*obs.shape[:-1], self.env.action_size))
        action = self.flow.decode(networks.policy, self.flow.schedule(), obs, noise)
        value = self.critics.least(held.target, obs, action).mean(axis=0)
        reward = self.reward_scale * batch.reward
        return one_step_target(reward, batch.terminated, value, self.env.discount)

    def _path(self, policy: Params, obs: jax.Array, start: jax.Array) -> jax.Array:
        """States [..., K + 1, A] of the Euler steps from noise [..., A]."""
        still = jnp.zeros((self.flow_steps, *start.shape))
        return self.flow.noisy_path(policy, obs, start, still)

    def _at(self, path: jax.Array, index: jax.Array) -> Particles:
        """Picks a step [...] of each path [..., K + 1, A]."""
        start = jnp.take_along_axis(path, index[..., None, None], axis=-2)[..., 0, :]
        return Particles(start, self.flow.schedule()[index][..., None], path[..., -1, :])

    def _landing(self, policy: Params, obs: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
        """Where x [..., A] would end if the velocity stayed what it is at t [..., 1]."""
        return x - t * self.flow.velocity(policy, obs, x, t)
