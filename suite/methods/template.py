"""MyMethod: PPO with a Gaussian policy, complete in one file, to be changed.

Is it wired right?           suite check-algo ./my_method.py
Train it beside the others:  suite run --algos all,./my_method.py --protocol smoke
Search for its settings:     suite tune --algos ./my_method.py --protocol lite

Shapes: T steps of a rollout, N environments, O observation size, A action size; a rollout [T, N]
is cut into C chunks of L steps. `Algorithm` (algorithms/api.py) says what every function promises.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax

from algorithms.api import Algorithm, Extras, Metrics, Mode, Rollout, emptied
from algorithms.bounds import NotNegative, Positive, Range, UnitInterval, Widths
from algorithms.parts import normalizer
from algorithms.parts.distributions import gaussian
from algorithms.parts.networks import MLP, Params
from algorithms.parts.normalizer import Normalizer
from algorithms.parts.on_policy import clipped_surrogate, minibatch_indices, standardize
from algorithms.parts.returns import Chunks, chunk_returns, cut_into_chunks

Networks = dict[str, Params]


class State(NamedTuple):
    """Everything that is learned or remembered: JAX arrays whose shapes and types never change."""

    networks: Networks  # parameters of the policy and the critic
    optimizer: optax.OptState
    normalizer: Normalizer  # statistics of the observations


@dataclasses.dataclass(frozen=True)
class MyMethod(Algorithm[State]):
    """PPO with a Gaussian policy, from the template.

    A field is a hyper-parameter, stored with a run; `--set my-method.clip=0.1` changes it.
    Its type says which values it can take; it needs a default, whose source belongs here. Where
    it has a `Range`, `suite tune` draws it from there; two to five fields are enough.

    Attributes:
        learning_rate: Adam's; tuned within a factor of three below and ten above.
        clip: half-width of the ratio's clip range.
        entropy_cost: weight of the entropy bonus; tuned within a factor of three, or ten below.
        gae_lambda: lambda of the value target.
        reward_scale: rewards, in [0, 1] a step, are multiplied by this.
        hidden: widths of the hidden layers of both networks.
    """

    NAME = "my-method"  # what --set, tables and figures call it

    learning_rate: Annotated[Positive, Range(1e-4, 3e-3, log=True)] = 3e-4
    clip: Positive = 0.2
    entropy_cost: Annotated[NotNegative, Range(1e-3, 3e-2, log=True)] = 0.01
    gae_lambda: UnitInterval = 0.95
    reward_scale: Positive = 10.0
    hidden: Widths = (64, 64)

    @property
    def actor(self) -> MLP:
        return MLP(self.hidden, 2 * self.env.action_size)  # a mean and a width for each action

    @property
    def critic(self) -> MLP:
        return MLP(self.hidden, 1)

    @property
    def adam(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    @property
    def gradient_steps(self) -> int:
        """In one call of `update`; reports show it."""
        return self.pipeline.num_epochs * self.pipeline.num_minibatches

    def init(self, key: jax.Array) -> State:
        """Returns a fresh state. All randomness comes from `key`, never from NumPy."""
        policy_key, critic_key = jax.random.split(key)  # a key is used once
        networks = {
            "policy": self.actor.create(policy_key, self.env.obs_size),
            "critic": self.critic.create(critic_key, self.env.obs_size),
        }
        return State(networks, self.adam.init(networks), normalizer.initial(self.env.obs_size))

    def act(
        self, state: State, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Maps obs [N, O] to actions [N, A] in [-1, 1], and to extras [N, ...] for `update`."""
        policy = gaussian(self.actor.forward(state.networks["policy"], state.normalizer(obs)))
        if mode == "deterministic":  # the policy without its noise, whatever the key
            return jnp.tanh(policy.mean()), {}
        drawn, log_prob = policy.sample_and_log_prob(seed=key)
        return jnp.tanh(drawn), {"drawn": drawn, "log_prob": log_prob}

    def unsquashed(self, action: jax.Array, extras: Extras) -> jax.Array:
        """Returns what `act` squashed by tanh, [N, A]."""
        return extras["drawn"]

    def update(self, state: State, rollout: Rollout, key: jax.Array) -> tuple[State, Metrics]:
        """Learns from a rollout [T, N]. Its epochs and minibatches are the same for all methods."""
        seen = normalizer.advance(state.normalizer, rollout.obs, self.pipeline.normalizer)
        stats = seen if self.pipeline.normalizer_timing == "before" else state.normalizer
        chunks = cut_into_chunks(rollout, self.pipeline.chunk_length)
        order = minibatch_indices(key, chunks.reward.shape[0], self.pipeline)

        def step(
            carry: tuple[Networks, optax.OptState], picked: jax.Array
        ) -> tuple[tuple[Networks, optax.OptState], Metrics]:
            networks, optimizer = carry
            batch = jax.tree.map(lambda x: x[picked], chunks)
            gradient, metrics = jax.grad(self.loss, has_aux=True)(networks, stats, batch)
            change, optimizer = self.adam.update(gradient, optimizer)
            return (optax.apply_updates(networks, change), optimizer), metrics

        # A Python loop over minibatches would be unrolled and take minutes to compile.
        (networks, optimizer), metrics = jax.lax.scan(
            step, (state.networks, state.optimizer), order
        )
        return State(networks, optimizer, seen), jax.tree.map(jnp.mean, metrics)

    def loss(
        self, networks: Networks, stats: Normalizer, batch: Chunks
    ) -> tuple[jax.Array, Metrics]:
        """Returns the loss of a minibatch of chunks, and its metrics: scalars of any names."""
        obs = stats(batch.obs)  # [C, L, O]
        beyond = stats(jnp.stack([batch.last_obs, batch.final_obs], axis=1))
        inputs = jnp.concatenate([obs, beyond], axis=1)
        values = self.critic.forward(networks["critic"], inputs)[..., 0]  # [C, L + 2]
        fixed = jax.lax.stop_gradient(values)
        returns = chunk_returns(
            self.reward_scale * batch.reward,
            batch.terminated,
            batch.truncated,
            fixed[:, :-2],
            fixed[:, -2],
            fixed[:, -1],
            discount=self.env.discount,
            gae_lambda=self.gae_lambda,
            truncation=self.pipeline.truncation,
        )
        policy = gaussian(self.actor.forward(networks["policy"], obs))
        ratio = jnp.exp(policy.log_prob(batch.extras["drawn"]) - batch.extras["log_prob"])
        clip = jnp.float32(self.clip)
        policy_loss = clipped_surrogate(ratio, standardize(returns.advantage), clip)
        error = returns.weight * (returns.target - values[:, :-2])
        value_loss = jnp.mean(jnp.square(error))
        entropy = jnp.mean(policy.entropy())
        total = policy_loss + value_loss - self.entropy_cost * entropy
        # A run whose metrics start as NaN is ended, so what is optimized is among them.
        metrics = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
        return total, {"loss": total, **metrics}

    def parameters(self, state: State) -> Networks:
        """Returns what is trained by gradients; its size is reported."""
        return state.networks

    def policy(self, state: State) -> State:
        """Returns what `act` needs of a state, which is kept; all else is emptied."""
        networks = {**state.networks, "critic": emptied(state.networks["critic"])}
        return state._replace(networks=networks, optimizer=emptied(state.optimizer))
